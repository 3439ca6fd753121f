"""Principal components of log-normalised counts: what neighbours are found in."""

from __future__ import annotations

import logging
from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np

from gnnimpute._counts import divisors, moments, totals
from gnnimpute._directions import directions

if TYPE_CHECKING:
    import scipy.sparse as sp
    from numpy.typing import NDArray

_log = logging.getLogger(__name__)

_NO_VARIANCE = 1e-10
"""Variance of log counts that is rounding error of float32."""


def seed_of(rng: Any) -> int:
    """A seed to hand to other packages, and to write down: the number itself, or one drawn from a generator."""
    return int(rng) if isinstance(rng, Integral) else int(np.random.default_rng(rng).integers(2**31))


def principal_components(
    counts: sp.csr_matrix,
    *,
    n_pcs: int,
    rng: np.random.Generator | int = 0,
    passing: NDArray[np.bool_] | None = None,
) -> NDArray[np.float32]:
    """Scale each cell to the median total, take log1p, find the principal components: sparse all the way.

    Parameters
    ----------
    counts
        Counts of shape (n_cells, n_genes), float32. Not changed.
    n_pcs
        Components to compute; cut to the number of genes and of passing cells less one, which the log says.
    rng
        Seed or generator: the solver starts from random vectors.
    passing
        Array of shape (n_cells,): cells that set the median total and the components. Other cells are projected
        on these. By default all cells.

    Returns
    -------
    Array of shape (n_cells, n_pcs), all 0 if the passing cells are equal.

    Raises
    ------
    ValueError
        If fewer than two cells pass, or `n_pcs` is below 1.
    """
    passing = np.ones(counts.shape[0], dtype=bool) if passing is None else passing
    n_used = n_components(n_pcs, n_cells=int(passing.sum()), n_genes=counts.shape[1])
    logged = log_normalized(counts, float(np.median(totals(counts)[passing])))
    modelled = logged if passing.all() else logged[passing]
    embedding = np.zeros((counts.shape[0], n_used), dtype=np.float32)
    mean, variance = moments(modelled)
    if variance.max() < _NO_VARIANCE:
        _log.warning("All cells are equal once they are normalised: which are neighbours is arbitrary")
        return embedding
    loadings = directions(modelled, n_used, rng=np.random.default_rng(seed_of(rng)), center=mean)
    embedding[:] = logged @ loadings - mean.astype(np.float32) @ loadings
    return embedding


def n_components(n_pcs: int, *, n_cells: int, n_genes: int) -> int:
    """Components that so many cells and genes allow; the log says where they are fewer than asked for.

    Raises
    ------
    ValueError
        If there are fewer than two cells, or `n_pcs` is below 1.
    """
    if n_pcs < 1:
        msg = f"n_pcs={n_pcs}: give at least 1, or None to leave the graph out."
        raise ValueError(msg)
    n_used = min(n_pcs, n_cells - 1, n_genes)
    if n_used < 1:
        msg = (
            f"Only {n_cells} cell passes: a graph needs at least two. "
            "Loosen the limits of quality control, or leave the graph out with n_pcs=None."
        )
        raise ValueError(msg)
    if n_used < n_pcs:
        _log.info("%d principal components instead of %d, for %d cells x %d genes", n_used, n_pcs, n_cells, n_genes)
    return n_used


def log_normalized(counts: sp.csr_matrix, target_total: float) -> sp.csr_matrix:
    """Each cell scaled to the same total, then log1p; cells without counts stay empty."""
    from gnnimpute._rows import log_scaled  # brings PyTorch

    return log_scaled(counts, target_total / divisors(totals(counts)))
