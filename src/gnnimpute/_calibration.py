"""Whether predictive distributions of counts are right: intervals of 90 % hold 90 of 100 counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp
from scipy.special import betainc

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    Values = NDArray[np.float64]

LARGEST = 1e6
"""Sizes above this are as good as infinite: Poisson."""


def pit(
    held_out: sp.csr_matrix | ArrayLike, mean: ArrayLike, size: ArrayLike, *, rng: np.random.Generator | int = 0
) -> Values:
    r"""Probability integral transform of held-out counts: uniform between 0 and 1 where predictions are calibrated.

    Counts jump, and so does their distribution :math:`F`: the transform of a count :math:`y` is drawn between
    :math:`F(y - 1)` and :math:`F(y)` :cite:p:`Czado2009`.

    Parameters
    ----------
    held_out
        Held-out counts, of shape (n_cells, n_genes), sparse or dense.
    mean, size
        Predicted negative binomial distribution of each, of the same shape, as :meth:`GNNImputer.further` gives it.
    rng
        Seed or generator of the draws.

    Returns
    -------
    Array of shape (n_cells, n_genes).
    """
    below, up_to = _cumulative(held_out, mean, size)
    return below + np.random.default_rng(rng).random(below.shape) * (up_to - below)


def coverage(
    held_out: sp.csr_matrix | ArrayLike,
    mean: ArrayLike,
    size: ArrayLike,
    *,
    levels: Sequence[float] = (0.5, 0.8, 0.95),
    least: float = 0.0,
    randomized: bool = True,
    rng: np.random.Generator | int = 0,
) -> dict[float, float]:
    """Share of the held-out counts that lie in central predictive intervals: equal to the level if these are right.

    Parameters
    ----------
    held_out, mean, size, rng
        As in :func:`pit`.
    levels
        Probabilities that the intervals are to have.
    least
        Judge only entries whose expected count is at least this. Most are far below 1 molecule: they hardly tell a
        good prediction from a bad one.
    randomized
        By the randomised transform of :func:`pit`. Without it, by intervals that end at whole counts: these hold at
        least what they should, and much more where few molecules are expected.

    Returns
    -------
    Share for each level; nan if no entry is left.
    """
    below, up_to = _cumulative(held_out, mean, size)
    judged = np.asarray(mean) >= least
    below, up_to = below[judged], up_to[judged]
    if randomized:
        below = up_to = below + np.random.default_rng(rng).random(below.shape) * (up_to - below)
    return {
        level: float(((up_to >= (1 - level) / 2) & (below <= (1 + level) / 2)).mean()) if judged.any() else np.nan
        for level in levels
    }


def _cumulative(held_out: Any, mean: ArrayLike, size: ArrayLike) -> tuple[Values, Values]:
    """Predicted probability of fewer counts than were held out, and of at most as many."""
    counts = np.asarray(held_out.toarray() if sp.issparse(held_out) else held_out, dtype=np.float64)
    expected, shape = (np.asarray(part, dtype=np.float64) for part in (mean, size))
    if not counts.shape == expected.shape == shape.shape:
        msg = f"Held-out counts, mean and size differ in shape: {counts.shape}, {expected.shape}, {shape.shape}."
        raise ValueError(msg)
    shape = np.clip(shape, 1e-12, LARGEST)
    below, up_to = np.zeros_like(counts), np.exp(-shape * np.log1p(expected / shape))  # right where nothing was counted
    some = counts > 0
    n, p = shape[some], shape[some] / (shape[some] + expected[some])
    below[some], up_to[some] = betainc(n, counts[some], p), betainc(n, counts[some] + 1, p)
    return below, up_to
