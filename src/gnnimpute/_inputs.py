"""Read counts and embeddings from an AnnData, or say what is there instead."""

from __future__ import annotations

import logging
from collections import Counter
from os import PathLike
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp

from gnnimpute import _keys
from gnnimpute._blocks import by_cells, is_lazy
from gnnimpute._counts import check_counts
from gnnimpute._genes import positions
from gnnimpute._names import looks_transposed, suggestion

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from anndata import AnnData
    from numpy.typing import NDArray

_log = logging.getLogger(__name__)

_RAW = "raw"
"""Name of the counts of ``adata.raw``, which many files keep beside a normalised `X`."""
_SPIKE_IN = r"ERCC[-_.]\d{5}"
_KINDS_OF_GENES = {"gene expression", "gene", "gex", "rna"}
N_COMPARED = 100
"""Cells whose counts in `X` and in a layer are compared, and that are looked at before all of a Dask array is."""


def require_anndata(adata: Any) -> None:
    """Raise TypeError for what is none, such as the path of one."""
    if not hasattr(adata, "obsm"):
        read = f"gi.io.read({str(adata)!r})" if isinstance(adata, str | PathLike) else "anndata.AnnData(...)"
        msg = f"adata is a {type(adata).__name__}, not an AnnData: make one first, adata = {read}."
        raise TypeError(msg)


def require_writable(adata: Any) -> None:
    """Raise TypeError for what is no AnnData, and ValueError for a part of a file, which nothing can be added to."""
    require_anndata(adata)
    if adata.isbacked and adata.is_view:
        msg = "adata is a part of a file, which nothing can be added to: adata = adata.to_memory() first."
        raise ValueError(msg)


def counts_of(adata: AnnData, layer: str | None, *, allow_non_counts: bool | None) -> Any:
    """Counts of the layer, or of X or raw if it is so named; by default of ``layers["counts"]``, or else of X.

    A Dask array stays one. `allow_non_counts` is `None` where the caller cannot take others.
    """
    require_anndata(adata)
    matrix, where = matrix_of(adata, layer)
    # Each block of a Dask array is checked when it is read; the first cells now, for an error that says where to look.
    lazy = by_cells(matrix, where=where, allow_non_counts=allow_non_counts) if is_lazy(matrix) else None
    matrix = _first_cells(matrix)
    names: dict[str, Any] = {"cell_names": adata.obs_names[: matrix.shape[0]], "gene_names": adata.var_names}
    try:
        counts = check_counts(matrix, where=where, **names, allow_non_counts=allow_non_counts)
        return counts if lazy is None else lazy
    except ValueError as error:
        msg = f"{error}{_elsewhere(adata, where)}"
        raise ValueError(msg) from None


def matrix_of(adata: AnnData, layer: str | None) -> tuple[Any, str]:
    """The matrix of a layer, and what to call it; ``"X"`` and, if it has the same genes, ``"raw"`` are layers too.

    By default it is ``layers["counts"]``, or else `X`.

    Raises
    ------
    KeyError
        If there is no such layer, with near names.
    """
    if (name := _keys.COUNTS if layer is None else layer) in adata.layers:
        return adata.layers[name], f"adata.layers[{name!r}]"
    if layer in (None, "X"):
        return adata.X, "adata.X"
    if layer == _RAW and _same_genes_in_raw(adata):
        return adata.raw.X, "adata.raw.X"
    elsewhere = _in_raw(adata) if layer == _RAW and _keys.COUNTS not in adata.layers else ""
    msg = f"adata.layers has no {layer!r}. {suggestion(layer, adata.layers)}{elsewhere}"
    raise KeyError(msg)


def _same_genes_in_raw(adata: AnnData) -> bool:
    return adata.raw is not None and adata.raw.var_names.equals(adata.var_names)


def layer_of(adata: AnnData, layer: str | None) -> str | None:
    """The layer that is named, or else the one that :func:`gnnimpute.pp.prepare` was given and made no copy of.

    `None` leaves it to :func:`counts_of`: ``layers["counts"]``, or else `X`.
    """
    require_anndata(adata)
    if layer is not None or _keys.COUNTS in adata.layers:
        return layer
    prepared = adata.uns.get(_keys.QUALITY, {}).get("layer")
    return None if prepared is None else str(prepared)


def warn_of_other_counts(adata: AnnData, layer: str | None) -> None:
    """Say so if what comes next would read other counts than these by default."""
    copied = adata.uns.get(_keys.QUALITY, {}).get("layer")  # by an earlier `prepare`
    if layer not in (None, _keys.COUNTS, copied) and _keys.COUNTS in adata.layers:
        _log.warning("layers['counts'] was there and is left as it is: impute with layer=%r too", layer)


def say_source(adata: AnnData, layer: str | None, counts: Any) -> None:
    """Say which matrix was read, and warn of what does not look like all raw counts, cells x genes."""
    _log.info("Counts are read from %s", matrix_of(adata, layer)[1])
    warn_if_selected(adata)
    warn_of_other_features(adata)
    warn_if_transposed(adata)
    warn_if_x_differs(adata, layer, counts)


def warn_if_x_differs(adata: AnnData, layer: str | None, counts: Any) -> None:
    """Say so if `X` holds other counts than the layer that goes before it."""
    is_named = layer is not None or _keys.COUNTS not in adata.layers
    if is_named or is_lazy(counts) or adata.isbacked or adata.X is None or is_lazy(adata.X):
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


def warn_of_other_features(adata: AnnData) -> None:
    """Say so if proteins, peaks or spike-ins are among the genes, as where a file was read with all that it holds."""
    kept = "to_memory" if adata.isbacked else "copy"
    kinds = adata.var["feature_types"].dropna() if "feature_types" in adata.var else []
    if len(numbers := dict(Counter(map(str, kinds)))) > 1:
        others = sorted(kind for kind in numbers if kind.lower() not in _KINDS_OF_GENES)
        mend = f"adata = adata[:, ~adata.var['feature_types'].astype(str).isin({others})].{kept}()"
        _log.warning(
            "adata.var['feature_types'] has %s: all count in the depth of cells, and are imputed as genes. Leave out "
            "what is no gene%s.",
            ", ".join(f"{n_features} {kind!r}" for kind, n_features in numbers.items()),
            f": {mend}" if len(others) < len(numbers) else "",
        )
    if (spikes := adata.var_names.astype(str).str.contains(_SPIKE_IN, case=False, regex=True)).any():
        told = "%d spike-ins, such as %r, count in the depth of cells. To leave them out: adata = adata[:, %s].%s()."
        mend = f"~adata.var_names.str.contains({_SPIKE_IN!r}, case=False)"
        _log.warning(told, spikes.sum(), str(adata.var_names[int(np.argmax(spikes))]), mend, kept)


def warn_if_transposed(adata: AnnData) -> None:
    if looks_transposed(adata.obs_names, adata.var_names):
        told = "Cells look like genes (%r) or genes like cells (%r). If this is genes x cells, transpose: %s"
        _log.warning(told, adata.obs_names[0], adata.var_names[0], "adata = adata.T (--orientation genes_by_cells)")


def _elsewhere(adata: AnnData, sought: str) -> str:
    """Where counts are, if not where they were sought."""
    for name in ["X", *adata.layers, *([_RAW] if _same_genes_in_raw(adata) else [])]:
        matrix, where = matrix_of(adata, name)
        if where != sought and _holds_counts(matrix):
            return f" {where} does hold counts: layer={name!r} (--layer {name})."
    return _in_raw(adata)


def _in_raw(adata: AnnData) -> str:
    """What to do with counts of other genes in `raw`, if it holds some."""
    if adata.raw is not None and not _same_genes_in_raw(adata) and _holds_counts(adata.raw.X):
        if set(adata.raw.var_names) == set(adata.var_names):
            mend = "adata.layers['counts'] = adata.raw[:, adata.var_names].X"
            return f" adata.raw does hold counts, of the same genes in another order: {mend}."
        n_genes = adata.raw.n_vars
        return f" adata.raw does hold counts, of {n_genes} genes: adata.raw.to_adata() makes an AnnData of them."
    return ""


def _first_cells(matrix: Any) -> Any:
    """Some cells of a Dask array, in memory; all else as it is."""
    return matrix[:N_COMPARED].compute() if is_lazy(matrix) else matrix


def _holds_counts(matrix: Any) -> bool:
    try:
        check_counts(_first_cells(matrix), where="")
    except (TypeError, ValueError):
        return False
    return True


def genes_of(adata: AnnData, genes: Sequence[str]) -> NDArray[np.int64]:
    """Where genes are among ``adata.var_names``. Errors of :func:`gnnimpute._genes.positions`.

    Of a symbol that is in another column of `var`, as where names are Ensembl ids, the error has the name.
    """
    genes = genes if isinstance(genes, str) else list(genes)  # a generator can be gone through once only
    try:
        return positions(adata.var_names, genes)
    except KeyError as error:
        there = set(map(str, adata.var_names))
        wanted = next(str(gene) for gene in genes if str(gene) not in there)
        for column, values in adata.var.select_dtypes(exclude="number").items():
            if len(rows := np.flatnonzero(values.astype(str) == wanted)):
                name = adata.var_names[rows[0]]
                msg = f"{error.args[0]} adata.var[{column!r}] has {wanted!r} for {name!r}: give that name."
                raise KeyError(msg) from None
        raise


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
