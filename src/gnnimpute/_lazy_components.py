"""Principal components of counts that are read a few cells at a time."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from gnnimpute._blocks import each
from gnnimpute._components import log_normalized, n_components
from gnnimpute._counts import moments_of, power_sums, totals

if TYPE_CHECKING:
    import dask.array as da
    import scipy.sparse as sp
    from numpy.typing import NDArray

_log = logging.getLogger(__name__)

MOST_GENES = 2000
"""Genes that the components are made of: those of most variance, which is what components of all genes look for."""


def lazy_principal_components(counts: da.Array, *, n_pcs: int, passing: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Principal components as of :func:`gnnimpute._components.principal_components`, of the genes of most variance.

    The counts are read four times: for totals, variances, covariances and scores. What is held is one block and
    ``MOST_GENES`` x ``MOST_GENES`` covariances.

    Parameters
    ----------
    counts
        Counts of shape (n_cells, n_genes).
    n_pcs
        Components to compute; cut to the number of genes and of passing cells less one.
    passing
        Array of shape (n_cells,): cells that set the median total and the components. Others are projected on these.
    """
    import scanpy as sc

    n_used = n_components(n_pcs, n_cells=int(passing.sum()), n_genes=min(counts.shape[1], MOST_GENES))
    total = np.concatenate([*each(counts, totals)])
    target_total = float(np.median(total[passing]))
    mean, variance = moments_of(sum(each(counts, _sums, target_total, rows=[passing])), int(passing.sum()))
    genes = np.sort(np.argsort(-variance, kind="stable")[:MOST_GENES])
    share = variance[genes].sum() / max(variance.sum(), np.finfo(float).tiny)
    _log.info("Components of the %d genes of most variance: %.0f %% of the variance", len(genes), 100 * share)
    dense = partial(_dense, target_total=target_total, genes=genes)
    shape = (counts.chunks[0], (len(genes),))
    logged = counts.map_blocks(dense, dtype=np.float32, chunks=shape, meta=np.empty((0, 0), np.float32))
    _, loadings, *_ = sc.pp.pca(logged[passing], n_comps=n_used, svd_solver="covariance_eigh", return_info=True)
    loadings = loadings.astype(np.float32)
    centre = (mean[genes] @ loadings.T).astype(np.float32)
    return np.concatenate([*each(counts, _scores, target_total, genes, loadings, centre)])


def _sums(counts: sp.csr_matrix, passing: NDArray[np.bool_], target_total: float) -> NDArray[np.float64]:
    """Sums and sums of squares of each gene over passing cells, of shape (2, n_genes)."""
    return power_sums(log_normalized(counts, target_total)[passing])


def _dense(counts: sp.csr_matrix, *, target_total: float, genes: NDArray[np.int64]) -> NDArray[np.float32]:
    logged: NDArray[np.float32] = log_normalized(counts, target_total)[:, genes].toarray()
    return logged


def _scores(
    counts: sp.csr_matrix,
    target_total: float,
    genes: NDArray[np.int64],
    loadings: NDArray[np.float32],
    centre: NDArray[np.float32],
) -> NDArray[np.float32]:
    scores: NDArray[np.float32] = log_normalized(counts, target_total)[:, genes] @ loadings.T - centre
    return scores
