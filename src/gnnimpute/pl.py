"""Plots. Each takes the object first, draws on `ax` if one is given, and says in which unit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gnnimpute import _keys
from gnnimpute._genes import positions
from gnnimpute._names import suggestion

if TYPE_CHECKING:
    from collections.abc import Mapping

    from anndata import AnnData
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike, NDArray

__all__ = ["gene_pair", "held_out", "loss"]

BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#767676"
"""Colours that colour-blind people can tell apart, after Okabe and Ito."""


def loss(adata: AnnData, *, key: str = _keys.ADDED, ax: Axes | None = None) -> Axes:
    """Training and validation loss of each epoch, each on an axis of its own; the epoch that is used is marked.

    Parameters
    ----------
    adata
        Imputed by :func:`gnnimpute.tl.impute`.
    key
        The `key_added` of the imputation.
    ax
        Where to draw; by default a new figure.

    Returns
    -------
    What was drawn on.

    Raises
    ------
    KeyError
        If there is no such imputation.
    """
    from matplotlib.ticker import MaxNLocator

    about = _about(adata, key)
    ax = _axes(ax)
    history, best = about["loss"], int(about["best_epoch"])
    epochs = 1 + np.arange(len(history["validation"]))
    loss_name = f"{str(about['params']['loss']).replace('_', ' ')} loss"
    lines = ax.plot(epochs, history["validation"], color=BLUE, marker=_few(epochs), label="validation (held-out)")
    lines += ax.plot(epochs[best], history["validation"][best], "o", color=ORANGE, label=f"best: epoch {best + 1}")
    right = ax.twinx()  # training hides another share, so its loss has a scale of its own
    lines += right.plot(
        epochs, history["training"], color=GREY, linestyle="--", marker=_few(epochs), label="training (right axis)"
    )
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set(xlabel="epoch", ylabel=f"validation: {loss_name}", title="Training")
    right.set_ylabel(f"training: {loss_name}", color=GREY)
    ax.legend(handles=lines, frameon=False, loc="upper right")
    return ax


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
    """
    about = _about(adata, key)
    if key not in adata.layers:
        msg = f"adata.layers has no {key!r}: impute all genes, without genes= and out=. {suggestion(key, adata.layers)}"
        raise KeyError(msg)
    if color is not None and color not in adata.obs:
        msg = f"adata.obs has no {color!r}. {suggestion(color, adata.obs)}"
        raise KeyError(msg)
    columns = positions(adata.var_names, [gene_x, gene_y])
    raw = _on_scale(adata, columns, layer or str(about.get("layer", _keys.COUNTS)), about)
    imputed = np.asarray(adata.layers[key][:, columns])
    ax = _axes(ax)
    ax.scatter(raw[:, 0], raw[:, 1], s=9, color=GREY, alpha=0.4, linewidths=0, label="observed", rasterized=True)
    groups = np.full(adata.n_obs, "imputed") if color is None else adata.obs[color].astype(str).to_numpy()
    for number, group in enumerate(sorted(set(groups))):
        chosen = BLUE if color is None else _group_color(number)
        name = group if color is None else f"imputed, {group}"
        x, y = imputed[groups == group].T
        ax.scatter(x, y, s=9, color=chosen, alpha=0.7, linewidths=0, label=name, rasterized=True)
    ax.set(xlabel=gene_x, ylabel=gene_y)
    ax.set_title(f"estimate: {about['estimate']}\n{about['unit']}", fontsize="small")
    ax.legend(frameon=False, markerscale=2, fontsize="small")
    return ax


def held_out(errors: Mapping[str, float], *, unit: str, title: str, ax: Axes | None = None) -> Axes:
    """Error of each method on what was hidden from it or lost, the least error on top.

    Parameters
    ----------
    errors
        Name and error of each method; lower is better.
    unit
        What the error is, and of what: the label of the axis.
    title
        What was hidden.
    ax
        Where to draw; by default a new figure.

    Returns
    -------
    What was drawn on.

    Raises
    ------
    ValueError
        If there is no error, or one is not finite.
    """
    if not errors or not np.isfinite(list(errors.values())).all():
        msg = f"Give the error of one method at least, each a finite number, instead of {dict(errors)}."
        raise ValueError(msg)
    names = sorted(errors, key=lambda name: -errors[name])
    values = np.array([errors[name] for name in names])
    ax = _axes(ax)
    # Dots, not bars: a loss may be negative, and then the length of a bar means nothing.
    colors = [BLUE if "gnnimpute" in name else GREY for name in names]
    ax.scatter(values, np.arange(len(names)), s=70, color=colors, zorder=3)
    ax.grid(axis="y", color="#DDDDDD", zorder=0)
    room = np.ptp(values) or abs(values[0]) or 1.0
    for row, value in enumerate(values):
        ax.annotate(f"{value:.3g}", (value, row), (0, 8), textcoords="offset points", ha="center", fontsize="small")
    ax.set_yticks(np.arange(len(names)), names)
    ax.set_xlim(values.min() - 0.15 * room, values.max() + 0.15 * room)
    ax.set_ylim(-0.6, len(names) - 0.4)
    ax.set(xlabel=f"{unit}\n(lower is better)", title=title)
    return ax


def _about(adata: AnnData, key: str) -> Mapping[str, Any]:
    if key not in adata.uns or "estimate" not in (about := adata.uns[key]):
        msg = f"adata.uns has no imputation {key!r}: call gi.tl.impute(adata) first. {suggestion(key, adata.uns)}"
        raise KeyError(msg)
    return about  # type: ignore[no-any-return]


def _on_scale(adata: AnnData, columns: ArrayLike, layer: str, about: Mapping[str, Any]) -> NDArray[np.float64]:
    """Observed counts of some genes, of shape (n_obs, n_columns), on the scale of the imputed values."""
    import scipy.sparse as sp

    if layer != "X" and layer not in adata.layers:
        msg = f"adata.layers has no {layer!r} to compare with: give layer=. {suggestion(layer, adata.layers)}"
        raise KeyError(msg)
    counts = sp.csr_matrix(adata.X if layer == "X" else adata.layers[layer])
    values: NDArray[np.float64] = counts[:, columns].toarray().astype(np.float64)
    if about["output"] == "counts":
        return values
    modelled = adata.var[_keys.PASS].to_numpy(dtype=bool) if _keys.PASS in adata.var else np.ones(adata.n_vars, bool)
    totals = np.asarray(counts[:, modelled].sum(axis=1, dtype=np.float64))
    values *= float(about["target_total"]) / np.maximum(totals, 1).reshape(-1, 1)
    if about["output"] == "log1p":
        np.log1p(values, out=values)
    return values


def _axes(ax: Axes | None) -> Axes:
    if ax is not None:
        return ax
    from matplotlib import pyplot as plt

    return plt.subplots(layout="constrained")[1]


def _few(epochs: NDArray[np.int64]) -> str:
    """Marker that lets a line of one epoch be seen."""
    return "." if len(epochs) < 3 else ""


def _group_color(number: int) -> str:
    return (BLUE, ORANGE, "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")[number % 7]
