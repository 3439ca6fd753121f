"""Groups and batches of cells, as columns of `obs` name them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from gnnimpute._inputs import require_key

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

MOST_GROUPS = 42
"""Different numbers that may still be names of groups, as of clusters."""
_MOST_SINGLE = 20
"""Cells that may each be a group of their own."""


def is_measure(column: pd.Series) -> bool:
    """Whether a column holds a quantity, such as totals of cells, and not groups."""
    is_number = pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)
    return bool(is_number and column.nunique() > MOST_GROUPS)


def check_groups(adata: AnnData, key: str) -> None:
    """Refuse a column of groups that is not there, or that holds a quantity.

    Raises
    ------
    KeyError
        If `obs` has no such column.
    ValueError
        If it holds many different numbers, or is another in each of many cells.
    """
    require_key(adata, "obs", key)
    if is_measure(column := adata.obs[key]):
        msg = (
            f"adata.obs[{key!r}] holds {column.nunique():,} different numbers, too many for groups: name a column of "
            f"groups, or make groups of it, pandas.qcut(adata.obs[{key!r}], 4) or, if each number is a group, "
            f'adata.obs[{key!r}].astype("category").'
        )
        raise ValueError(msg)
    chosen = isinstance(column.dtype, pd.CategoricalDtype)
    if not chosen and _MOST_SINGLE < column.nunique() == column.notna().sum():
        msg = f"adata.obs[{key!r}] is another in each of {column.nunique():,} cells: name a column of groups of cells."
        raise ValueError(msg)


def labels_of(adata: AnnData, key: str, cells: NDArray[np.int64]) -> NDArray[np.str_]:
    """Name of the group of some cells, by position; empty for those that have none. Errors of :func:`groups_of`."""
    groups, names = groups_of(adata, key, cells)
    return np.array([*names, ""], dtype=np.str_)[groups]


def groups_of(adata: AnnData, key: str, cells: NDArray[np.int64] | None = None) -> tuple[NDArray[np.int64], list[str]]:
    """Number of the group of some cells, -1 for those that have none, and the names of all groups in their order.

    A gap and an empty text name no group.

    Raises
    ------
    KeyError
        If `obs` has no such column.
    ValueError
        If it holds many different numbers, or nothing for any of the cells.
    """
    check_groups(adata, key)
    column = adata.obs[key].astype("category")
    column = column.cat.remove_categories([""]) if "" in column.cat.categories else column
    groups = column.cat.codes.to_numpy(dtype=np.int64)
    groups = groups if cells is None else groups[cells]
    if not (groups >= 0).any():
        msg = f"adata.obs[{key!r}] is empty for all {len(groups):,} cells that are looked at: name a column of groups."
        raise ValueError(msg)
    return groups, [str(name) for name in column.cat.categories]


def batches_of(adata: AnnData, key: str) -> NDArray[np.int64]:
    """Number of the batch of each cell."""
    require_key(adata, "obs", key)
    codes: NDArray[np.int64] = adata.obs[key].astype("category").cat.codes.to_numpy(dtype=np.int64)
    if (missing := np.flatnonzero(codes < 0)).size:
        msg = f"adata.obs[{key!r}] is missing for {missing.size} cells, first for {adata.obs_names[missing[0]]!r}."
        raise ValueError(msg)
    return codes
