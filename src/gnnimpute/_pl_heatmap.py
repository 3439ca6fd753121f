"""Heat map of genes in all cells, by group."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gnnimpute import _keys
from gnnimpute._canvas import LIGHT, about_of, axes, imputed, marked, not_modelled, values_of, without
from gnnimpute._named_groups import groups_of
from gnnimpute._pl_names import names_along

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anndata import AnnData
    from matplotlib.axes import Axes


def heatmap(
    adata: AnnData,
    genes: Sequence[str],
    groupby: str,
    *,
    key: str = _keys.ADDED,
    layer: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Genes in all cells, cells in the order of their groups; each gene from its least to its highest value.

    Cells that were not modelled have no imputed value: they are grey. Genes that were not are named so.

    Parameters
    ----------
    adata
        Imputed by :func:`gnnimpute.tl.impute`.
    genes
        Names of the genes: the rows.
    groupby
        Column of `obs`.
    key
        The `key_added` of the imputation.
    layer
        Layer of raw counts to show instead of imputed values, on the scale of these.
    ax
        Where to draw; by default a new figure, as large as the names need.

    Returns
    -------
    What was drawn on.

    Raises
    ------
    KeyError
        If there is no such imputation, gene or column.
    TypeError
        If `genes` is a single name.
    ValueError
        If the column holds many different numbers, not groups, or nothing.
    """
    from matplotlib import colormaps

    groups, names = groups_of(adata, groupby)
    values = values_of(adata, genes, key=key, layer=layer)
    grey = not_modelled(adata, key) & (layer is None)
    values = np.where(grey[:, None], np.nan, values)
    known = np.unique(groups[groups >= 0])
    order = np.concatenate([np.flatnonzero(groups == number) for number in known])
    low, high = np.nanmin(values, 0), np.nanquantile(values, 0.99, axis=0)
    high = np.where(high > low, high, np.nanmax(values, 0))
    shown = np.clip((values - low) / np.where(high > low, high - low, 1), 0, 1)[order].T
    grows, ax = ax is None, axes(ax)
    look: dict[str, Any] = {"cmap": colormaps["viridis"].with_extremes(bad=LIGHT), "interpolation": "nearest"}
    image = ax.imshow(shown, aspect="auto", vmin=0, vmax=1, rasterized=True, **look)
    ends = np.cumsum([(groups == number).sum() for number in known])
    ax.vlines(ends[:-1] - 0.5, -0.5, len(shown) - 0.5, color="white", linewidth=1)
    ax.set_yticks(range(len(shown)), marked(adata, genes, key) if layer is None else list(genes))
    upright: dict[str, Any] = {"rotation": 90} if len(known) > 8 else {"rotation": 45, "ha": "right"}
    ax.set_xticks((ends + np.concatenate([[0], ends[:-1]]) - 1) / 2, [names[number] for number in known], **upright)
    ax.tick_params(length=0)
    ax.set(xlabel=groupby)
    title = "observed" if layer is not None else imputed(about_of(adata, key))
    title += without(grey[order], "grey") + without(groups < 0, "left out", what="without a group")
    ax.set_title(title, fontsize="medium")
    names_along(ax, grows=grows)
    ax.figure.colorbar(image, ax=ax, label="least to highest value of the gene (99 %)")
    return ax
