r"""How far the expression of cells differs from what the network expects of them.

The expression :math:`x` of a gene in a cell has the prior mean :math:`\lambda` and the variance

.. math:: \operatorname{Var}(x) = b\,\lambda + \frac{\lambda^2}{\theta},

a gamma distribution of shape :math:`1 / (1 / \theta + b / \lambda)`. The dispersion :math:`\theta` says that cells
differ by a share of what is expected; the Fano factor :math:`b` that they differ however little is expected, as where
molecules come several at a time. Both are found, gene by gene, by how well the posterior predicts molecules that were
held out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from scipy.special import gammaln

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from numpy.typing import NDArray

    Floats = NDArray[np.floating[Any]]
    Blocks = Iterable[tuple[Floats, Floats, Floats]]

DISPERSIONS = np.append(2.0 ** np.arange(-7.5, 8, 1.5), np.inf)
"""Dispersions that are tried for each gene: from counts that the mean says next to nothing about, to pure Poisson."""
FANO_FACTORS = np.array([0, 0.05, 0.15, 0.5, 1.5])
"""Fano factors that are tried for each gene."""
N_ROUNDS = 500
"""Rounds of expectation maximisation in which it is learnt how common pairs of these are: after fifty, of data that say
little, pairs that nothing speaks for are still too common."""
_CACHED = 2**21
"""Bytes of a block of cells that fits into the cache of a core."""


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


def fit_spread(blocks: Blocks, n_genes: int, *, ratio: float) -> Spread:
    """Spread of each gene, by how well the posterior predicts molecules that were held out.

    Parameters
    ----------
    blocks, n_genes, ratio
        As for :func:`dispersion_weights`.
    """
    # In terms of the share of a cell's own count in the posterior, r / (1 + r) with r = mean / dispersion + fano:
    # where little is expected it is `least`, and it becomes 1 over a range of means that `scale` sets.
    least = FANO_FACTORS / (1 + FANO_FACTORS)
    weight = _weights(_evidence(blocks, n_genes, ratio=ratio, scales=DISPERSIONS, least=least), n_rounds=N_ROUNDS)
    weight = weight.reshape(len(DISPERSIONS), len(least), n_genes)
    # The posterior is close to linear in 1 / (1 + scale) and in `least`: average there, where infinity is a number.
    shrinkage, fitted_least = weight.sum(1).T @ (1 / (1 + DISPERSIONS)), weight.sum(0).T @ least
    scale, fano = 1 / np.maximum(shrinkage, 1e-6) - 1, fitted_least / (1 - fitted_least)
    return Spread((scale / (1 + fano)).astype(np.float32), fano.astype(np.float32))


def dispersion_weights(blocks: Blocks, n_genes: int, *, ratio: float) -> NDArray[np.float64]:
    """How likely each of :data:`DISPERSIONS` is for each gene, without a Fano factor, given held-out molecules.

    Parameters
    ----------
    blocks
        For blocks of cells: the network's expected counts, the counts it saw, and the counts held out, each of shape
        (n_cells_in_block, n_genes).
    n_genes
        Number of genes.
    ratio
        Held-out molecules for each molecule seen.

    Returns
    -------
    Array of shape (n_dispersions, n_genes), which sums to 1 over dispersions.
    """
    # Not N_ROUNDS: all that is said of groups was measured with fifty.
    return _weights(_evidence(blocks, n_genes, ratio=ratio, scales=DISPERSIONS, least=np.zeros(1)), n_rounds=50)


def _evidence(
    blocks: Blocks, n_genes: int, *, ratio: float, scales: NDArray[np.float64], least: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Log likelihood of held-out molecules of each gene, of shape (n_scales * n_least, n_genes), but for a constant.

    A cell's own count has the share s + l (1 - s) in the posterior, with s = mean / (scale + mean) and l of `least`:
    that of a gamma-Poisson posterior, and of the rest a fixed share.
    """
    evidence = np.zeros((len(scales), len(least), n_genes))
    for mean, seen, held_out in _slices(blocks):
        # The rest of the mean is u = 1 / (1 / mean + 1 / scale), and s is u / scale. The count is mostly 0.
        inverse = torch.from_numpy(mean).clamp(min=1e-30).reciprocal_()
        u = torch.empty_like(inverse)
        hidden, there = np.flatnonzero(held_out != 0), np.flatnonzero(seen != 0)  # of bits: five times as fast
        molecules, before, counts = held_out.ravel()[hidden], seen.ravel()[hidden], seen.ravel()[there]
        gene, own = hidden % n_genes, np.bincount(there % n_genes, counts, minlength=n_genes)
        for i, scale in enumerate(scales.astype(np.float32)):
            torch.add(inverse, float(1 / scale), out=u).reciprocal_()
            flat, rest = u.numpy().ravel(), u.sum(0).numpy()
            pulled = np.bincount(there % n_genes, flat[there] * counts, minlength=n_genes) / scale
            at, share = flat[hidden], flat[hidden] / scale
            for j, fixed in enumerate(least.astype(np.float32)):
                expected = ratio * ((1 - fixed) * at + (share + fixed * (1 - share)) * before)
                gain = molecules * np.log(np.maximum(expected, 1e-9))
                evidence[i, j] += np.bincount(gene, gain, minlength=n_genes)
                evidence[i, j] -= ratio * ((1 - fixed) * (rest + pulled) + fixed * own)
    return evidence.reshape(-1, n_genes)


def _weights(evidence: NDArray[np.float64], *, n_rounds: int) -> NDArray[np.float64]:
    """How likely each candidate is for each gene, of the shape of `evidence`; it sums to 1 over candidates.

    Each gene's evidence is combined with how common each candidate is among all genes, which is learnt too (empirical
    Bayes by expectation maximisation), so that a gene with few molecules borrows from the others.
    """
    likelihood = np.exp(evidence - evidence.max(0))
    common = np.full(len(evidence), 1 / len(evidence))
    for _ in range(n_rounds):
        common *= likelihood @ (1 / (common @ likelihood)) / evidence.shape[1]
    weight = common[:, None] * likelihood
    return np.asarray(weight / weight.sum(0))


def group_ratio(expected: Floats, seen: Floats, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    r"""Posterior of what groups of cells express, as a share of what is expected of them.

    The prior of each gene is a mixture over dispersions, :math:`\sum_d w_d\, \mathrm{Gamma}(\theta_d, \theta_d)`: what
    a group shows decides, by its negative binomial likelihood, which of them it is, so that small deviations are taken
    for chance and large ones are followed.

    Parameters
    ----------
    expected
        Expected molecules, of shape (n_groups, n_genes).
    seen
        Molecules that were seen, of the same shape.
    weights
        From :func:`dispersion_weights`, of shape (n_dispersions, n_genes).

    Returns
    -------
    Array of shape (n_groups, n_genes), 1 where nothing is expected.
    """
    mean, y = np.maximum(expected, 1e-9).astype(np.float64), seen.astype(np.float64)
    # Group by group: so much stays in a core's own cache.
    return np.stack([_ratio_of_one(*group, weights) for group in zip(mean, y, strict=True)])


def _ratio_of_one(mean: Floats, y: Floats, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    counts, which = np.unique(y, return_inverse=True)
    size = np.minimum(DISPERSIONS, 1e6)[:, None]
    constant = gammaln(counts + size) - gammaln(size) + size * np.log(size)
    log = constant[:, which] - (size + y) * np.log(size + mean)
    weight = weights * np.exp(log - log.max(0))
    return np.asarray((weight * (size + y) / (size + mean)).sum(0) / np.maximum(weight.sum(0), 1e-300))


def _slices(blocks: Iterable[tuple[Floats, Floats, Floats]]) -> Iterator[tuple[Floats, Floats, Floats]]:
    """The same a few cells at a time: so many are gone through again and again in a core's own cache."""
    for block in blocks:
        n_cells = max(1, _CACHED // (block[0].shape[1] * 4))
        yield from (tuple(part[i : i + n_cells] for part in block) for i in range(0, len(block[0]), n_cells))  # type: ignore[misc]
