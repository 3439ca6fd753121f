"""Losses on held-out molecules: molecular cross-validation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Protocol, get_args

import numpy as np
import scipy.sparse as sp
from scipy.special import xlogy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import ArrayLike, NDArray

    Values = NDArray[np.float64]

FLOOR = 1e-6
"""Least expected count: the loss of a molecule where none is expected is finite, 13.8 in the Poisson loss."""

MoleculeLoss = Literal["poisson_loss", "poisson_deviance", "mse", "log1p_cp10k_mse"]

MOLECULE_LOSSES: tuple[MoleculeLoss, ...] = get_args(MoleculeLoss)

_ROWS = 256  # cells at a time: 40 MB in double precision at 20,000 genes


class Matrix(Protocol):
    """Cells x genes: an array, a sparse matrix, a zarr array, or anything else that gives slices of rows."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of cells and of genes."""

    def __getitem__(self, rows: slice, /) -> Any: ...


def cell_losses(
    held_out: sp.csr_matrix | ArrayLike, expected: Matrix, *, loss: MoleculeLoss = "poisson_loss", floor: float = FLOOR
) -> Values:
    r"""Loss of each cell on its held-out molecules; their mean is the loss of the data set.

    With :math:`y` the held-out and :math:`\mu` the expected counts, each is the mean over all n_genes of

    - ``poisson_loss``: :math:`\mu - y \log \mu` :cite:p:`Batson2019`, lowest at the expression that made the counts
    - ``poisson_deviance``: :math:`2 (y \log (y / \mu) - y + \mu)`: twice the former above that of a perfect guess of y
    - ``mse``: :math:`(y - \mu)^2`
    - ``log1p_cp10k_mse``: the same of log1p of counts per 10,000, y and :math:`\mu` each scaled by their own total, as
      in the Open Problems table. No proper score: the mean of a logarithm is below the logarithm of the mean.

    Parameters
    ----------
    held_out
        Held-out molecules of shape (n_cells, n_genes), sparse or dense.
    expected
        Expected counts of the *held-out part*, of shape (n_cells, n_genes): with a share r of the molecules held out,
        estimates made from the rest on its scale, times r / (1 - r). Read some rows at a time.
    loss
        Which of the above.
    floor
        Expected counts below it, negative ones included, count as this much in the two Poisson losses.

    Returns
    -------
    Array of shape (n_cells,).

    Raises
    ------
    ValueError
        If shapes differ, there is nothing to score, or a number is not finite.
    """
    return losses_by_cell(held_out, expected, losses=(loss,), floor=floor)[:, 0]


def poisson_loss(held_out: sp.csr_matrix | ArrayLike, expected: Matrix, *, floor: float = FLOOR) -> float:
    """Mean over all entries, zeros included, of mu - y log mu.

    Parameters
    ----------
    held_out, expected, floor
        As in :func:`cell_losses`.
    """
    return float(cell_losses(held_out, expected, loss="poisson_loss", floor=floor).mean())


def poisson_deviance(held_out: sp.csr_matrix | ArrayLike, expected: Matrix, *, floor: float = FLOOR) -> float:
    """Mean over all entries, zeros included, of 2 (y log(y / mu) - y + mu).

    Parameters
    ----------
    held_out, expected, floor
        As in :func:`cell_losses`.
    """
    return float(cell_losses(held_out, expected, loss="poisson_deviance", floor=floor).mean())


def molecule_mse(held_out: sp.csr_matrix | ArrayLike, expected: Matrix) -> float:
    """Mean over all entries, zeros included, of (y - mu)^2.

    Parameters
    ----------
    held_out, expected
        As in :func:`cell_losses`.
    """
    return float(cell_losses(held_out, expected, loss="mse").mean())


def log1p_cp10k_mse(held_out: sp.csr_matrix | ArrayLike, expected: Matrix) -> float:
    """Mean over all entries, zeros included, of the squared difference in log1p(CP10k): the error of Open Problems.

    Parameters
    ----------
    held_out, expected
        As in :func:`cell_losses`.
    """
    return float(cell_losses(held_out, expected, loss="log1p_cp10k_mse").mean())


def losses_by_cell(
    held_out: sp.csr_matrix | ArrayLike,
    expected: Matrix,
    *,
    losses: tuple[MoleculeLoss, ...],
    factor: Values | None = None,
    floor: float = FLOOR,
) -> Values:
    """Several losses of :func:`cell_losses` in one pass over `expected`, each cell of it first scaled by `factor`.

    Returns
    -------
    Array of shape (n_cells, n_losses).
    """
    if unknown := [loss for loss in losses if loss not in _LOSSES]:
        msg = f"loss={unknown[0]!r}: choose one of {', '.join(map(repr, _LOSSES))}."
        raise ValueError(msg)
    held_out = sp.csr_matrix(held_out, dtype=np.float64, copy=True)
    held_out.sum_duplicates()
    if not (held_out.data >= 0).all():
        msg = "Held-out counts must be numbers of at least 0."
        raise ValueError(msg)
    table = np.empty((held_out.shape[0], len(losses)))
    for rows, block in row_blocks(expected, held_out.shape, factor=factor):
        for column, loss in enumerate(losses):
            table[rows, column] = _LOSSES[loss](held_out[rows], block, floor)
    return table / float(held_out.shape[1])


def row_blocks(
    matrix: Matrix, shape: tuple[int, int], *, factor: Values | None = None
) -> Iterator[tuple[slice, Values]]:
    """Rows of a finite matrix of this shape, some at a time, dense, each row times its `factor`."""
    if tuple(matrix.shape) != tuple(shape):
        msg = f"The truth is {shape[0]} cells x {shape[1]} genes, but the estimate has the shape {tuple(matrix.shape)}."
        raise ValueError(msg)
    if 0 in shape:
        msg = f"There is nothing to score: {shape[0]} cells x {shape[1]} genes."
        raise ValueError(msg)
    for start in range(0, shape[0], _ROWS):
        rows = slice(start, min(start + _ROWS, shape[0]))
        block = matrix[rows]
        block = np.asarray(block.toarray() if sp.issparse(block) else block, dtype=np.float64)
        if not np.isfinite(block).all():
            cell, gene = np.argwhere(~np.isfinite(block))[0]
            found = f"{block[cell, gene]} (cell {start + cell}, gene {gene})"
            msg = f"Only finite numbers can be scored, but the estimate holds {found}."
            raise ValueError(msg)
        yield rows, block if factor is None else block * factor[rows, None]


def entry_rows(matrix: sp.csr_matrix) -> NDArray[np.int64]:
    """Row of each stored entry, of shape (n_stored,)."""
    rows: NDArray[np.int64] = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    return rows


def _poisson(held_out: sp.csr_matrix, expected: Values, floor: float) -> Values:
    expected = np.maximum(expected, floor)
    gain = xlogy(held_out.data, expected[entry_rows(held_out), held_out.indices])
    total: Values = expected.sum(axis=1)
    return total - _row_sums(held_out, gain)


def _deviance(held_out: sp.csr_matrix, expected: Values, floor: float) -> Values:
    perfect = _row_sums(held_out, held_out.data - xlogy(held_out.data, held_out.data))
    return 2 * (_poisson(held_out, expected, floor) - perfect)


def _squared(held_out: sp.csr_matrix, expected: Values, _: float) -> Values:
    return _sum_of_squares(held_out.toarray() - expected)


def _squared_log1p(held_out: sp.csr_matrix, expected: Values, _: float) -> Values:
    return _sum_of_squares(_log1p_cp10k(held_out.toarray()) - _log1p_cp10k(np.maximum(expected, 0)))


def _row_sums(matrix: sp.csr_matrix, values: Values) -> Values:
    return np.bincount(entry_rows(matrix), weights=values, minlength=matrix.shape[0]).astype(np.float64, copy=False)


def _sum_of_squares(rows: Values) -> Values:
    sums: Values = np.einsum("ij,ij->i", rows, rows)
    return sums


def _log1p_cp10k(counts: Values) -> Values:
    total = counts.sum(axis=1, keepdims=True)
    scaled: Values = np.log1p(counts * np.divide(1e4, total, out=np.ones_like(total), where=total > 0))
    return scaled


_LOSSES = {
    "poisson_loss": _poisson,
    "poisson_deviance": _deviance,
    "mse": _squared,
    "log1p_cp10k_mse": _squared_log1p,
}
