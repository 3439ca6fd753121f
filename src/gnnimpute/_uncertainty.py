r"""How sure a value is: its interval, and what another library of the same cell would show.

The expression :math:`x` of a gene in a cell has the prior :math:`\mathrm{Gamma}(\theta, \theta / \lambda)` of
:func:`gnnimpute._estimates.posterior` and, given the count :math:`y`, the posterior

.. math:: x \mid y \sim \mathrm{Gamma}\left(\theta + y,\; \theta / \lambda + 1\right) .

A further count with exposure :math:`e` (1: a library as deep as the cell's own) is then negative binomial with size
:math:`\theta + y` and mean :math:`e\, E[x \mid y]`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy.special import gammaincinv

from gnnimpute._counts import totals
from gnnimpute._estimates import posterior

if TYPE_CHECKING:
    from collections.abc import Iterator

    import scipy.sparse as sp
    import torch
    from numpy.typing import NDArray

    from gnnimpute._config import Output
    from gnnimpute._values import Decoder, Wanted

    Floats = NDArray[np.floating[Any]]

LARGEST = 1e6
"""Dispersions above this are as good as infinite: the interval is narrower than 0.4 % of the mean."""


def quantile(mean: Floats, counts: Floats, dispersion: Floats, *, q: float) -> Floats:
    """Value that the expression lies below with probability `q`.

    Parameters
    ----------
    mean
        The network's expected counts, of shape (n_cells, n_genes).
    counts
        Observed counts, of the same shape.
    dispersion
        Dispersion of each gene, of shape (n_genes,).
    q
        Probability.
    """
    size = np.minimum(dispersion.astype(np.float64), LARGEST)
    standard = np.tile(gammaincinv(size, q), (len(counts), 1))  # right where nothing was counted: nearly everywhere
    cell, gene = np.nonzero(counts)
    standard[cell, gene] = gammaincinv(size[gene] + counts[cell, gene], q)
    value: Floats = standard * mean / (size + mean)
    return value


def redetection(mean: Floats, counts: Floats, dispersion: Floats, *, exposure: float = 1.0) -> Floats:
    """Probability that a further library of the same cell shows a gene at all.

    Parameters
    ----------
    mean, counts, dispersion
        As in :func:`quantile`.
    exposure
        Depth of the further library, in depths of the cell.
    """
    size = np.minimum(dispersion.astype(np.float64), LARGEST)
    none = (size + counts) * np.log1p(-exposure * mean / (size + (1 + exposure) * mean))  # log of its probability
    value: Floats = -np.expm1(none)
    return value


class Expression(NamedTuple):
    """Distribution of the expression of some cells and genes, given the network and the cell's own counts."""

    mean: Floats
    """The network's expected counts, of shape (n_cells, n_genes)."""
    counts: Floats
    """Observed counts, of the same shape."""
    dispersion: Floats
    """Dispersion of each gene, of shape (n_genes,)."""
    depth: Floats
    """Total of each cell over the median total, of shape (n_cells, 1)."""

    def interval(self, level: float, output: Output) -> tuple[Floats, Floats]:
        """Lower and upper end of the central interval that holds the expression with probability `level`."""
        of = self.mean, self.counts, self.dispersion
        ends = (quantile(*of, q=q) for q in ((1 - level) / 2, (1 + level) / 2))
        lower, upper = (end if output == "counts" else end / self.depth for end in ends)
        return (np.log1p(lower), np.log1p(upper)) if output == "log1p" else (lower, upper)

    def further(self, exposure: float) -> tuple[Floats, Floats]:
        """Mean and size of the negative binomial distribution of a further count."""
        return exposure * posterior(self.mean, self.counts, self.dispersion), self.dispersion + self.counts

    def redetection(self, exposure: float) -> Floats:
        """Probability that a further library of the cell shows the gene at all."""
        return redetection(self.mean, self.counts, self.dispersion, exposure=exposure)


def expressions(
    decoder: Decoder, counts: sp.csr_matrix, latent: torch.Tensor, *, wanted: Wanted
) -> Iterator[tuple[slice, Expression]]:
    """Positions in the wanted cells, and the distributions of these, block by block."""
    target_total = float(decoder.network.target_total)
    cells, columns = wanted
    dispersion = np.asarray(decoder.dispersion)[columns]
    for c, mean in decoder.blocks(counts, latent, cells, estimate="mean", output="counts"):
        own = counts[cells[c]]
        depth = np.maximum(totals(own), 1)[:, None] / target_total
        yield c, Expression(mean[:, columns], own.toarray()[:, columns], dispersion, depth)
