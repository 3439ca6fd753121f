"""Groups of cells where nobody has named any: k-means of the principal components."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

MOST = 12
"""Most groups that are tried."""
LEAST_SILHOUETTE = 0.1
"""Silhouette below which cells are left in one group: k-means cuts anything in two."""
NEAR_BEST = 0.9
"""Share of the best silhouette that is good enough for more groups."""
N_DIMENSIONS = 20
"""Leading components that are looked at."""
_N_JUDGED = 1500
_FEWEST = 10


def groups_of(embedding: ArrayLike, *, rng: int = 0) -> NDArray[np.int64]:
    """Group of each cell, 0 the largest: as many groups as the silhouette allows, one if it allows none.

    Parameters
    ----------
    embedding
        Principal components, of shape (n_cells, n_components).
    rng
        Seed.
    """
    from sklearn.cluster import KMeans
    from sklearn.metrics import silhouette_score

    points = np.asarray(embedding, dtype=np.float64)[:, :N_DIMENSIONS]
    found: dict[int, tuple[float, NDArray[np.int64]]] = {}
    distinct = len(np.unique(points.round(6), axis=0))
    judged = np.random.default_rng(rng).permutation(len(points))[:_N_JUDGED]
    for n_groups in range(2, min(MOST, distinct - 1, len(points) // _FEWEST) + 1):
        labels = KMeans(n_groups, n_init=2, random_state=rng).fit_predict(points).astype(np.int64)
        if len(np.unique(labels[judged])) > 1:
            found[n_groups] = float(silhouette_score(points[judged], labels[judged])), labels
    best = max((quality for quality, _ in found.values()), default=0.0)
    if best < LEAST_SILHOUETTE:
        return np.zeros(len(points), dtype=np.int64)
    labels = found[max(n for n, (quality, _) in found.items() if quality >= NEAR_BEST * best)][1]
    largest_first = np.argsort(np.argsort(-np.bincount(labels), kind="stable"), kind="stable")
    return np.asarray(largest_first[labels], dtype=np.int64)
