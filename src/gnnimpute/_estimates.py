"""Which question an output answers: the mean, the value behind a dropout, or the mean given the cell's own count."""

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

    The value behind a zero that is a dropout, and what the paper's metric asks for.

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
