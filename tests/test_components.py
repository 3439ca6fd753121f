from __future__ import annotations

import logging

import numpy as np
import pytest
import scanpy as sc
import scipy.sparse as sp
from anndata import AnnData

from gnnimpute._components import log_normalized, principal_components, seed_of


def test_equal_to_the_calls_of_scanpy(counts):
    adata = AnnData(counts.copy())
    sc.pp.normalize_total(adata)
    sc.pp.log1p(adata)
    sc.pp.pca(adata, n_comps=10, svd_solver="arpack", random_state=3)
    target_total = np.median(np.asarray(counts.sum(axis=1)))
    np.testing.assert_allclose(log_normalized(counts, target_total).toarray(), adata.X.toarray(), rtol=1e-6)
    found = principal_components(counts, n_pcs=10, rng=3)
    np.testing.assert_allclose(found, adata.obsm["X_pca"], atol=1e-4)
    assert found.dtype == np.float32


def test_counts_are_not_changed_and_a_rerun_is_identical(counts):
    before = counts.copy()
    first = principal_components(counts, n_pcs=20)
    assert (counts != before).nnz == 0
    np.testing.assert_array_equal(first, principal_components(counts, n_pcs=20))


def test_other_cells_are_projected_and_change_nothing(counts):
    passing = np.ones(90, dtype=bool)
    passing[[0, 1, 50]] = False
    outlier = counts.copy().tolil()
    outlier[0], outlier[1] = 0, counts[2]
    outlier[50] = 1000 * counts[51]
    outlier = sp.csr_matrix(outlier)
    found = principal_components(outlier, n_pcs=8, passing=passing)
    np.testing.assert_allclose(found[passing], principal_components(counts[passing], n_pcs=8), atol=1e-4)
    np.testing.assert_allclose(found[1], found[2], atol=1e-4)  # the same cell
    np.testing.assert_allclose(found[50], found[51], atol=1e-4)  # the same proportions
    assert np.isfinite(found).all()


@pytest.mark.parametrize(
    ("n_cells", "n_genes", "n_pcs"), [(90, 60, 50), (90, 60, 60), (20, 60, 19), (2, 60, 1), (90, 3, 3), (90, 1, 1)]
)
def test_few_cells_or_genes_cut_the_components(counts, caplog, n_cells, n_genes, n_pcs):
    with caplog.at_level(logging.INFO):
        found = principal_components(counts[:n_cells, :n_genes], n_pcs=max(n_pcs, 50))
    assert found.shape == (n_cells, n_pcs)
    assert np.isfinite(found).all()
    assert ("principal components instead of 50" in caplog.text) == (n_pcs < 50)


def test_small_and_large_solver_agree(counts):
    """Distances between cells: the sign of a component is free."""
    few, many = (principal_components(counts, n_pcs=n_pcs) for n_pcs in (12, 59))
    np.testing.assert_allclose(np.abs(few), np.abs(many[:, :12]), atol=1e-3)


def test_all_cells_equal_have_no_components(counts, caplog):
    equal = sp.vstack([counts[0], 3 * counts[0], 7 * counts[0]] * 5).tocsr()  # the same proportions
    found = principal_components(equal, n_pcs=4)
    np.testing.assert_array_equal(found, 0)
    assert "All cells are equal" in caplog.text


def test_duplicates_with_fewer_distinct_cells_than_components(counts):
    twice = sp.vstack([counts[[0, 1, 2]]] * 40).tocsr()
    found = principal_components(twice, n_pcs=20)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found[0], found[3], atol=1e-3)
    assert np.linalg.norm(found[0] - found[1]) > 0.1


def test_one_cell_is_an_error(counts):
    with pytest.raises(ValueError, match=r"Only 1 cell passes.*n_pcs=None"):
        principal_components(counts[:1], n_pcs=5)


def test_a_seed_is_kept_and_a_generator_gives_one():
    assert seed_of(7) == seed_of(np.int64(7)) == 7
    assert seed_of(np.random.default_rng(1)) == seed_of(np.random.default_rng(1))
