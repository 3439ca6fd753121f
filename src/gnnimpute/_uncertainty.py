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
from scipy.special import digamma, gammaincinv, gammaln

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

MANY, MOST = 64, 1024
"""Mean count from which a count is as good as continuous, and the largest count that is summed over below that."""
_LOOKS = frozenset((2, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, *range(128, MOST, 64)))
LARGEST = 1e6
"""Shapes above this are as good as infinite: the interval is narrower than 0.4 % of the mean."""
_SHAPES = np.geomspace(1e-9, 10 * LARGEST, 2**14)
"""Shapes of gamma distributions whose quantiles are tabulated."""


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
        Shape of each, above 0 and up to ten times :data:`LARGEST`.
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
    r"""Expected :math:`\log(1 + s Y)` of a negative binomial count :math:`Y`.

    A sum over counts until a millionth of the probability is left. Where the mean is above :data:`MANY`, :math:`Y` is
    as good as continuous, and the expected log is that of the gamma distribution of the same mean and variance.

    Parameters
    ----------
    mean, size
        Of the counts, of shape (n_cells, n_genes).
    scale
        :math:`s` of each cell, of shape (n_cells, 1).
    """
    value = np.zeros(mean.shape)
    mean, size, scale = (np.broadcast_to(part, mean.shape).astype(np.float64) for part in (mean, size, scale))
    size = np.minimum(size, LARGEST)
    many = mean > MANY
    moved = mean[many] + 1 / scale[many]  # log(1 + s Y) = log(s (Y + 1 / s))
    shape = moved**2 / (mean[many] + mean[many] ** 2 / size[many])
    value[many] = np.log(scale[many] * moved / shape) + digamma(shape)
    cells = np.nonzero(~many & (mean > 0))
    m, n, s = (part[cells] for part in (mean, size, scale))
    # Of those that are left: probability of this count, of more, and the sum so far.
    now = np.exp(-n * np.log1p(m / n))
    state = np.stack([m, n, s, now, 1 - now, np.zeros(len(m))])
    for count in range(1, MOST):
        m, n, s, now, more, total = state
        now *= (count - 1 + n) / count * (m / (m + n))
        total += now * np.log1p(s * count)
        more -= now
        if count in _LOOKS and (done := more < 1e-6).any():  # nearly all counts are 0 or 1: go on with the others
            at = tuple(part[done] for part in cells)
            value[at] = (total + np.maximum(more, 0) * np.log1p(s * (count + 1)))[done]
            cells, state = tuple(part[~done] for part in cells), state[:, ~done]
        if not state.shape[1]:
            break
    value[cells] = state[5] + state[4] * np.log1p(state[2] * MOST)
    expected: Floats = value
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
