"""The layers against equations written out densely and against PyTorch Geometric; blocks against the full batch."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, get_args

import hypothesis.strategies as st
import numpy as np
import pytest
import scipy.sparse as sp
import torch
import torch.nn.functional as F
from hypothesis import given, settings

from gnnimpute import Config, NeighborGraph
from gnnimpute._config import Attention
from gnnimpute._counts import totals
from gnnimpute._loss import Hidden, hidden_loss
from gnnimpute._nn import Autoencoder, GraphAttention
from gnnimpute._rows import Rows
from gnnimpute._sparse_rows import SparseRows

if TYPE_CHECKING:
    from torch import Tensor

N_CELLS, N_GENES = 90, 60
every_attention = pytest.mark.parametrize("attention", get_args(Attention))


@pytest.fixture
def geometric() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what it imports is deprecated here and there
        return pytest.importorskip("torch_geometric.nn", reason="PyTorch Geometric is in the test group")


@pytest.fixture
def graph(rng: np.random.Generator) -> NeighborGraph:
    """Cells with up to five neighbours: those with fewer repeat themselves."""
    graph = NeighborGraph.from_embedding(rng.normal(size=(N_CELLS, 4)), n_neighbors=5)
    fewer = np.arange(6)[None] > rng.integers(2, 6, size=(N_CELLS, 1))
    return NeighborGraph(np.where(fewer, graph.indices[:, :1], graph.indices))


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def a_layer(attention: str, n_heads: int = 3, temperature: float = 1.0) -> GraphAttention:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layer = GraphAttention(8, 4, n_heads=n_heads, attention=attention, temperature=temperature)  # type: ignore[arg-type]
    return layer.double()


def a_network(config: Config, counts: sp.csr_matrix | None = None) -> Autoencoder:
    """A network in evaluation mode whose batch norms have seen something."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Autoencoder(N_GENES, config)
        for norm in (network.norm1, network.norm2, network.norm3):
            norm.running_mean.normal_(0, 0.3)
            norm.running_var.uniform_(0.5, 2)
            torch.nn.init.normal_(norm.bias)
    if counts is not None:
        network.target_total.fill_(float(np.median(totals(counts))))
        mean, deviation = Rows(counts, float(network.target_total)).moments()
        network.mean.copy_(torch.from_numpy(mean))
        network.scale.copy_(torch.from_numpy(np.where(deviation > 0, deviation, 1)))
    return network.double().eval()


def small(attention: str, **changes: Any) -> Config:
    settings = {"n_hidden": 8, "n_latent": 4, "n_heads": 3, "attention": attention, "temperature": 2.0}
    return Config(**settings | {"reads": "genes"} | changes)


def gather(network: Autoencoder, counts: sp.csr_matrix, cells: np.ndarray | slice) -> SparseRows:
    x = Rows(counts, float(network.target_total)).gather(cells)
    return SparseRows(x.matrix.astype(np.float64), dense=x.dense)


def encode_all(network: Autoencoder, counts: sp.csr_matrix, graph: NeighborGraph) -> Tensor:
    neighbors = torch.from_numpy(graph.indices)
    return network.encode(gather(network, counts, slice(None)), neighbors, neighbors)


def encode_block(network: Autoencoder, counts: sp.csr_matrix, graph: NeighborGraph, seeds: np.ndarray) -> Tensor:
    block = graph.block(seeds)
    x = gather(network, counts, block.cells)
    return network.encode(x, torch.from_numpy(block.first), torch.from_numpy(block.second))


def dense_attention(layer: GraphAttention, x: Tensor, indices: np.ndarray) -> Tensor:
    """The paper's equation with an n x n matrix of scores; entries of A count how often a neighbour is listed."""
    adjacency = torch.zeros(len(x), len(x), dtype=x.dtype)
    adjacency.index_put_((torch.arange(len(x))[:, None], torch.as_tensor(indices)), torch.ones(()).to(x), True)
    if layer.attention == "mean":
        inverse_root = torch.diag(adjacency.sum(1) ** -0.5)
        return inverse_root @ adjacency @ inverse_root @ x @ layer.weight
    heads = []
    for h, w in enumerate(layer.weight.chunk(layer.n_heads, dim=1)):
        wx = x @ w
        score = wx @ wx.T if layer.attention == "dot" else (wx @ layer.own[h])[:, None] + (wx @ layer.other[h])[None]
        weight = adjacency * torch.exp(F.leaky_relu(score, 0.2) / layer.temperature)
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
@pytest.mark.parametrize("temperature", [1.0, 7.0])
def test_layer_is_the_equation(
    attention: str, n_heads: int, temperature: float, graph: NeighborGraph, generator: torch.Generator
) -> None:
    layer = a_layer(attention, n_heads, temperature)
    x = torch.randn(N_CELLS, 8, dtype=torch.float64, generator=generator, requires_grad=True)
    ours = layer(x, torch.from_numpy(graph.indices))
    check_same([ours, dense_attention(layer, x, graph.indices)], [x, *layer.parameters()])


@every_attention
def test_gradients_are_those_of_finite_differences(attention: str, generator: torch.Generator) -> None:
    layer = a_layer(attention)
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
    geometric: Any, graph: NeighborGraph, generator: torch.Generator
) -> None:
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
    """From each neighbour, the cell itself among them, to the cell."""
    to = np.repeat(np.arange(graph.n_cells), graph.indices.shape[1])
    return torch.from_numpy(np.stack([graph.indices.ravel(), to]))


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
        assert weights.unique().numel() == 1


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


@every_attention
@pytest.mark.parametrize("seeds", [[0], [3, 17, 44], range(N_CELLS)], ids=["one", "some", "all"])
def test_block_equals_full_batch(counts: sp.csr_matrix, graph: NeighborGraph, attention: str, seeds: Any) -> None:
    network = a_network(small(attention), counts)
    full = encode_all(network, counts, graph)
    assert full.std() > 0.1
    torch.testing.assert_close(encode_block(network, counts, graph, np.asarray(seeds)), full[list(seeds)])


@settings(max_examples=25, deadline=None)
@given(data=st.data(), n=st.integers(1, 25), k=st.integers(0, 5), attention=st.sampled_from(get_args(Attention)))
def test_block_equals_full_batch_on_any_graph(data: st.DataObject, n: int, k: int, attention: str) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    graph = NeighborGraph(np.hstack([np.arange(n)[:, None], rng.integers(n, size=(n, k))]))
    counts = sp.csr_matrix(rng.poisson(0.7, size=(n, N_GENES)).astype(np.float32))
    seeds = np.asarray(data.draw(st.lists(st.integers(0, n - 1), min_size=1, max_size=n)))
    network = a_network(small(attention), counts)
    full = encode_all(network, counts, graph)
    torch.testing.assert_close(encode_block(network, counts, graph, seeds), full[seeds])


@every_attention
@pytest.mark.parametrize("loss", ["poisson", "negative_binomial"])
def test_gradients_of_blocks_sum_to_that_of_the_full_batch(
    counts: sp.csr_matrix, graph: NeighborGraph, rng: np.random.Generator, attention: str, loss: str
) -> None:
    config = small(attention, loss=loss, hide="molecules")
    network = a_network(config, counts)
    hidden = sp.csr_matrix(rng.binomial(counts.toarray().astype(int), 0.3).astype(np.float32))

    def gradient(seeds: np.ndarray, latent: Tensor) -> list[Tensor]:
        target = Hidden.of(hidden[seeds], counts[seeds], config)
        total = hidden_loss(network, network.decode(latent), target, config=config) * target.exposure.sum()
        return list(torch.autograd.grad(total, list(network.parameters())))

    full = gradient(np.arange(N_CELLS), encode_all(network, counts, graph))
    parts = [
        gradient(seeds, encode_block(network, counts, graph, seeds))
        for seeds in np.array_split(rng.permutation(N_CELLS), 4)
    ]
    for (name, _), whole, *pieces in zip(network.named_parameters(), full, *parts, strict=True):
        assert whole.abs().max() > 0, name
        torch.testing.assert_close(sum(pieces), whole, msg=lambda text, name=name: f"{name}: {text}")


@every_attention
def test_permuted_cells_have_the_same_latent(
    counts: sp.csr_matrix, graph: NeighborGraph, rng: np.random.Generator, attention: str
) -> None:
    network = a_network(small(attention), counts)
    order = rng.permutation(N_CELLS)
    permuted = NeighborGraph(np.argsort(order)[graph.indices[order]])
    latent = encode_all(network, counts, graph)
    torch.testing.assert_close(encode_all(network, counts[order], permuted), latent[order])


def test_permuted_neighbors_change_nothing(
    counts: sp.csr_matrix, graph: NeighborGraph, rng: np.random.Generator
) -> None:
    network = a_network(small("dot"), counts)
    shuffled = np.hstack([graph.indices[:, :1], rng.permuted(graph.indices[:, 1:], axis=1)])
    torch.testing.assert_close(encode_all(network, counts, NeighborGraph(shuffled)), encode_all(network, counts, graph))


@pytest.mark.parametrize("loss", ["poisson", "squared_error"])
def test_decoder_answers_with_what_the_loss_needs(generator: torch.Generator, loss: str) -> None:
    network = a_network(small("dot", loss=loss))
    decoded = network.decode(torch.randn(20, 4, dtype=torch.float64, generator=generator))
    assert decoded.shape == (20, N_GENES)
    assert network.is_share == (loss == "poisson")
    assert (decoded < 0).any() == network.is_share  # logits of shares may be negative, expression may not


def test_paper_at_any_width_runs(counts: sp.csr_matrix, graph: NeighborGraph) -> None:
    network = a_network(Config.paper(n_hidden=8, n_latent=4), counts)
    network.train()
    decoded = network.decode(encode_all(network, counts, graph))
    decoded.sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
