"""Signals that imputation may invent or lose, each as a number: arrays in, numbers out."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import scipy.sparse as sp

from ._masking import hide_molecules

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Values = NDArray[np.float64]
    Labels = NDArray[np.int64]

_ROUNDING = 1e-5
"""Share of a gene's highest value below which differences are those of float32."""
_RARE = 0.1
"""Share of the cells that at most show a gene which few show."""


def single(counts: sp.csr_matrix) -> tuple[float, int]:
    """Share of single counts among the non-zeros of genes that few cells show, and how many such genes there are.

    Where a gene is rarely seen, a second molecule of it in the same cell is rarer still; a second read is not.

    Parameters
    ----------
    counts
        Counts of shape (n_cells, n_genes).
    """
    n_cells = np.bincount(counts.indices, minlength=counts.shape[1])
    n_single = np.bincount(counts.indices[counts.data == 1], minlength=counts.shape[1])
    rare = (n_cells >= 3) & (n_cells <= _RARE * counts.shape[0])
    return float((n_single[rare] / n_cells[rare]).mean()) if rare.any() else float("nan"), int(rare.sum())


def dealt_within(counts: sp.csr_matrix, groups: Labels, rng: np.random.Generator) -> sp.csr_matrix:
    """Molecules of each gene dealt anew among the cells of a group, by their depth: beyond it, nothing is left to find.

    Handing around whole counts would leave each gene its own variance, and so a cell's visible molecules of a gene
    would rightly tell of its hidden ones.

    Parameters
    ----------
    counts
        Counts of shape (n_cells, n_genes).
    groups
        Group of each cell, of shape (n_cells,).
    rng
        Generator.
    """
    total = np.asarray(counts.sum(axis=1, dtype=np.float64)).ravel()
    order, dealt = np.argsort(groups, kind="stable"), []
    for members in np.split(order, np.flatnonzero(np.diff(groups[order])) + 1):
        molecules = np.asarray(counts[members].sum(axis=0, dtype=np.float64)).ravel().round().astype(np.int64)
        weight = total[members] / max(total[members].sum(), 1)
        dealt.append(sp.csr_matrix(rng.multinomial(molecules, weight).T, dtype=np.float32))
    return sp.vstack(dealt, format="csr")[np.argsort(order)]


def group_means(counts: sp.csr_matrix, groups: Labels) -> Values:
    """Share of each gene among the molecules of each cell's group, times the cell's total: (n_cells, n_genes).

    A mean cell is added to each group. Without it a gene that a small group does not happen to show is taken for
    impossible there, and whatever smooths at all predicts better.
    """
    total = np.asarray(counts.sum(axis=1), dtype=np.float64).ravel()
    return group_shares(counts, groups, plus=np.asarray(counts.mean(axis=0), dtype=np.float64)) * total[:, None]


def group_shares(counts: sp.csr_matrix, groups: Labels, *, plus: Values | float = 0.0) -> Values:
    """Share of each gene among the molecules of each cell's group, and of what is added to it: (n_cells, n_genes)."""
    sums = np.asarray((_indicator(groups) @ counts).todense(), dtype=np.float64) + plus
    return np.asarray((sums / np.maximum(sums.sum(axis=1, keepdims=True), 1))[groups])


def correlation_within(values: ArrayLike, groups: Labels) -> float:
    """Root mean square of the correlations between genes, of cells about the mean of their group.

    Parameters
    ----------
    values
        Expression of shape (n_cells, n_genes).
    groups
        Group of each cell.
    """
    centred = _centred(values, groups)
    spread = centred.std(axis=0)
    varies = spread > _ROUNDING * np.abs(np.asarray(values)).max(axis=0)
    scaled = centred[:, varies] / spread[varies]
    n_genes = scaled.shape[1]
    if n_genes < 2:
        return float("nan")
    squares = np.square(scaled.T @ scaled / len(scaled))
    return float(np.sqrt((squares.sum() - np.trace(squares)) / (n_genes * (n_genes - 1))))


class Truth(NamedTuple):
    """What two halves of the molecules say of the expression behind them, free of the noise of counting."""

    variance: Values
    """Variance of each gene within groups, of shape (n_genes,)."""
    correlation: float
    """Root mean square of the correlations between the genes whose variance is clear."""
    clear: NDArray[np.bool_]
    """Genes whose variance is clearly above 0, of shape (n_genes,)."""


def two_fold(counts: sp.csr_matrix, groups: Labels, *, genes: Labels, target: float, rng: np.random.Generator) -> Truth:
    """Variances and correlations within groups, from two halves of the molecules.

    Halves are independent given the expression, so the covariance between a gene in one half and a gene in the other is
    on average that of their expression, and the product of two such covariances is its square.

    Parameters
    ----------
    counts
        Counts of shape (n_cells, n_genes).
    groups
        Group of each cell.
    genes
        Positions of the genes to look at.
    target
        Molecules of a cell that variances are of, as if each had so many.
    rng
        Generator, for the halves.
    """
    halves = hide_molecules(counts, 0.5, rng)
    total = [np.maximum(np.asarray(half.sum(axis=1), dtype=np.float64), 1) for half in halves]
    one, other = (
        _centred(half[:, genes].toarray() / sums * target, groups) for half, sums in zip(halves, total, strict=True)
    )
    n = max(len(one) - len(np.unique(groups)), 1)
    crossed = one.T @ other / n
    variance = np.diag(crossed).copy()
    error = np.std(one * other, axis=0) / np.sqrt(n)
    clear = variance > 3 * error
    pairs = (crossed * crossed.T)[np.ix_(clear, clear)]
    sizes = np.outer(variance[clear], variance[clear])
    off = ~np.eye(len(pairs), dtype=bool)
    square = float(np.mean(pairs[off] / sizes[off])) if off.any() else float("nan")
    return Truth(variance, float(np.sqrt(max(square, 0.0))) if np.isfinite(square) else square, clear)


def variance_kept(values: ArrayLike, groups: Labels, truth: Truth) -> float:
    """Variance within groups as a share of the true one, in the median over genes whose variance is clear."""
    if not truth.clear.any():
        return float("nan")
    centred = _centred(values, groups)
    variance = np.square(centred).sum(axis=0) / max(len(centred) - len(np.unique(groups)), 1)
    return float(np.median(variance[truth.clear] / truth.variance[truth.clear]))


def split_p_values(values: ArrayLike, *, n_splits: int, rng: np.random.Generator) -> Values:
    """P-values of rank-sum tests between random halves of the cells: of shape (n_splits, n_genes).

    Parameters
    ----------
    values
        Expression of one type of cells, of shape (n_cells, n_genes); genes that are equal in all cells are left out.
    n_splits
        Number of random splits.
    rng
        Generator.
    """
    from scipy.stats import norm, rankdata

    numbers = np.asarray(values, dtype=np.float64)
    numbers = numbers[:, np.ptp(numbers, axis=0) > _ROUNDING * np.abs(numbers).max(axis=0)]
    ranks = rankdata(numbers, axis=0)
    variance = ranks.var(axis=0, ddof=1)
    ranks, variance = ranks[:, variance > 0], variance[variance > 0]
    n, half = len(ranks), len(ranks) // 2
    p_values = np.empty((n_splits, ranks.shape[1]))
    for split in range(n_splits):
        chosen = rng.permutation(n)[:half]
        # Sum of `half` of n numbers drawn without replacement: its mean and variance, ties and all.
        excess = ranks[chosen].sum(axis=0) - half * ranks.mean(axis=0)
        p_values[split] = 2 * norm.sf(np.abs(excess) / np.sqrt(variance * half * (n - half) / n))
    return p_values


def from_uniform(p_values: ArrayLike) -> float:
    """Largest distance between the distribution of p-values and the uniform one (Kolmogorov and Smirnov)."""
    p = np.sort(np.ravel(p_values))
    steps = np.arange(len(p) + 1) / len(p)
    return float(max((steps[1:] - p).max(), (p - steps[:-1]).max()))


def leaks(
    counts: sp.csr_matrix, imputed: Values, *, groups: Labels, least: float = 20.0
) -> tuple[Values, list[tuple[int, int]]]:
    """What genes are given in groups that never show them, as a share of what the group gets that shows them most.

    Parameters
    ----------
    counts
        Counts of shape (n_cells, n_genes).
    imputed
        Mean of the imputed expression of each group, of shape (n_groups, n_genes), each cell on one scale.
    groups
        Group of each cell.
    least
        Molecules that a group would have of a gene, were it expressed as in the group that shows it most: below, that
        none was seen says nothing.

    Returns
    -------
    A share for each gene and group that never shows it, and these pairs of group and gene.
    """
    sums = np.asarray((_indicator(groups) @ counts).todense(), dtype=np.float64)
    total = sums.sum(axis=1, keepdims=True)
    share = sums / np.maximum(total, 1)
    most = share.argmax(axis=0)
    off = (sums == 0) & (share.max(axis=0) * total >= least)
    group, gene = np.nonzero(off)
    own = imputed[most[gene], gene]
    ratio = np.divide(imputed[group, gene], own, out=np.ones(len(gene)), where=own > 0)
    return ratio, list(zip(group.tolist(), gene.tolist(), strict=True))


def agreement(one: ArrayLike, other: ArrayLike) -> float:
    """Correlation of each gene over cells between two estimates, in the median over genes that vary in both."""
    numbers = (np.asarray(part, dtype=np.float64) for part in (one, other))
    a, b = (part - part.mean(axis=0) for part in numbers)
    spread = a.std(axis=0) * b.std(axis=0)
    varies = spread > 1e-12
    return float(np.median((a * b).mean(axis=0)[varies] / spread[varies])) if varies.any() else float("nan")


def _indicator(groups: Labels) -> sp.csr_matrix:
    n = len(groups)
    return sp.csr_matrix((np.ones(n), (groups, np.arange(n))), shape=(int(groups.max()) + 1, n))


def _centred(values: ArrayLike, groups: Labels) -> Values:
    numbers = np.asarray(values, dtype=np.float64)
    _, of = np.unique(groups, return_inverse=True)
    sums = _indicator(of) @ numbers
    return np.asarray(numbers - (sums / np.bincount(of)[:, None])[of])
