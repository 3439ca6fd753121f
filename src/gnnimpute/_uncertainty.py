r"""How sure a value is: its interval, and what another library of the same cell would show.

The expression :math:`x` of a gene in a cell has the gamma prior of :mod:`gnnimpute._prior`, whose shape is
:math:`s = 1 / (1 / \theta + b / \lambda)`, and, given the count :math:`y`, the posterior

.. math:: x \mid y \sim \mathrm{Gamma}\left(s + y,\; s / \lambda + 1\right) .

A further count with exposure :math:`e` (1: a library as deep as the cell's own) is then negative binomial with size
:math:`s + y` and mean :math:`e\, E[x \mid y]`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy.special import gammaincinv, gammaln

from gnnimpute._counts import divisors
from gnnimpute._estimates import posterior

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch
    from numpy.typing import NDArray

    from gnnimpute._config import Output
    from gnnimpute._prior import Spread
    from gnnimpute._rows import Rows
    from gnnimpute._values import Decoder, Wanted

    Floats = NDArray[np.floating[Any]]

LARGEST = 1e6
"""Shapes above this are as good as infinite: the interval is narrower than 0.4 % of the mean."""
_SHAPES = np.geomspace(1e-9, 1e10, 20_000)
"""Shapes of gamma distributions whose quantiles are tabulated: beyond the largest count that there may be."""
_STEP, _LAST_LOG, _PROPORTIONAL = 0.7, 3.0, 0.005
"""Steps of log t and the last of them, and share by which the start of an integrand may differ from a straight line."""


def quantile(mean: Floats, counts: Floats, spread: Spread, *, q: float) -> Floats:
    """Value that the expression lies below with probability `q`.

    Parameters
    ----------
    mean
        The network's expected counts, of shape (n_cells, n_genes).
    counts
        Observed counts, of the same shape.
    spread
        Spread of each gene.
    q
        Probability.
    """
    size = np.minimum(spread.size(mean), LARGEST)
    value: Floats = standard_quantile(size + counts, q=q) * mean / (size + mean)
    return value


def standard_quantile(shape: Floats, *, q: float) -> Floats:
    """Quantile of a gamma distribution of rate 1, from a table: by itself each takes up to thirty times as long.

    Parameters
    ----------
    shape
        Shape of each, above 0: :data:`LARGEST` and a count at most.
    q
        Probability.
    """
    quantile: Floats = np.exp(np.interp(np.log(shape), np.log(_SHAPES), _smooth_quantiles(q)) * (1 + 1 / shape))
    return quantile


@lru_cache(maxsize=4)
def _smooth_quantiles(q: float) -> Floats:
    """Of :data:`_SHAPES`, logarithms of quantiles times s / (1 + s): straight between neighbours, to a millionth."""
    # Where the shape s is small, the quantile is as good as (q Gamma(s + 1)) ** (1 / s), far below what a float holds.
    few = (np.log(q) + gammaln(_SHAPES + 1)) / _SHAPES
    with np.errstate(divide="ignore"):
        log = np.where(few < np.log(1e-30), few, np.log(gammaincinv(_SHAPES, q)))
    smooth: Floats = log / (1 + 1 / _SHAPES)
    return smooth


def redetection(mean: Floats, counts: Floats, spread: Spread, *, exposure: float = 1.0) -> Floats:
    """Probability that a further library of the same cell shows a gene at all.

    Parameters
    ----------
    mean, counts, spread
        As in :func:`quantile`.
    exposure
        Depth of the further library, in depths of the cell.
    """
    size = np.minimum(spread.size(mean), LARGEST)
    none = (size + counts) * np.log1p(-exposure * mean / (size + (1 + exposure) * mean))  # log of its probability
    value: Floats = -np.expm1(none)
    return value


def expected_log1p(mean: Floats, size: Floats, scale: Floats) -> Floats:
    r"""Expected :math:`\log(1 + s Y)` of a negative binomial count :math:`Y`, to a hundred-thousandth; never below 0.

    As :math:`\log(1 + z) = \int_0^\infty (1 - e^{-tz})\, e^{-t} / t \, dt`, and the mean of :math:`e^{-tsY}` has a
    closed form, it is

    .. math:: \int_{-\infty}^\infty
        \left(1 - \left(1 + m (1 - e^{-st}) / n\right)^{-n}\right) e^{-t} \, d\log t .

    The integrand is smooth and vanishes on both sides, so that a sum in equal steps of :math:`\log t` is as good as
    the integral.

    Parameters
    ----------
    mean, size
        :math:`m` and :math:`n` of the counts, of shape (n_cells, n_genes); where one is NaN, so is the result.
    scale
        :math:`s` of each cell, of shape (n_cells, 1).
    """
    size = np.minimum(size, LARGEST).astype(np.float64)
    ratio = mean / size
    # From a small t downwards the integrand is as good as proportional to t: what is left is a geometric series.
    fastest = 2 + np.fmax.reduce((scale * (1 + mean + ratio)).ravel(), initial=0)
    n_steps = int(np.ceil((_LAST_LOG - np.log(_PROPORTIONAL / fastest)) / _STEP))
    value, part = np.zeros(ratio.shape), np.zeros(ratio.shape)
    for t in np.exp(_LAST_LOG - _STEP * np.arange(n_steps + 1)):
        np.multiply(ratio, -np.expm1(-scale * t), out=part)
        np.multiply(np.log1p(part, out=part), -size, out=part)
        np.multiply(np.expm1(part, out=part), -_STEP * np.exp(-t), out=part)
        value += part
    expected: Floats = value + part / np.expm1(_STEP)
    return expected


class Expression(NamedTuple):
    """Distribution of the expression of some cells and genes, given the network and the cell's own counts."""

    mean: Floats
    """Mean of the prior, as counts, of shape (n_cells, n_genes)."""
    counts: Floats
    """Observed counts, of the same shape."""
    spread: Spread
    """Spread of each gene; NaN, and so is all that follows, of one that was not counted."""
    total: Floats
    """Total of each cell, 1 of an empty one, of shape (n_cells, 1)."""
    target_total: float
    """What cells are scaled to."""

    def interval(self, level: float, output: Output) -> tuple[Floats, Floats]:
        """Lower and upper end of the central interval that holds the expression with probability `level`."""
        of = self.mean, self.counts, self.spread
        ends = (quantile(*of, q=q) for q in ((1 - level) / 2, (1 + level) / 2))
        lower, upper = (end if output == "counts" else end * (self.target_total / self.total) for end in ends)
        return (np.log1p(lower), np.log1p(upper)) if output == "log1p" else (lower, upper)

    def further(self, exposure: float) -> tuple[Floats, Floats]:
        """Mean and size of the negative binomial distribution of a further count."""
        return exposure * posterior(self.mean, self.counts, self.spread), self.spread.size(self.mean) + self.counts

    def further_log1p(self, exposure: float, total: float) -> Floats:
        """Expected log1p of a further count, its library scaled to `total`."""
        return expected_log1p(*self.further(exposure), total / (exposure * self.total))

    def redetection(self, exposure: float) -> Floats:
        """Probability that a further library of the cell shows the gene at all."""
        return redetection(self.mean, self.counts, self.spread, exposure=exposure)


def expressions(
    decoder: Decoder, rows: Rows, latent: torch.Tensor, *, wanted: Wanted
) -> Iterator[tuple[slice, Expression]]:
    """Positions in the wanted cells, and the distributions of these, block by block."""
    target_total = float(decoder.network.target_total)
    cells, columns = wanted
    assert decoder.spread is not None
    spread = decoder.spread.of(columns)
    for c, mean in decoder.blocks(rows, latent, cells, estimate="mean", output="counts"):
        own, total = rows.counts[cells[c]].toarray(), divisors(rows.total[cells[c]])[:, None]
        prior = decoder.prior(mean, own, total=total)[:, columns]
        yield c, Expression(prior, own[:, columns], spread, total, target_total)
