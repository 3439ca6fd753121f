"""Groups of like cells: what the molecules of all of them together say of a gene, beyond what the network says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LEVELS = (8, 32)
"""Numbers of groups: a few large ones, whose molecules say much, then smaller ones, for what these have left."""


class Local(nn.Module):
    r"""A factor for each gene in each group of cells, by which the network's shares are multiplied.

    .. math:: r_{kg} = E\left[\frac{\theta + \sum_{i \in k} y_{ig}}{\theta + \sum_{i \in k} \lambda_{ig}}\right]

    is the gamma-Poisson posterior of a whole group, averaged over what its dispersion may be: where its cells together
    show less of a gene than is expected of them, or more, the expectation is put right. The group of a cell is the
    nearest of some centres, in the components of the linear part, each in units of how far it moves predictions.
    :func:`gnnimpute._local_fit.fit_local` sets all this; until then it is not used.

    Shapes: components (s, r) -> factors (s, n_genes).
    """

    centers: Tensor
    unit: Tensor
    ratio: Tensor

    def __init__(self, n_groups: int, n_genes: int, n_components: int) -> None:
        super().__init__()
        self.register_buffer("centers", torch.zeros(n_groups, n_components))
        self.register_buffer("unit", torch.ones(n_components))
        self.register_buffer("ratio", torch.ones(n_groups, n_genes))

    @property
    def is_used(self) -> bool:
        """Whether it is set: of two centres and more at most one is 0."""
        return bool(self.centers.any())

    def groups(self, components: Tensor) -> Tensor:
        """Group of each cell, (s,)."""
        return nearest(components * self.unit, self.centers)

    def forward(self, components: Tensor, genes: NDArray[np.int64] | slice = slice(None)) -> Tensor:
        return self.ratio[:, genes].index_select(0, self.groups(components))


def nearest(points: Tensor, centers: Tensor) -> Tensor:
    """Number of the nearest centre of each point, (s,)."""
    # Not by products of matrices, whose last digits depend on how many cells are computed at a time.
    return torch.cdist(points, centers, compute_mode="donot_use_mm_for_euclid_dist").argmin(1)
