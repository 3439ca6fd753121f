"""The autoencoder: blocks of cells against the full batch, permuted cells, what it decodes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

import hypothesis.strategies as st
import numpy as np
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given, settings

from gnnimpute import Config, NeighborGraph
from gnnimpute._config import Attention
from gnnimpute._counts import totals
from gnnimpute._loss import Hidden, hidden_loss
from gnnimpute._nn import Autoencoder
from gnnimpute._rows import Rows
from gnnimpute._sparse_rows import SparseRows

if TYPE_CHECKING:
    from torch import Tensor

N_CELLS, N_GENES = 90, 60
every_attention = pytest.mark.parametrize("attention", get_args(Attention))


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
