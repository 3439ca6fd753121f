"""What of an AnnData is modelled: its counts, the cells and genes that pass, and the graph between the cells."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from gnnimpute import _keys
from gnnimpute._components import principal_components
from gnnimpute._graph import NeighborGraph
from gnnimpute._inputs import batches_of, counts_of, embedding_of, layer_of, require_anndata
from gnnimpute._names import suggestion

if TYPE_CHECKING:
    import scipy.sparse as sp
    from anndata import AnnData
    from numpy.typing import NDArray

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
        graph = _from_embedding(adata, cells, use_rep, n_neighbors=n_neighbors, **where)
    else:
        if neighbors_key is None and _keys.NEIGHBORS not in adata.uns:
            there = _graphs(adata)
            own = f"neighbors_key={there[0]!r}" if there else "neighbors_key= of your own graph, or use_rep="
            msg = f"adata.uns has no {_keys.NEIGHBORS!r}: call gi.pp.prepare(adata) first, or pass {own}."
            raise KeyError(msg)
        neighbors_key = neighbors_key or _keys.NEIGHBORS
        graph = _from_obsp(adata, cells, neighbors_key)
        if neighbors_key == _keys.NEIGHBORS and to_fit:
            blind = partial(_recipe(adata, cells), device=device)
    if blind is None and to_fit:
        log.info("The graph is taken as given: the molecules that validation holds out may have shaped it.")
    layer = layer or (_keys.COUNTS if _keys.COUNTS in adata.layers else "X")
    source: dict[str, str | int] = {"layer": layer, "neighbors_key": neighbors_key or "", "use_rep": use_rep or ""}
    if use_rep is not None:
        source |= {"batch_key": batch_key or "", "n_neighbors": n_neighbors}
    return Modelled(counts, cells, genes, graph, blind, source)


def as_imputed(
    adata: AnnData,
    *,
    layer: str | None,
    neighbors_key: str | None,
    use_rep: str | None,
    batch_key: str | None = None,
    n_neighbors: int = 5,
) -> dict[str, Any]:
    """Layer and graph, for :func:`modelled`: as given or, where none is, those of the imputation that is there."""
    require_anndata(adata)
    found = {key: about for key, about in adata.uns.items() if _keys.is_imputation(about)}
    made = found.get(_keys.ADDED, next(iter(found.values())) if len(found) == 1 else {})
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


def _from_embedding(
    adata: AnnData,
    cells: NDArray[np.int64],
    use_rep: str,
    *,
    batch_key: str | None,
    n_neighbors: int,
    device: str | None,
) -> NeighborGraph:
    embedding = embedding_of(adata, use_rep)
    batches = None if batch_key is None else batches_of(adata, batch_key)[cells]
    points = embedding[cells]
    if (wrong := np.flatnonzero(~np.isfinite(points).all(1))).size:
        msg = (
            f"adata.obsm[{use_rep!r}] is not finite for {wrong.size} cells, first for "
            f"{adata.obs_names[cells[wrong[0]]]!r}: leave them out, or take another embedding."
        )
        raise ValueError(msg)
    return NeighborGraph.from_embedding(points, n_neighbors=n_neighbors, batches=batches, device=device)


def _graphs(adata: AnnData) -> list[str]:
    """Keys of `uns` that describe a graph as scanpy does."""
    return [key for key, value in adata.uns.items() if hasattr(value, "keys") and "distances_key" in value]


def _from_obsp(adata: AnnData, cells: NDArray[np.int64], key: str) -> NeighborGraph:
    """Graph that scanpy, or any tool that follows it, made: its distances, or else its connectivities."""
    about = adata.uns[key] if key in _graphs(adata) else {}
    named = {kind: about.get(f"{kind}_key", f"{key}_{kind}") for kind in ("distances", "connectivities")}
    asked = about.get("params", {}).get("k")  # of our own graph, which has no hubs
    for kind, name in named.items():
        if name in adata.obsp:
            matrix = adata.obsp[name][cells][:, cells]
            nearest: Literal["smallest", "largest"] = "smallest" if kind == "distances" else "largest"
            return NeighborGraph.from_sparse(matrix, nearest=nearest, n_neighbors=None if asked is None else int(asked))
    names = " nor ".join(map(repr, sorted(named.values())))
    msg = f"neighbors_key={key!r} names no graph: adata.obsp has neither {names}. {suggestion(key, _graphs(adata))}"
    raise KeyError(msg)


def _recipe(adata: AnnData, cells: NDArray[np.int64]) -> partial[NeighborGraph]:
    """The graph of :func:`gnnimpute.pp.prepare` again, from other counts of the same cells and genes."""
    params = adata.uns[_keys.NEIGHBORS]["params"]
    batches = batches_of(adata, params["batch_key"])[cells] if "batch_key" in params else None
    seed = int(params["random_state"])
    return partial(prepared_graph, n_pcs=int(params["n_pcs"]), n_neighbors=int(params["k"]), batches=batches, seed=seed)


def prepared_graph(
    counts: sp.csr_matrix,
    *,
    n_pcs: int,
    n_neighbors: int,
    batches: NDArray[np.int64] | None,
    seed: int,
    device: str | None = None,
) -> NeighborGraph:
    """The graph of :func:`gnnimpute.pp.prepare` from counts in memory: of the components of all genes."""
    embedding = principal_components(counts, n_pcs=n_pcs, rng=seed)
    return NeighborGraph.from_embedding(embedding, n_neighbors=n_neighbors, batches=batches, rng=seed, device=device)
