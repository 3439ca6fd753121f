"""Multi-head graph attention on a graph of fixed degree."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

if TYPE_CHECKING:
    from gnnimpute._config import Attention


def are_neighbors(neighbors: Tensor) -> tuple[Tensor, bool]:
    """Which columns after the first are neighbours, (r, k - 1), and whether all are.

    A cell that has fewer neighbours than others repeats itself.
    """
    there = neighbors[:, 1:] != neighbors[:, :1]
    return there, bool(there.all())


class GraphAttention(nn.Module):
    r"""Graph attention :cite:p:`Velickovic2018` on a graph of fixed degree, heads averaged.

    .. math::
        h'_i = \frac{1}{H} \sum_{h=1}^{H} \sum_{j \in N_i} \alpha^h_{ij} W^h x_j, \qquad
        \alpha^h_{i \cdot} = \mathrm{softmax}_j
            \left( \mathrm{LeakyReLU}(e^h_{ij}) / \tau + r\, s^h\, [j = i] \right)

    with the temperature :math:`\tau` (1 in the paper), what a head has learnt that a cell says more of itself than a
    neighbour does, :math:`s^h`, at `self_rate` times the pace, :math:`r` (0 in the paper), and the score
    :math:`e_{ij}` of a neighbour

    - ``dot``: :math:`(W x_i) \cdot (W x_j)`, the paper :cite:p:`Xu2021`;
    - ``additive``: :math:`a \cdot W x_i + b \cdot W x_j`, the authors' code and :cite:p:`Velickovic2018`;
    - ``mean``: no score, all neighbours alike, one head. Where all cells have as many neighbours this *is* the graph
      convolution with symmetric normalisation, :math:`\hat D^{-1/2} \hat A \hat D^{-1/2} X W` :cite:p:`Kipf2017`.

    Shapes: ``x`` (m, n_in), ``neighbors`` (r, k) rows of ``x``, self first -> (r, n_out). A cell that has fewer
    neighbours than others repeats itself there; it is attended to once.
    """

    def __init__(
        self,
        n_in: int,
        n_out: int,
        *,
        n_heads: int,
        attention: Attention = "dot",
        temperature: float = 1.0,
        self_rate: float = 0.0,
        dropout_rate: float = 0.0,
    ) -> None:
        super().__init__()
        self.n_heads = 1 if attention == "mean" else n_heads
        self.attention = attention
        self.temperature = temperature
        self.self_rate = 0.0 if attention == "mean" else self_rate
        self.dropout_rate = dropout_rate
        self.weight = nn.Parameter(torch.empty(n_in, self.n_heads * n_out))
        nn.init.xavier_uniform_(self.weight)
        if attention == "additive":
            self.own = nn.Parameter(torch.empty(self.n_heads, n_out))
            self.other = nn.Parameter(torch.empty(self.n_heads, n_out))
            nn.init.xavier_uniform_(self.own)
            nn.init.xavier_uniform_(self.other)
        if self.self_rate:
            self.self_score = nn.Parameter(torch.zeros(self.n_heads))

    def forward(self, x: Tensor, neighbors: Tensor) -> Tensor:
        h = self.project(x)
        return self.gather(h, neighbors, self.weights(h, neighbors))

    def project(self, x: Tensor) -> Tensor:
        """W x of every head: (m, n_in) -> (m, H, C)."""
        return (x @ self.weight).view(len(x), self.n_heads, self.weight.shape[1] // self.n_heads)

    def weights(self, h: Tensor, neighbors: Tensor) -> Tensor:
        """Attention to each neighbour, (r, k, H); sums to 1 over the k neighbours."""
        there, even = are_neighbors(neighbors)
        if self.attention == "mean" and even:
            return h.new_full((*neighbors.shape, 1), 1 / neighbors.shape[1])
        if self.attention == "mean":
            there = F.pad(there, (1, 0), value=True)
            return (there / there.sum(1, keepdim=True, dtype=h.dtype))[..., None]
        if self.attention == "additive":
            own, other = (h * self.own).sum(-1), (h * self.other).sum(-1)  # (m, H)
            score = own[neighbors[:, :1]] + other[neighbors]  # (r, k, H)
        else:
            rows = h.flatten(1)  # an embedding's gradient takes less time than an index's
            own = F.embedding(neighbors[:, 0], rows).view(-1, *h.shape[1:])
            others = (F.embedding(j, rows).view_as(own) for j in neighbors.T)
            score = torch.stack([(own * other).sum(-1) for other in others], dim=1)  # (r, k, H)
        score = F.leaky_relu(score, 0.2) / self.temperature
        if self.self_rate:
            score = score + F.pad(self.self_rate * self.self_score[None], (0, 0, 0, score.shape[1] - 1))
        if not even:
            score = score.masked_fill(F.pad(~there, (1, 0))[..., None], -torch.inf)
        return score.softmax(dim=1)

    def gather(self, h: Tensor, neighbors: Tensor, weights: Tensor) -> Tensor:
        """Weighted sum over neighbours, mean over heads: (m, H, C) -> (r, C), nothing of size (r, k, H, C) held."""
        weights = F.dropout(weights, self.dropout_rate, self.training) / self.n_heads
        heads = torch.arange(self.n_heads, device=h.device)
        rows = neighbors[:, :, None] * self.n_heads + heads  # (r, k, H) rows of h as (m * H, C)
        return F.embedding_bag(rows.flatten(1), h.flatten(0, 1), per_sample_weights=weights.flatten(1), mode="sum")
