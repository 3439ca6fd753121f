"""How far two groupings of the same cells agree."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import ArrayLike, NDArray


def ari(labels: ArrayLike, clusters: ArrayLike) -> float:
    """Adjusted Rand index of two groupings of the same cells: 1 if they agree, about 0 if random.

    Parameters
    ----------
    labels, clusters
        Group of each cell, of shape (n_cells,).

    Raises
    ------
    ValueError
        If these are not of the same cells, or a cell has no group.
    """
    from sklearn.metrics import adjusted_rand_score

    return float(adjusted_rand_score(*_groups(labels, clusters)))


def nmi(labels: ArrayLike, clusters: ArrayLike) -> float:
    """Mutual information of two groupings of the same cells, over the mean of their entropies: 0 to 1.

    Parameters
    ----------
    labels, clusters
        Group of each cell, of shape (n_cells,).

    Raises
    ------
    ValueError
        If these are not of the same cells, or a cell has no group.
    """
    from sklearn.metrics import normalized_mutual_info_score

    return float(normalized_mutual_info_score(*_groups(labels, clusters)))


def _groups(labels: Any, clusters: Any) -> tuple[NDArray[Any], NDArray[Any]]:
    """Group of each cell, of both."""
    groupings = []
    for name, groups in {"labels": labels, "clusters": clusters}.items():
        # Of a list with gaps among texts, numpy would make texts of the gaps.
        values = np.asarray(groups) if hasattr(groups, "dtype") else np.asarray(groups, dtype=object)
        if values.ndim != 1:
            msg = f"{name} must be the group of each cell, but is {groups!r}: give a column, such as adata.obs['type']."
            raise ValueError(msg)
        if missing := [cell for cell, group in enumerate(values.tolist()) if _is_missing(group)]:
            msg = f"{name} has no group for {len(missing)} cells, first for number {missing[0]}: leave these cells out."
            raise ValueError(msg)
        groupings.append(np.asarray(groups))
    if len(groupings[0]) != len(groupings[1]):
        n_cells = [len(values) for values in groupings]
        msg = f"labels are of {n_cells[0]} cells, but clusters of {n_cells[1]}: give both of the same cells."
        raise ValueError(msg)
    return groupings[0], groupings[1]


def _is_missing(group: object) -> bool:
    # The NA of pandas is neither true nor false when compared.
    return group is None or type(group).__name__ == "NAType" or group != group  # noqa: PLR0124 -- as NaN does
