"""From counts to what the network reads: normalised, log-transformed rows that stay sparse."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp
import torch

from gnnimpute._counts import divisors, moments_of, power_sums, totals

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, Self

    from numpy.typing import NDArray

    from gnnimpute._masking import Split
    from gnnimpute._nn import Autoencoder


_DENSE = 0.12
"""Share of non-zeros from which a dense product, a block of rows at a time, takes less time than a sparse one."""
_BLOCK = 512
"""Rows of a dense block."""
_SMALL = 2**28
"""Bytes of a dense matrix that is kept, instead of its blocks being made anew for the gradient."""


class SparseRows:
    """Some rows of log1p of normalised counts, (m, n_genes), to be multiplied with a weight.

    Parameters
    ----------
    matrix
        The rows.
    device
        Where products are computed.
    dense
        Whether products go through dense blocks of rows.
    """

    def __init__(self, matrix: sp.csr_matrix, *, device: torch.device | str = "cpu", dense: bool = False) -> None:
        self.matrix = matrix
        self.device = device
        self.dense = dense

    def __matmul__(self, weight: torch.Tensor) -> torch.Tensor:
        product: torch.Tensor = _SparseProduct.apply(self, weight)  # type: ignore[no-untyped-call]
        return product

    @cached_property
    def rows(self) -> torch.Tensor:
        """The matrix as a sparse tensor."""
        return _tensor(self.matrix, self.device)

    @cached_property
    def columns(self) -> torch.Tensor:
        """Its transpose, so that the gradient reads rows as well; inference never asks for it."""
        return _tensor(self.matrix.T.tocsr(), self.device)

    @cached_property
    def whole(self) -> torch.Tensor | None:
        """The matrix as a dense tensor, if that is small."""
        n_bytes = 4 * self.matrix.shape[0] * self.matrix.shape[1]
        return self._filled(slice(None)) if n_bytes <= _SMALL else None

    def blocks(self) -> Iterator[tuple[slice, torch.Tensor]]:
        """Dense blocks of rows."""
        for start in range(0, self.matrix.shape[0], _BLOCK):
            rows = slice(start, start + _BLOCK)
            yield rows, self._filled(rows) if self.whole is None else self.whole[rows]

    def _filled(self, rows: slice) -> torch.Tensor:
        part = self.matrix[rows]
        # PyTorch's own memory: products differ in the last bit with how their operands are aligned, and NumPy's varies.
        block = torch.zeros(part.shape, dtype=torch.from_numpy(part.data[:0]).dtype)
        part.toarray(out=block.numpy())
        return block.to(self.device)


class _SparseProduct(torch.autograd.Function):
    """rows @ weight with a gradient for `weight` only: a dense gradient of the counts would be n_cells x n_genes."""

    @staticmethod
    def forward(ctx: Any, x: SparseRows, weight: torch.Tensor) -> torch.Tensor:
        ctx.x = x
        if not x.dense:
            return x.rows @ weight
        product = weight.new_empty(x.matrix.shape[0], weight.shape[1])
        for rows, block in x.blocks():
            torch.mm(block, weight, out=product[rows])
        return product

    @staticmethod
    def backward(ctx: Any, *grad: torch.Tensor) -> tuple[None, torch.Tensor]:
        x: SparseRows = ctx.x
        if not x.dense:
            return None, x.columns @ grad[0]
        total = grad[0].new_zeros(x.matrix.shape[1], grad[0].shape[1])
        for rows, block in x.blocks():
            total.addmm_(block.T, grad[0][rows])
        return None, total


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
    """

    counts: sp.csr_matrix
    target_total: float
    device: torch.device | str = "cpu"
    kept_share: float = 1.0

    @classmethod
    def of(cls, counts: sp.csr_matrix, network: Autoencoder) -> Self:
        """As a network reads them, where it is."""
        return cls(counts, float(network.target_total), network.mean.device)

    def normalized(self, cells: NDArray[np.int64] | slice) -> sp.csr_matrix:
        """Rows of shape (len(cells), n_genes): log1p of counts scaled to `target_total`."""
        rows: sp.csr_matrix = self.counts[cells]
        logged = log_scaled(rows, self.kept_share * self.target_total / divisors(totals(rows)))
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


def log_scaled(counts: sp.csr_matrix, scale: NDArray[np.floating]) -> sp.csr_matrix:
    """log1p of counts, float32, those of each cell times its `scale`, of shape (n_cells,)."""
    data = counts.data.astype(np.float32) * np.repeat(scale.astype(np.float32), np.diff(counts.indptr))
    torch.from_numpy(data).log1p_()  # takes a seventh of the time of NumPy's
    return sp.csr_matrix((data, counts.indices, counts.indptr), counts.shape)


def units(counts: sp.csr_matrix) -> NDArray[np.float32]:
    """Smallest non-zero value of each cell, of shape (n_cells,): one molecule, on whatever scale; 1 without counts."""
    some = np.diff(counts.indptr) > 0
    smallest = np.ones(counts.shape[0], dtype=np.float32)
    if some.any():
        smallest[some] = np.minimum.reduceat(counts.data, counts.indptr[:-1][some])
    return smallest


def log_depth(counts: sp.csr_matrix) -> NDArray[np.float32]:
    """Log of the molecules of each cell, of shape (n_cells,), on whatever scale its values are."""
    return np.log(np.maximum(totals(counts), 1e-6) / units(counts)).astype(np.float32)


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


def _tensor(matrix: sp.csr_matrix, device: torch.device | str) -> torch.Tensor:
    # Indices of 64 bits take longer, but row pointers of more values need them, and both are of one kind.
    index = np.int32 if matrix.nnz <= np.iinfo(np.int32).max else np.int64
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta state")
        return torch.sparse_csr_tensor(
            torch.from_numpy(matrix.indptr.astype(index)),
            torch.from_numpy(matrix.indices.astype(index)),
            torch.from_numpy(matrix.data),
            matrix.shape,
            device=device,
            check_invariants=False,
        )
