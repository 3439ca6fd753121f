r"""Set the prior of each gene: what predicts best, as part of the posterior, the molecules that were held out.

Held out are few molecules, too few to tell how far cells differ in a gene that has not many. Those that were read are
more, but what is expected of a cell has been learnt from them, and so lies closer to them than to others. They are
therefore taken for a hint, whose meaning is learnt from the molecules that were held out of all genes.
"""

from __future__ import annotations

from contextlib import closing
from functools import reduce
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp
import torch

from gnnimpute._prior import Average, Spread
from gnnimpute._threads import side_by_side_map

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from numpy.typing import NDArray

    Floats = NDArray[np.floating[Any]]
    Blocks = Iterable[tuple[Floats, ...]]

DISPERSIONS = np.append(2.0 ** np.arange(-7.5, 8, 1.5), np.inf)
"""Dispersions that are tried for each gene, times 1 + b where there is a Fano factor b: from counts that the mean says
next to nothing about, to pure Poisson."""
FANO_FACTORS = np.array([0, 0.05, 0.15, 0.5, 1.5])
"""Fano factors that are tried for each gene."""
AVERAGE_WEIGHTS = np.array([0, 0.5])
"""Shares of its average in the mean of the prior that are tried for each gene."""
HINTS = DISPERSIONS[1::2]
"""Dispersions that molecules which were read may speak for."""
N_ROUNDS = 100
"""Rounds of expectation maximisation in which it is learnt how common all these are, and what hints mean."""
MOST_GENES = 8192
"""Most genes that it is learnt from."""
_FLOOR = 1e-12
"""Nothing is so rare that no evidence brings it back."""
_CACHED = 2**21
"""Bytes of a block of cells that fits into the cache of a core."""


def fit_prior(blocks: Blocks, share: NDArray[np.float32], *, ratio: float) -> tuple[Spread, Average]:
    r"""Prior of each gene: its spread, and the weight of its average in the mean.

    Of each gene :math:`g` there are, for every candidate :math:`c` (a dispersion, a Fano factor, a weight), the
    likelihood :math:`H_g(c)` of the molecules that were held out, and for every pair :math:`d` of dispersions, around
    what is expected and around the average, the likelihood :math:`R_g(d)` of one half of the molecules that were read,
    given the other. How often :math:`c` and :math:`d` go together is learnt from all genes: :math:`P` is what makes
    :math:`\prod_g \sum_{c,d} P(c, d) H_g(c) R_g(d)` largest. A gene's candidates then have the probabilities

    .. math:: w_g(c) \propto H_g(c) \sum_d P(c, d)\, R_g(d),

    with which they are averaged (empirical Bayes).

    Parameters
    ----------
    blocks
        For blocks of cells: expected counts, the counts that were read, a random half of their molecules, and the
        counts that were held out, each of shape (n_cells_in_block, n_genes).
    share
        Share of each gene in the molecules of all cells, of shape (n_genes,).
    ratio
        Held-out molecules for each molecule read.
    """
    # In terms of the share of a cell's own count in the posterior, r / (1 + r) with r = mean / dispersion + fano:
    # where little is expected it is `least`, and it becomes 1 over a range of means that `scale` sets.
    least, none = FANO_FACTORS / (1 + FANO_FACTORS), np.zeros(1)
    n_spreads = len(DISPERSIONS) * len(least)

    def evidence(block: tuple[Floats, ...]) -> NDArray[np.float64]:
        found = np.zeros((len(AVERAGE_WEIGHTS) * n_spreads + 2 * len(HINTS), len(share)))
        for expected, read, half, held_out in _slices(block):
            average = read.sum(1, keepdims=True) * share
            means = [expected + np.float32(weight) * (average - expected) for weight in AVERAGE_WEIGHTS]
            parts = [_evidence(m, read, held_out, ratio=ratio, scales=DISPERSIONS, least=least) for m in means]
            hints = [m / 2 for m in (expected, average)]
            parts += [_evidence(m, half, read - half, ratio=1, scales=HINTS, least=none) for m in hints]
            found += np.concatenate(parts)
        return found

    with closing(side_by_side_map(evidence, blocks, torch.device("cpu"))) as each:
        found = reduce(np.add, each)
    held, around_expected, around_average = np.split(found, np.cumsum([len(AVERAGE_WEIGHTS) * n_spreads, len(HINTS)]))
    pairs = (around_expected[:, None] + around_average).reshape(-1, len(share))
    some = np.sort(np.random.default_rng(0).permutation(len(share))[:MOST_GENES])
    # A table of 120 candidates x 36 pairs: in single precision.
    weights = _weights(held, pairs, n_rounds=N_ROUNDS, some=some, dtype=np.float32)
    weights = weights.reshape(len(AVERAGE_WEIGHTS), len(DISPERSIONS), len(least), -1)
    # The posterior is close to linear in 1 / (1 + scale) and in `least`: average there, where infinity is a number.
    shrinkage, fitted_least = (1 / (1 + DISPERSIONS)) @ weights.sum((0, 2)), least @ weights.sum((0, 1))
    scale, fano = 1 / np.maximum(shrinkage, 1e-6) - 1, fitted_least / (1 - fitted_least)
    spread = Spread((scale / (1 + fano)).astype(np.float32), fano.astype(np.float32))
    return spread, Average(share, (AVERAGE_WEIGHTS @ weights.sum((1, 2))).astype(np.float32))


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
    evidence = np.zeros((len(DISPERSIONS), n_genes))
    for mean, seen, held_out in chain.from_iterable(map(_slices, blocks)):
        evidence += _evidence(mean, seen, held_out, ratio=ratio, scales=DISPERSIONS, least=np.zeros(1))
    # All that is said of groups was measured with fifty rounds.
    return _weights(evidence, np.zeros((1, n_genes)), n_rounds=50)


def _evidence(
    mean: Floats,
    seen: Floats,
    held_out: Floats,
    *,
    ratio: float,
    scales: NDArray[np.float64],
    least: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Log likelihood of held-out molecules of each gene, of shape (n_scales * n_least, n_genes), but for a constant.

    A cell's own count has the share s + l (1 - s) in the posterior, with s = mean / (scale + mean) and l of `least`:
    that of a gamma-Poisson posterior, and of the rest a fixed share.
    """
    n_genes = mean.shape[1]
    # The rest of the mean is u = 1 / (1 / mean + 1 / scale), and s is u / scale. The count is mostly 0.
    inverse = torch.from_numpy(mean).clamp(min=1e-30).reciprocal_()
    u, rest = torch.empty_like(inverse), np.empty((len(scales), n_genes))
    per_scale, least = (1 / scales).astype(np.float32), least.astype(np.float32)
    for i, added in enumerate(per_scale.tolist()):
        rest[i] = torch.add(inverse, added, out=u).reciprocal_().sum(0)
    hidden, there = np.flatnonzero(held_out != 0), np.flatnonzero(seen != 0)  # of bits: five times as fast
    of_hidden, of_there = (
        _sums_of_genes(part.ravel()[at], at, n_genes) for part, at in ((held_out, hidden), (seen, there))
    )
    flat, per_scale = inverse.numpy().ravel(), per_scale[:, None]
    pulled = (of_there @ (per_scale / (flat[there] + per_scale)).T).T
    own = of_there @ np.ones(len(there))
    before = seen.ravel()[hidden]
    expected = (1 + before * per_scale) / (flat[hidden] + per_scale)  # of a molecule read, were `least` 0
    evidence = np.empty((len(scales), len(least), n_genes))
    for j, fixed in enumerate(least):
        logs = np.log(np.maximum((1 - fixed) * expected + fixed * before, 1e-9))
        evidence[:, j] = (of_hidden @ logs.T).T - ratio * ((1 - fixed) * (rest + pulled) + fixed * own)
    return evidence.reshape(-1, n_genes)


def _sums_of_genes(weights: Floats, at: NDArray[np.int64], n_genes: int) -> sp.csc_matrix:
    """Matrix of shape (n_genes, len(at)) that sums over entries of each gene, at these places of all, with weights."""
    return sp.csc_matrix((weights.astype(np.float64), at % n_genes, np.arange(len(at) + 1)), (n_genes, len(at)))


def _weights(
    evidence: Floats,
    hints: Floats,
    *,
    n_rounds: int,
    some: NDArray[np.int64] | slice = slice(None),
    dtype: type[np.floating[Any]] = np.float64,
) -> NDArray[np.float64]:
    """How likely each candidate is for each gene, of the shape of `evidence`; it sums to 1 over candidates.

    Parameters
    ----------
    evidence
        Log likelihood of each gene under each candidate, of shape (n_candidates, n_genes).
    hints
        The same under what is no candidate, but goes with some of them, of shape (n_hints, n_genes).
    n_rounds
        Rounds of expectation maximisation. Not many: the table then stays closer to where all is as common, and of data
        that say little it learns less that is not so.
    some
        Genes that it is learnt from how common all these are.
    dtype
        Precision of what is learnt.
    """
    likelihood, hinted = (np.exp(log - log.max(0)).astype(dtype) for log in (evidence, hints))
    of_some, hints_of_some = (np.ascontiguousarray(part[:, some]) for part in (likelihood, hinted))
    table = np.full((len(evidence), len(hints)), 1 / (len(evidence) * len(hints)), dtype=dtype)
    for _ in range(n_rounds):
        gene = (of_some * (table @ hints_of_some)).sum(0)
        table *= (of_some / gene) @ hints_of_some.T / of_some.shape[1]
        table = np.maximum(table, _FLOOR)
    weight = (likelihood * (table @ hinted)).astype(np.float64)
    return np.asarray(weight / weight.sum(0))


def _slices(block: tuple[Floats, ...]) -> Iterator[tuple[Floats, ...]]:
    """The same a few cells at a time: so many are gone through again and again in a core's own cache."""
    n_cells = max(1, _CACHED // (block[0].shape[1] * 4))
    for i in range(0, len(block[0]), n_cells):
        yield tuple(part[i : i + n_cells] for part in block)
