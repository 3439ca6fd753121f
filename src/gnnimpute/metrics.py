"""How good an estimate is: arrays in, numbers out, and hold-outs that keep the truth from methods."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from ._bootstrap import Interval, bootstrap, bootstrap_all, paired_difference
from ._calibration import coverage, pit
from ._clusterings import ari, nmi
from ._entries import MASKED_METRICS, by_group, cs, mae, mean_defined, mse, pcc
from ._holdout import CellSplit, HoldOut, LabelledHoldOut, split_cells, unseal
from ._molecules import (
    MOLECULE_LOSSES,
    Matrix,
    MoleculeLoss,
    cell_losses,
    entry_rows,
    log1p_cp10k_mse,
    losses_by_cell,
    molecule_mse,
    poisson_deviance,
    poisson_loss,
    row_blocks,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    import scipy.sparse as sp
    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "CellSplit",
    "HoldOut",
    "Interval",
    "LabelledHoldOut",
    "ari",
    "bootstrap",
    "cell_losses",
    "coverage",
    "cs",
    "log1p_cp10k_mse",
    "mae",
    "molecule_mse",
    "mse",
    "nmi",
    "paired_difference",
    "pcc",
    "pit",
    "poisson_deviance",
    "poisson_loss",
    "score",
    "score_cells",
    "score_coverage",
    "split_cells",
]

By = Literal["entry", "cell", "gene"]


def score(
    hold_out: HoldOut | LabelledHoldOut,
    imputed: Matrix,
    *,
    by: By = "entry",
    cells: ArrayLike | None = None,
    genes: ArrayLike | None = None,
    n_resamples: int = 200,
    rng: np.random.Generator | int = 0,
) -> dict[str, Interval]:
    """Judge what a method made of the part of a hold-out that it saw.

    Parameters
    ----------
    hold_out
        From :meth:`HoldOut.thin`, :meth:`HoldOut.mask` or :meth:`LabelledHoldOut.mask`.
    imputed
        Estimates on the scale of ``hold_out.train``, of shape (n_cells, n_genes), or of the cells and genes named next.
        What brings them to the scale of the truth is applied here. Read some rows at a time.
    by
        Masked values: over all entries (the paper), or the mean over cells or genes of the metric within each. Losses
        of molecules are means over full rows and columns, for which all three are equal.
    cells, genes
        Positions in `hold_out` of the rows and columns of `imputed`, where these are not all, in this order.
    n_resamples
        How often cells (by gene: genes) are drawn anew for the intervals; 0 for none (nan).
    rng
        Seed or generator of the resampling.

    Returns
    -------
    ``mse``, ``mae``, ``pcc`` and ``cs`` of masked values; ``poisson_loss``, ``poisson_deviance``, ``mse`` and
    ``log1p_cp10k_mse`` of molecules: see :func:`cell_losses`.
    """
    if by not in get_args(By):
        msg = f"by={by!r}: choose one of {', '.join(map(repr, get_args(By)))}."
        raise ValueError(msg)
    truth, factor = _opened(hold_out, cells, genes)
    settings: dict[str, Any] = {"n_resamples": n_resamples, "rng": rng}
    if hold_out.kind == "molecules":
        losses = losses_by_cell(truth, imputed, losses=MOLECULE_LOSSES, factor=factor)
        return bootstrap_all(_means, losses, names=MOLECULE_LOSSES, **settings)
    value, guess, cell = truth.data, _guesses(truth, imputed, factor), entry_rows(truth)
    if by == "entry":
        return bootstrap_all(_pooled, value, guess, names=MASKED_METRICS, cells=cell, **settings)
    table = by_group(value, guess, cell if by == "cell" else truth.indices)
    return bootstrap_all(_means, table, names=MASKED_METRICS, **settings)


def score_cells(
    hold_out: HoldOut,
    imputed: Matrix,
    *,
    loss: MoleculeLoss = "poisson_loss",
    cells: ArrayLike | None = None,
    genes: ArrayLike | None = None,
) -> NDArray[np.float64]:
    """Loss of each cell on its held-out molecules, to compare methods with :func:`paired_difference`.

    A caller with little memory goes through the cells in blocks and names them in `cells`.

    Parameters
    ----------
    hold_out
        From :meth:`HoldOut.thin`.
    imputed, cells, genes
        As in :func:`score`.
    loss
        One of :func:`cell_losses`.

    Returns
    -------
    Array of shape (n_cells,), or as many as `cells` names.
    """
    if hold_out.kind != "molecules":
        msg = "This hold-out hides non-zeros, which have no loss per cell of this kind: use `score(..., by='cell')`."
        raise ValueError(msg)
    truth, factor = _opened(hold_out, cells, genes)
    return losses_by_cell(truth, imputed, losses=(loss,), factor=factor)[:, 0]


def score_coverage(
    hold_out: HoldOut,
    mean: ArrayLike,
    size: ArrayLike,
    *,
    cells: ArrayLike | None = None,
    genes: ArrayLike | None = None,
    levels: Sequence[float] = (0.5, 0.8, 0.95),
    least: float = 0.0,
    randomized: bool = True,
    rng: np.random.Generator | int = 0,
) -> dict[float, float]:
    """Share of the held-out molecules that lie in central predictive intervals.

    Parameters
    ----------
    hold_out
        From :meth:`HoldOut.thin`.
    mean, size
        Predicted counts, each of shape (n_cells, n_genes), as :meth:`gnnimpute.GNNImputer.further` gives them with
        ``exposure=rate / (1 - rate)``.
    cells, genes
        As in :func:`score`.
    levels, least, randomized, rng
        As in :func:`coverage`.

    Returns
    -------
    Share for each level; nan if no entry is left.
    """
    if hold_out.kind != "molecules":
        msg = "This hold-out hides non-zeros: intervals are of molecules. Use HoldOut.thin."
        raise ValueError(msg)
    held_out, _ = _opened(hold_out, cells, genes)
    return coverage(held_out, mean, size, levels=levels, least=least, randomized=randomized, rng=rng)


def _opened(
    hold_out: HoldOut | LabelledHoldOut, cells: ArrayLike | None, genes: ArrayLike | None
) -> tuple[sp.csr_matrix, NDArray[np.float64]]:
    truth, factor = unseal(hold_out)
    if cells is not None:
        truth, factor = truth[np.asarray(cells)], factor[np.asarray(cells)]
    return (truth if genes is None else truth[:, np.asarray(genes)]), factor


def _guesses(truth: sp.csr_matrix, imputed: Matrix, factor: NDArray[np.float64]) -> NDArray[np.float64]:
    """Estimate of each masked entry, in the order of `truth`."""
    if not truth.nnz:
        msg = f"Nothing is masked in these {truth.shape[0]} cells and {truth.shape[1]} genes: no entry can be scored."
        raise ValueError(msg)
    blocks = row_blocks(imputed, truth.shape, factor=factor)
    return np.concatenate([block[entry_rows(truth[rows]), truth[rows].indices] for rows, block in blocks])


def _pooled(truth: NDArray[np.float64], imputed: NDArray[np.float64]) -> NDArray[np.float64]:
    (metrics,) = by_group(truth, imputed)
    return np.asarray(metrics)


def _means(table: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.array([mean_defined(column) for column in table.T])
