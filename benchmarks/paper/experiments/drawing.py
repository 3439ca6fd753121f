"""Figures: what they have in common."""

from __future__ import annotations

from itertools import cycle
from textwrap import wrap
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.published import LOWER_IS_BETTER, NAMES
from gnnimpute._atomic import replacing

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# After Okabe and Ito: colour-blind people can tell them apart.
BLUE, ORANGE, GREEN, PINK, SKY, GREY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#767676"
COLORS = (BLUE, ORANGE, GREEN, PINK, SKY, "#E69F00", "#000000", "#999933", "#882255", GREY)
MARKERS, LINES = ("o", "s", "^", "D"), ("-", "--", ":", "-.")
FAR = 3
"""Networks are beyond the axis if they are worse than the middle half of them by more than so many times its width."""


def panels(rows: int, columns: int, *, width: float = 3.0, height: float = 2.6) -> tuple[Figure, Any]:
    """A figure and its axes, rows x columns."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width * columns, height * rows), layout="constrained", dpi=150)
    axes = figure.subplots(rows, columns, squeeze=False)
    for ax in axes.flat:
        ax.spines[["top", "right"]].set_visible(False)
        ax.tick_params(labelsize="small")
    return figure, axes


def save(figure: Figure, path: Path) -> None:
    """Write a figure, whole or not at all."""
    with replacing(path) as beside:
        figure.savefig(beside, format=path.suffix.lstrip("."))


def named(metric: str) -> str:
    """Name of a metric, with an arrow to where it is better."""
    return f"{NAMES[metric]} ({'lower' if metric in LOWER_IS_BETTER else 'higher'} is better)"


def legend(figure: Figure, ax: Axes, *, columns: int = 4) -> None:
    """One legend for all panels, below them."""
    handles, labels = ax.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(columns, len(labels)), frameon=False,
                  fontsize="small")  # fmt: skip


def styles(names: Iterable[str]) -> dict[str, dict[str, str]]:
    """Colour, marker and line of each name; where colours come again, markers and lines differ."""
    some = {}
    for number, name in enumerate(dict.fromkeys(names)):
        again, color = divmod(number, len(COLORS))
        some[name] = {"color": COLORS[color], "marker": MARKERS[again % len(MARKERS)],
                      "linestyle": LINES[again % len(LINES)]}  # fmt: skip
    return some


def by_share(
    axes: Iterable[Axes],
    table: pd.DataFrame,
    *,
    x: str,
    metrics: Sequence[str],
    styles: Mapping[str, Mapping[str, str]],
    published: Mapping[str, Mapping[float, Mapping[str, float]]] = MappingProxyType({}),
) -> None:
    """A panel for each metric: a line for each network over a share in per cent, and the published numbers as crosses.

    Parameters
    ----------
    axes
        As many as `metrics`.
    table
        Rows with the columns ``network``, `x` and `metrics`.
    x
        Column of the share.
    metrics
        What to draw.
    styles
        Of each network, from :func:`styles`.
    published
        Numbers by name, share and metric.
    """
    for ax, metric in zip(axes, metrics, strict=True):
        for network, part in table.groupby("network", sort=False):
            style = styles[network]
            mean = part.groupby(x)[metric].agg(["mean", "min", "max"])
            ax.plot(100 * mean.index, mean["mean"], **style, markersize=4, label=network)
            ax.fill_between(100 * mean.index, mean["min"], mean["max"], color=style["color"], alpha=0.2, linewidth=0)
        crosses = []
        for color, (name, numbers) in zip(cycle((BLUE, GREY)), published.items(), strict=False):
            shares = [share for share in numbers if metric in numbers[share]]
            heights = [numbers[share][metric] for share in shares]
            ax.plot(100 * np.array(shares), heights, "x", color=color, markersize=7, markeredgewidth=2, label=name)
            crosses += heights
        _leave_out_far(ax, table, metric, crosses)
        ax.set_title(named(metric), fontsize="medium")


def _leave_out_far(ax: Axes, table: pd.DataFrame, metric: str, others: Sequence[float]) -> None:
    """Limit y to networks that are not far worse than most, beside which most were one flat line; name the far."""
    middles = table.groupby("network", sort=False)[metric].median().dropna()
    worse = middles if metric in LOWER_IS_BETTER else -middles
    low, high = worse.quantile([0.25, 0.75])
    far = list(middles.index[worse > high + FAR * (high - low)])
    if not far:
        return
    seen = np.array([*table.loc[~table["network"].isin(far), metric].dropna(), *others])
    lines = wrap(f"beyond the axis: {', '.join(far)}", 40)
    margin = 0.05 * np.ptp(seen)
    room = margin + 0.07 * len(lines) * np.ptp(seen)
    at_top = metric in LOWER_IS_BETTER
    ax.set_ylim(seen.min() - (margin if at_top else room), seen.max() + (room if at_top else margin))
    ax.text(0.02, 0.99 if at_top else 0.01, "\n".join(lines), transform=ax.transAxes, fontsize="xx-small",
            va="top" if at_top else "bottom", in_layout=False,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1})  # fmt: skip


def logarithmic(ax: Axes) -> None:
    """Make x logarithmic, with plain numbers."""
    from matplotlib.ticker import LogLocator, NullFormatter

    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.xaxis.set_major_formatter("{x:g}")
    ax.xaxis.set_minor_formatter(NullFormatter())


def bars(
    ax: Axes, values: Mapping[str, Sequence[float]], *, colors: Sequence[str] | None = None, from_zero: bool = True
) -> None:
    """A bar for each name, to the mean of its values, which are dots.

    Parameters
    ----------
    ax
        Where to draw.
    values
        Numbers by name.
    colors
        One for each name.
    from_zero
        Whether zero is in view; if not, there are no bars but dots.
    """
    places = np.arange(len(values))[::-1]
    colors = colors or [BLUE] * len(values)
    for place, color, some in zip(places, colors, values.values(), strict=True):
        if from_zero:
            ax.barh(place, np.mean(some), color=color, alpha=0.75, height=0.7)
        else:
            ax.plot(np.mean(some), place, "o", color=color, markersize=8)
        if len(some) > 1:
            ax.plot(some, [place] * len(some), "o", color="black", markersize=2.5)
    ax.set_yticks(places, values)
    ax.set_ylim(-0.6, len(values) - 0.4)
