"""Plots of cells and genes."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np

from gnnimpute import _keys
from gnnimpute._canvas import (
    GREY,
    LIGHT,
    about_of,
    axes,
    coordinates,
    group_color,
    group_marker,
    imputed,
    marked,
    not_modelled,
    values_of,
    without,
    wrapped,
)
from gnnimpute._named_groups import groups_of, is_measure
from gnnimpute._pl_names import legend_beside

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes

_log = logging.getLogger(__name__)

_MOST_INSIDE = 5
"""Groups whose names stand among the dots."""


def gene_pair(
    adata: AnnData,
    gene_x: str,
    gene_y: str,
    *,
    key: str = _keys.ADDED,
    layer: str | None = None,
    color: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Two genes against each other, observed and imputed, each dot a cell, both on the scale of the imputation.

    What two imputed genes have in common is in part what the imputation gave both: look at it, do not test it.

    Parameters
    ----------
    adata
        Imputed by :func:`gnnimpute.tl.impute`.
    gene_x, gene_y
        Names of the genes.
    key
        The `key_added` of the imputation.
    layer
        Layer of the raw counts; by default the one that was imputed.
    color
        Column of `obs` whose groups the imputed dots are coloured by.
    ax
        Where to draw; by default a new figure.

    Returns
    -------
    What was drawn on.

    Raises
    ------
    KeyError
        If there is no such imputation, gene or column.
    ValueError
        If the column holds many different numbers, not groups, or nothing.
    """
    about = about_of(adata, key)
    values = values_of(adata, [gene_x, gene_y], key=key, layer=None)
    raw = values_of(adata, [gene_x, gene_y], key=key, layer=layer or str(about.get("layer", _keys.COUNTS)))
    groups, names = (np.zeros(adata.n_obs), ["imputed"]) if color is None else groups_of(adata, color)
    missing, grows = not_modelled(adata, key), ax is None
    ax = axes(ax)
    ax.scatter(raw[:, 0], raw[:, 1], s=9, color=GREY, alpha=0.4, linewidths=0, label="observed", rasterized=True)
    for number, group in enumerate(names):
        name = group if color is None else f"imputed, {group}"
        x, y = values[(groups == number) & ~missing].T
        how: dict[str, Any] = {"color": group_color(number), "marker": group_marker(number), "label": name}
        ax.scatter(x, y, s=9, alpha=0.7, linewidths=0, rasterized=True, **how)
    unit = wrapped(about["unit"])
    x_name, y_name = marked(adata, [gene_x, gene_y], key)
    ax.set(xlabel=f"{x_name}\n{unit}", ylabel=f"{y_name}\n{unit}")
    title = f"{gene_x} and {gene_y}, estimate: {about['estimate']}"
    title += without(missing, "observed only") + without(groups < 0, "observed only", what="without a group")
    ax.set_title(title, fontsize="medium")
    if len(names) > _MOST_INSIDE:
        legend_beside(ax, grows=grows)
    else:
        ax.legend(frameon=False, markerscale=2, fontsize="small")
    return ax


def embedding(
    adata: AnnData,
    color: str,
    *,
    key: str = _keys.ADDED,
    basis: str | None = None,
    layer: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Cells in two dimensions, coloured by a gene or by a column of `obs`.

    Columns of many different numbers have a scale, all others groups. Cells that were not modelled have no imputed
    value: they are grey.

    Parameters
    ----------
    adata
        Imputed by :func:`gnnimpute.tl.impute`.
    color
        Name of a gene, whose imputed value is shown, or a column of `obs`, which goes before a gene of the same name.
    key
        The `key_added` of the imputation.
    basis
        Embedding in `obsm`. By default ``"X_umap"`` or ``"X_tsne"`` if there is one, else two principal components of
        the latent, in which cells that were not modelled have no place.
    layer
        Layer of raw counts to show instead of imputed values, on the scale of these.
    ax
        Where to draw; by default a new figure, as large as the names of many groups need.

    Returns
    -------
    What was drawn on.

    Raises
    ------
    KeyError
        If there is no such imputation, embedding, gene or column.
    TypeError
        If `color` is a list: one is drawn at a time.
    ValueError
        If the column holds nothing.
    """
    if not isinstance(color, str):
        msg = f"color={color!r}: one gene or column is drawn at a time. Give each its own axes: color='...', ax=..."
        raise TypeError(msg)
    about = about_of(adata, key)
    points, name = coordinates(adata, basis, key)
    if color in adata.obs and color in adata.var_names:
        _log.warning("%r is a column of obs and a gene: the column is drawn", color)
    grows = ax is None
    dots: dict[str, Any] = {"s": max(1.0, min(20.0, 60_000 / adata.n_obs)), "linewidths": 0, "rasterized": True}
    if color in adata.obs and not is_measure(adata.obs[color]):
        groups, names = groups_of(adata, color)
        ax = axes(ax)
        for number, group in enumerate(names):
            x, y = points[groups == number].T
            ax.scatter(x, y, color=group_color(number), marker=group_marker(number), label=group, **dots)
        legend_beside(ax, grows=grows)
        ax.set_title(color + without(groups < 0, "left out", what="without a group"))
    else:
        grey = np.zeros(adata.n_obs, dtype=bool)
        if color in adata.obs:
            values, unit, title = adata.obs[color].to_numpy(dtype=np.float64, na_value=np.nan), color, color
        else:
            values, unit = values_of(adata, [color], key=key, layer=layer)[:, 0], about["unit"]
            is_imputed = layer is None and bool(adata.var[_keys.modelled(key)][color])
            grey = not_modelled(adata, key) & is_imputed
            title = f"{color}, {imputed(about) if is_imputed else 'observed'}"
            title += without(grey, "grey" if np.isfinite(points[grey]).all() else "not shown")
        ax = axes(ax)
        if grey.any():
            ax.scatter(*points[grey].T, color=LIGHT, **dots)
        order = np.flatnonzero(~grey)[np.argsort(values[~grey], kind="stable")]  # the highest on top
        drawn = ax.scatter(points[order, 0], points[order, 1], c=values[order], cmap="viridis", **dots)
        ax.figure.colorbar(drawn, ax=ax, label=wrapped(unit))
        ax.set_title(title, fontsize="medium")
    ax.set(xlabel=f"{name}1", ylabel=f"{name}2", xticks=[], yticks=[])
    return ax
