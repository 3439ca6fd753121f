"""The graph between the cells of an AnnData: read, made of an embedding, or made again."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Literal

import numpy as np

from gnnimpute import _keys
from gnnimpute._components import principal_components
from gnnimpute._graph import NeighborGraph
from gnnimpute._inputs import embedding_of
from gnnimpute._named_groups import batches_of
from gnnimpute._names import suggestion

if TYPE_CHECKING:
    import scipy.sparse as sp
    from anndata import AnnData
    from numpy.typing import NDArray

    from gnnimpute._modelled import Modelled

_log = logging.getLogger(__name__)


def from_embedding(
    adata: AnnData,
    cells: NDArray[np.int64],
    use_rep: str,
    *,
    batch_key: str | None,
    n_neighbors: int,
    device: str | None,
) -> NeighborGraph:
    """Graph of the nearest cells in an embedding of `obsm`."""
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


def graphs_of(adata: AnnData) -> list[str]:
    """Keys of `uns` that describe a graph as scanpy does."""
    return [key for key, value in adata.uns.items() if hasattr(value, "keys") and "distances_key" in value]


def from_obsp(adata: AnnData, cells: NDArray[np.int64], key: str) -> NeighborGraph:
    """Graph that scanpy, or any tool that follows it, made: its distances, or else its connectivities."""
    about = adata.uns[key] if key in graphs_of(adata) else {}
    named = {kind: about.get(f"{kind}_key", f"{key}_{kind}") for kind in ("distances", "connectivities")}
    asked = about.get("params", {}).get("k")  # of our own graph, which has no hubs
    for kind, name in named.items():
        if name in adata.obsp:
            matrix = adata.obsp[name][cells][:, cells]
            nearest: Literal["smallest", "largest"] = "smallest" if kind == "distances" else "largest"
            return NeighborGraph.from_sparse(matrix, nearest=nearest, n_neighbors=None if asked is None else int(asked))
    names = " nor ".join(map(repr, sorted(named.values())))
    others = [name for name in graphs_of(adata) if name != key]
    mend = "Run gi.pp.prepare(adata) again." if key == _keys.NEIGHBORS else suggestion(key, others)
    msg = f"neighbors_key={key!r} names no graph: adata.obsp has neither {names}. {mend}"
    raise KeyError(msg)


def warn_if_torn(adata: AnnData, chosen: Modelled) -> None:
    """Say so if cells have lost the neighbours that they had in a graph, as in a subset of its cells."""
    if not (key := str(chosen.source["neighbors_key"])):
        return
    cells, graph = chosen.cells, chosen.graph
    degree = (graph.indices != np.arange(graph.n_cells)[:, None]).sum(1)
    params = adata.uns[key].get("params", {}) if key in graphs_of(adata) else {}
    if key != _keys.NEIGHBORS or "k" not in params:
        if 0 < (alone := int((degree == 0).sum())) < graph.n_cells:  # one without any edges is meant to have none
            _log.warning(
                "%d of %d cells have no neighbors in adata.uns[%r], as after leaving out cells: each is read alone. "
                "Make the graph anew.",
                *(alone, graph.n_cells, key),
            )
        return
    others = np.full(graph.n_cells, graph.n_cells - 1)
    if (batch_key := str(params.get("batch_key", ""))) in adata.obs:
        batches = adata.obs[batch_key].astype("category").cat.codes.to_numpy(dtype=np.int64)[cells] + 1
        others = np.where(batches > 0, np.bincount(batches)[batches] - 1, 0)  # of cells without one nothing is known
    if torn := int((degree < np.minimum(others, int(params["k"]))).sum()):
        _log.warning(
            "%d of %d cells have lost neighbors, as after leaving out cells: run gi.pp.prepare(adata) again, which "
            "finds others.",
            *(torn, graph.n_cells),
        )


def recipe(adata: AnnData, cells: NDArray[np.int64], *, device: str | None) -> partial[NeighborGraph]:
    """The graph of :func:`gnnimpute.pp.prepare` again, from other counts of the same cells and genes."""
    params = adata.uns[_keys.NEIGHBORS]["params"]
    batches = batches_of(adata, params["batch_key"])[cells] if "batch_key" in params else None
    sizes = {"n_pcs": int(params["n_pcs"]), "n_neighbors": int(params["k"])}
    return partial(prepared_graph, **sizes, batches=batches, seed=int(params["random_state"]), device=device)


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
