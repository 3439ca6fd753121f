"""The paper's metrics: errors and similarities of masked entries."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Values = NDArray[np.float64]
    Groups = NDArray[np.int64]

MASKED_METRICS = ("mse", "mae", "pcc", "cs")


def mse(truth: ArrayLike, imputed: ArrayLike, *, groups: ArrayLike | None = None) -> float:
    """Mean squared error.

    Parameters
    ----------
    truth, imputed
        Values of the masked entries, of shape (n_entries,), on one scale. The paper pools the masked entries of all
        test cells and takes normalised values, not log-transformed :cite:p:`Xu2021`.
    groups
        Array of shape (n_entries,), the cell or the gene of each entry: the metric is then taken within each, and
        averaged over those where it is defined.

    Raises
    ------
    ValueError
        If there is no entry, lengths differ, or a value is not finite.
    """
    return mean_defined(_mse(*_entries(truth, imputed, groups)))


def mae(truth: ArrayLike, imputed: ArrayLike, *, groups: ArrayLike | None = None) -> float:
    """Mean absolute error.

    Parameters
    ----------
    truth, imputed, groups
        As in :func:`mse`.
    """
    return mean_defined(_mae(*_entries(truth, imputed, groups)))


def pcc(truth: ArrayLike, imputed: ArrayLike, *, groups: ArrayLike | None = None) -> float:
    """Pearson correlation; nan where either side is constant, as with one entry.

    Parameters
    ----------
    truth, imputed, groups
        As in :func:`mse`.
    """
    return mean_defined(_pcc(*_entries(truth, imputed, groups)))


def cs(truth: ArrayLike, imputed: ArrayLike, *, groups: ArrayLike | None = None) -> float:
    """Cosine similarity; nan where either side is all zeros.

    Parameters
    ----------
    truth, imputed, groups
        As in :func:`mse`.
    """
    return mean_defined(_cs(*_entries(truth, imputed, groups)))


def by_group(truth: ArrayLike, imputed: ArrayLike, groups: ArrayLike | None = None) -> Values:
    """The four metrics within each group, of shape (n_groups, 4); one group where `groups` is None."""
    entries = _entries(truth, imputed, groups)
    return np.stack([_mse(*entries), _mae(*entries), _pcc(*entries), _cs(*entries)], axis=1)


def mean_defined(values: Values) -> float:
    """Mean of what is not nan; nan if nothing is left."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if defined.size else float("nan")


def _entries(truth: ArrayLike, imputed: ArrayLike, groups: ArrayLike | None) -> tuple[Values, Values, Groups]:
    """Values in double precision and the group of each, numbered from 0; one group if there are none."""
    x, y = np.asarray(truth, dtype=np.float64), np.asarray(imputed, dtype=np.float64)
    group = np.zeros(x.shape, np.int64) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    if not x.ndim == 1 <= x.size or not x.shape == y.shape == group.shape:
        msg = f"One value per masked entry is needed, and at least one entry, not {x.shape}, {y.shape}, {group.shape}."
        raise ValueError(msg)
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        entry = np.flatnonzero(~np.isfinite(x) | ~np.isfinite(y))[0]
        msg = f"Entry {entry} is {x[entry]} in truth and {y[entry]} in the estimate: only numbers can be scored."
        raise ValueError(msg)
    return x, y, group


def _mse(x: Values, y: Values, group: Groups) -> Values:
    return np.bincount(group, np.square(x - y)) / np.bincount(group)


def _mae(x: Values, y: Values, group: Groups) -> Values:
    return np.bincount(group, np.abs(x - y)) / np.bincount(group)


def _pcc(x: Values, y: Values, group: Groups) -> Values:
    return _cs(_centred(x, group), _centred(y, group), group)


def _cs(x: Values, y: Values, group: Groups) -> Values:
    norm = np.sqrt(np.bincount(group, x * x)) * np.sqrt(np.bincount(group, y * y))
    cosine: Values = np.divide(np.bincount(group, x * y), norm, out=np.full_like(norm, np.nan), where=norm > 0)
    return cosine


def _centred(x: Values, group: Groups) -> Values:
    # From the first value of a group, so that equal values give zeros exactly and not what rounding leaves.
    x = x - x[np.unique(group, return_index=True)[1]][group]
    mean: Values = np.bincount(group, x) / np.bincount(group)
    return x - mean[group]
