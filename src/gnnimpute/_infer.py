"""Run a trained network over many cells, layer by layer: every cell is computed once, in blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp
import torch

from gnnimpute._graph import NeighborGraph

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from torch import Tensor

    from gnnimpute._graph_attention import GraphAttention
    from gnnimpute._nn import Autoencoder
    from gnnimpute._rows import Rows

CHUNK = 2048
"""Cells computed at a time: large enough to keep the cores busy, small enough for any laptop."""

AT_ONCE = 2**21
"""Values made at a time, 8 MB: so small a piece of memory is used again, for a larger the system clears new pages."""
AT_ONCE_ON_GPU = 2**26
"""The same on a GPU, 256 MB: of less, the way there takes longer than what it does."""


def chunks(n: int, size: int = CHUNK) -> Iterator[slice]:
    """Slices that cover `n` cells in order."""
    return (slice(start, min(start + size, n)) for start in range(0, n, size))


def cells_at_once(n_genes: int, device: torch.device | None = None) -> int:
    """Cells whose values for `n_genes` genes are made at a time; more with a GPU as `device`, if they stay there."""
    most = AT_ONCE if device is None or device.type == "cpu" else AT_ONCE_ON_GPU
    return max(1, min(CHUNK, most // max(1, n_genes)))


def check_cells(graph: NeighborGraph, counts: sp.csr_matrix) -> None:
    """Raise TypeError for what is no graph, ValueError for one of other cells."""
    if not isinstance(graph, NeighborGraph):
        msg = f"`graph` is a {type(graph).__name__}: make it with NeighborGraph.from_sparse or .from_embedding."
        raise TypeError(msg)
    if graph.n_cells != counts.shape[0]:
        msg = f"The graph has {graph.n_cells} cells, the counts have {counts.shape[0]}: make it from the same cells."
        raise ValueError(msg)


@torch.no_grad()
def projections(network: Autoencoder, rows: Rows) -> Tensor:
    """All cells on the directions of the linear part, (n_cells, n_inputs): what an encoder of components reads."""
    return torch.cat([rows.gather(c) @ network.directions for c in chunks(rows.counts.shape[0])])


@torch.inference_mode()
def embed(network: Autoencoder, rows: Rows, graph: NeighborGraph) -> Tensor:
    """Latent of every cell, of shape (n_cells, n_latent), and its components if the linear part has a share."""
    return attend(network, read(network, rows), graph)


@torch.inference_mode()
def read(network: Autoencoder, rows: Rows) -> Tensor:
    """What is taken of each cell alone, (n_cells, n_read)."""
    depth = torch.from_numpy(rows.log_depth).to(rows.device)
    return torch.cat([network.read(rows.gather(c), depth[c]) for c in chunks(rows.counts.shape[0])])


@torch.inference_mode()
def attend(network: Autoencoder, read: Tensor, graph: NeighborGraph) -> Tensor:
    """The same from what was read of each cell alone, (n_cells, n_read)."""
    neighbors = _neighbors(graph, read.device)
    h2 = _projected(network, read, neighbors)[1]
    latent = torch.cat([network.latent(h2, neighbors[c]) for c in chunks(graph.n_cells)])
    if network.linear is None or not network.linear.is_used:
        return latent
    read = read[:, -network.linear.n_read :]
    line = (network.linear.components(read, neighbors[c]) for c in chunks(graph.n_cells))
    return torch.cat([latent, torch.cat(list(line))], 1)


@torch.inference_mode()
def attention(network: Autoencoder, rows: Rows, graph: NeighborGraph) -> sp.csr_matrix:
    """How much weight the counts of each cell have in the latent of each other, heads averaged.

    The weights of the second layer times those of the first: a walk of two steps. Shape (n_cells, n_cells), rows sum
    to 1.
    """
    neighbors = _neighbors(graph, rows.device)
    h1, h2 = _projected(network, read(network, rows), neighbors)
    first = _weight_matrix(network.attention1, h1, neighbors)
    return sp.csr_matrix(_weight_matrix(network.attention2, h2, neighbors) @ first)


def _neighbors(graph: NeighborGraph, device: torch.device | str) -> Tensor:
    return torch.from_numpy(graph.indices).to(device)


def _projected(network: Autoencoder, read: Tensor, neighbors: Tensor) -> tuple[Tensor, Tensor]:
    """What the two layers attend to, (n_cells, H, C) each."""
    network.eval()
    h1 = network.projected(read)
    return h1, torch.cat([network.attention2.project(network.hidden(h1, neighbors[c])) for c in chunks(len(neighbors))])


def _weight_matrix(layer: GraphAttention, h: Tensor, neighbors: Tensor) -> sp.csr_matrix:
    weights = torch.cat([layer.weights(h, neighbors[c]).mean(-1) for c in chunks(len(neighbors))])
    indices: NDArray[np.int64] = neighbors.cpu().numpy()
    n, k = indices.shape
    matrix = sp.csr_matrix((weights.cpu().numpy().ravel(), indices.ravel(), np.arange(0, n * k + 1, k)), (n, n))
    matrix.sum_duplicates()
    return matrix
