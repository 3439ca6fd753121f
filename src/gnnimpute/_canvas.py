"""What all plots share: colours, axes, and values on the scale of an imputation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp

from gnnimpute import _keys
from gnnimpute._blocks import by_cells, dense, each, is_lazy
from gnnimpute._counts import depths, totals
from gnnimpute._inputs import genes_of, matrix_of, require_key
from gnnimpute._names import suggestion

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from anndata import AnnData
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike, NDArray

BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#767676"
"""Colours that colour-blind people can tell apart, after Okabe and Ito."""

LIGHT = "#D0D0D0"
"""Cells that are there, and no more: such as those that were not modelled."""

GROUPS = (BLUE, ORANGE, "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MORE_GROUPS = ("#882255", "#999933", "#332288", "#661100", "#44AA99", "#9970DD", "#AA4499")
"""Colours of groups, seven that everybody can tell apart, then seven more; each seven have a marker of their own."""

MARKERS = "osD^vPX"


def about_of(adata: AnnData, key: str) -> Mapping[str, Any]:
    """What is known of an imputation."""
    if key not in adata.uns or "unit" not in (about := adata.uns[key]):  # an evaluation has none
        msg = f"adata.uns has no imputation {key!r}: call gi.tl.impute(adata) first. {suggestion(key, adata.uns)}"
        raise KeyError(msg)
    return about  # type: ignore[no-any-return]


def evaluation_of(adata: AnnData, key: str) -> Mapping[str, Any]:
    """What an evaluation has found."""
    if key not in adata.uns or "methods" not in (found := adata.uns[key]):
        msg = f"adata.uns has no evaluation {key!r}: call gi.tl.evaluate(adata) first. {suggestion(key, adata.uns)}"
        raise KeyError(msg)
    return found  # type: ignore[no-any-return]


def wrapped(text: str) -> str:
    """A unit in lines that fit an axis."""
    import textwrap

    return textwrap.fill(text, 40)


def axes(ax: Axes | None) -> Axes:
    """The axes to draw on, or new ones."""
    if ax is not None:
        return ax
    from matplotlib import pyplot as plt

    return plt.subplots(layout="constrained")[1]


def group_color(number: int) -> str:
    """Colour of a group."""
    colors = GROUPS + MORE_GROUPS
    return colors[number % len(colors)]


def group_marker(number: int) -> str:
    """Marker of a group: as seven is odd, colour and marker together tell 98 groups apart."""
    return MARKERS[number // len(GROUPS) % len(MARKERS)]


def not_modelled(adata: AnnData, key: str) -> NDArray[np.bool_]:
    """Cells that keep observed values among the imputed ones, of shape (n_obs,): they have no latent."""
    if key in adata.obsm:
        return np.asarray(np.isnan(np.asarray(adata.obsm[key], dtype=np.float64)).any(1))
    if _keys.PASS in adata.obs:
        return np.asarray(~adata.obs[_keys.PASS].to_numpy(dtype=bool))
    return np.zeros(adata.n_obs, dtype=bool)


def marked(adata: AnnData, genes: Sequence[str], key: str) -> list[str]:
    """Names of genes; of those that were not modelled, whose values are observed ones, with a word on that."""
    if (column := _keys.modelled(key)) not in adata.var:
        return [str(gene) for gene in genes]
    is_modelled = adata.var[column].to_numpy(dtype=bool)[genes_of(adata, genes)]
    return [f"{gene}{'' if one else ' (not modelled)'}" for gene, one in zip(genes, is_modelled, strict=True)]


def imputed(about: Mapping[str, Any]) -> str:
    """What imputed values are, for a title: estimate and unit."""
    return f"imputed ({about['estimate']}, {about['output']})"


def without(cells: NDArray[np.bool_], how: str, *, what: str = "not modelled") -> str:
    """Another line of a title, where there are such cells: how many, and how they are shown."""
    number = int(cells.sum())
    return f"\n{number:,} cell{'s' if number > 1 else ''} {what}: {how}" if number else ""


def coordinates(adata: AnnData, basis: str | None, key: str) -> tuple[NDArray[np.float64], str]:
    """Two coordinates of each cell, of shape (n_obs, 2), and what they are.

    Raises
    ------
    KeyError
        If `obsm` has no such embedding.
    """
    if basis is None:
        basis = next((name for name in ("X_umap", "X_tsne") if name in adata.obsm), None)
    if basis is not None:
        require_key(adata, "obsm", basis)
        return np.asarray(adata.obsm[basis], dtype=np.float64)[:, :2], basis.removeprefix("X_").upper()
    latent = np.asarray(adata.obsm[key], dtype=np.float64)
    known = np.isfinite(latent).all(1)
    points = np.full((adata.n_obs, 2), np.nan)
    centred = latent[known] - latent[known].mean(0)
    points[known] = centred @ np.linalg.svd(centred, full_matrices=False)[2][:2].T
    return points, "principal component of the latent, "


def values_of(adata: AnnData, genes: Sequence[str], *, key: str, layer: str | None) -> NDArray[np.float64]:
    """Imputed values of genes, of shape (n_obs, n_genes), or the counts of `layer` on the same scale.

    Raises
    ------
    KeyError
        If there is no such imputation, layer or gene.
    TypeError
        If `genes` is a single name.
    """
    about_of(adata, key)  # an error if there is none
    columns = genes_of(adata, genes)
    if layer is not None:
        return on_scale(adata, columns, layer=layer, key=key)
    if key not in adata.layers:
        msg = f"adata.layers has no {key!r}: impute all genes, without genes= and out=. {suggestion(key, adata.layers)}"
        raise KeyError(msg)
    return dense(adata.layers[key][:, columns])


def depth_of(adata: AnnData, key: str) -> NDArray[np.float64]:
    """What counts of each cell are divided by to be on the scale of normalised values, of shape (n_obs,)."""
    if (name := _keys.depth(key)) not in adata.obs:
        msg = f"adata.obs has no {name!r}, which gi.tl.impute(adata, key_added={key!r}) writes: call it again."
        raise KeyError(msg)
    depth: NDArray[np.float64] = adata.obs[name].to_numpy(dtype=np.float64)
    return depth


def on_scale(adata: AnnData, columns: ArrayLike, *, layer: str, key: str) -> NDArray[np.float64]:
    """Counts of some genes, of shape (n_obs, n_columns), on the scale of the imputed values.

    Counts that were imputed are, at most, molecules of the same genes; of another layer, such as the truth of simulated
    counts, cells are brought to the same total.
    """
    about = about_of(adata, key)
    try:
        matrix, where = matrix_of(adata, layer)
    except KeyError as error:
        msg = f"{error.args[0]} Name what to compare with: layer=."
        raise KeyError(msg) from None
    counts = by_cells(matrix, where=where, allow_non_counts=True) if is_lazy(matrix) else sp.csr_matrix(matrix)
    values = np.concatenate([*each(counts, _columns, columns)])
    if about["output"] == "counts":
        return values
    if layer == about["layer"]:
        values /= depth_of(adata, key)[:, None]
    else:
        modelled = adata.var[_keys.PASS].to_numpy(dtype=bool) if _keys.PASS in adata.var else slice(None)
        total = np.concatenate([*each(counts, _totals, modelled)])
        values /= depths(total, float(about["target_total"]))[:, None]
    if about["output"] == "log1p":
        np.log1p(values, out=values)
    return values


def _columns(counts: sp.csr_matrix, columns: ArrayLike) -> NDArray[np.float64]:
    return dense(counts[:, columns])


def _totals(counts: sp.csr_matrix, genes: NDArray[np.bool_] | slice) -> NDArray[np.float64]:
    return totals(counts[:, genes])
