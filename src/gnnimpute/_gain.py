"""From errors to gains: how much better one estimate is than another, with an interval, overall and in parts."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ._bootstrap import Interval, bootstrap_all

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Values = NDArray[np.float64]

N_RESAMPLES = 100
_NOTHING = Interval(np.nan, np.nan, np.nan)


class Errors(NamedTuple):
    """Errors of one estimate: an entry for each cell (or gene) and seed."""

    deviance: Values
    """Poisson deviance of the held-out molecules."""
    distance: Values
    """Squared distance to the expected counts, without the noise of the molecules."""


class Gain(NamedTuple):
    """How much better than another estimate."""

    predicted: Interval
    """Share of the other's deviance that is gone."""
    won: Interval
    """Share of the other's distance to the expectation that is gone; nan where that is not clearly above 0."""
    n: int
    """Number of cells (or genes)."""


def gain(ours: Errors, others: Errors, *, of: ArrayLike, part: NDArray[np.bool_] | None = None) -> Gain:
    """Gain over another estimate of the same molecules.

    Parameters
    ----------
    ours, others
        Errors, in the same order.
    of
        Cell (or gene) of each entry: those of one cell are drawn together for the interval.
    part
        Entries to look at; by default all.
    """
    chosen = slice(None) if part is None else part
    units = np.asarray(of)[chosen]
    if not units.size:
        return Gain(_NOTHING, _NOTHING, 0)
    arrays = [array[chosen] for array in (ours.deviance, others.deviance, ours.distance, others.distance)]
    found = bootstrap_all(_shares, *arrays, names=("predicted", "won", "all"), cells=units, n_resamples=N_RESAMPLES)
    return Gain(found["predicted"], found["won"] if found["all"].low > 0 else _NOTHING, len(np.unique(units)))


def quarters(values: ArrayLike) -> tuple[NDArray[np.int64], Values]:
    """Quarter of each value, 0 the lowest, and the three values between the quarters."""
    numbers = np.asarray(values, dtype=np.float64)
    edges = np.quantile(numbers, [0.25, 0.5, 0.75])
    return np.searchsorted(edges, numbers, side="left"), edges


def _shares(mine: Values, theirs: Values, near: Values, far: Values) -> Values:
    """Share of the deviance that is gone, share of the distance that is gone, and the distance there was."""
    return np.array([_share_gone(mine, theirs), _share_gone(near, far), far.sum()])


def _share_gone(mine: Values, theirs: Values) -> float:
    total = theirs.sum()
    return float(1 - mine.sum() / total) if total > 0 else float("nan")
