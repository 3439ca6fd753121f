from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from gnnimpute._linear import FLOOR, Linear, mean_of_neighbors
from gnnimpute._sparse_rows import SparseRows


@pytest.fixture
def linear() -> Linear:
    torch.manual_seed(0)
    module = Linear(7, 3)
    for buffer in module.buffers():
        buffer.copy_(torch.rand_like(buffer))
    return module


@pytest.fixture
def x() -> np.ndarray:
    return np.random.default_rng(0).poisson(1, (5, 7)).astype(np.float32)


def test_the_equation(linear, x):
    neighbors = np.array([[0, 1, 2], [3, 4, 0]])
    depth = np.arange(5, dtype=np.float32)
    read = linear.read(SparseRows(sp.csr_matrix(x)), torch.from_numpy(depth))
    z = linear.components(read, torch.from_numpy(neighbors))
    w = {name: value.numpy() for name, value in linear.named_buffers()}
    expected = x[[0, 3]] @ w["own"] + x[neighbors[:, 1:]].mean(1) @ w["neighbors"] - w["center"]
    expected += np.outer(depth[[0, 3]], w["depth"])
    np.testing.assert_allclose(z.numpy(), expected, rtol=1e-5)
    line = w["intercept"] + expected @ w["coefficients"].T
    np.testing.assert_allclose(linear(z).numpy(), np.maximum(line, FLOOR * w["intercept"]), rtol=1e-5)


def test_the_mean_is_over_neighbors_that_are_there():
    values = torch.arange(8.0).view(4, 2)
    neighbors = torch.tensor([[0, 1, 3], [1, 2, 1], [2, 2, 2], [3, 3, 0]])
    expected = [[4, 5], [4, 5], [4, 5], [0, 1]]  # of both, of the one, its own, of the one
    np.testing.assert_array_equal(mean_of_neighbors(values, neighbors).numpy(), expected)


def test_a_graph_of_lone_cells(linear, x):
    read = linear.read(SparseRows(sp.csr_matrix(x)), torch.zeros(5))
    z = linear.components(read, torch.arange(5)[:, None])
    np.testing.assert_allclose(z.numpy(), x @ linear.own.numpy() - linear.center.numpy(), rtol=1e-5)


def test_some_genes(linear):
    z, genes = torch.randn(4, 3), np.array([5, 1])
    np.testing.assert_allclose(linear(z, genes).numpy(), linear(z).numpy()[:, genes], rtol=1e-6)


def test_predictions_stay_positive(linear):
    assert (linear(torch.full((2, 3), -1e3)) == FLOOR * linear.intercept).all()


def test_it_is_not_used_before_it_is_fitted():
    assert not Linear(7, 3).is_used
    assert not list(Linear(7, 3).parameters())
