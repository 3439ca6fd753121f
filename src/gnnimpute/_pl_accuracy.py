"""Plots of training and of accuracy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from gnnimpute import _keys
from gnnimpute._canvas import BLUE, GREY, ORANGE, about_of, axes, evaluation_of, group_color

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes
    from numpy.typing import NDArray


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

    about = about_of(adata, key)
    ax = axes(ax)
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


def held_out(
    adata: AnnData | Mapping[str, float],
    *,
    key: str = _keys.EVALUATION,
    unit: str = "Poisson deviance of hidden molecules",
    title: str = "Hidden molecules",
    ax: Axes | None = None,
) -> Axes:
    """Error of each method on what was hidden from it or lost, the least error on top.

    Parameters
    ----------
    adata
        Evaluated by :func:`gnnimpute.tl.evaluate`; or the name and error of each method, lower is better.
    key
        The `key_added` of the evaluation.
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
    KeyError
        If there is no such evaluation.
    ValueError
        If there is no error, or one is not finite.
    """
    errors = adata if isinstance(adata, Mapping) else _errors_of(adata, key)
    if not errors or not np.isfinite(list(errors.values())).all():
        msg = f"Give the error of one method at least, each a finite number, instead of {dict(errors)}."
        raise ValueError(msg)
    names = sorted(errors, key=lambda name: -errors[name])
    values = np.array([errors[name] for name in names])
    ax = axes(ax)
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


def calibration(
    adata: AnnData | Mapping[str, Mapping[float, float]], *, key: str = _keys.EVALUATION, ax: Axes | None = None
) -> Axes:
    """What intervals hold, against what they should: on the diagonal, they are right.

    Parameters
    ----------
    adata
        Evaluated by :func:`gnnimpute.tl.evaluate`, with its tests; or for each name, the shares at some levels, as
        :func:`gnnimpute.metrics.coverage` gives them.
    key
        The `key_added` of the evaluation.
    ax
        Where to draw; by default a new figure.

    Returns
    -------
    What was drawn on.

    Raises
    ------
    KeyError
        If there is no such evaluation.
    ValueError
        If there is nothing to draw.
    """
    coverage = adata if isinstance(adata, Mapping) else _coverage_of(adata, key)
    if not coverage or not all(coverage.values()):
        msg = "There are no intervals: call gi.tl.evaluate(adata) with its tests, or give the shares of one set "
        msg += "at least: {'posterior': gi.metrics.coverage(...)}."
        raise ValueError(msg)
    ax = axes(ax)
    ax.fill_between([0, 100], [-3, 97], [3, 103], color="#EEEEEE", linewidth=0, label="within 3 points")
    ax.plot([0, 100], [0, 100], color=GREY, linestyle="--", linewidth=1)
    for number, (name, shares) in enumerate(coverage.items()):
        levels = sorted(shares)
        points = 100 * np.array([levels, [shares[level] for level in levels]])
        ax.plot(*points, "o-", color=group_color(number), label=name)
    ax.set(xlim=(0, 100), ylim=(0, 100), aspect="equal", title="Calibration")
    ax.set(xlabel="intervals should hold (% of held-out counts)", ylabel="intervals hold (% of held-out counts)")
    ax.legend(frameon=False, loc="upper left")
    return ax


def _errors_of(adata: AnnData, key: str) -> dict[str, float]:
    methods = evaluation_of(adata, key)["methods"]
    return dict(zip(methods["method"], methods["deviance"].astype(float), strict=True))


def _coverage_of(adata: AnnData, key: str) -> dict[str, dict[float, float]]:
    return {
        str(entries): dict(zip(part["level"], part["share"], strict=True))
        for entries, part in evaluation_of(adata, key)["coverage"].groupby("entries", sort=False)
    }


def _few(epochs: NDArray[np.int64]) -> str:
    """Marker that lets a line of one epoch be seen."""
    return "." if len(epochs) < 3 else ""
