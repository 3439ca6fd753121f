"""Percentile intervals from resampled cells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import ArrayLike, NDArray


class Interval(NamedTuple):
    """A value and the percentile interval around it."""

    value: float
    low: float
    high: float


def bootstrap(
    metric: Callable[..., Any],
    *values: ArrayLike,
    cells: ArrayLike | None = None,
    n_resamples: int = 1000,
    level: float = 0.95,
    rng: np.random.Generator | int = 0,
) -> Interval:
    """Interval of a metric over cells: whole cells are drawn anew, because the entries of one cell go together.

    Parameters
    ----------
    metric
        Function of as many arrays as there are `values`, giving a number: ``numpy.mean``, :func:`pcc`, :func:`ari`...
    values
        Arrays of shape (n_entries,), handed to `metric` in this order.
    cells
        Array of shape (n_entries,): the cell of each entry. By default every entry is a cell of its own.
    n_resamples
        How often the cells are drawn, with replacement.
    level
        Share of the resampled values that lie inside.
    rng
        Seed or generator.

    Returns
    -------
    The metric of `values`, and the bounds: nan where fewer than two cells leave nothing to resample. Resamples for
    which the metric is not defined (nan) do not count.

    Raises
    ------
    ValueError
        If there are no entries, lengths differ, or `level` is not between 0 and 1.
    """
    return bootstrap_all(
        lambda *arrays: np.array([metric(*arrays)], dtype=np.float64),
        *values,
        names=("metric",),
        cells=cells,
        n_resamples=n_resamples,
        level=level,
        rng=rng,
    )["metric"]


def paired_difference(
    losses: ArrayLike,
    others: ArrayLike,
    *,
    n_resamples: int = 1000,
    level: float = 0.95,
    rng: np.random.Generator | int = 0,
) -> Interval:
    """Interval of the mean difference between two methods that were judged on the same cells.

    Parameters
    ----------
    losses, others
        Loss of each cell under the two methods, of shape (n_cells,), in the same order: see :func:`cell_losses`.
    n_resamples, level, rng
        As in :func:`bootstrap`.

    Returns
    -------
    Mean of ``losses - others``: below 0 where the first method is better, and clearly so if `high` is below 0 too.
    """
    one, other = np.asarray(losses, dtype=np.float64), np.asarray(others, dtype=np.float64)
    if one.shape != other.shape:
        msg = f"The two methods must be judged on the same cells, but there are {one.shape} and {other.shape} losses."
        raise ValueError(msg)
    return bootstrap(np.mean, one - other, n_resamples=n_resamples, level=level, rng=rng)


def bootstrap_all(
    metrics: Callable[..., NDArray[np.float64]],
    *values: ArrayLike,
    names: tuple[str, ...],
    cells: ArrayLike | None = None,
    n_resamples: int = 1000,
    level: float = 0.95,
    rng: np.random.Generator | int = 0,
) -> dict[str, Interval]:
    """Intervals of several metrics from the same resamples: `metrics` gives an array as long as `names`."""
    arrays = [np.asarray(value) for value in values]
    of = np.arange(len(arrays[0])) if cells is None else np.asarray(cells)
    if not of.size or any(len(array) != len(of) for array in arrays):
        msg = f"Arrays of one length, at least 1, are needed to resample, not {[len(a) for a in (*arrays, of)]}."
        raise ValueError(msg)
    if not 0 < level < 1:
        msg = f"level={level}: give a share between 0 and 1, such as 0.95."
        raise ValueError(msg)
    draws = [metrics(*(array[rows] for array in arrays)) for rows in _resamples(of, n_resamples, rng)]
    table = np.stack(draws, axis=1) if draws else np.empty((len(names), 0))
    tail = (1 - level) / 2
    return {
        name: Interval(float(value), _quantile(resampled, tail), _quantile(resampled, 1 - tail))
        for name, value, resampled in zip(names, metrics(*arrays), table, strict=True)
    }


def _resamples(cells: NDArray[Any], n_resamples: int, rng: np.random.Generator | int) -> Iterator[NDArray[np.int64]]:
    """Rows of the entries of cells drawn with replacement; none where there is but one cell."""
    rng = np.random.default_rng(rng)
    order = np.argsort(cells, kind="stable")
    _, starts, sizes = np.unique(cells[order], return_index=True, return_counts=True)
    for _ in range(n_resamples if len(starts) > 1 else 0):
        drawn = rng.integers(len(starts), size=len(starts))
        size = sizes[drawn]
        within = np.arange(size.sum()) - np.repeat(np.cumsum(size) - size, size)
        yield order[np.repeat(starts[drawn], size) + within]


def _quantile(values: NDArray[np.float64], q: float) -> float:
    defined = values[~np.isnan(values)]
    return float(np.quantile(defined, q)) if defined.size else float("nan")
