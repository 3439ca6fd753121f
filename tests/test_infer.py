"""Layer by layer over all cells is the same as the network run on all cells at once."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, get_args

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from torch import nn

from gnnimpute import Config, NeighborGraph, _infer
from gnnimpute._config import Attention, Reads
from gnnimpute._counts import totals
from gnnimpute._infer import attention, check_cells, chunks, embed
from gnnimpute._nn import Autoencoder
from gnnimpute._rows import Rows

if TYPE_CHECKING:
    from gnnimpute._graph_attention import GraphAttention

N_CELLS = 90
every_attention = pytest.mark.parametrize("kind", get_args(Attention))


@pytest.fixture
def graph(rng: np.random.Generator) -> NeighborGraph:
    graph = NeighborGraph.from_embedding(rng.normal(size=(N_CELLS, 4)), n_neighbors=4)
    fewer = np.arange(5)[None] > rng.integers(1, 5, size=(N_CELLS, 1))
    return NeighborGraph(np.where(fewer, graph.indices[:, :1], graph.indices))


@pytest.fixture
def rows(counts: sp.csr_matrix) -> Rows:
    return Rows(counts, float(np.median(totals(counts))))


def a_network(kind: str, rows: Rows, reads: str = "genes") -> Autoencoder:
    """In training mode and with dropout, as a training leaves it: inference must not mind."""
    config = Config(
        n_hidden=8, n_latent=4, n_heads=2, attention=kind, temperature=2.0, dropout_rate=0.5,
        attention_dropout_rate=0.5, n_components=5, reads=reads,
    )  # type: ignore[arg-type] # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Autoencoder(60, config)
        for norm in (network.norm1, network.norm2):
            nn.init.normal_(norm.bias)
            norm.running_mean.normal_(0, 0.3)
            norm.running_var.uniform_(0.5, 2)
    mean, deviation = rows.moments()
    network.mean.copy_(torch.from_numpy(mean))
    if reads == "components":
        assert network.linear is not None
        for directions in (network.linear.own, network.linear.neighbors):
            directions.normal_(generator=torch.Generator().manual_seed(0))
    else:
        network.scale.copy_(torch.from_numpy(np.where(deviation > 0, deviation, 1)))
    return network


@every_attention
@pytest.mark.parametrize("reads", get_args(Reads))
def test_embedding_is_that_of_the_full_batch(rows: Rows, graph: NeighborGraph, kind: str, reads: str) -> None:
    network = a_network(kind, rows, reads)
    latent = embed(network, rows, graph)
    assert not latent.requires_grad
    neighbors = torch.from_numpy(graph.indices)
    x = rows.gather(slice(None))
    inputs = x @ network.directions if network.reads_components else x
    expected = network.eval().encode(inputs, neighbors, neighbors)
    assert latent.shape == (N_CELLS, 4)
    assert latent.std() > 0.1
    torch.testing.assert_close(latent, expected.detach())


@every_attention
@pytest.mark.parametrize("size", [1, 7, N_CELLS])
def test_the_size_of_chunks_does_not_matter(
    rows: Rows, graph: NeighborGraph, kind: str, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = a_network(kind, rows)
    latent, weights = embed(network, rows, graph), attention(network, rows, graph)
    monkeypatch.setattr(_infer, "chunks", partial(chunks, size=size))
    torch.testing.assert_close(embed(network, rows, graph), latent)
    np.testing.assert_allclose(attention(network, rows, graph).toarray(), weights.toarray(), atol=1e-6)


@every_attention
def test_permuted_cells_have_the_same_latent_and_attention(
    rows: Rows, graph: NeighborGraph, rng: np.random.Generator, kind: str
) -> None:
    network = a_network(kind, rows)
    order = rng.permutation(N_CELLS)
    permuted = Rows(rows.counts[order], rows.target_total)
    permuted_graph = NeighborGraph(np.argsort(order)[graph.indices[order]])
    torch.testing.assert_close(embed(network, permuted, permuted_graph), embed(network, rows, graph)[order])
    np.testing.assert_allclose(
        attention(network, permuted, permuted_graph).toarray(),
        attention(network, rows, graph).toarray()[np.ix_(order, order)],
        atol=1e-6,
    )


def one_step(layer: GraphAttention, h: torch.Tensor, indices: np.ndarray) -> np.ndarray:
    """Weights of one layer as a dense matrix, one entry at a time."""
    weights = layer.weights(h, torch.from_numpy(indices)).mean(2).detach().numpy()
    matrix = np.zeros((len(indices), len(indices)))
    for i, neighbors in enumerate(indices):
        for j, weight in zip(neighbors, weights[i], strict=True):
            matrix[i, j] += weight
    return matrix


@every_attention
def test_attention_is_a_walk_of_two_steps(rows: Rows, graph: NeighborGraph, kind: str) -> None:
    network = a_network(kind, rows)
    found = attention(network, rows, graph)
    assert sp.issparse(found)
    assert found.shape == (N_CELLS, N_CELLS)
    np.testing.assert_allclose(found.sum(1), 1, rtol=1e-5)
    assert found.data.min() >= 0

    h1 = network.eval().project(rows.gather(slice(None)))
    h2 = network.attention2.project(network.hidden(h1, torch.from_numpy(graph.indices)))
    expected = one_step(network.attention2, h2, graph.indices) @ one_step(network.attention1, h1, graph.indices)
    np.testing.assert_allclose(found.toarray(), expected, atol=1e-6)
    for i in range(N_CELLS):  # nothing beyond the neighbours of the neighbours
        assert set(np.flatnonzero(found.toarray()[i])) <= set(graph.block(np.array([i])).cells)


def test_a_cell_depends_on_the_cells_that_it_attends_to_and_on_no_other(rows: Rows, graph: NeighborGraph) -> None:
    network = a_network("dot", rows)
    before = embed(network, rows, graph)
    changed = rows.counts.copy().tolil()
    changed[40] = changed[0]
    after = embed(network, Rows(changed.tocsr(), rows.target_total), graph)
    moved = set(np.flatnonzero((after != before).any(1)))
    reach = {i for i in range(N_CELLS) if 40 in graph.block(np.array([i])).cells}
    assert 40 in moved
    assert moved <= reach
    assert len(reach) < N_CELLS


def test_one_cell_and_identical_cells(rows: Rows) -> None:
    network = a_network("dot", rows)
    alone = embed(network, Rows(rows.counts[:1], rows.target_total), NeighborGraph(np.array([[0]])))
    assert alone.isfinite().all()
    same = Rows(sp.vstack([rows.counts[:1]] * 5).tocsr(), rows.target_total)
    latent = embed(network, same, NeighborGraph.from_embedding(np.zeros((5, 2)), n_neighbors=3))
    torch.testing.assert_close(latent, alone.expand(5, 4))


@pytest.mark.parametrize(("n", "size"), [(0, 3), (1, 3), (3, 3), (10, 3), (5, 1)])
def test_chunks_cover_all_cells_in_order(n: int, size: int) -> None:
    parts = [range(n)[c] for c in chunks(n, size)]
    assert [i for part in parts for i in part] == list(range(n))
    assert all(0 < len(part) <= size for part in parts)


def test_a_graph_of_other_cells_is_refused(counts: sp.csr_matrix, graph: NeighborGraph) -> None:
    check_cells(graph, counts)
    with pytest.raises(ValueError, match="graph has 90 cells, the counts have 7"):
        check_cells(graph, counts[:7])
    with pytest.raises(TypeError, match="`graph` is a ndarray: make it with NeighborGraph"):
        check_cells(graph.indices, counts)
