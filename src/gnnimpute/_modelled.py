"""What of an AnnData is modelled: its counts, the cells and genes that pass, and the graph between the cells."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from gnnimpute import _keys
from gnnimpute._cell_graph import from_embedding, from_obsp, graphs_of, recipe
from gnnimpute._inputs import counts_of, layer_of, require_anndata
from gnnimpute._names import suggestion

if TYPE_CHECKING:
    from functools import partial

    import scipy.sparse as sp
    from anndata import AnnData
    from numpy.typing import NDArray

    from gnnimpute._graph import NeighborGraph

log = logging.getLogger(__name__)


class Modelled(NamedTuple):
    """Counts of all cells and genes, and which of them are modelled."""

    counts: sp.csr_matrix
    """(n_obs, n_vars) counts, whether modelled or not; a Dask array if they are one."""
    cells: NDArray[np.int64]
    """Positions of the modelled cells."""
    genes: NDArray[np.int64]
    """Positions of the modelled genes."""
    graph: NeighborGraph
    """Neighbours among the modelled cells."""
    blind: partial[NeighborGraph] | None
    """Makes the same graph from counts without those that validation holds out; `None` if the graph was given, or no
    fit is to come."""
    source: dict[str, str | int]
    """What was used: layer, neighbors_key and use_rep, with its batch_key and n_neighbors; empty where none."""

    def where(self, adata: AnnData) -> dict[str, str | int]:
        """Where neighbours were sought: the graph or the embedding, within which batches, and how many."""
        found = {name: str(self.source.get(name, "")) for name in ("neighbors_key", "use_rep", "batch_key")}
        n_neighbors = int(self.source.get("n_neighbors", 0))
        if found["neighbors_key"] == _keys.NEIGHBORS:
            params = adata.uns.get(_keys.NEIGHBORS, {}).get("params", {})
            found["batch_key"], n_neighbors = str(params.get("batch_key", "")), int(params.get("k", 0))
        if not self.has_batches(adata, found["batch_key"]):
            found["batch_key"] = ""
        key = found["batch_key"]
        batch = adata.obs[key].iloc[self.cells] if key else pd.Series(0, self.cells)
        if n_neighbors >= batch.value_counts().max() - 1:  # as many as there are: no choice
            n_neighbors = 0
        known: dict[str, str | int] = {**found, "n_neighbors": n_neighbors}
        return {name: value for name, value in known.items() if value}

    def has_batches(self, adata: AnnData, batch_key: str | None) -> bool:
        """Whether the modelled cells are of two batches or more."""
        return batch_key in adata.obs and len(adata.obs[batch_key].iloc[self.cells].dropna().unique()) > 1


def modelled(
    adata: AnnData,
    *,
    layer: str | None,
    neighbors_key: str | None,
    use_rep: str | None,
    batch_key: str | None,
    n_neighbors: int,
    allow_non_counts: bool | None,
    device: str | None,
    to_fit: bool = True,
) -> Modelled:
    """Resolve all keys into arrays; nothing is changed. What only a fit needs is left out where none is to come."""
    layer = layer_of(adata, layer)
    counts = counts_of(adata, layer, allow_non_counts=allow_non_counts)
    if {_keys.PASS, _keys.SIZE_FACTOR} <= set(adata.obs) and _keys.PASS not in adata.var:
        msg = (
            f"adata.obs has {_keys.PASS!r}, but adata.var has not, as after anndata.concat: genes that did not pass "
            "would be modelled. Run gi.pp.prepare again."
        )
        raise ValueError(msg)
    cells, genes = passing(adata.obs, "obs"), passing(adata.var, "var")
    blind = None
    if neighbors_key is not None and use_rep is not None:
        msg = f"neighbors_key={neighbors_key!r} and use_rep={use_rep!r}: give one of them, both say what the graph is."
        raise ValueError(msg)
    if batch_key is not None and use_rep is None:
        msg = f"batch_key={batch_key!r} needs use_rep, or belongs to gi.pp.prepare: the graph is there already."
        raise ValueError(msg)
    if use_rep is not None:
        where = {"batch_key": batch_key, "device": device}
        graph = from_embedding(adata, cells, use_rep, n_neighbors=n_neighbors, **where)
    else:
        if neighbors_key is None and _keys.NEIGHBORS not in adata.uns:
            there = graphs_of(adata)
            own = f"neighbors_key={there[0]!r}" if there else "neighbors_key= of your own graph, or use_rep="
            msg = f"adata.uns has no {_keys.NEIGHBORS!r}: call gi.pp.prepare(adata) first, or pass {own}."
            raise KeyError(msg)
        neighbors_key = neighbors_key or _keys.NEIGHBORS
        graph = from_obsp(adata, cells, neighbors_key)
        if neighbors_key == _keys.NEIGHBORS and to_fit:
            blind = recipe(adata, cells, device=device)
    if blind is None and to_fit:
        log.info("The graph is taken as given: the molecules that validation holds out may have shaped it.")
    layer = layer or (_keys.COUNTS if _keys.COUNTS in adata.layers else "X")
    source: dict[str, str | int] = {"layer": layer, "neighbors_key": neighbors_key or "", "use_rep": use_rep or ""}
    if use_rep is not None:
        source |= {"batch_key": batch_key or "", "n_neighbors": n_neighbors}
    return Modelled(counts, cells, genes, graph, blind, source)


def imputation_of(adata: AnnData, key: str | None) -> str | None:
    """Key of the imputation that is meant: the one that is named, or the one of the default name, or the only one."""
    require_anndata(adata)
    found = _keys.imputations(adata.uns)
    if key is not None and key not in found:
        msg = f"adata.uns has no imputation {key!r}. {suggestion(key, found)}"
        raise KeyError(msg)
    return key or (_keys.ADDED if _keys.ADDED in found else found[0] if len(found) == 1 else None)


def as_imputed(
    adata: AnnData,
    *,
    layer: str | None,
    neighbors_key: str | None,
    use_rep: str | None,
    batch_key: str | None = None,
    n_neighbors: int = 5,
    key: str | None = None,
) -> dict[str, Any]:
    """Layer and graph, for :func:`modelled`: as given or, where none is, those of the imputation that is there."""
    made = {} if (meant := imputation_of(adata, key)) is None else adata.uns[meant]
    if meant is None and (there := _keys.imputations(adata.uns)):
        log.warning("adata.uns has the imputations %s: none of them is meant, unless key= names it.", there)
    graph: dict[str, Any]
    graph = {"neighbors_key": neighbors_key, "use_rep": use_rep, "batch_key": batch_key, "n_neighbors": n_neighbors}
    if made and (neighbors_key, use_rep, batch_key) == (None, None, None):
        graph = {name: str(made.get(name, "")) or None for name in ("neighbors_key", "use_rep", "batch_key")}
        graph["n_neighbors"] = int(made.get("n_neighbors", n_neighbors))
    return {"layer": layer or str(made.get("layer", "")) or None, **graph}


def passing(frame: pd.DataFrame, name: str) -> NDArray[np.int64]:
    """Positions of the cells or genes, of `obs` or `var` as `name` says, that passed quality control; all without any.

    Raises
    ------
    ValueError
        If none has passed, or what should say so is neither true nor false.
    """
    if _keys.PASS not in frame:
        return np.arange(len(frame))
    marks = frame[_keys.PASS]
    if not pd.api.types.is_bool_dtype(marks.dtype) or marks.isna().any():
        msg = (
            f"adata.{name}[{_keys.PASS!r}] is not true or false everywhere, as after a concatenation or from a text "
            "file. Run gi.pp.prepare again."
        )
        raise ValueError(msg)
    found = np.flatnonzero(marks.to_numpy(dtype=bool))
    if not len(found):
        msg = f"adata.{name}[{_keys.PASS!r}] is False everywhere: nothing is left to model. Run gi.pp.prepare again."
        raise ValueError(msg)
    return found
