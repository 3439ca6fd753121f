"""Errors of an estimate on held-out molecules, summed for each cell and for each gene while it is made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp
from scipy.special import xlogy

from ._holdout import unseal
from ._molecules import FLOOR, entry_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ._holdout import HoldOut

    Values = NDArray[np.float64]


class Tally:
    """What an estimate is written to, a few cells at a time, instead of an array: only its errors are kept.

    Parameters
    ----------
    hold_out
        From :meth:`HoldOut.thin`.
    cells, genes
        Positions in `hold_out` of the rows and columns of the estimate.
    weight
        Weight of each gene in the noise-free errors, of shape (n_genes,).

    Attributes
    ----------
    shape
        Shape of the estimate, on the scale of ``hold_out.train``.
    deviance
        Poisson deviance, summed for each cell and for each gene: arrays of shape (n_cells,) and (n_genes,).
    distance
        Squared distance to the *expected* counts, weighted, summed in the same way. Counts that are Poisson given
        their expectation have a variance equal to it, so that (y - mu)^2 - y is (E[y] - mu)^2 on average: an unbiased
        estimate of an error that nobody can see.
    """

    def __init__(
        self, hold_out: HoldOut, *, cells: NDArray[np.int64], genes: NDArray[np.int64], weight: Values
    ) -> None:
        truth, factor = unseal(hold_out)
        self._truth = sp.csr_matrix(truth[cells][:, genes], dtype=np.float64)
        self._factor, self._weight = factor[cells], weight
        self.shape = self._truth.shape
        self.deviance = (np.zeros(len(cells)), np.zeros(len(genes)))
        self.distance = (np.zeros(len(cells)), np.zeros(len(genes)))

    def __setitem__(self, rows: slice, values: Any) -> None:
        """Add the errors of some cells, each given once."""
        expected = np.maximum(np.asarray(values, dtype=np.float64) * self._factor[rows, None], FLOOR)
        seen = self._truth[rows]
        cell, gene, count = entry_rows(seen), seen.indices, seen.data
        at_seen = expected[cell, gene]
        self._add(self.deviance, rows, 2 * expected, (cell, gene, 2 * (xlogy(count, count / at_seen) - count)))
        beyond = self._weight[gene] * (count**2 - 2 * count * at_seen - count)
        self._add(self.distance, rows, np.square(expected) * self._weight, (cell, gene, beyond))

    @staticmethod
    def _add(
        sums: tuple[Values, Values], rows: slice, dense: Values, entries: tuple[NDArray[Any], NDArray[Any], Values]
    ) -> None:
        """Add to the sums of cells and genes what all entries have, and what those with molecules have besides."""
        cell, gene, value = entries
        sums[0][rows] += dense.sum(axis=1) + np.bincount(cell, value, minlength=dense.shape[0])
        sums[1][:] += dense.sum(axis=0) + np.bincount(gene, value, minlength=dense.shape[1])
