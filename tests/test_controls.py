"""Controls: values worked out by hand, scales, and the smallest data."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import scipy.sparse as sp

import gnnimpute as gi
from gnnimpute import _controls

if TYPE_CHECKING:
    from collections.abc import Callable

    from gnnimpute._controls import Control

    Make = Callable[[sp.csr_matrix, int], Control]

ALL = [
    _controls.no_imputation,
    _controls.gene_mean,
    _controls.nonzero_mean,
    _controls.neighbor_mean,
    _controls.neighbor_and_gene_mean,
    _controls.neighbor_nonzero_mean,
    _controls.pca,
]
each_control = pytest.mark.parametrize("make", ALL, ids=lambda make: make.__name__)
conserving = pytest.mark.parametrize(
    "make", [_controls.gene_mean, _controls.neighbor_mean, _controls.neighbor_and_gene_mean], ids=lambda m: m.__name__
)
EVERYTHING = slice(None)

# Totals 4, 8, 4: the median is 4.
TINY = sp.csr_matrix(np.array([[4, 0, 0], [2, 6, 0], [0, 3, 1]], dtype=np.float32))


def values(make: Make, counts: sp.csr_matrix) -> np.ndarray:
    return make(counts, 0).rows(EVERYTHING)


@each_control
def test_rows_are_those_of_the_whole(make: Make, counts: sp.csr_matrix) -> None:
    control = make(counts, 0)
    whole = control.rows(EVERYTHING)
    assert whole.shape == counts.shape
    assert np.isfinite(whole).all()
    assert (whole >= 0).all()
    parts = [control.rows(slice(start, start + 40)) for start in range(0, 90, 40)]
    np.testing.assert_allclose(np.concatenate(parts), whole)


@each_control
def test_the_same_seed_gives_the_same_values(make: Make, counts: sp.csr_matrix) -> None:
    np.testing.assert_array_equal(values(make, counts), values(make, counts))


@each_control
def test_input_is_left_alone(make: Make, counts: sp.csr_matrix) -> None:
    before = counts.toarray()
    values(make, counts)
    np.testing.assert_array_equal(counts.toarray(), before)


@each_control
@pytest.mark.parametrize("shape", [(2, 1), (2, 3), (3, 2)])
def test_the_smallest_data(make: Make, shape: tuple[int, int]) -> None:
    counts = sp.csr_matrix(np.arange(1, 1 + np.prod(shape), dtype=np.float32).reshape(shape))
    assert np.isfinite(values(make, counts)).all()


@each_control
def test_cells_that_are_all_equal(make: Make) -> None:
    counts = sp.csr_matrix(np.tile(np.array([3, 0, 1, 2], dtype=np.float32), (6, 1)))
    got = values(make, counts)
    np.testing.assert_allclose(got[:, [0, 2, 3]], counts.toarray()[:, [0, 2, 3]], rtol=1e-6)
    np.testing.assert_allclose(got[:, 1], 0)


@each_control
def test_a_gene_without_counts_stays_without(make: Make, counts: sp.csr_matrix) -> None:
    empty = counts.toarray()
    empty[:, 7] = 0
    np.testing.assert_array_equal(values(make, sp.csr_matrix(empty))[:, 7], 0)


@conserving
def test_cells_keep_their_totals(make: Make, counts: sp.csr_matrix) -> None:
    np.testing.assert_allclose(values(make, counts).sum(axis=1), counts.toarray().sum(axis=1))


def test_no_imputation() -> None:
    np.testing.assert_array_equal(values(_controls.no_imputation, TINY), TINY.toarray())


def test_gene_mean() -> None:
    shares = np.array([6, 9, 1]) / 16
    np.testing.assert_allclose(values(_controls.gene_mean, TINY), np.outer([4, 8, 4], shares))


def test_nonzero_mean_replaces_zeros_only() -> None:
    # At a total of 4 the non-zeros are 4, 1 | 3, 3 | 1: their means 2.5, 3, 1.
    expected = [[4, 3, 1], [2, 6, 2], [2.5, 3, 1]]
    np.testing.assert_allclose(values(_controls.nonzero_mean, TINY), expected)


def test_neighbors_of_few_cells_are_all_cells() -> None:
    shares = np.array([[1, 0, 0], [0.25, 0.75, 0], [0, 0.75, 0.25]])
    np.testing.assert_allclose(values(_controls.neighbor_mean, TINY), np.outer([4, 8, 4], shares.mean(axis=0)))


def test_nonzero_mean_of_neighbors() -> None:
    expected = np.outer([1, 2, 1], [2.5, 3, 1])
    np.testing.assert_allclose(values(_controls.neighbor_nonzero_mean, TINY), expected)


def test_nonzero_mean_of_neighbors_falls_back_on_all_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_controls, "N_NEAREST", 2)  # the cell itself and the middle cell, in which the last gene is 0
    expected = [[2.5, 3, 1], [1, 3, 1]]
    np.testing.assert_allclose(values(_controls.neighbor_nonzero_mean, TINY)[[0, 2]], expected)


def test_pca_keeps_the_molecules_of_each_gene(counts: sp.csr_matrix) -> None:
    np.testing.assert_allclose(values(_controls.pca, counts).sum(axis=0), counts.toarray().sum(axis=0), rtol=1e-5)


def test_pca_chooses_few_components_where_there_are_none_to_find(rng: np.random.Generator) -> None:
    noise = sp.csr_matrix(rng.poisson(3.0, size=(200, 60)).astype(np.float32))
    assert _controls.pca(noise, 0).settings["rank"] <= 1


def test_pca_chooses_components_where_there_are_types(counts: sp.csr_matrix) -> None:
    settings = _controls.pca(counts, 0).settings
    assert settings["rank"] >= 2
    assert min(settings["losses"], key=settings["losses"].get) == str(settings["rank"])


@pytest.mark.parametrize("make", [_controls.pca, _controls.neighbor_and_gene_mean], ids=lambda make: make.__name__)
def test_good_controls_beat_the_gene_mean(make: Make, counts: sp.csr_matrix) -> None:
    hold_out = gi.metrics.HoldOut.thin(counts, 0.2, rng=0)
    loss = gi.metrics.score(hold_out, values(make, hold_out.train))["poisson_deviance"].value
    assert (
        loss < 0.9 * gi.metrics.score(hold_out, values(_controls.gene_mean, hold_out.train))["poisson_deviance"].value
    )
