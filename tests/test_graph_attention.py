"""The layer against the equation written out densely and against PyTorch Geometric."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from gnnimpute import NeighborGraph
from gnnimpute._config import Attention
from gnnimpute._graph_attention import GraphAttention

if TYPE_CHECKING:
    from torch import Tensor

N_CELLS = 90
every_attention = pytest.mark.parametrize("attention", get_args(Attention))


@pytest.fixture
def geometric() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what it imports is deprecated here and there
        return pytest.importorskip("torch_geometric.nn", reason="PyTorch Geometric is in the test group")


def a_layer(attention: str, n_heads: int = 3, *, temperature: float = 1.0, self_rate: float = 0.0) -> GraphAttention:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layer = GraphAttention(8, 4, n_heads=n_heads, attention=attention, temperature=temperature, self_rate=self_rate)  # type: ignore[arg-type]
        if layer.self_rate:
            torch.nn.init.normal_(layer.self_score)
    return layer.double()


def dense_attention(layer: GraphAttention, x: Tensor, indices: np.ndarray) -> Tensor:
    """The paper's equation with an n x n matrix of scores; A is 1 where a cell is listed, itself once."""
    adjacency = torch.zeros(len(x), len(x), dtype=x.dtype)
    adjacency.index_put_((torch.arange(len(x))[:, None], torch.as_tensor(indices)), torch.ones(()).to(x))
    if layer.attention == "mean":
        return torch.diag(1 / adjacency.sum(1)) @ adjacency @ x @ layer.weight
    heads = []
    for h, w in enumerate(layer.weight.chunk(layer.n_heads, dim=1)):
        wx = x @ w
        score = wx @ wx.T if layer.attention == "dot" else (wx @ layer.own[h])[:, None] + (wx @ layer.other[h])[None]
        weight = adjacency * torch.exp(F.leaky_relu(score, 0.2) / layer.temperature)
        if layer.self_rate:
            weight = weight + torch.diag(weight.diag() * torch.expm1(layer.self_rate * layer.self_score[h]))
        heads.append(weight / weight.sum(1, keepdim=True) @ wx)
    return torch.stack(heads).mean(0)


def check_same(results: list[Tensor], inputs: list[Tensor]) -> None:
    """Equal values and equal gradients."""
    upstream = torch.linspace(-1, 2, results[0].numel(), dtype=results[0].dtype).view_as(results[0])
    gradients = [torch.autograd.grad(result, inputs, upstream, retain_graph=True) for result in results]
    torch.testing.assert_close(*results)
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


@every_attention
@pytest.mark.parametrize("n_heads", [1, 3])
@pytest.mark.parametrize("changes", [{}, {"temperature": 7.0}, {"temperature": 7.0, "self_rate": 2.0}], ids=str)
def test_layer_is_the_equation(
    attention: str, n_heads: int, changes: dict[str, float], graph: NeighborGraph, generator: torch.Generator
) -> None:
    layer = a_layer(attention, n_heads, **changes)
    x = torch.randn(N_CELLS, 8, dtype=torch.float64, generator=generator, requires_grad=True)
    ours = layer(x, torch.from_numpy(graph.indices))
    check_same([ours, dense_attention(layer, x, graph.indices)], [x, *layer.parameters()])


@every_attention
def test_gradients_are_those_of_finite_differences(attention: str, generator: torch.Generator) -> None:
    layer = a_layer(attention, self_rate=2.0)
    neighbors = torch.tensor([[0, 1, 2], [3, 0, 3], [2, 2, 2]])
    x = torch.randn(4, 8, dtype=torch.float64, generator=generator, requires_grad=True)
    names = [name for name, _ in layer.named_parameters()]

    def run(x: Tensor, *parameters: Tensor) -> Tensor:
        result: Tensor = torch.func.functional_call(layer, dict(zip(names, parameters, strict=True)), (x, neighbors))
        return result

    assert torch.autograd.gradcheck(run, (x, *layer.parameters()))


@pytest.mark.parametrize("n_heads", [1, 3])
def test_additive_attention_is_that_of_pytorch_geometric(
    n_heads: int, geometric: Any, graph: NeighborGraph, generator: torch.Generator
) -> None:
    layer = a_layer("additive", n_heads)
    theirs = geometric.GATConv(
        8, 4, heads=n_heads, concat=False, negative_slope=0.2, add_self_loops=False, bias=False
    ).double()
    with torch.no_grad():
        theirs.lin.weight.copy_(layer.weight.T)
        theirs.att_dst.copy_(layer.own[None])
        theirs.att_src.copy_(layer.other[None])
    x = torch.randn(N_CELLS, 8, dtype=torch.float64, generator=generator, requires_grad=True)
    ours = layer(x, torch.from_numpy(graph.indices))
    expected = theirs(x, edges(graph))
    check_same([ours, expected], [x])
    ours_by = torch.autograd.grad(ours.square().sum(), [layer.weight, layer.own, layer.other])
    theirs_by = torch.autograd.grad(expected.square().sum(), [theirs.lin.weight, theirs.att_dst, theirs.att_src])
    torch.testing.assert_close(ours_by[0], theirs_by[0].T)
    torch.testing.assert_close(ours_by[1], theirs_by[1][0])
    torch.testing.assert_close(ours_by[2], theirs_by[2][0])


def test_no_attention_is_the_graph_convolution_of_pytorch_geometric(
    geometric: Any, rng: np.random.Generator, generator: torch.Generator
) -> None:
    graph = NeighborGraph.from_embedding(rng.normal(size=(N_CELLS, 4)), n_neighbors=5)
    layer = a_layer("mean")
    theirs = geometric.GCNConv(8, 4, add_self_loops=False, bias=False).double()
    with torch.no_grad():
        theirs.lin.weight.copy_(layer.weight.T)
    x = torch.randn(N_CELLS, 8, dtype=torch.float64, generator=generator, requires_grad=True)
    ours, expected = layer(x, torch.from_numpy(graph.indices)), theirs(x, edges(graph))
    check_same([ours, expected], [x])
    (by_ours,) = torch.autograd.grad(ours.square().sum(), layer.weight)
    (by_theirs,) = torch.autograd.grad(expected.square().sum(), theirs.lin.weight)
    torch.testing.assert_close(by_ours, by_theirs.T)


def edges(graph: NeighborGraph) -> Tensor:
    """From each neighbour, the cell itself among them, once to the cell."""
    to = np.repeat(np.arange(graph.n_cells), graph.indices.shape[1])
    return torch.from_numpy(np.unique(np.stack([graph.indices.ravel(), to]), axis=1))


@every_attention
def test_attention_is_a_share_of_each_neighbor(
    attention: str, graph: NeighborGraph, generator: torch.Generator
) -> None:
    layer = a_layer(attention)
    h = layer.project(torch.randn(N_CELLS, 8, dtype=torch.float64, generator=generator))
    weights = layer.weights(h, torch.from_numpy(graph.indices))
    assert weights.shape == (N_CELLS, 6, layer.n_heads)
    assert (weights >= 0).all()
    torch.testing.assert_close(weights.sum(1), torch.ones(N_CELLS, layer.n_heads, dtype=torch.float64))
    if attention == "mean":
        assert layer.n_heads == 1
        assert torch.equal(weights > 0, weights == weights[:, :1])


def test_scores_of_any_size_stay_finite(graph: NeighborGraph, generator: torch.Generator) -> None:
    layer = a_layer("dot").float()
    x = (1e6 * torch.randn(N_CELLS, 8, generator=generator)).requires_grad_()
    result = layer(x, torch.from_numpy(graph.indices))
    result.sum().backward()
    assert result.isfinite().all()
    assert x.grad is not None
    assert x.grad.isfinite().all()


def test_a_cell_without_neighbors_keeps_its_own_values(generator: torch.Generator) -> None:
    layer = a_layer("dot")
    x = torch.randn(5, 8, dtype=torch.float64, generator=generator)
    for neighbors in (torch.arange(5)[:, None], torch.arange(5)[:, None].expand(5, 4)):
        torch.testing.assert_close(layer(x, neighbors), layer.project(x).mean(1))


@every_attention
@pytest.mark.parametrize("self_rate", [0.0, 2.0])
def test_more_room_than_neighbors_changes_nothing(
    attention: str, self_rate: float, graph: NeighborGraph, generator: torch.Generator
) -> None:
    """Of a graph in which one cell has many neighbours, all others are as they were."""
    layer = a_layer(attention, self_rate=self_rate)
    x, neighbors = torch.randn(N_CELLS, 8, dtype=torch.float64, generator=generator), torch.from_numpy(graph.indices)
    wider = torch.cat([neighbors, neighbors[:, :1].expand(-1, 30)], 1)
    torch.testing.assert_close(layer(x, wider), layer(x, neighbors))
    h = layer.project(x)
    assert (layer.weights(h, wider)[:, neighbors.shape[1] :] == 0).all()


def test_dropout_of_neighbors_keeps_the_mean_and_acts_in_training_alone(
    graph: NeighborGraph, generator: torch.Generator
) -> None:
    layer = GraphAttention(8, 4, n_heads=2, dropout_rate=0.4)
    x, neighbors = torch.randn(N_CELLS, 8, generator=generator), torch.from_numpy(graph.indices)
    layer.eval()
    expected = layer(x, neighbors)
    assert torch.equal(layer(x, neighbors), expected)
    layer.train()
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        draws = torch.stack([layer(x, neighbors) for _ in range(100)])
    assert draws.std(0).mean() > 0.1
    assert (draws.mean(0) - expected).abs().mean() < 0.1


def test_what_a_cell_says_of_itself_is_learnt_at_its_own_pace(generator: torch.Generator) -> None:
    neighbors = torch.tensor([[0, 1, 2], [1, 0, 2], [2, 1, 0]])
    x = torch.randn(3, 8, generator=generator)
    by_rate = {}
    for rate in (0.0, 1.0, 30.0):
        layer = a_layer("dot", self_rate=rate).float()
        if rate:
            torch.nn.init.zeros_(layer.self_score)
        by_rate[rate] = layer
    torch.testing.assert_close(by_rate[30.0](x, neighbors), by_rate[0.0](x, neighbors))
    assert "self_score" not in dict(by_rate[0.0].named_parameters())
    gradients = [torch.autograd.grad(by_rate[r](x, neighbors).sum(), by_rate[r].self_score)[0] for r in (1.0, 30.0)]
    torch.testing.assert_close(gradients[1], 30 * gradients[0])
    with torch.no_grad():
        by_rate[30.0].self_score.fill_(1)
    torch.testing.assert_close(by_rate[30.0](x, neighbors), by_rate[30.0].project(x).mean(1))
