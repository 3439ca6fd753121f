"""Room for names in plots: of groups in a legend, of genes and groups along axes."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any, cast

import numpy as np

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Text
    from numpy.typing import ArrayLike, NDArray

MOST_ROWS = 26
"""Names in a column of a legend: the height of a usual figure."""
MOST_COLUMNS = 4
SIZES = (8.33, 7.0, 6.0, 5.0)
"""Letters of a legend in points, the largest that fit; smaller ones cannot be read."""
LINE = 0.19
"""Inches from one name along an axis to the next."""
LONGEST = 30.0
"""Inches that a figure may grow to; from there on letters shrink."""
_PLOT = 3.0
"""Inches that the plot itself has at least."""


def legend_beside(ax: Axes, *, grows: bool) -> None:
    """Legend with all names on the right, in columns if there are many.

    Parameters
    ----------
    ax
        Where groups are drawn.
    grows
        Whether the figure is ours, so that it may grow; in that of others the letters shrink.
    """
    if grows:
        n_columns = min(-(-len(ax.get_legend_handles_labels()[1]) // MOST_ROWS), MOST_COLUMNS)
        width, height = _legend(ax, SIZES[0], n_columns)
        _grow(ax, [0.65 * _figure(ax).get_figwidth() + width, height + 0.5])
        return
    most = _inches(ax) * (0.9, 1.1)  # the plot gives up some of its width; what is higher than it would be cut off
    tried = product(SIZES, range(1, MOST_COLUMNS + 1))
    if not any((_legend(ax, *one) < most).all() for one in tried):
        high = [_legend(ax, SIZES[-1], n_columns)[1] for n_columns in range(1, MOST_COLUMNS + 1)]
        _legend(ax, SIZES[-1], 1 + int(np.argmax(np.array([*high[:-1], 0]) < most[1])))


def names_along(ax: Axes, *, grows: bool) -> None:
    """Names along both axes without overlap.

    Parameters
    ----------
    ax
        With its names.
    grows
        Whether the figure is ours, so that it may grow; in that of others the letters shrink.
    """
    rows, columns = ax.get_yticklabels(), ax.get_xticklabels()
    n_names = np.array([len(columns), len(rows)])
    room = _inches(ax)
    if grows:
        around = np.array([_largest(rows)[0] + 1.6, _largest(columns)[1] + 0.9])  # names, colour bar and titles
        _grow(ax, np.maximum(LINE * n_names, _PLOT) + around)
        room = _figure(ax).get_size_inches() - around
        _shrink(columns, room[0] / n_names[0] / LINE)
    else:
        _shrink(columns, min(0.4 * room[1] / _largest(columns)[1], room[0] / n_names[0] / LINE))
        room[1] -= max(_largest(columns)[1] - 0.3, 0)
    _shrink(rows, room[1] / n_names[1] / LINE)


def _legend(ax: Axes, size: float, n_columns: int) -> NDArray[np.float64]:
    """Draw a legend; its width and height in inches."""
    where: dict[str, Any] = {"loc": "center left", "bbox_to_anchor": (1, 0.5)}
    return _inches(ax.legend(frameon=False, fontsize=size, markerscale=2, ncols=n_columns, **where))


def _figure(ax: Axes) -> Figure:
    return cast("Figure", ax.figure)


def _grow(ax: Axes, inches: ArrayLike) -> None:
    figure = _figure(ax)
    figure.set_size_inches(np.maximum(figure.get_size_inches(), np.minimum(inches, LONGEST)))


def _inches(artist: Artist) -> NDArray[np.float64]:
    """Width and height of what is drawn."""
    box = artist.get_window_extent()
    return np.array([box.width, box.height]) / cast("Figure", artist.figure).dpi


def _largest(names: list[Text]) -> NDArray[np.float64]:
    """Largest width and height of names, in inches."""
    sizes = np.array([_inches(name) for name in names])
    return np.asarray(sizes.max(0))


def _shrink(names: list[Text], factor: float) -> None:
    for name in names if factor < 1 else ():
        name.set_fontsize(max(factor * float(name.get_fontsize()), 2))
