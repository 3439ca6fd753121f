"""Hide part of a count matrix: one code for training, validation and evaluation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import scipy.sparse as sp

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gnnimpute._config import Config


class Split(NamedTuple):
    """Counts that are kept and counts that are hidden, in the same shape."""

    kept: sp.csr_matrix
    held_out: sp.csr_matrix


class Labels(NamedTuple):
    """What the paper's protocol knows of training cells."""

    values: sp.csr_matrix
    """Values that were masked, of shape (n_cells, n_genes)."""
    total: float
    """What all cells, these or others, were normalised to before anything was masked."""


def hide(counts: sp.csr_matrix, rate: float, config: Config, *, rng: np.random.Generator) -> Split:
    """Hide a share of the molecules or non-zeros, whichever the settings say."""
    return Split(*(hide_molecules if config.hide == "molecules" else hide_nonzeros)(counts, rate, rng))


def hide_molecules(counts: sp.csr_matrix, rate: float, rng: np.random.Generator) -> tuple[sp.csr_matrix, sp.csr_matrix]:
    """Split the molecules of every entry at random (binomial thinning).

    Each molecule is hidden with probability `rate`, independently. For Poisson counts the two parts are independent
    given the expression :cite:p:`Batson2019`, so one can judge a model of the other.

    Parameters
    ----------
    counts
        Molecule counts of shape (n_cells, n_genes). Of values that are not whole (TPM), the whole part is split like
        molecules and the rest goes to one side.
    rate
        Probability that a molecule is hidden.
    rng
        Source of randomness.

    Returns
    -------
    What is kept and what is hidden: two matrices that sum to `counts`, without explicit zeros.
    """
    if rate == 0.5:
        return _split(counts, _half(counts.data, rng))
    hidden = rng.random(counts.nnz) < rate  # what one molecule, by far the most frequent count, needs
    hidden = hidden * np.minimum(counts.data, 1)
    many = np.flatnonzero(counts.data > 1)
    if len(many):
        whole = np.floor(counts.data[many])
        rest = counts.data[many] - whole
        hidden[many] = rng.binomial(whole.astype(np.int64), rate) + rest * (rng.random(len(many)) < rate)
    return _split(counts, hidden)


def hide_overdispersed(
    counts: sp.csr_matrix, rate: float, rng: np.random.Generator, *, size: NDArray[np.float64]
) -> tuple[sp.csr_matrix, sp.csr_matrix]:
    """Split the molecules of every entry so that the parts of negative binomial counts are independent.

    Of such a count each part is a beta-binomial share :cite:p:`Neufeld2023`.

    Parameters
    ----------
    counts
        Whole counts of shape (n_cells, n_genes).
    rate
        Share of the molecules that is hidden, on average.
    rng
        Source of randomness.
    size
        Size of the negative binomial of each gene, of shape (n_genes,); infinite for Poisson counts.

    Returns
    -------
    What is kept and what is hidden: two matrices that sum to `counts`, without explicit zeros.
    """
    own = size[counts.indices]
    share = np.full(counts.nnz, rate)
    some = np.isfinite(own)
    share[some] = rng.beta(rate * own[some], (1 - rate) * own[some])
    return _split(counts, rng.binomial(counts.data.astype(np.int64), share))


def _half(counts: NDArray[np.generic], rng: np.random.Generator) -> NDArray[np.floating[Any]]:
    """Half of the molecules of each count: heads of as many coins. Random bits are quicker than a binomial."""
    whole = np.floor(counts)
    coins = np.frombuffer(rng.bytes(len(whole)), dtype=np.uint8)
    heads = np.bitwise_count(coins >> (8 - np.minimum(whole, 8)).astype(np.uint8)).astype(whole.dtype)
    some, many = np.flatnonzero((whole > 8) & (whole < 64)), np.flatnonzero(whole >= 64)
    coins = np.frombuffer(rng.bytes(8 * len(some)), dtype=np.uint64)
    heads[some] = np.bitwise_count(coins >> (64 - whole[some]).astype(np.uint64))
    heads[many] = rng.binomial(whole[many].astype(np.int64), 0.5)
    broken = np.flatnonzero(whole != counts)
    heads[broken] += (counts[broken] - whole[broken]) * (rng.random(len(broken)) < 0.5)
    return np.asarray(heads)


def hide_nonzeros(counts: sp.csr_matrix, rate: float, rng: np.random.Generator) -> tuple[sp.csr_matrix, sp.csr_matrix]:
    """Hide whole non-zero entries, each with probability `rate`.

    Returns
    -------
    What is kept and what is hidden: two matrices that sum to `counts`, without explicit zeros.
    """
    return _split(counts, counts.data * (rng.random(counts.nnz) < rate))


def hide_nonzeros_by_gene(
    counts: sp.csr_matrix, rate: float, rng: np.random.Generator, *, spare: int = 3
) -> tuple[sp.csr_matrix, sp.csr_matrix]:
    """Hide the same share of the non-zeros of every gene: the hold-out of the paper :cite:p:`Xu2021`.

    Parameters
    ----------
    counts
        Array of shape (n_cells, n_genes).
    rate
        Share of each gene's non-zeros to hide, rounded down.
    rng
        Source of randomness.
    spare
        Genes with at most this many non-zeros are left alone.

    Returns
    -------
    What is kept and what is hidden: two matrices that sum to `counts`, without explicit zeros.
    """
    counts = sp.csr_matrix(counts, copy=True)
    counts.sum_duplicates()
    counts.eliminate_zeros()
    n_nonzeros = np.bincount(counts.indices, minlength=counts.shape[1])
    n_hidden = np.where(n_nonzeros > spare, np.floor(n_nonzeros * rate + 1e-9).astype(np.int64), 0)
    # Entries in random order within each gene; the first n_hidden of a gene are hidden.
    order = np.lexsort((rng.random(counts.nnz), counts.indices))
    rank = np.arange(counts.nnz) - np.repeat(np.cumsum(n_nonzeros) - n_nonzeros, n_nonzeros)
    hidden = np.zeros(counts.nnz, dtype=bool)
    hidden[order] = rank < n_hidden[counts.indices[order]]
    return _split(counts, counts.data * hidden)


def _split(counts: sp.csr_matrix, hidden: NDArray[np.generic]) -> tuple[sp.csr_matrix, sp.csr_matrix]:
    return with_data(counts, counts.data - hidden), with_data(counts, hidden)


def with_data(counts: sp.csr_matrix, data: NDArray[np.generic]) -> sp.csr_matrix:
    """The same entries with other values, without those that became zero."""
    there = np.flatnonzero(data != 0)
    rows = np.searchsorted(there, counts.indptr).astype(counts.indptr.dtype)
    return sp.csr_matrix((data[there].astype(counts.dtype), counts.indices[there], rows), counts.shape)
