"""Leading directions of sparse rows against dense decompositions."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.decomposition import PCA

from gnnimpute._counts import moments
from gnnimpute._directions import directions


def rows_of(rng: np.random.Generator, n_rows: int, n_columns: int) -> sp.csr_matrix:
    """Rows of low rank and noise, two thirds of them zero."""
    signal = rng.normal(size=(n_rows, 6)) * [9, 7, 5, 4, 3, 2] @ rng.normal(size=(6, n_columns))
    dense = (signal + rng.normal(size=signal.shape)) * (rng.random(signal.shape) < 1 / 3)
    return sp.csr_matrix(dense.astype(np.float32))


@pytest.mark.parametrize(("n_rows", "n_columns", "n"), [(300, 500, 6), (500, 300, 6), (40, 30, 30), (5, 90, 4)])
def test_right_singular_vectors(rng: np.random.Generator, n_rows: int, n_columns: int, n: int) -> None:
    rows = rows_of(rng, n_rows, n_columns)
    found = directions(rows, n, rng=rng)
    assert found.dtype == np.float32
    _, lengths, right = np.linalg.svd(rows.toarray().astype(np.float64), full_matrices=False)
    np.testing.assert_allclose(np.linalg.norm(rows @ found, axis=0), lengths[:n], rtol=1e-3)
    np.testing.assert_allclose(np.abs((right[:n] * found.T).sum(1))[:4], 1, atol=1e-4)
    np.testing.assert_allclose(found.T @ found, np.eye(n), atol=1e-3)
    assert (np.take_along_axis(found, np.abs(found).argmax(0)[None], 0) > 0).all()


@pytest.mark.parametrize("shape", [(900, 400), (400, 900)])
def test_fifty_components_explain_as_much_as_those_of_scikit_learn(
    rng: np.random.Generator, shape: tuple[int, int]
) -> None:
    rows = rows_of(rng, *shape)
    mean, variance = moments(rows)
    np.testing.assert_allclose(mean, rows.toarray().mean(0), atol=1e-5)
    np.testing.assert_allclose(variance, rows.toarray().var(0), rtol=1e-4)
    oracle = PCA(50, svd_solver="full").fit(rows.toarray())
    scores = rows @ directions(rows, 50, rng=rng, center=mean)
    explained = scores.var(0, ddof=1).sum() / oracle.explained_variance_.sum()
    assert 0.999 < explained < 1.0001
    np.testing.assert_allclose(scores.var(0, ddof=1)[:6], oracle.explained_variance_[:6], rtol=1e-4)


def test_the_order_of_rows_changes_nothing(rng: np.random.Generator) -> None:
    rows, order = rows_of(rng, 200, 400), rng.permutation(200)
    found = [directions(part, 8, rng=np.random.default_rng(0)) for part in (rows, rows[order])]
    np.testing.assert_allclose(*found, atol=1e-3)


@pytest.mark.parametrize(("n_rows", "n_columns"), [(150, 500), (300, 220)])
def test_rows_that_stand_several_times(rng: np.random.Generator, n_rows: int, n_columns: int) -> None:
    rows = sp.vstack([rows_of(rng, n_rows, n_columns)] * 2, format="csr")[: n_columns - 20]
    mean, _ = moments(rows)
    found = directions(rows, 50, rng=rng, center=mean)
    np.testing.assert_allclose(found.T @ found, np.eye(50), atol=1e-3)
    lengths = np.linalg.svd(rows.toarray() - mean, compute_uv=False)[:50]
    lost = 1 - np.square((rows.toarray() - mean) @ found).sum() / np.square(lengths).sum()
    assert abs(lost) < 5e-4


def test_beyond_the_rank_there_is_no_direction(rng: np.random.Generator) -> None:
    rows = sp.csr_matrix(np.tile(rng.poisson(1.0, (20, 500)).astype(np.float32), (10, 1)))
    found = directions(rows, 50, rng=rng, center=moments(rows)[0])
    np.testing.assert_allclose(found[:, :19].T @ found[:, :19], np.eye(19), atol=1e-3)
    assert not found[:, 19:].any()


def test_fewer_dimensions_than_directions(rng: np.random.Generator) -> None:
    rows = sp.csr_matrix(np.repeat(rng.normal(size=(2, 40)), 30, axis=0).astype(np.float32))
    found = directions(rows, 12, rng=rng)
    assert found.shape == (40, 12)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(np.linalg.norm(rows @ found, axis=1), np.linalg.norm(rows.toarray(), axis=1), rtol=1e-4)
