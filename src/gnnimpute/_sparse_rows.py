"""Sparse rows of log counts and their product with a weight, forward and backward, on a CPU or a GPU."""

from __future__ import annotations

import warnings
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    import scipy.sparse as sp

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
        if torch.device(self.device).type == "cpu":
            return _tensor(self.matrix.T.tocsr(), self.device)
        return _transposed(self.rows)

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


def _transposed(matrix: torch.Tensor) -> torch.Tensor:
    """The transpose of a sparse matrix where that is: a GPU sorts in less time than the CPU takes to transpose."""
    pointers, columns, values = matrix.crow_indices(), matrix.col_indices(), matrix.values()
    n_rows, n_columns = matrix.shape
    order = columns.sort(stable=True).indices
    row = torch.repeat_interleave(torch.arange(n_rows, dtype=pointers.dtype, device=pointers.device), pointers.diff())
    ends = torch.bincount(columns, minlength=n_columns).cumsum(0).to(pointers.dtype)
    return _sparse(torch.cat([ends.new_zeros(1), ends]), row[order], values[order], (n_columns, n_rows))


def _tensor(matrix: sp.csr_matrix, device: torch.device | str) -> torch.Tensor:
    # Indices of 64 bits take longer, but row pointers of more values need them, and both are of one kind.
    index = np.int32 if matrix.nnz <= np.iinfo(np.int32).max else np.int64
    pointers, indices = (torch.from_numpy(part.astype(index)).to(device) for part in (matrix.indptr, matrix.indices))
    return _sparse(pointers, indices, torch.from_numpy(matrix.data).to(device), matrix.shape)


def _sparse(
    pointers: torch.Tensor, columns: torch.Tensor, values: torch.Tensor, shape: tuple[int, int]
) -> torch.Tensor:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta state")
        warnings.filterwarnings("ignore", message="Sparse invariant checks are implicitly disabled")
        return torch.sparse_csr_tensor(pointers, columns, values, shape, check_invariants=False)
