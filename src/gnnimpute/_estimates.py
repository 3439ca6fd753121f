"""Which question an output answers: the mean, the value behind a dropout, or the mean given the cell's own count."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.special import gammaln, lambertw

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from numpy.typing import NDArray

    Floats = NDArray[np.floating[Any]]

DISPERSIONS = np.append(2.0 ** np.arange(-7.5, 8, 1.5), np.inf)
"""Dispersions that are tried for each gene: from counts that the mean says next to nothing about, to pure Poisson."""
_CACHED = 2**21
"""Bytes of a block of cells that fits into the cache of a core."""


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


def posterior(mean: Floats, counts: Floats, dispersion: Floats | np.float32) -> Floats:
    r"""Expected count given the network's mean and the cell's own count (gamma-Poisson).

    With the prior :math:`\mathrm{Gamma}(\theta, \theta / \lambda)` of the expression, whose mean is the network's,

    .. math:: E[x \mid y] = \lambda\, \frac{\theta + y}{\theta + \lambda}.

    Parameters
    ----------
    mean
        Expected counts :math:`\lambda`, of shape (n_cells, n_genes).
    counts
        Observed counts :math:`y`, of the same shape.
    dispersion
        :math:`\theta` of each gene, of shape (n_genes,); infinite where cells differ from the mean by chance alone.
    """
    ratio = mean / dispersion
    return (mean + ratio * counts) / (1 + ratio)


def fit_dispersion(
    blocks: Iterable[tuple[Floats, Floats, Floats]], n_genes: int, *, ratio: float
) -> NDArray[np.float32]:
    """Dispersion of each gene, by how well the posterior predicts molecules that were held out.

    Parameters
    ----------
    blocks, n_genes, ratio
        As for :func:`dispersion_weights`.

    Returns
    -------
    Array of shape (n_genes,).
    """
    weight = dispersion_weights(blocks, n_genes, ratio=ratio)
    # The posterior is close to linear in 1 / (1 + theta): average there, where infinity is a number.
    shrinkage = weight.T @ (1 / (1 + DISPERSIONS))
    fitted: NDArray[np.float32] = (1 / np.maximum(shrinkage, 1e-6) - 1).astype(np.float32)
    return fitted


def dispersion_weights(
    blocks: Iterable[tuple[Floats, Floats, Floats]], n_genes: int, *, ratio: float, n_rounds: int = 50
) -> NDArray[np.float64]:
    """How likely each of :data:`DISPERSIONS` is for each gene, given molecules that were held out.

    Each gene's evidence is combined with how common each dispersion is among all genes, which is learnt too (empirical
    Bayes by expectation maximisation), so that a gene with few molecules borrows from the others.

    Parameters
    ----------
    blocks
        For blocks of cells: the network's expected counts, the counts it saw, and the counts held out, each of shape
        (n_cells_in_block, n_genes).
    n_genes
        Number of genes.
    ratio
        Held-out molecules for each molecule seen.
    n_rounds
        Rounds of expectation maximisation.

    Returns
    -------
    Array of shape (n_dispersions, n_genes), which sums to 1 over dispersions.
    """
    evidence = np.zeros((len(DISPERSIONS), n_genes))
    for mean, seen, held_out in _slices(blocks):
        # The posterior is u (1 + y / theta) with u = 1 / (1 / lambda + 1 / theta), and y mostly 0.
        inverse = torch.from_numpy(mean).clamp(min=1e-30).reciprocal_()
        u = torch.empty_like(inverse)
        hidden, there = np.flatnonzero(held_out != 0), np.flatnonzero(seen != 0)  # of bits: five times as fast
        molecules, before, counts = held_out.ravel()[hidden], seen.ravel()[hidden], seen.ravel()[there]
        for d, dispersion in enumerate(DISPERSIONS.astype(np.float32)):
            torch.add(inverse, float(1 / dispersion), out=u).reciprocal_()
            flat = u.numpy().ravel()
            expected = ratio * flat[hidden] * (1 + before / dispersion)
            gain = molecules * np.log(np.maximum(expected, 1e-9))
            evidence[d] += np.bincount(hidden % n_genes, gain, minlength=n_genes)
            of_counts = np.bincount(there % n_genes, flat[there] * counts, minlength=n_genes)
            evidence[d] -= ratio * (u.sum(0).numpy() + of_counts / dispersion)
    likelihood = np.exp(evidence - evidence.max(0))
    common = np.full(len(DISPERSIONS), 1 / len(DISPERSIONS))
    for _ in range(n_rounds):
        weight = common[:, None] * likelihood
        weight /= weight.sum(0)
        common = weight.mean(1)
    return np.asarray(weight)


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
