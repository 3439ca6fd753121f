"""Read counts and batches from an AnnData, or say what is there instead."""

from __future__ import annotations

import logging
from os import PathLike
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import scipy.sparse as sp

from gnnimpute import _keys
from gnnimpute._blocks import by_cells, is_lazy
from gnnimpute._counts import check_counts
from gnnimpute._names import suggestion

if TYPE_CHECKING:
    from typing import Any

    from anndata import AnnData
    from numpy.typing import NDArray

_log = logging.getLogger(__name__)

N_COMPARED = 100
"""Cells whose counts in `X` and in a layer are compared."""

MOST_GROUPS = 42
"""Different numbers that may still be names of groups, as of clusters."""
_MOST_SINGLE = 20
"""Cells that may each be a group of their own."""


def require_anndata(adata: Any) -> None:
    """Raise TypeError for what is none, such as the path of one."""
    if not hasattr(adata, "obsm"):
        read = f"gi.io.read({str(adata)!r})" if isinstance(adata, str | PathLike) else "anndata.AnnData(...)"
        msg = f"adata is a {type(adata).__name__}, not an AnnData: make one first, adata = {read}."
        raise TypeError(msg)


def counts_of(adata: AnnData, layer: str | None, *, allow_non_counts: bool | None) -> Any:
    """Counts of the layer, or of X if it is so named; by default of ``layers["counts"]``, or else of X.

    A Dask array stays one. `allow_non_counts` is `None` where the caller cannot take others.
    """
    require_anndata(adata)
    key = _keys.COUNTS if layer is None and _keys.COUNTS in adata.layers else layer
    if key == "X" and "X" not in adata.layers:
        key = None
    if key is not None and key not in adata.layers:
        msg = f"adata.layers has no {key!r}. {suggestion(key, adata.layers)}{_in_raw(adata) if key == 'raw' else ''}"
        raise KeyError(msg)
    if layer not in (None, _keys.COUNTS) and _keys.COUNTS in adata.layers:
        _log.warning("layers['counts'] was there and is left as it is: impute with layer=%r too", layer)
    matrix, where = (adata.X, "adata.X") if key is None else (adata.layers[key], f"adata.layers[{key!r}]")
    if is_lazy(matrix):
        return by_cells(matrix, where=where, allow_non_counts=allow_non_counts)
    try:
        return check_counts(
            matrix,
            where=where,
            cell_names=adata.obs_names,
            gene_names=adata.var_names,
            allow_non_counts=allow_non_counts,
        )
    except ValueError as error:
        msg = f"{error}{_elsewhere(adata, key)}"
        raise ValueError(msg) from None


def layer_of(adata: AnnData, layer: str | None) -> str | None:
    """The layer that is named, or else the one that :func:`gnnimpute.pp.prepare` was given and made no copy of.

    `None` leaves it to :func:`counts_of`: ``layers["counts"]``, or else `X`.
    """
    require_anndata(adata)
    if layer is not None or _keys.COUNTS in adata.layers:
        return layer
    prepared = adata.uns.get(_keys.QUALITY, {}).get("layer")
    return None if prepared is None else str(prepared)


def say_source(adata: AnnData, layer: str | None, counts: Any) -> None:
    """Say which matrix was read, and warn where `X` holds other counts than the layer that goes before it."""
    is_layer = layer in adata.layers or (layer is None and _keys.COUNTS in adata.layers)
    _log.info("Counts are read from adata.%s", f"layers[{layer or _keys.COUNTS!r}]" if is_layer else "X")
    if not is_layer or layer is not None or is_lazy(counts) or adata.isbacked or adata.X is None or is_lazy(adata.X):
        return
    cells = np.unique(np.linspace(0, adata.n_obs - 1, N_COMPARED).astype(np.int64))
    here, there = sp.csr_matrix(adata.X[cells]), counts[cells]
    # What was normalised since, as is usual, is no count.
    if (here != there).nnz and (here.data >= 0).all() and np.array_equal(np.rint(here.data), here.data):
        _log.warning(
            "adata.X holds other counts than adata.layers['counts'], which are read. If those of X are the newer ones, "
            "as after SoupX or CellBender: del adata.layers['counts'], and prepare again."
        )


def warn_if_selected(adata: AnnData) -> None:
    """Say so if only genes of high variance are there."""
    if "highly_variable" in adata.var and adata.var["highly_variable"].astype(str).eq("True").all():
        _log.warning(
            "All %d genes are marked as highly variable: the depth of a cell, and what it expresses, are then of these "
            "genes alone. Keep all genes, and impute some: gi.tl.impute(adata, genes=[...]).",
            adata.n_vars,
        )


def _elsewhere(adata: AnnData, key: str | None) -> str:
    """Where counts are, if not where they were sought."""
    others = {} if key is None else {"X": adata.X}
    others |= {name: adata.layers[name] for name in adata.layers if name != key}
    for name, matrix in others.items():
        if _holds_counts(matrix):
            where = "adata.X" if name == "X" else f"adata.layers[{name!r}]"
            return f" {where} does hold counts: layer={name!r}."
    return _in_raw(adata)


def _in_raw(adata: AnnData) -> str:
    """What to do with counts of `raw`, if it holds some."""
    if adata.raw is not None and _holds_counts(adata.raw.X):
        return " adata.raw does hold counts: adata.raw.to_adata() makes an AnnData of them."
    return ""


def _holds_counts(matrix: Any) -> bool:
    try:
        check_counts(matrix, where="")
    except (TypeError, ValueError):
        return False
    return True


def require_key(adata: AnnData, slot: str, key: str) -> None:
    """Raise KeyError, with near names, if a slot of an AnnData has no such key."""
    if key not in (there := getattr(adata, slot)):
        msg = f"adata.{slot} has no {key!r}. {suggestion(key, there)}"
        raise KeyError(msg)


def embedding_of(adata: AnnData, use_rep: str) -> NDArray[Any]:
    """Embedding of `obsm`, of shape (n_obs, n_dimensions), dense.

    Raises
    ------
    KeyError
        If `obsm` has no such embedding.
    TypeError
        If it does not hold numbers.
    """
    require_key(adata, "obsm", use_rep)
    points = adata.obsm[use_rep]
    points = points.toarray() if sp.issparse(points) else np.asarray(points)
    if points.ndim != 2 or points.dtype.kind not in "biuf":
        msg = f"adata.obsm[{use_rep!r}] must be a matrix of numbers, cells x dimensions, but it is {points.dtype}."
        raise TypeError(msg)
    return points


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
