"""Figures inside a page: lines and letters as SVG, many points as PNG."""

from __future__ import annotations

import base64
import io
import re
from html import escape
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#767676"
COLORS = (BLUE, ORANGE, "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D31", "#7B4173", "#637939")
"""Colours of groups, after Okabe and Ito; names stand on the pictures too, so that no colour need be told apart."""

_DPI = 140


class Picture(NamedTuple):
    """A figure, ready for the page."""

    html: str
    title: str
    caption: str
    """What it shows, and what to look for."""


def blank(*, width: float = 4.6, height: float = 3.6) -> tuple[Figure, Axes]:
    """An empty figure that no global state knows of, and its axes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


def picture(figure: Figure, title: str, caption: str, *, points: bool = False) -> Picture:
    """Draw a figure; with many `points` as pixels.

    Parameters
    ----------
    figure
        What to draw.
    title
        Heading, and the text for those who cannot see it.
    caption
        What it shows.
    points
        Whether it holds many points.
    """
    from matplotlib import rc_context

    for axes in figure.axes:
        # Only a second axis is at the right.
        axes.spines[["top"]].set_visible(False)
        axes.spines[["right"]].set_visible(axes.yaxis.get_ticks_position() == "right")
    buffer = io.BytesIO()
    # A fixed salt: the same numbers give the same file.
    with rc_context({"svg.hashsalt": title, "svg.fonttype": "none", "font.family": "sans-serif"}):
        if points:
            figure.savefig(buffer, format="png", dpi=_DPI, metadata={"Software": None})
            coded = base64.b64encode(buffer.getvalue()).decode()
            return Picture(f'<img alt="{escape(title)}" src="data:image/png;base64,{coded}">', title, caption)
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    svg = buffer.getvalue().decode()
    svg = re.sub(r'<svg ([^>]*?)width="[^"]*" height="[^"]*"|<svg ([^>]*?)height="[^"]*" width="[^"]*"', r"<svg \1\2",
                 svg[svg.index("<svg") :], count=1)  # fmt: skip
    # Ids are made unique: several pictures stand on one page.
    mark = re.sub(r"\W", "", title)
    svg = re.sub(r'(id="|href="#|url\(#)', rf"\g<1>{mark}-", svg)
    return Picture(svg.replace("<svg ", f'<svg role="img" aria-label="{escape(title)}" ', 1), title, caption)
