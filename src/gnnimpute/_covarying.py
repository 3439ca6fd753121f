r"""Genes that covary beyond what the network knows: what the counts of one in a cell say of another.

A few dozen components cannot hold each pair of genes that are read together, as a gene and its pseudogene are, or that
are switched on together in some cells. So what is expected of gene :math:`g` in cell :math:`i` is put right:

.. math::

    \lambda'_{ig} = \lambda_{ig} \max\left(0.05,\; 1 + \sum_{h \in C_g} \beta_{gh} u_{ih}\right),
    \qquad u_{ih} = \frac{y_{ih} - \lambda_{ih}}{1 + \lambda_{ih}},

with the genes :math:`C_g` that its counts were found to covary with, and with how far their counts :math:`y` are from
what the network expects of them, :math:`\lambda`. For the posterior this is the prior: the counts of :math:`g` itself
come after it. For values of hidden non-zeros, :math:`\lambda` is the value that a non-zero is expected to have, and a
zero says nothing: :math:`u = 0`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import scipy.sparse as sp
from scipy.special import ndtr

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.floating[Any]]

N_GENES, FEWEST = 2000, 20
"""Most genes that are looked at, those with the most molecules; and how many they must have at least."""
MOST = 5
"""Most genes that say something of another one."""
FALSE = 0.05
"""Share of the pairs of genes that are found which may covary by chance alone."""
LOWEST = 3.0
"""Least score of a pair that can be found: one in four hundred has it by chance."""
RIDGE = 10.0
"""Penalty of the weights: so many cells, in which many molecules are expected, must bear out a weight."""
LEAST = 0.05
"""Least factor: as little as the linear part gives."""


@dataclass(frozen=True, eq=False)
class Covarying:
    """Which genes covary, and how far."""

    weights: sp.csr_matrix
    """(n_genes, n_genes) the :math:`\\beta` of each gene, a row, for the others; 0 on the diagonal, and nearly
    everywhere."""

    @classmethod
    def none(cls, n_genes: int) -> Self:
        """No genes do."""
        return cls(sp.csr_matrix((n_genes, n_genes), dtype=np.float32))

    def given(self, mean: Floats, counts: Floats) -> Floats:
        """Expected counts of each gene, given the counts of the genes that it covaries with.

        Parameters
        ----------
        mean
            The network's expected counts, of shape (n_cells, n_genes).
        counts
            Observed counts, of the same shape.
        """
        genes, partners, weights = self._some
        if not len(genes):
            return mean
        factor = 1 + (weights @ surprise(mean[:, partners], counts[:, partners]).T).T
        given = mean.copy()
        given[:, genes] *= np.maximum(factor, np.float32(LEAST))
        return given

    def of(self, genes: NDArray[np.int64] | slice) -> Covarying:
        """The same of some genes, in the order given; partners that are not among them are left out."""
        whole = isinstance(genes, slice) and genes == slice(None)
        return self if whole else Covarying(self.weights[genes][:, genes])

    def plus(self, genes: NDArray[np.int64], weights: Floats) -> Self:
        """The same, with the weights of some genes for each other, of shape (n_these, n_these), added."""
        more, n_genes = sp.coo_matrix(weights.astype(np.float32)), self.weights.shape[0]
        added = sp.csr_matrix((more.data, (genes[more.row], genes[more.col])), (n_genes, n_genes))
        return type(self)(sp.csr_matrix(self.weights + added))

    def partners(self, genes: NDArray[np.int64]) -> NDArray[np.int64]:
        """Positions of other genes that say something of these."""
        return np.setdiff1d(self.weights[genes].indices, genes)

    def without(self, absent: NDArray[np.bool_]) -> Self:
        """The same where some genes, of shape (n_genes,), are not among the counts."""
        there = sp.diags(np.where(absent, 0, 1).astype(np.float32))
        weights = sp.csr_matrix(there @ self.weights @ there)
        weights.eliminate_zeros()
        return type(self)(weights)

    @cached_property
    def _some(self) -> tuple[NDArray[np.int64], NDArray[np.int64], sp.csr_matrix]:
        """Genes that others say something of, these others, and the weights, of shape (n_such_genes, n_others)."""
        genes, partners = np.flatnonzero(np.diff(self.weights.indptr)), np.unique(self.weights.indices)
        return genes, partners, self.weights[genes][:, partners]


def surprise(mean: Floats, counts: Floats) -> Floats:
    """How far counts are from what is expected, of any shape: relative where that is much, in molecules elsewhere."""
    value: Floats = (counts - mean) / (1 + mean)
    return value


def looked_at(counts: sp.csr_matrix, most: int = N_GENES) -> NDArray[np.int64]:
    """Positions of the genes, so many at most, that have molecules enough to show with which others they covary."""
    molecules = np.asarray(counts.sum(axis=0)).ravel()
    chosen = np.argsort(-molecules, kind="stable")[:most]
    return np.sort(chosen[molecules[chosen] >= FEWEST])


def fit_covarying(mean: Floats, counts: Floats, *, genes: NDArray[np.int64], n_genes: int) -> Covarying:
    """Find the genes that covary, by how far their counts are from what the network expects.

    Two genes do if their surprises have more in common than chance gives so many pairs. For each gene the :data:`MOST`
    that correlate most are taken, with the weights of a ridge regression.

    Parameters
    ----------
    mean
        The network's expected counts of the genes that are looked at, of shape (n_cells, n_looked_at).
    counts
        The counts that it read, of the same shape.
    genes
        Positions of these genes, of shape (n_looked_at,).
    n_genes
        Number of all genes.
    """
    u = surprise(mean, counts)
    size = np.where(u == 0, 0, mean / (1 + mean))  # where nothing was seen, nothing is to be explained
    squares = u**2
    moments = u.T @ u
    spread = np.sqrt(np.maximum(moments.diagonal(), 1e-30))
    if_independent = spread * spread[:, None] / math.sqrt(len(u))  # a float of Python leaves it in single precision
    # A few cells, in which both surprise by chance, are no evidence: the sum is judged by its own terms too.
    score = np.abs(moments) / np.maximum(if_independent, np.sqrt(squares.T @ squares))
    np.fill_diagonal(score, 0)
    correlation = np.where(score >= _beyond_chance(score), np.abs(moments) / (spread * spread[:, None]), 0)
    rows, columns, weights = [], [], []
    for g in np.flatnonzero(correlation.any(axis=1)):
        partners = np.sort(np.argsort(-correlation[g], kind="stable")[:MOST])
        partners = partners[correlation[g, partners] > 0]
        # Squared errors of gene g over their variance, mean (1 + mean), leave these moments.
        of_partners = (u[:, partners] * size[:, [g]]).T @ u[:, partners] + RIDGE * np.eye(len(partners))
        weights.append(np.linalg.solve(of_partners, moments[g, partners]))
        rows.append(np.full(len(partners), genes[g]))
        columns.append(genes[partners])
    if not weights:
        return Covarying.none(n_genes)
    where = np.concatenate(rows), np.concatenate(columns)
    return Covarying(sp.csr_matrix((np.concatenate(weights).astype(np.float32), where), (n_genes, n_genes)))


def _beyond_chance(score: Floats) -> float:
    """Least score that counts: of all pairs that have it, a share of :data:`FALSE` at most has it by chance.

    Normal scores, of shape (n, n), of all pairs of n genes :cite:p:`Benjamini1995`.
    """
    highest = np.sort(score[score > LOWEST])[::-1]  # each pair twice
    chance = 2 * ndtr(-highest) * score.size / np.arange(1, len(highest) + 1)
    found = np.flatnonzero(chance <= FALSE)
    return float(highest[found[-1]]) if len(found) else np.inf
