"""Set the factors of groups of cells, by all that their cells show and by what was held out of them."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp
import torch
from scipy.special import gammaln

from gnnimpute._counts import totals
from gnnimpute._infer import cells_at_once, chunks
from gnnimpute._local import nearest
from gnnimpute._prior_fit import DISPERSIONS, dispersion_weights
from gnnimpute._threads import side_by_side_map

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray

    from gnnimpute._masking import Split
    from gnnimpute._nn import Autoencoder

    Floats = NDArray[np.floating[Any]]

LEAST_CELLS = 60
"""Cells to a group, on average, at least: with fewer, a cell's own counts would count twice in its posterior."""
FIT_ON = 8192
"""Most cells that groups are made of."""
N_ROUNDS = 20
"""Rounds of k-means."""


@torch.no_grad()
def fit_local(network: Autoencoder, split: Split, latent: torch.Tensor, *, ratio: float) -> None:
    """Set the factors of all levels, one after the other.

    Parameters
    ----------
    network
        The trained network, whose linear part is used.
    split
        Counts that it read, and counts that were held out: these say how far the former can be trusted.
    latent
        Latent of the cells, from the counts that it read.
    ratio
        Held-out molecules for each molecule read.
    """
    assert network.linear is not None
    cells = np.sort(np.random.default_rng(0).permutation(len(latent))[:FIT_ON])
    components = latent[torch.from_numpy(cells).to(latent.device), network.n_latent :]
    # A component counts by how far it moves predictions, in units of their Poisson noise.
    unit = (network.linear.coefficients / network.linear.intercept.clamp(min=1e-12).sqrt()[:, None]).norm(dim=0)
    scaled = components * unit
    points = scaled.cpu().numpy()
    most, before = min(len(cells) // LEAST_CELLS, len(np.unique(points, axis=0))), 1
    levels, groups = [], []
    for level in network.levels:
        n_groups = min(len(level.centers), most)
        if n_groups < 2 * before:
            break
        before = n_groups
        # Of few cells there are fewer groups than there is room for: the rest repeats the first.
        group_of = np.where(np.arange(len(level.centers)) < n_groups, np.arange(len(level.centers)), 0)
        centers = torch.from_numpy(_centers(points, n_groups)[group_of]).to(unit)
        levels.append((level, centers, group_of))
        groups.append(nearest(scaled, centers).cpu().numpy())
    if not levels:
        return
    # Cells in the same group at each level: their sums serve all levels, so that cells are decoded once.
    of_sums, of_cell = np.unique(np.stack(groups, 1), axis=0, return_inverse=True)
    group, n_groups = of_cell.ravel(), len(of_sums)
    expected, seen, held_out = _sums(network, split, latent, cells=cells, group=group, n_groups=n_groups)
    for (level, centers, group_of), group in zip(levels, of_sums.T, strict=True):
        member = _members(group, group_of.max() + 1)
        sums = member @ expected, member @ seen, member @ held_out
        weights = dispersion_weights([sums], expected.shape[1], ratio=ratio)
        factor = np.maximum(group_ratio(*sums[:2], weights), 1e-6).astype(np.float32)
        level.unit.copy_(unit)
        level.centers.copy_(centers)
        level.ratio.copy_(torch.from_numpy(factor[group_of]))
        total = expected.sum(1, keepdims=True)
        expected *= factor[group]
        expected *= total / np.maximum(expected.sum(1, keepdims=True), 1e-9)  # shares go on summing to 1


def group_ratio(expected: Floats, seen: Floats, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    r"""Posterior of what groups of cells express, as a share of what is expected of them.

    The prior of each gene is a mixture over dispersions, :math:`\sum_d w_d\, \mathrm{Gamma}(\theta_d, \theta_d)`: what
    a group shows decides, by its negative binomial likelihood, which of them it is, so that small deviations are taken
    for chance and large ones are followed.

    Parameters
    ----------
    expected
        Expected molecules, of shape (n_groups, n_genes).
    seen
        Molecules that were seen, of the same shape.
    weights
        From :func:`dispersion_weights`, of shape (n_dispersions, n_genes).

    Returns
    -------
    Array of shape (n_groups, n_genes), 1 where nothing is expected.
    """
    mean, y = np.maximum(expected, 1e-9).astype(np.float64), seen.astype(np.float64)
    # Group by group: so much stays in a core's own cache.
    return np.stack([_ratio_of_one(*group, weights) for group in zip(mean, y, strict=True)])


def _ratio_of_one(mean: Floats, y: Floats, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    counts, which = np.unique(y, return_inverse=True)
    size = np.minimum(DISPERSIONS, 1e6)[:, None]
    constant = gammaln(counts + size) - gammaln(size) + size * np.log(size)
    log = constant[:, which] - (size + y) * np.log(size + mean)
    weight = weights * np.exp(log - log.max(0))
    return np.asarray((weight * (size + y) / (size + mean)).sum(0) / np.maximum(weight.sum(0), 1e-300))


def _members(group: NDArray[np.int64], n_groups: int) -> sp.csr_matrix:
    """Matrix of shape (n_groups, len(group)) that sums over members of a group."""
    n = len(group)
    return sp.csr_matrix((np.ones(n, dtype=np.float32), (group, np.arange(n))), (n_groups, n))


def _centers(points: Floats, n_groups: int) -> Floats:
    """Centres of groups of like points, of shape (n_groups, n_dimensions), by k-means."""
    from scipy.cluster.vq import kmeans2

    with warnings.catch_warnings():
        # A group that has lost its points keeps its centre, and is one that no cell is in.
        warnings.filterwarnings("ignore", message="One of the clusters is empty")
        centers: Floats = kmeans2(points, n_groups, iter=N_ROUNDS, minit="++", rng=np.random.default_rng(0))[0]
    return centers


def _sums(
    network: Autoencoder,
    split: Split,
    latent: torch.Tensor,
    *,
    cells: NDArray[np.int64],
    group: NDArray[np.int64],
    n_groups: int,
) -> tuple[Floats, Floats, Floats]:
    """Expected, seen and held-out molecules of each group, of shape (n_groups, n_genes) each."""
    member = _members(group, n_groups)
    seen, held_out = ((member @ part[cells]).toarray() for part in split)
    total = torch.from_numpy(totals(split.kept)[cells]).to(latent)

    @torch.no_grad()
    def expected(c: slice) -> Floats:
        share = network.shares(latent[torch.from_numpy(cells[c]).to(latent.device)])
        molecules: Floats = member[:, c] @ (share * total[c, None]).cpu().numpy()
        return molecules

    parts = side_by_side_map(expected, chunks(len(cells), cells_at_once(seen.shape[1])), latent.device)
    return sum(parts, np.zeros_like(seen)), seen, held_out
