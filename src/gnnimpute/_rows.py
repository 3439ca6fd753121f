"""From counts to what the network reads: normalised, log-transformed rows that stay sparse."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import scipy.sparse as sp
import torch

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray


class SparseRows(NamedTuple):
    """A sparse matrix and its transpose, so that both the product and its gradient read rows."""

    rows: torch.Tensor
    """(m, n_genes) sparse CSR, log1p of normalised counts."""
    columns: torch.Tensor
    """(n_genes, m) sparse CSR, the same values."""

    def __matmul__(self, weight: torch.Tensor) -> torch.Tensor:
        product: torch.Tensor = _SparseProduct.apply(self.rows, self.columns, weight)  # type: ignore[no-untyped-call]
        return product


class _SparseProduct(torch.autograd.Function):
    """rows @ weight with a gradient for `weight` only: a dense gradient of the counts would be n_cells x n_genes."""

    @staticmethod
    def forward(ctx: Any, rows: torch.Tensor, columns: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(columns)
        return rows @ weight

    @staticmethod
    def backward(ctx: Any, *grad: torch.Tensor) -> tuple[None, None, torch.Tensor]:
        (columns,) = ctx.saved_tensors
        return None, None, columns @ grad[0]


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
    """

    counts: sp.csr_matrix
    target_total: float
    device: torch.device | str = "cpu"

    def normalized(self, cells: NDArray[np.int64] | slice) -> sp.csr_matrix:
        """Rows of shape (len(cells), n_genes): log1p of counts scaled to `target_total`."""
        rows: sp.csr_matrix = self.counts[cells]
        scale = self.target_total / np.maximum(totals(rows), 1)
        data = np.log1p(rows.data * np.repeat(scale, np.diff(rows.indptr)), dtype=np.float32)
        return sp.csr_matrix((data, rows.indices, rows.indptr), rows.shape)

    def gather(self, cells: NDArray[np.int64] | slice) -> SparseRows:
        """The same rows for the network."""
        rows = self.normalized(cells)
        return SparseRows(_tensor(rows, self.device), _tensor(rows.T.tocsr(), self.device))

    def moments(self, block: int = 4096) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Mean and standard deviation of each gene over all cells, of shape (n_genes,) each."""
        n, (total, square) = self.counts.shape[0], np.zeros((2, self.counts.shape[1]))
        for start in range(0, n, block):
            rows = self.normalized(slice(start, start + block))
            total += np.bincount(rows.indices, rows.data, minlength=rows.shape[1])
            square += np.bincount(rows.indices, rows.data.astype(np.float64) ** 2, minlength=rows.shape[1])
        mean = total / n
        return mean.astype(np.float32), np.sqrt(np.maximum(square / n - mean**2, 0)).astype(np.float32)


def totals(counts: sp.csr_matrix) -> NDArray[np.float64]:
    """Molecules of each cell, of shape (n_cells,)."""
    return np.asarray(counts.sum(axis=1, dtype=np.float64)).ravel()


def check_learnable(counts: sp.csr_matrix) -> None:
    """Raise ValueError where there is nothing to learn from."""
    if counts.shape[0] < 2:
        msg = "There is only one cell: an imputer learns how cells differ, so it needs two at least."
        raise ValueError(msg)
    if not counts.nnz:
        msg = f"All counts are zero, of {counts.shape[0]} cells x {counts.shape[1]} genes: nothing can be learnt."
        raise ValueError(msg)


def _tensor(matrix: sp.csr_matrix, device: torch.device | str) -> torch.Tensor:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta state")
        return torch.sparse_csr_tensor(
            torch.from_numpy(matrix.indptr.astype(np.int32)),
            torch.from_numpy(matrix.indices.astype(np.int32)),
            torch.from_numpy(matrix.data),
            matrix.shape,
            device=device,
            check_invariants=False,
        )
