"""Marks of quality control, principal components and neighbours, of counts that have been read."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gnnimpute import _keys
from gnnimpute._blocks import each, is_lazy
from gnnimpute._components import principal_components, seed_of
from gnnimpute._connectivities import scanpy_graph
from gnnimpute._graph import NeighborGraph
from gnnimpute._lazy_components import lazy_principal_components
from gnnimpute._named_groups import batches_of
from gnnimpute._names import mitochondrial
from gnnimpute._quality import Limits, Rule, about, cell_rules, quality_of, require_passing

if TYPE_CHECKING:
    import scipy.sparse as sp
    from anndata import AnnData
    from numpy.typing import NDArray

_log = logging.getLogger(__name__)

_N_CELLS = f"{_keys.ADDED}_n_cells"
_DISTANCES = f"{_keys.NEIGHBORS}_distances"
_CONNECTIVITIES = f"{_keys.NEIGHBORS}_connectivities"


class Passed(NamedTuple):
    """What came of quality control."""

    rules: list[Rule]
    """Rules for cells, and whom they set aside."""
    cells: NDArray[np.bool_]
    """Cells that pass, of shape (n_obs,)."""
    genes: NDArray[np.bool_]
    """Genes that pass, of shape (n_vars,)."""
    min_cells: int
    """Least number of cells that a gene had to be detected in."""
    knows_mito: bool
    """Whether a mitochondrial gene is recognised."""


def mark(
    adata: AnnData,
    counts: sp.csr_matrix,
    limits: Limits,
    *,
    n_pcs: int | None,
    n_neighbors: int = 5,
    batch_key: str | None = None,
    layer: str | None = None,
    rng: np.random.Generator | int | None = 0,
    device: str | None = None,
    copy_counts: bool = False,
) -> Passed:
    """Set what :func:`gnnimpute.pp.prepare` sets, of arguments that are checked. What passes is not logged.

    Parameters
    ----------
    adata
        Where to set it, with the names of cells and genes.
    counts
        Counts of its cells and genes; may be a Dask array.
    limits
        What cells and genes have to meet.
    n_pcs, n_neighbors, batch_key, layer, rng, device
        As for :func:`gnnimpute.pp.prepare`; `layer` is only noted.
    copy_counts
        Whether to set ``layers["counts"]``.
    """
    batches = None if batch_key is None else batches_of(adata, batch_key)
    texts = [adata.var_names, *(column for _, column in adata.var.select_dtypes(exclude="number").items())]
    mito = np.any([mitochondrial(text) for text in texts], axis=0)
    quality = quality_of(counts, mito)
    rules = cell_rules(quality, limits)
    cells, genes, n_cells, total = _passing(counts, rules, limits.min_cells)
    graph: dict[str, dict[str, Any]] = {}
    if n_pcs is not None:
        seed = seed_of(rng)
        find = lazy_principal_components if is_lazy(counts) else partial(principal_components, rng=seed)
        embedding = find(counts[:, genes], n_pcs=n_pcs, passing=cells)
        graph = _graph(embedding, cells, n_neighbors=n_neighbors, batches=batches, seed=seed, device=device)
        if batch_key is not None:
            graph["uns"][_keys.NEIGHBORS]["params"]["batch_key"] = batch_key

    # From here on nothing can go wrong: an error leaves `adata` as it was.
    if copy_counts:
        adata.layers[_keys.COUNTS] = counts.copy()
    for name, values in quality._asdict().items():
        if values is not None:
            adata.obs[f"{_keys.ADDED}_{name}"] = values
    adata.obs[_keys.SIZE_FACTOR] = total / np.median(total[cells])
    adata.obs[_keys.PASS], adata.var[_keys.PASS], adata.var[_N_CELLS] = cells, genes, n_cells
    adata.uns[_keys.QUALITY] = about(limits, rules, n_genes=int((~genes).sum()), layer=layer)
    _replace_graph(adata, graph)
    return Passed(rules, cells, genes, limits.min_cells, bool(mito.any()))


def say_passed(passed: Passed, fate: str) -> None:
    """Log how many cells and genes pass, and why others do not; `fate` is what becomes of these."""
    rules, cells, genes, min_cells, knows_mito = passed
    if not knows_mito:
        _log.info("No mitochondrial genes are recognised (MT- or mt- symbols, Ensembl ids): that step is left out")
    _log.info("%d of %d cells and %d of %d genes pass; %s", cells.sum(), cells.size, genes.sum(), genes.size, fate)
    for rule in rules:
        if rule.fails.any():
            _log.info("cells: %s", rule)
    if not genes.all():
        reason = f"detected in fewer than {min_cells} passing cells" if min_cells > 1 else "in no passing cell"
        _log.info("genes: %d %s (min_cells=%d)", (~genes).sum(), reason, min_cells)


def drop_failed(adata: AnnData, passed: Passed) -> None:
    """Leave only cells and genes that pass, in place."""
    adata._inplace_subset_obs(passed.cells)
    adata._inplace_subset_var(passed.genes)


def _passing(
    counts: sp.csr_matrix, rules: list[Rule], min_cells: int
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.int64], NDArray[np.float64]]:
    """Cells and genes that pass, in how many cells each gene is detected, and counts of each cell in passing genes.

    Adds a rule where it finds one.
    """
    cells = require_passing(rules)
    n_cells = sum(each(counts, _n_cells_of_block, rows=[cells]))
    genes = n_cells >= max(min_cells, 1)
    if not genes.any():
        failed = "; ".join(str(rule) for rule in rules if rule.fails.any())
        msg = f"No gene is detected in {min_cells} of the {cells.sum()} cells that pass. Lower min_cells={min_cells}"
        msg += f", or let more cells pass: of {cells.size}, {failed}." if failed else "."
        raise ValueError(msg)
    total = np.concatenate([*each(counts, _totals, genes)])
    rules.append(Rule("no counts in the genes that pass", "", total == 0))
    return require_passing(rules), genes, n_cells, total


def _n_cells_of_block(counts: sp.csr_matrix, cells: NDArray[np.bool_]) -> NDArray[np.int64]:
    return np.bincount(counts[cells].indices, minlength=counts.shape[1])


def _totals(counts: sp.csr_matrix, genes: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Counts of each cell in some genes."""
    total: NDArray[np.float64] = np.asarray(counts[:, genes].sum(axis=1, dtype=np.float64)).ravel()
    return total


def _graph(
    embedding: NDArray[np.float32],
    cells: NDArray[np.bool_],
    *,
    n_neighbors: int,
    batches: NDArray[np.int64] | None,
    seed: int,
    device: str | None,
) -> dict[str, dict[str, Any]]:
    """The fields of `obsm`, `obsp` and `uns`."""
    points = embedding[cells]
    batches = None if batches is None else batches[cells]
    graph = NeighborGraph.from_embedding(points, n_neighbors=n_neighbors, batches=batches, rng=seed, device=device)
    indices = graph.indices
    if (k := indices.shape[1] - 1) == 0:
        msg = "A graph needs neighbors, but every cell is alone in its batch: choose another batch_key, or none."
        raise ValueError(msg)
    if k < n_neighbors:
        _log.info("%d neighbors instead of %d: no cell has more others to choose from", k, n_neighbors)
    distances, weights = scanpy_graph(points, indices, cells=cells)
    params = {"n_neighbors": k + 1, "k": k, "method": "umap", "metric": "euclidean", "random_state": seed}
    params |= {"n_pcs": points.shape[1], "use_rep": _keys.PCA}
    keys = {"distances_key": _DISTANCES, "connectivities_key": _CONNECTIVITIES, "params": params}
    return {
        "obsm": {_keys.PCA: embedding},
        "obsp": {_DISTANCES: distances, _CONNECTIVITIES: weights},
        "uns": {_keys.NEIGHBORS: keys},
    }


def _replace_graph(adata: AnnData, graph: dict[str, dict[str, Any]]) -> None:
    """Set the fields of the graph; one of an earlier call would not fit the marks of this one."""
    adata.obsm.pop(_keys.PCA, None)
    adata.uns.pop(_keys.NEIGHBORS, None)
    for key in (_DISTANCES, _CONNECTIVITIES):
        adata.obsp.pop(key, None)
    for slot, fields in graph.items():
        getattr(adata, slot).update(fields)
