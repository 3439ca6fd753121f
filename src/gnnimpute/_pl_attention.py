"""Plots of what a cell's values are made from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gnnimpute import _keys
from gnnimpute._canvas import BLUE, GREY, LIGHT, ORANGE, about_of, axes, coordinates
from gnnimpute._names import suggestion

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes

    from gnnimpute._explanation import Explanation


def attention(
    adata: AnnData, cell: str, *, key: str = _keys.ADDED, basis: str | None = None, ax: Axes | None = None
) -> Axes:
    """Whose counts a cell's latent is made from: a line to each such cell, the wider and darker the more it weighs.

    Parameters
    ----------
    adata
        Imputed by :func:`gnnimpute.tl.impute`.
    cell
        Name of the cell.
    key
        The `key_added` of the imputation.
    basis
        Embedding in `obsm`. By default ``"X_umap"`` or ``"X_tsne"`` if there is one, else two principal components of
        the latent.
    ax
        Where to draw; by default a new figure.

    Returns
    -------
    What was drawn on.

    Raises
    ------
    KeyError
        If there is no such imputation, cell or embedding.
    ValueError
        If the cell was not modelled.
    """
    from matplotlib.collections import LineCollection

    about_of(adata, key)
    if cell not in adata.obs_names:
        msg = f"There is no cell {cell!r}. {suggestion(cell, adata.obs_names)}"
        raise KeyError(msg)
    if _keys.attention(key) not in adata.obsp:
        msg = (
            f"There are no attention weights of {key!r}: they are for counts in memory. Impute some cells anew, "
            "adata[cells].to_memory()."
        )
        raise KeyError(msg)
    own = adata.obs_names.get_loc(cell)
    row = adata.obsp[_keys.attention(key)][own].tocoo()
    if not row.nnz:
        msg = f"Cell {cell!r} was not modelled: it attends to no cells, and keeps its observed values."
        raise ValueError(msg)
    weights = dict(zip(row.col.tolist(), row.data.tolist(), strict=True))
    points, name = coordinates(adata, basis, key)
    others = np.array(sorted(other for other in weights if other != own), dtype=np.int64)
    shares = np.array([weights[other] for other in others])
    ax = axes(ax)
    ax.scatter(
        points[:, 0],
        points[:, 1],
        s=max(1.0, min(20.0, 60_000 / adata.n_obs)),
        color=LIGHT,
        linewidths=0,
        rasterized=True,
    )
    strength = shares / shares.max() if len(shares) else shares
    lines = [(points[own], points[other]) for other in others]
    ax.add_collection(LineCollection(lines, colors=GREY, linewidths=0.5 + 2.5 * strength, alpha=0.6))
    drawn = ax.scatter(points[others, 0], points[others, 1], c=100 * shares, cmap="viridis_r", vmin=0, s=30, zorder=3)
    ax.scatter(
        points[own, 0], points[own, 1], color=ORANGE, marker="*", s=160, edgecolors="white", zorder=4, label=cell
    )
    ax.figure.colorbar(drawn, ax=ax, label="weight of its counts (%)")
    ax.set_title(
        f"{_end(cell, 40)}\nown counts {100 * weights.get(own, 0):.0f} %, {len(others)} other cells", fontsize="medium"
    )
    ax.set(xlabel=f"{name}1", ylabel=f"{name}2", xticks=[], yticks=[])
    return ax


def explain(explanation: Explanation, *, n_cells: int = 15, ax: Axes | None = None) -> Axes:
    """Whose counts led to a value: the heaviest cells, what each weighs and what it counted of the gene.

    Parameters
    ----------
    explanation
        From :func:`gnnimpute.tl.explain`.
    n_cells
        Most neighbours to show.
    ax
        Where to draw; by default a new figure.

    Returns
    -------
    What was drawn on.
    """
    shown = explanation.neighbors.head(n_cells)
    weights = 100 * np.array([explanation.own_weight, *shown["weight"]])
    counts = [explanation.count, *shown["count"]]
    names = [f"{_end(explanation.cell)} (itself)", *(_end(str(name)) for name in shown.index)]
    rows = np.arange(len(names))
    ax = axes(ax)
    colors = [ORANGE, *(BLUE if count else "#B0B0B0" for count in counts[1:])]
    ax.barh(rows, weights, color=colors, height=0.7)
    for row, (weight, count) in enumerate(zip(weights, counts, strict=True)):
        ax.annotate(f"{count:g}", (weight, row), (4, 0), textcoords="offset points", va="center", fontsize="small")
    ax.set_yticks(rows, names, fontsize="small")
    ax.invert_yaxis()
    ax.margins(x=0.12)
    ax.set_xlabel(f"weight in the cell's latent (%)\nbeside it: molecules of {explanation.gene}")
    ax.set_title(
        f"{explanation.gene} in {_end(explanation.cell)}\n"
        f"{explanation.count:g} counted, {explanation.mean:.2g} expected, posterior {explanation.posterior:.2g}\n"
        f"{explanation.level:.0%} interval {explanation.lower:.2g} to {explanation.upper:.2g}\n"
        f"another library detects it: {explanation.redetection:.0%}",
        fontsize="medium",
    )
    return ax


def _end(name: str, most: int = 20) -> str:
    """End of a long name, where names of cells differ."""
    return name if len(name) <= most else f"\u2026{name[1 - most :]}"
