"""What the network reads: normalised rows."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
import scanpy as sc
import scipy.sparse as sp
import torch
from anndata import AnnData
from hypothesis import given, settings
from hypothesis.extra import numpy as hnp

from gnnimpute._counts import totals
from gnnimpute._masking import Split, hide_nonzeros
from gnnimpute._rows import Rows, check_learnable, units

matrices = hnp.arrays(
    np.float32, st.tuples(st.integers(1, 8), st.integers(1, 6)), elements=st.one_of(st.just(0), st.integers(0, 1000))
)


def dense(counts: np.ndarray, target_total: float) -> np.ndarray:
    return np.log1p(counts * (target_total / np.maximum(counts.sum(1, keepdims=True), 1)))


@settings(max_examples=50, deadline=None)
@given(counts=matrices, target_total=st.floats(0.5, 1e5))
def test_rows_are_log1p_of_counts_scaled_to_a_common_total(counts: np.ndarray, target_total: float) -> None:
    rows = Rows(sp.csr_matrix(counts), target_total)
    everything = rows.normalized(slice(None))
    assert everything.dtype == np.float32
    np.testing.assert_allclose(everything.toarray(), dense(counts.astype(np.float64), target_total), rtol=1e-6)
    scaled = np.expm1(everything.toarray().astype(np.float64)).sum(1)
    np.testing.assert_allclose(scaled, np.where(counts.any(1), target_total, 0), rtol=1e-5)


def test_rows_are_those_of_scanpy(counts: sp.csr_matrix) -> None:
    adata = AnnData(counts.copy())
    target_total = float(np.median(totals(counts)))
    sc.pp.normalize_total(adata)
    sc.pp.log1p(adata)
    rows = Rows(counts, target_total).normalized(slice(None))
    np.testing.assert_allclose(rows.toarray(), adata.X.toarray(), rtol=1e-5)


def test_values_that_were_normalized_are_read_as_they_are(counts: sp.csr_matrix) -> None:
    depth = totals(counts)
    values = sp.csr_matrix(sp.diags(100 / depth) @ counts)
    masked = hide_nonzeros(values, 0.3, np.random.default_rng(0))[0]
    rows = Rows(masked, 100.0, is_normalized=True)
    np.testing.assert_allclose(rows.normalized().toarray(), np.log1p(masked.toarray()), rtol=1e-6)
    single = np.array([row.data.min(initial=np.inf) for row in masked]) == 100 / depth
    np.testing.assert_allclose(rows.log_depth[single], np.log(depth[single]), rtol=1e-6)
    assert single.sum() > 50


def test_some_cells_are_the_same_as_in_all(counts: sp.csr_matrix) -> None:
    rows = Rows(counts, 100.0)
    everything = rows.normalized(slice(None)).toarray()
    before = counts.copy()
    for cells in (np.array([3]), np.array([7, 2, 2, 89]), slice(10, 20), np.array([], np.int64)):
        np.testing.assert_array_equal(rows.normalized(cells).toarray(), everything[cells])
        gathered = rows.gather(cells)
        np.testing.assert_array_equal(gathered.rows.to_dense().numpy(), everything[cells])
        np.testing.assert_array_equal(gathered.columns.to_dense().numpy(), everything[cells].T)
    assert (counts != before).nnz == 0


@settings(max_examples=50, deadline=None)
@given(counts=matrices, block=st.integers(1, 9))
def test_moments_are_those_of_the_dense_matrix(counts: np.ndarray, block: int) -> None:
    mean, deviation = Rows(sp.csr_matrix(counts), 50.0).moments(block)
    rows = dense(counts.astype(np.float64), 50.0)
    np.testing.assert_allclose(mean, rows.mean(0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(deviation, rows.std(0), rtol=1e-4, atol=1e-3)
    assert mean.dtype == deviation.dtype == np.float32


def test_cells_without_counts_are_read_as_zeros() -> None:
    counts = sp.csr_matrix(np.array([[0, 0, 0], [1, 0, 3]], np.float32))
    x = Rows(counts, 4.0).gather(np.array([0, 1]))
    weight = torch.eye(3)
    np.testing.assert_allclose((x @ weight).numpy(), [[0, 0, 0], np.log1p([1, 0, 3])], rtol=1e-6)
    assert torch.equal(Rows(counts, 4.0).gather(np.array([0])) @ weight, torch.zeros(1, 3))


@pytest.mark.parametrize(
    ("counts", "text"),
    [(np.ones((1, 4)), "There is only one cell"), (np.zeros((5, 4)), "All counts are zero, of 5 cells x 4 genes")],
)
def test_nothing_to_learn_from(counts: np.ndarray, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        check_learnable(Split(sp.csr_matrix(counts), sp.csr_matrix(counts)))


def test_nothing_to_validate_with() -> None:
    some, none = sp.csr_matrix(np.eye(2)), sp.csr_matrix((2, 2))
    check_learnable(Split(some, some))
    with pytest.raises(ValueError, match="Validation holds out none of 2 molecules: raise validation_rate"):
        check_learnable(Split(some, none))


def test_rows_of_hidden_nonzeros_are_on_average_those_of_all() -> None:
    rng = np.random.default_rng(0)
    counts = sp.csr_matrix(rng.poisson(4.0, (4000, 6)).astype(np.float32))
    totals = np.asarray(counts.sum(1)).ravel()
    counts = sp.csr_matrix(sp.diags(60 / np.maximum(totals, 1)) @ counts, dtype=np.float32)
    kept, _ = hide_nonzeros(counts, 0.4, rng)
    rows = Rows(kept, 60.0, kept_share=0.6).normalized(slice(None))
    everything = Rows(counts, 60.0).normalized(slice(None))
    assert rows.mean() == pytest.approx(everything.mean(), rel=0.03)
    assert Rows(kept, 60.0).normalized(slice(None)).mean() < 0.93 * everything.mean()


def test_one_molecule_of_whole_counts_is_1_and_of_scaled_ones_the_smallest() -> None:
    counts = sp.csr_matrix(np.array([[20, 18, 0], [0, 0, 0], [0.5, 0, 2], [3, 1, 0]], dtype=np.float32))
    np.testing.assert_array_equal(units(counts), [1, 1, 0.5, 1])
    np.testing.assert_array_equal(units(counts[[0, 2]] * np.float32(1.1)), np.float32([18, 0.5]) * np.float32(1.1))
