"""The linear part: one graph convolution without activation, whose weights have a closed form."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gnnimpute._graph_attention import are_neighbors

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from gnnimpute._sparse_rows import SparseRows

FLOOR = 0.05
"""Least prediction, as a share of the gene's mean: a line knows no zero."""


def mean_of_neighbors(values: Tensor, neighbors: Tensor) -> Tensor:
    """Mean over the neighbours of each cell, without the cell itself; of a cell that has none, its own values.

    Shapes: ``values`` (m, n), ``neighbors`` (s, k) rows of them, self first, k > 1 -> (s, n).
    """
    (there, even), columns = are_neighbors(neighbors), torch.stack([values[j] for j in neighbors.T[1:]])
    if even:
        return columns.mean(0)
    there[:, 0] |= ~there.any(1)
    return (columns * there.T[..., None]).sum(0) / there.sum(1, keepdim=True)


class Linear(nn.Module):
    r"""Expression as a linear function of a cell and of the mean of its neighbours.

    .. math:: z_i = A^\top x_i + B^\top \bar x_{N_i} + a d_i - c, \qquad y_i = \max(b + C z_i,\; 0.05\, b)

    with log1p of normalised counts :math:`x` and the log of a cell's depth :math:`d`. Weights come from
    :func:`gnnimpute._linear_fit.fit_linear`; until then `weight` is 0 and the part is left out.

    Shapes: ``read`` x (m, n_genes) and depth (m,) -> (m, 2 r + 1); ``components`` of these and neighbours (s, k) ->
    (s, r); ``forward`` (s, r) -> (s, n_genes).
    """

    own: Tensor
    neighbors: Tensor
    depth: Tensor
    center: Tensor
    intercept: Tensor
    coefficients: Tensor
    weight: Tensor

    def __init__(self, n_genes: int, n_components: int) -> None:
        super().__init__()
        shapes = {"own": (n_genes, n_components), "neighbors": (n_genes, n_components), "depth": (n_components,)}
        shapes |= {"center": (n_components,), "intercept": (n_genes,), "coefficients": (n_genes, n_components)}
        for name, shape in (shapes | {"weight": ()}).items():
            self.register_buffer(name, torch.zeros(shape))

    @property
    def is_used(self) -> bool:
        """Whether it has a share in what the network says."""
        return bool(self.weight > 0)

    @property
    def directions(self) -> Tensor:
        """Both projections side by side, (n_genes, 2 r)."""
        return torch.cat([self.own, self.neighbors], 1)

    def along(self, row: Tensor) -> Tensor:
        """Projections of one dense row, (2 r,), as of the rows that are read."""
        return torch.cat([row @ self.own, row @ self.neighbors])

    @property
    def n_read(self) -> int:
        """Numbers that are read of a cell."""
        return 2 * self.own.shape[1] + 1

    def read(self, x: SparseRows, depth: Tensor) -> Tensor:
        return torch.cat([x @ self.directions, depth[:, None]], 1)

    def components(self, read: Tensor, neighbors: Tensor) -> Tensor:
        own, other, depth = (*read[:, :-1].chunk(2, dim=1), read[:, -1:])
        cells = neighbors[:, 0]
        z = own[cells] + depth[cells] * self.depth - self.center
        return z + mean_of_neighbors(other, neighbors) if neighbors.shape[1] > 1 else z

    def forward(self, z: Tensor, genes: NDArray[np.int64] | slice = slice(None)) -> Tensor:
        intercept = self.intercept[genes]
        return F.linear(z, self.coefficients[genes], intercept).clamp_(min=FLOOR * intercept)
