r"""What the posterior starts from: how much a cell is expected to express of a gene, and how far it may be from that.

The expression :math:`x` of a gene in a cell has a gamma prior. Its mean is

.. math:: \mu = (1 - \omega)\,\lambda' + \omega\, n\, \bar s,

with :math:`\lambda'` what the network and genes that covary expect, and :math:`n \bar s` what the gene shows on
average in a cell of :math:`n` molecules. Its variance is

.. math:: \operatorname{Var}(x) = b\,\mu + \frac{\mu^2}{\theta},

hence its shape :math:`1 / (1 / \theta + b / \mu)`. The dispersion :math:`\theta` says that cells differ by a share of
what is expected; the Fano factor :math:`b` that they differ however little is expected, as where molecules come several
at a time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray

    Floats = NDArray[np.floating[Any]]


class Spread(NamedTuple):
    """How far the expression of each gene differs from what is expected of a cell."""

    dispersion: NDArray[np.float32]
    r"""(n_genes,) :math:`\theta`; infinite where cells do not differ in proportion to what is expected; NaN of genes
    that are not among the counts."""
    fano: NDArray[np.float32]
    """(n_genes,) :math:`b`, variance over mean where little is expected; 0 where cells then hardly differ."""

    def of(self, genes: NDArray[np.int64] | slice) -> Spread:
        """The same of some genes, in the order given."""
        return Spread(self.dispersion[genes], self.fano[genes])

    def without(self, absent: NDArray[np.bool_]) -> Spread:
        """The same where some genes, of shape (n_genes,), are not among the counts: unknown for these."""
        return Spread(np.where(absent, np.float32(np.nan), self.dispersion), np.where(absent, 0, self.fano))

    def known(self) -> Spread:
        """The same where genes of which it is unknown are as the network expects."""
        return Spread(np.where(np.isnan(self.dispersion), np.float32(np.inf), self.dispersion), self.fano)

    def variance_over_mean(self, mean: Floats) -> Floats:
        """Variance of the expression over its mean, of the shape of `mean`."""
        return mean / self.dispersion + self.fano

    def size(self, mean: Floats) -> Floats:
        """Shape of the gamma distribution of the expression, which the size of the distribution of counts is too."""
        mean = np.maximum(mean, 1e-30).astype(np.float64)
        with np.errstate(divide="ignore"):
            size: Floats = mean / self.variance_over_mean(mean)
        return size


class Average(NamedTuple):
    """What each gene's average has to say of a cell, besides what is expected of it."""

    share: NDArray[np.float32]
    r"""(n_genes,) :math:`\bar s`, share of the gene in the molecules of all cells."""
    weight: NDArray[np.float32]
    r"""(n_genes,) :math:`\omega`, share of the average in the mean of the prior."""

    def of(self, genes: NDArray[np.int64] | slice) -> Average:
        """The same of some genes, in the order given."""
        return Average(self.share[genes], self.weight[genes])

    def without(self, absent: NDArray[np.bool_]) -> Average:
        """The same where some genes, of shape (n_genes,), are not among the counts: these stay as expected."""
        return Average(self.share, np.where(absent, np.float32(0), self.weight))

    def mixed_with(self, expected: Floats, total: Floats) -> Floats:
        """Mean of the prior, of the shape of `expected`; `total` are the molecules of each cell, (n_cells, 1)."""
        return expected + self.weight * (total.astype(np.float32) * self.share - expected)
