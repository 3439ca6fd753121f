"""The figure of a comparison: losses of methods on data sets, and what they cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gnnimpute._atomic import replacing
from gnnimpute._benchmark_table import averages, protocols_of, title
from gnnimpute._judge import JUDGED_BY
from gnnimpute._methods import GENE_MEAN

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, GREY = "#0072B2", "#767676"

_FURTHEST = 1.5
"""Losses above this many times that of the gene mean are drawn at the edge, with their number."""


def figure(results: pd.DataFrame) -> Figure:
    """A row of panels for each protocol: one for each data set, methods below each other, and one for the time.

    Losses are shown as shares of the loss of the gene mean, if it is among the methods; lines are 95 % intervals over
    cells.

    Parameters
    ----------
    results
        Rows of a comparison.

    Raises
    ------
    ValueError
        If no method has a loss.
    """
    from matplotlib.figure import Figure

    tables = {pair: averages(results, *pair) for pair in protocols_of(results)}
    tables = {pair: table for pair, table in tables.items() if table["value"].notna().any()}
    if not tables:
        msg = "There is nothing to draw: no method has a result."
        raise ValueError(msg)
    data = list(dict.fromkeys(results["data"]))
    heights = [table["label"].nunique() + 4 for table in tables.values()]
    figure = Figure(figsize=(3 + 2.3 * (len(data) + 1), 0.26 * sum(heights)), layout="constrained", dpi=150)
    axes = figure.subplots(len(tables), len(data) + 1, squeeze=False, height_ratios=heights)
    for row, ((protocol, rate), table) in zip(axes, tables.items(), strict=True):
        labels = list(dict.fromkeys(table["label"]))[::-1]
        for ax, name in zip(row, data, strict=False):
            unit = _losses(ax, table[table["data"] == name].set_index("label"), labels)
            ax.set_title(name, fontsize="small")
            ax.set_xlabel(f"{JUDGED_BY[protocol]}{unit}", fontsize="small")
        _seconds(row[-1], table, labels)
        for ax in row:
            ax.set_yticks(np.arange(len(labels)), labels if ax is row[0] else [""] * len(labels), fontsize="small")
            ax.set_ylim(-0.7, len(labels) - 0.3)
            ax.tick_params(axis="x", labelsize="x-small")
            ax.grid(axis="y", color="#E5E5E5", zorder=0)
        # In a line of its own above the names: along the panels it would be longer than a few methods are high.
        row[0].set_title(f"{title(protocol, rate)}\n", loc="left", fontsize="small", fontweight="bold")
    return figure


def save(results: pd.DataFrame, path: Path) -> None:
    """Write the figure to a file whose ending says which kind: .png, .pdf, .svg."""
    drawn = figure(results)
    with replacing(path) as beside:
        drawn.savefig(beside, format=path.suffix.lstrip(".").lower())


def _losses(ax: Axes, table: pd.DataFrame, labels: list[str]) -> str:
    """Draw the losses on one data set; gives their unit."""
    reference = table["value"].get(GENE_MEAN, np.nan)
    shares = bool(reference > 0)
    scaled = table[["value", "low", "high"]] / (reference if shares else 1)
    edge = _FURTHEST if shares else np.inf
    drawn = scaled["value"].dropna()
    low, high = scaled["low"].fillna(scaled["value"]), scaled["high"].fillna(scaled["value"])
    inside = drawn.index[drawn <= edge]
    right = min(edge, high[inside].max()) if len(inside) else edge
    left = low[inside].min() if len(inside) else 0.0
    room = 0.08 * (right - left) or 0.1
    ax.set_xlim(left - room, right + room)
    if shares:
        ax.axvline(1, color=GREY, linewidth=0.8, linestyle=":", zorder=1)
    for place, label in enumerate(labels):
        if label not in drawn:
            _write(ax, _why(table, label), place)
            continue
        color = BLUE if label.startswith("gnnimpute") else GREY
        if drawn[label] > edge:
            _write(ax, f"{drawn[label]:.3g} →", place, right=True)
            continue
        ax.plot([low[label], high[label]], [place, place], color=color, linewidth=1.2, zorder=2)
        ax.plot(drawn[label], place, "o", color=color, markersize=5, zorder=3)
    return f"\n(gene mean: {reference:.3g} = 1)" if shares else ""


def _write(ax: Axes, text: str, place: int, *, right: bool = False) -> None:
    """A word in place of a dot."""
    at, coordinates = (0.97 if right else 0.03, place), ("axes fraction", "data")
    ha = "right" if right else "left"
    behind = {"facecolor": "white", "edgecolor": "none", "pad": 1}
    ax.annotate(text, at, xycoords=coordinates, va="center", ha=ha, fontsize="x-small", color="#444444", bbox=behind)


def _why(table: pd.DataFrame, label: str) -> str:
    """What became of a method that has no loss here."""
    return str(table["status"].get(label, "")) or "not run"


def _seconds(ax: Axes, table: pd.DataFrame, labels: list[str]) -> None:
    """Draw what each method costs on each data set."""
    from matplotlib.ticker import LogLocator, NullFormatter

    good = table.dropna(subset=["seconds"])
    places = {label: place for place, label in enumerate(labels)}
    colors = [BLUE if label.startswith("gnnimpute") else GREY for label in good["label"]]
    ax.scatter(good["seconds"], good["label"].map(places), s=16, c=colors, alpha=0.7, zorder=3)
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 3)))
    ax.xaxis.set_major_formatter("{x:g}")
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_title("time", fontsize="small")
    ax.set_xlabel("seconds", fontsize="small")
