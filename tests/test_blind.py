"""What is left of counts: quality control by what is left, and positions to find the hidden part again."""

from __future__ import annotations

import anndata
import numpy as np
import scipy.sparse as sp

from gnnimpute._blind import visible

LOOSE = {"min_genes": 0, "min_cells": 3, "max_total": None, "max_mito_pct": None}


def test_positions_lead_back(counts: sp.csr_matrix) -> None:
    kept = sp.csr_matrix(sp.diags((np.arange(90) != 5).astype(np.float32)) @ counts)
    kept.eliminate_zeros()
    adata = anndata.AnnData(counts)
    adata.obs["batch"], adata.obs["other"] = "a", "b"
    adata.obsm["X_mine"] = np.arange(180.0).reshape(90, 2)
    seen = visible(adata, kept, obs=("batch",), obsm=("X_mine",), n_pcs=None, quality=LOOSE)
    assert 5 not in seen.cells
    assert len(seen.cells) == 89
    assert (kept[seen.cells][:, seen.genes] != seen.adata.X).nnz == 0
    np.testing.assert_array_equal(seen.adata.obsm["X_mine"], adata.obsm["X_mine"][seen.cells])
    assert "batch" in seen.adata.obs
    assert "other" not in seen.adata.obs
    assert (counts != adata.X).nnz == 0
