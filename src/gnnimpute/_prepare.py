"""Quality control, principal components and neighbours."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from gnnimpute import _keys
from gnnimpute._arguments import check_rng, check_whole
from gnnimpute._blocks import each, is_lazy
from gnnimpute._components import principal_components, seed_of
from gnnimpute._connectivities import scanpy_graph
from gnnimpute._graph import NeighborGraph
from gnnimpute._inputs import counts_of, require_writable, say_source, warn_if_selected
from gnnimpute._lazy_components import lazy_principal_components
from gnnimpute._named_groups import batches_of
from gnnimpute._names import looks_transposed, mitochondrial
from gnnimpute._quality import Limit, Limits, Rule, about, cell_rules, quality_of, require_passing

if TYPE_CHECKING:
    import scipy.sparse as sp
    from anndata import AnnData
    from numpy.typing import NDArray

_log = logging.getLogger(__name__)

_N_CELLS = f"{_keys.ADDED}_n_cells"
_DISTANCES = f"{_keys.NEIGHBORS}_distances"
_CONNECTIVITIES = f"{_keys.NEIGHBORS}_connectivities"


def prepare(
    adata: AnnData,
    *,
    layer: str | None = None,
    min_genes: int = 200,
    min_cells: int = 3,
    max_genes: int | None = None,
    max_mito_pct: Limit = "mad",
    max_total: Limit = "mad",
    n_pcs: int | None = 50,
    n_neighbors: int = 5,
    batch_key: str | None = None,
    filter: bool = False,  # noqa: A002 -- as on the command line
    allow_non_counts: bool = False,
    rng: np.random.Generator | int | None = 0,
    device: str | None = None,
) -> None:
    """Mark what passes quality control and find the nearest cells: the four steps of :cite:t:`Xu2021`.

    Counts that are a Dask array are read a few cells at a time, by the workers of a ``dask.distributed.Client`` if
    there is one. The components are then those of the 2000 genes of most variance.

    Leave out what you have done already: ``min_genes=0``, ``min_cells=0``, ``max_mito_pct=None``, ``max_total=None``,
    ``n_pcs=None`` (no graph). Nothing is dropped unless `filter` is set, and `X`, `raw`, names and order never change.
    Cells and genes without counts never pass.

    Parameters
    ----------
    adata
        Cells x genes.
    layer
        Layer of the raw counts, or ``"raw"`` for those of `raw`. By default ``layers["counts"]``, if there, else `X`.
    min_genes
        Least number of detected genes of a cell.
    min_cells
        Least number of cells, among those that pass, that a gene is detected in.
    max_genes
        Most detected genes of a cell; by default no limit. The public code of the paper's authors sets one.
    max_mito_pct
        Most counts of a cell in mitochondrial genes, in per cent. ``"mad"``: five median absolute deviations above the
        median, and at least 5 %. Genes are recognised by name or by any text column of `var`: ``MT-`` and ``mt-``
        symbols, human and mouse Ensembl ids. Where none is recognised, the step is left out and the log says so.
    max_total
        Most counts of a cell. ``"mad"``: five median absolute deviations above the median on the logarithmic scale, and
        at least twice the median. Low totals are judged by `min_genes` alone.
    n_pcs
        Principal components of the logarithms of the normalised counts. Cut to what cells and genes allow.
    n_neighbors
        Nearest cells of a cell, not counting the cell itself. Cut to the number of other cells.
    batch_key
        Column of `obs`: neighbours are then sought within each batch.
    filter
        Drop the cells and genes that did not pass from `adata`, in place.
    allow_non_counts
        Take values that are not whole, such as TPM.
    rng
        Seed or generator, for the principal components and for neighbours of 100,000 cells and more; `None` draws one.
    device
        Where neighbours of 50,000 cells and more are sought, as PyTorch names it; by default a GPU if there is one.

    Raises
    ------
    KeyError
        If the layer or the batch column does not exist.
    ValueError
        If the matrix does not hold counts, no cell or no gene passes, or a limit makes no sense.

    Returns
    -------
    `None`. Sets the following fields:

    `adata.layers["counts"]` : :class:`scipy.sparse.csr_matrix` (`float32`)
        A copy of the counts, if there was no such layer, which a later call then reads; not of a Dask array.
    `adata.obs["gnnimpute_pass"]`, `adata.var["gnnimpute_pass"]` : `bool`
        Cells and genes that pass: those that are modelled, unless a saved model brings genes of its own.
    `adata.obs["gnnimpute_size_factor"]` : `float`
        Counts of a cell in passing genes, relative to the median passing cell; 0 for a cell without such counts.
    `adata.obs["gnnimpute_n_genes"]`, `["gnnimpute_total_counts"]`, `["gnnimpute_pct_mito"]`
        Detected genes, counts, and per cent of the counts in mitochondrial genes (if any is known).
    `adata.var["gnnimpute_n_cells"]` : `int`
        Cells in which a gene is detected, among those that no rule for cells sets aside.
    `adata.uns["gnnimpute_quality"]` : :class:`dict`
        ``limits``, how many cells (``n_cells``, of what ``reasons``) and genes they set aside, and `layer`, if given.
    `adata.obsm["gnnimpute_pca"]` : :class:`numpy.ndarray` (`float32`, n_cells x n_pcs)
        Principal components of the passing cells; other cells are projected on them and change nothing.
    `adata.uns["gnnimpute_neighbors"]`, `adata.obsp["gnnimpute_neighbors_distances"]`, `["..._connectivities"]`
        Graph in scanpy's format (``neighbors_key="gnnimpute_neighbors"``). Cells that fail have no neighbours.
        ``params["n_neighbors"]`` counts the cell itself, as scanpy does; ``params["k"]`` does not.
    """
    limits = Limits(
        min_genes=min_genes, min_cells=min_cells, max_genes=max_genes, max_mito_pct=max_mito_pct, max_total=max_total
    )
    require_writable(adata)
    check_rng(rng)
    check_whole(n_neighbors=n_neighbors, n_pcs=0 if n_pcs is None else n_pcs)
    if filter and adata.isbacked:
        msg = "Cells and genes cannot be dropped from a file: adata = adata.to_memory() first, or leave `filter` out."
        raise ValueError(msg)
    counts = counts_of(adata, layer, allow_non_counts=allow_non_counts)
    say_source(adata, layer, counts)
    warn_if_selected(adata)
    batches = None if batch_key is None else batches_of(adata, batch_key)
    if looks_transposed(adata.obs_names, adata.var_names):
        told = "Cells look like genes (%r) or genes like cells (%r). If this is genes x cells, transpose: %s"
        _log.warning(told, adata.obs_names[0], adata.var_names[0], "adata = adata.T (--orientation genes_by_cells)")

    texts = [adata.var_names, *(column for _, column in adata.var.select_dtypes(exclude="number").items())]
    quality = quality_of(counts, np.any([mitochondrial(text) for text in texts], axis=0))
    rules = cell_rules(quality, limits)
    cells, genes, n_cells, total = _passing(counts, rules, min_cells)
    graph: dict[str, dict[str, Any]] = {}
    if n_pcs is not None:
        seed = seed_of(rng)
        find = lazy_principal_components if is_lazy(counts) else partial(principal_components, rng=seed)
        embedding = find(counts[:, genes], n_pcs=n_pcs, passing=cells)
        graph = _graph(embedding, cells, n_neighbors=n_neighbors, batches=batches, seed=seed, device=device)
        if batch_key is not None:
            graph["uns"][_keys.NEIGHBORS]["params"]["batch_key"] = batch_key

    # From here on nothing can go wrong: an error leaves `adata` as it was.
    if _keys.COUNTS not in adata.layers and not is_lazy(counts):
        adata.layers[_keys.COUNTS] = counts.copy()
    for name, values in quality._asdict().items():
        if values is not None:
            adata.obs[f"{_keys.ADDED}_{name}"] = values
    adata.obs[_keys.SIZE_FACTOR] = total / np.median(total[cells])
    adata.obs[_keys.PASS], adata.var[_keys.PASS], adata.var[_N_CELLS] = cells, genes, n_cells
    adata.uns[_keys.QUALITY] = about(limits, rules, n_genes=int((~genes).sum()), layer=layer)
    _replace_graph(adata, graph)
    _tell(rules, cells, genes, min_cells=min_cells, dropped=filter)
    if filter:
        adata._inplace_subset_obs(cells)
        adata._inplace_subset_var(genes)


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


def _tell(
    rules: list[Rule], cells: NDArray[np.bool_], genes: NDArray[np.bool_], *, min_cells: int, dropped: bool
) -> None:
    fate = "the others are dropped" if dropped else "nothing is dropped: obs and var 'gnnimpute_pass' flag the others"
    _log.info("%d of %d cells and %d of %d genes pass; %s", cells.sum(), cells.size, genes.sum(), genes.size, fate)
    for rule in rules:
        if rule.fails.any():
            _log.info("cells: %s", rule)
    if not genes.all():
        reason = f"detected in fewer than {min_cells} passing cells" if min_cells > 1 else "in no passing cell"
        _log.info("genes: %d %s (min_cells=%d)", (~genes).sum(), reason, min_cells)
