"""Quality control, principal components and neighbours."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gnnimpute import _keys
from gnnimpute._arguments import check_rng, check_whole
from gnnimpute._blocks import is_lazy
from gnnimpute._inputs import counts_of, require_writable, say_source, warn_of_other_counts
from gnnimpute._marks import drop_failed, mark, say_passed
from gnnimpute._quality import Limit, Limits

if TYPE_CHECKING:
    import numpy as np
    from anndata import AnnData


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
    warn_of_other_counts(adata, layer)
    passed = mark(
        adata, counts, limits, n_pcs=n_pcs, n_neighbors=n_neighbors, batch_key=batch_key, layer=layer, rng=rng,
        device=device, copy_counts=_keys.COUNTS not in adata.layers and not is_lazy(counts),
    )  # fmt: skip
    say_passed(
        passed,
        "the others are dropped" if filter else "nothing is dropped: obs and var 'gnnimpute_pass' flag the others",
    )
    if filter:
        drop_failed(adata, passed)
