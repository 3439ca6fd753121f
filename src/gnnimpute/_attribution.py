r"""Which genes move cells in the latent: integrated gradients through the encoder.

For a score :math:`s` of the latents, the genes' shares of :math:`s(x) - s(\mu)`, from cells that all are the mean cell
:math:`\mu` to the cells as they are, along the straight line between :cite:p:`Sundararajan2017`:

.. math:: A_g = \sum_j (x_{jg} - \mu_g) \int_0^1 \frac{\partial s}{\partial x_{jg}}(\mu + t (x - \mu))\, dt

The first thing that the encoder does is linear, :math:`h = (x - \mu) V` with :math:`V = W / \sigma`, or with
:math:`V = A W / \sigma` where it reads projections :math:`x A`. So the line is one in :math:`h` too: the gradient is
taken there, where it is small, and :math:`V` leads back to the genes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from gnnimpute._infer import chunks

if TYPE_CHECKING:
    import scipy.sparse as sp
    from numpy.typing import NDArray
    from torch import Tensor

    from gnnimpute._graph import NeighborGraph
    from gnnimpute._nn import Autoencoder

STEPS = 16
"""Points on the line at which the gradient is taken."""


def integrated_gradients(
    network: Autoencoder, normalized: sp.csr_matrix, graph: NeighborGraph, *, direction: NDArray[np.float32]
) -> tuple[NDArray[np.float64], float]:
    """What each gene adds to a weighted sum of the latents.

    Parameters
    ----------
    network
        A trained network on the CPU.
    normalized
        What the encoder reads, of shape (n_cells, n_genes).
    graph
        Neighbours of the cells.
    direction
        Weight of each latent dimension of each cell in the score, of shape (n_cells, n_latent).

    Returns
    -------
    Share of each gene, of shape (n_genes,), and the score less that of mean cells, which the shares sum to.
    """
    network.eval()
    neighbors = torch.from_numpy(graph.indices)
    attention = network.attention1
    with torch.no_grad():
        weights = attention.weight / network.scale[:, None]
        weight = (network.directions @ weights if network.reads_components else weights).numpy()
        mean = network.mean.numpy()
        full = torch.from_numpy((normalized @ weight - mean @ weight).astype(np.float32))
        full = full.view(len(full), attention.n_heads, -1)
    toward = torch.from_numpy(direction)
    gradient = torch.zeros_like(full)
    for step in range(STEPS):
        h = (full * ((step + 0.5) / STEPS)).requires_grad_()
        (slope,) = torch.autograd.grad(_score(network, h, neighbors, toward), h)
        gradient += slope / STEPS
    flat = gradient.flatten(1).double().numpy()
    through = normalized.T @ flat - np.outer(mean, flat.sum(0))  # (n_genes, H x C)
    shares: NDArray[np.float64] = np.einsum("gc,gc->g", through, weight)
    with torch.no_grad():
        ends = [float(_score(network, full * t, neighbors, toward)) for t in (0.0, 1.0)]
    return shares, ends[1] - ends[0]


def _score(network: Autoencoder, h: Tensor, neighbors: Tensor, toward: Tensor) -> Tensor:
    parts = chunks(len(neighbors))
    hidden = torch.cat([network.hidden(h, neighbors[c]) for c in parts])
    latent = network.latent(network.attention2.project(hidden), neighbors)
    return (latent * toward).sum()
