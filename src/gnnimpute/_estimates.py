"""Which question an output answers: the mean, the count behind a dropout, or the mean given the cell's own count."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.special import lambertw

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray

    from gnnimpute._prior import Spread

    Floats = NDArray[np.floating[Any]]


def detected(mean: Floats) -> Floats:
    r"""Expected count given that it is at least one, :math:`\lambda / (1 - e^{-\lambda})`.

    What :func:`likely_count` starts from where a network says how much is expressed.

    Parameters
    ----------
    mean
        Expected counts of any shape, >= 0, at the depth of the cell.
    """
    mean = np.maximum(mean, np.float32(1e-6))
    value: Floats = mean / -np.expm1(-mean)
    return value


def mean_of_detected(value: Floats) -> Floats:
    r"""Inverse of :func:`detected`: the mean :math:`\lambda` with :math:`\lambda / (1 - e^{-\lambda}) = d`.

    .. math:: \lambda = d + W_0(-d\, e^{-d})

    Parameters
    ----------
    value
        Expected counts given detection, of any shape. Below 1 there is no such mean: the result is 0.
    """
    beyond = np.maximum(value, 1).astype(np.float64) - 1
    # Close to 1 the equation cancels to nothing: there its series is exact enough.
    d = np.maximum(beyond, 1e-4) + 1
    mean: Floats = np.where(beyond < 1e-4, 2 * beyond - 2 / 3 * beyond**2, d + lambertw(-d * np.exp(-d)).real)
    return mean.astype(value.dtype)


def likely_count(value: Floats) -> Floats:
    r"""Count that is least in error, by square and by absolute value, of a gene that was detected.

    .. math:: \operatorname{argmin}_x E\left[(y - x)^2 + |y - x|\right]

    Most such counts are one. Of a small expectation :math:`m = E[y \mid y \ge 1]` nearly all others are two, so that
    :math:`y = 1` with a probability of :math:`2 - m`, and the least is at :math:`\max(1, 2m - 3/2)` up to
    :math:`m = 3/2`. Of larger ones no single count is likely: they stay as they are expected.

    Parameters
    ----------
    value
        Expected counts given detection :math:`m`, of any shape, >= 1.
    """
    count: Floats = np.maximum(np.minimum(value, 2 * value - 1.5), 1)
    return count


def posterior(mean: Floats, counts: Floats, spread: Spread) -> Floats:
    r"""Expected count given the network's mean and the cell's own count (gamma-Poisson).

    With the gamma prior of the expression whose mean is the network's and whose variance is
    :math:`b \lambda + \lambda^2 / \theta`,

    .. math:: E[x \mid y] = \frac{\lambda + r y}{1 + r}, \qquad r = \frac{\lambda}{\theta} + b.

    Parameters
    ----------
    mean
        Expected counts :math:`\lambda`, of shape (n_cells, n_genes).
    counts
        Observed counts :math:`y`, of the same shape.
    spread
        :math:`\theta` and :math:`b` of each gene.
    """
    ratio = spread.variance_over_mean(mean)
    return (mean + ratio * counts) / (1 + ratio)
