"""The nearest cells of each cell: exact for few, approximate for many, exact again for many where there is a GPU."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

_log = logging.getLogger(__name__)

_AT_ONCE, _AT_ONCE_ON_GPU = 2**22, 2**28
"""Distances held at once: 32 MiB, or a gibibyte of a GPU."""
_IN_A_SET = 16
"""Others of which the nearest is found first."""
_N_JUDGED, _LEAST_RECALL = 500, 0.9
"""Points whose approximate neighbours are compared with the exact ones, and the share that is told of as too small."""


def exact(
    points: NDArray[np.float32], k: int, device: torch.device | str = "cpu", *, at_once: int | None = None
) -> NDArray[np.int64]:
    """The k nearest others of each point, nearest first, of shape (n_points, k): by blocks of products of all points.

    Parameters
    ----------
    points
        Array of shape (n_points, n_dimensions).
    k
        Number of others.
    device
        Where to compute: in double precision on a CPU, in single precision elsewhere.
    at_once
        Distances to hold at once.
    """
    import torch

    place = torch.device(device)
    default, precision = (_AT_ONCE, torch.float64) if place.type == "cpu" else (_AT_ONCE_ON_GPU, torch.float32)
    # Around their centre points are short, and little is lost where squares of lengths cancel.
    here = torch.from_numpy(points - points.mean(0)).to(place, precision)
    n_sets = max(-(-len(here) // _IN_A_SET), k + 1)
    # Of a pair |x - y|² / 2 = |x|² / 2 - x.y + |y|² / 2, whose first part is the same for all neighbours of x.
    others = here.new_zeros(n_sets * _IN_A_SET, here.shape[1])
    half = here.new_full((len(others),), torch.inf)  # of what fills up the sets
    others[: len(here)], half[: len(here)] = here, here.square().sum(1) / 2
    n_rows = max((at_once or default) // len(others), 1)
    found = torch.empty(len(here), k + 1, dtype=torch.int64)
    distances = here.new_empty(n_rows, len(others))  # once: what is kept would lie between such pieces, and pin them
    for rows, nearest in zip(torch.split(here, n_rows), torch.split(found, n_rows), strict=True):
        nearest.copy_(_least(torch.addmm(half, rows, others.T, alpha=-1, out=distances[: len(rows)]), k + 1))
    return _without_self(found.numpy())


def _least(distances: torch.Tensor, n: int) -> torch.Tensor:
    """Places of the n least of each row, in their order: they lie in the n sets whose own least are the least.

    So each distance is read once to find the least of its set, and few are sorted.
    """
    sets = distances.view(len(distances), _IN_A_SET, -1)
    near = sets.amin(1).topk(n, largest=False).indices
    members = sets.gather(2, near[:, None].expand(-1, _IN_A_SET, -1)).flatten(1)
    place = members.topk(n, largest=False).indices
    return near.gather(1, place % n) + sets.shape[2] * (place // n)


def approximate(points: NDArray[np.float32], k: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Nearly the same by NN-descent, whose time hardly grows faster than the number of points."""
    from pynndescent import NNDescent

    # NN-descent recalls better when it keeps more candidates than asked for: at 150,000 points 96 % instead of 75 %
    # with 15 of them, in a few seconds more.
    index = NNDescent(points, n_neighbors=max(k + 1, 30), random_state=int(rng.integers(2**31)))
    found, _ = index.neighbor_graph
    if (found < 0).any():
        msg = "The approximate neighbour search left cells without neighbours: raise `exact_below` for an exact one."
        raise ValueError(msg)
    others = _without_self(found[:, : k + 1])
    level = logging.INFO if (share := recall(points, others)) >= _LEAST_RECALL else logging.WARNING
    _log.log(level, "Neighbors of %d cells are approximate: %.1f %% are among the nearest", len(points), 100 * share)
    return others


def recall(points: NDArray[np.float32], found: NDArray[np.int64]) -> float:
    """Share of what was found, of shape (n_points, k), that is among the k nearest others, by some of the points."""
    from sklearn.neighbors import NearestNeighbors

    rows = np.unique(np.linspace(0, len(points) - 1, _N_JUDGED).astype(np.int64))
    nearest, _ = NearestNeighbors(algorithm="brute").fit(points).kneighbors(points[rows], found.shape[1] + 1)
    distances = np.linalg.norm(points[found[rows]] - points[rows, None], axis=2)
    # By distances, as identical cells are as near as each other.
    return float((distances <= nearest[:, -1:] * (1 + 1e-4) + 1e-6 * points.std()).mean())


def _without_self(found: NDArray[np.int64]) -> NDArray[np.int64]:
    """Drop the cell itself from its k + 1 nearest; among identical cells it may be absent: then drop the farthest."""
    is_self = found == np.arange(len(found))[:, None]
    is_self[~is_self.any(1), -1] = True
    others: NDArray[np.int64] = found[~is_self].reshape(len(found), -1).astype(np.int64)
    return others
