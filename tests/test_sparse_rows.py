"""A sparse product that equals the dense one, forward and backward."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from gnnimpute import Config, _sparse_rows
from gnnimpute._nn import Autoencoder
from gnnimpute._rows import Rows
from gnnimpute._sparse_rows import SparseRows

if TYPE_CHECKING:
    import scipy.sparse as sp


def gathered(counts: sp.csr_matrix, cells: np.ndarray, *, dense: bool = False) -> tuple[SparseRows, torch.Tensor]:
    """The rows in float64, for sparse or dense products, and as a tensor."""
    rows = Rows(counts, 100.0).gather(cells)
    return SparseRows(rows.matrix.astype(np.float64), dense=dense), torch.from_numpy(rows.matrix.toarray()).double()


CELLS = np.array([4, 0, 31, 60, 61, 88])


@pytest.mark.parametrize(("dense", "small"), [(False, 0), (True, 0), (True, 2**20)])
def test_product_and_its_gradient_are_those_of_a_matrix(
    counts: sp.csr_matrix, dense: bool, small: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_sparse_rows, "_SMALL", small)  # a dense matrix is kept, or made anew in blocks
    monkeypatch.setattr(_sparse_rows, "_BLOCK", 4)
    x, dense = gathered(counts, CELLS, dense=dense)
    assert (x.whole is None) == (small == 0)
    weight = torch.randn(60, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    assert torch.autograd.gradcheck(lambda w: x @ w, (weight,))
    upstream = torch.arange(42.0, dtype=torch.float64).view(6, 7)
    (sparse_gradient,) = torch.autograd.grad(x @ weight, weight, upstream)
    (dense_gradient,) = torch.autograd.grad(dense @ weight, weight, upstream)
    torch.testing.assert_close(x @ weight, dense @ weight)
    torch.testing.assert_close(sparse_gradient, dense_gradient)


@pytest.mark.parametrize("n_heads", [1, 3])
def test_first_layer_centres_and_scales_without_a_dense_matrix(counts: sp.csr_matrix, n_heads: int) -> None:
    network = Autoencoder(60, Config(n_hidden=5, n_latent=2, n_heads=n_heads, reads="genes")).double()
    mean, deviation = Rows(counts, 100.0).moments()
    network.mean.copy_(torch.from_numpy(mean))
    network.scale.copy_(torch.from_numpy(np.where(deviation > 0, deviation, 1)))
    x, dense = gathered(counts, CELLS)

    weight = network.attention1.weight
    folded = network.project(x)
    expected = (((dense - network.mean) / network.scale) @ weight).view(6, n_heads, 5)
    torch.testing.assert_close(folded, expected)
    upstream = torch.randn(6, n_heads, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    (gradient,) = torch.autograd.grad(folded, weight, upstream)
    (dense_gradient,) = torch.autograd.grad(expected, weight, upstream)
    torch.testing.assert_close(gradient, dense_gradient)


def test_more_values_than_32_bits_can_number_are_numbered_with_64() -> None:
    many = 2**31 + 5
    matrix = SimpleNamespace(nnz=many, indptr=np.array([0, many]), indices=np.zeros(1), data=np.ones(1), shape=(1, 1))
    assert _sparse_rows._tensor(matrix, "cpu").crow_indices().tolist() == [0, many]


def test_a_transpose_on_a_gpu_is_that_of_scipy(counts):
    rows = SparseRows(counts)
    found = _sparse_rows._transposed(rows.rows)
    np.testing.assert_array_equal(found.to_dense().numpy(), counts.toarray().T)
    assert found.crow_indices().dtype == rows.columns.crow_indices().dtype
    for part in ("crow_indices", "col_indices", "values"):
        torch.testing.assert_close(getattr(found, part)(), getattr(rows.columns, part)())
