"""What special data tell of invented and lost signals: arrays in, a number out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Values = NDArray[np.float64]
    Mask = NDArray[np.bool_]


def leak(values: Values, *, own: Mask, off: Mask) -> float:
    """Mean of a marker in cells that do not have it, as a share of its mean in those that do."""
    return float(values[off].mean() / max(values[own].mean(), 1e-12))


def zeros_told_apart(imputed: Values, counts: Values, *, own: Mask, off: Mask) -> float:
    """Chance that a zero in a cell of the marker's own type is imputed higher than one in a cell that has none."""
    from scipy.stats import mannwhitneyu

    lost, true = imputed[own & (counts == 0)], imputed[off & (counts == 0)]
    if not len(lost) or not len(true):
        return float("nan")
    return float(mannwhitneyu(lost, true).statistic / len(lost) / len(true))


def zeros_kept(imputed: Values, counts: Values, *, own: Mask, off: Mask) -> tuple[float, float]:
    """Share of the zeros in other types that stay off, and share of those in the own type that do not.

    Off is below a tenth of the marker's mean in its own type; on is above a quarter of it.
    """
    if not (off & (counts == 0)).any() or not (own & (counts == 0)).any():
        return float("nan"), float("nan")
    mean = counts[own].mean()
    return float((imputed[off & (counts == 0)] < 0.1 * mean).mean()), float(
        (imputed[own & (counts == 0)] > 0.25 * mean).mean()
    )


def survival(values: Values, *, rare: Mask, profile: Values, others: Values) -> float:
    """How far rare cells stay what they are: 1 at their own profile, 0 at that of the others, in the median rare cell.

    Parameters
    ----------
    values
        Expression of shape (n_cells, n_genes).
    rare
        Which cells are rare.
    profile, others
        Mean expression of such cells, and of the others, learnt from cells that are not imputed.
    """
    axis = profile - others
    return float(np.median((values[rare] - others) @ axis / (axis @ axis)))


def within_share(values: Values, labels: NDArray[np.int64]) -> float:
    """Share of the variance that lies within groups of cells, in the mean over genes."""
    sums = np.zeros(values.shape[1])
    for label in np.unique(labels):
        part = values[labels == label]
        sums += np.square(part - part.mean(axis=0)).sum(axis=0)
    total = np.square(values - values.mean(axis=0)).sum(axis=0)
    return float(np.mean(sums[total > 0] / total[total > 0]))


def order_kept(values: Values, amounts: Values) -> float:
    """Rank correlation of cells along the line between two pure kinds with how much of each was mixed.

    Parameters
    ----------
    values
        Expression of shape (n_cells, n_genes).
    amounts
        Share of the second kind less that of the first, from -1 to 1; cells at -1 and 1 define the line.
    """
    from scipy.stats import spearmanr

    axis = values[amounts == amounts.max()].mean(axis=0) - values[amounts == amounts.min()].mean(axis=0)
    return float(spearmanr(values @ axis, amounts).statistic)


def rank_correlation(one: Values, other: Values) -> float:
    """Rank correlation over cells; 0 where one is equal in all cells."""
    from scipy.stats import spearmanr

    if not np.ptp(one) or not np.ptp(other):
        return 0.0
    return float(spearmanr(one, other).statistic)
