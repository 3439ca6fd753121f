"""From counts to what the network reads: normalised, log-transformed rows that stay sparse."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp
import torch

from gnnimpute._counts import divisors, moments_of, power_sums, totals
from gnnimpute._sparse_rows import SparseRows

if TYPE_CHECKING:
    from typing import Self

    from numpy.typing import NDArray

    from gnnimpute._masking import Split
    from gnnimpute._nn import Autoencoder


_DENSE = 0.12
"""Share of non-zeros from which a dense product, a block of rows at a time, takes less time than a sparse one."""


@dataclass(frozen=True)
class Rows:
    """Counts, read a few cells at a time as log1p of counts scaled to a common total.

    Parameters
    ----------
    counts
        Molecule counts, of shape (n_cells, n_genes).
    target_total
        Total that every cell is scaled to: the median of the cells that the network was trained on.
    device
        Where the rows are put.
    kept_share
        Share of the non-zeros that are there, if the others were hidden whole. Rows are then scaled so that they are,
        on average, what they would be with all: a network reads all once it is trained.
    seen
        Share of the molecules that genes which are there have; the others are not among `counts`, or 0.
    is_normalized
        Whether `counts` were scaled to `target_total` already, before some of them were masked.
    molecule
        One molecule of each cell, of shape (n_cells,), if `counts` no longer show it; by default :func:`units`.
    """

    counts: sp.csr_matrix
    target_total: float
    device: torch.device | str = "cpu"
    kept_share: float = 1.0
    seen: float = 1.0
    is_normalized: bool = False
    molecule: NDArray[np.float32] | None = None

    @classmethod
    def of(cls, counts: sp.csr_matrix, network: Autoencoder) -> Self:
        """As a network reads them, where it is."""
        total, device = float(network.target_total), network.mean.device
        return cls(counts, total, device, seen=network.seen, is_normalized=network.is_normalized)

    @cached_property
    def total(self) -> NDArray[np.float64]:
        """Molecules of each cell, of shape (n_cells,), those that were hidden or masked or are of other genes too."""
        if self.is_normalized:
            return np.full(self.counts.shape[0], self.target_total)
        return totals(self.counts) / (self.kept_share * self.seen)

    @cached_property
    def unit(self) -> NDArray[np.float32]:
        """One molecule of each cell, of shape (n_cells,)."""
        return self.molecule if self.molecule is not None else units(self.counts, are_scaled=self.is_normalized)

    @property
    def log_depth(self) -> NDArray[np.float32]:
        """Log of the molecules of each cell, of shape (n_cells,), on whatever scale its values are."""
        return np.log(np.maximum(self.total, 1e-6) / self.unit).astype(np.float32)

    def normalized(self, cells: NDArray[np.int64] | slice = slice(None)) -> sp.csr_matrix:
        """Rows of shape (len(cells), n_genes): log1p of counts scaled to `target_total`."""
        logged = log_scaled(_rows_of(self.counts, cells), self.target_total / divisors(self.total[cells]))
        if self.kept_share < 1:
            logged.data /= np.float32(self.kept_share)
        return logged

    def gather(self, cells: NDArray[np.int64] | slice) -> SparseRows:
        """The same rows for the network."""
        return SparseRows(self.normalized(cells), device=self.device, dense=self.is_dense)

    @cached_property
    def everything(self) -> SparseRows:
        """All rows, kept for as long as this object: for batches whose neighbourhood is most of the cells."""
        return self.gather(slice(None))

    @property
    def is_dense(self) -> bool:
        """Whether dense products take less time."""
        # Of all cells, not of the ones gathered: a cell's numbers must not depend on its batch.
        return bool(self.counts.nnz > _DENSE * self.counts.shape[0] * self.counts.shape[1])

    def moments(self, block: int = 4096) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Mean and standard deviation of each gene over all cells, of shape (n_genes,) each."""
        n, sums = self.counts.shape[0], np.zeros((2, self.counts.shape[1]))
        for start in range(0, n, block):
            sums += power_sums(self.normalized(slice(start, start + block)))
        mean, variance = moments_of(sums, n)
        return mean.astype(np.float32), np.sqrt(variance).astype(np.float32)


def _rows_of(counts: sp.csr_matrix, cells: NDArray[np.int64] | slice) -> sp.csr_matrix:
    """Some rows; those of a slice share memory with all."""
    if not isinstance(cells, slice):
        return counts[cells]
    start, stop, _ = cells.indices(counts.shape[0])
    pointers = counts.indptr[start : stop + 1]
    here = slice(pointers[0], pointers[-1])
    return sp.csr_matrix(
        (counts.data[here], counts.indices[here], pointers - pointers[0]), (stop - start, counts.shape[1])
    )


def log_scaled(counts: sp.csr_matrix, scale: NDArray[np.floating]) -> sp.csr_matrix:
    """log1p of counts, float32, those of each cell times its `scale`, of shape (n_cells,)."""
    data = counts.data.astype(np.float32) * np.repeat(scale.astype(np.float32), np.diff(counts.indptr))
    torch.from_numpy(data).log1p_()  # takes a seventh of the time of NumPy's
    return sp.csr_matrix((data, counts.indices, counts.indptr), counts.shape)


def units(counts: sp.csr_matrix, *, are_scaled: bool = False) -> NDArray[np.float32]:
    """One molecule of each cell, of shape (n_cells,): 1 of whole counts, the smallest non-zero value of scaled ones."""
    some = np.diff(counts.indptr) > 0
    one = np.ones(counts.shape[0], dtype=np.float32)
    if some.any():
        starts = counts.indptr[:-1][some]
        scaled = are_scaled | np.logical_or.reduceat(counts.data != np.floor(counts.data), starts)
        one[some] = np.where(scaled, np.minimum.reduceat(counts.data, starts), 1)
    return one


def check_learnable(split: Split) -> None:
    """Raise ValueError where there is nothing to learn from, or to validate with."""
    counts, held_out = split
    if counts.shape[0] < 2:
        msg = "There is only one cell: an imputer learns how cells differ, so it needs two at least."
        raise ValueError(msg)
    if not counts.nnz:
        msg = f"All counts are zero, of {counts.shape[0]} cells x {counts.shape[1]} genes: nothing can be learnt."
        raise ValueError(msg)
    if not held_out.nnz:
        msg = f"Validation holds out none of {counts.sum():g} molecules: raise validation_rate, or give more counts."
        raise ValueError(msg)
