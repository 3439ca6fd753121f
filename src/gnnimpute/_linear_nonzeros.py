"""The linear prediction of a value that is known not to be zero: each gene has its own cells to learn from."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import scipy.sparse as sp
import torch

from gnnimpute._line import Cells, Line, loadings_of
from gnnimpute._masking import with_data
from gnnimpute._ridge import ridge
from gnnimpute._threads import side_by_side_map

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from numpy.typing import NDArray

    from gnnimpute._rows import Rows

    Floats = NDArray[np.floating[Any]]

N_COMPONENTS = 16
"""Components besides the first, which is close to the mean: a regression for each gene, on its own cells, cannot bear
many more."""
N_PARTS = 5
"""Parts of the non-zeros, each predicted from the others."""
GENES_AT_ONCE = 512
"""Genes whose products of features are held at a time: nearly 10 kB for each gene, in each fold."""


class _Entries(NamedTuple):
    """Some non-zeros and what they are predicted from."""

    cell: NDArray[np.int64]
    gene: NDArray[np.int64]
    value: Floats
    """What is beyond one molecule, scaled to the common total."""
    features: Floats
    """(n_cells, n_features)"""


class _Terms(NamedTuple):
    """What a regression multiplies, of each cell."""

    each: Floats
    """(n_cells, n_features + 1) 1, and the features."""
    pairs: Floats
    """(n_cells, n_pairs) their products with each other, each pair once."""


def nonzero_line(
    cells: Cells, labels: sp.csr_matrix | None, *, rng: np.random.Generator, n_folds: int
) -> tuple[Floats, Line]:
    """Mean of each gene where the features are at their centre, and the regression.

    Parameters
    ----------
    cells
        Cells to fit on.
    labels
        Further non-zeros of the same cells, of shape (n_cells, n_genes), that are not in their counts.
    rng
        Source of randomness.
    n_folds
        Folds of the cells that choose between penalties.
    """
    rows = cells.rows()
    loadings = loadings_of(rows.normalized(), N_COMPONENTS, rng)
    entries = list(_entries(cells, rows, labels, loadings, rng))
    features = np.concatenate([part.features for part in entries])
    center, deviation = features.mean(0), features.std(0)
    # Penalties are in units of the first component: depth is to cost no more than that.
    unit = np.ones(len(center))
    unit[-1] = deviation.max() / deviation[-1] if deviation[-1] > 1e-9 else 0
    # Noise is Poisson's: a molecule of a shallow cell is worth more, and says less.
    weight = np.exp(rows.log_depth)[cells.own] / cells.target_total
    parts = [(part, _terms((part.features - center) * unit)) for part in entries]
    n_genes = cells.counts.shape[1]
    blocks = (slice(start, min(start + GENES_AT_ONCE, n_genes)) for start in range(0, n_genes, GENES_AT_ONCE))

    def fitted(genes: slice) -> tuple[Floats, Floats]:
        return _regression(parts, weight, genes, n_folds)

    means, slopes = zip(*side_by_side_map(fitted, blocks, torch.device("cpu")), strict=True)
    intercept: Floats = np.concatenate(means)
    coefficients = np.concatenate(slopes, axis=1)
    return intercept, Line(loadings, center, coefficients * unit[:, None])


def _entries(
    cells: Cells, all_rows: Rows, labels: sp.csr_matrix | None, loadings: Floats, rng: np.random.Generator
) -> Iterator[_Entries]:
    scale, least = cells.target_total / np.maximum(all_rows.total, 1e-6), all_rows.unit

    def entries(hidden: sp.csr_matrix, features: Floats) -> _Entries:
        cell = np.repeat(np.arange(len(cells.own)), np.diff(hidden.indptr))
        row = cells.own[cell]
        return _Entries(cell, hidden.indices, (hidden.data - least[row]) * scale[row], features)

    part = rng.integers(N_PARTS, size=cells.counts.nnz)
    kept_share = 1 - 1 / N_PARTS
    for p in range(N_PARTS):
        kept, hidden = (with_data(cells.counts, cells.counts.data * chosen) for chosen in (part != p, part == p))
        rows = cells.rows(kept, kept_share)
        features = cells.features(rows.normalized(), loadings, rows.log_depth)
        yield entries(hidden[cells.own], features)
    if labels is not None and labels.nnz:
        yield entries(labels, cells.features(all_rows.normalized(), loadings, all_rows.log_depth))


def _terms(features: Floats) -> _Terms:
    x = np.concatenate([np.ones((len(features), 1)), features], 1)
    left, right = np.triu_indices(x.shape[1])
    return _Terms(x, x[:, left] * x[:, right])


def _regression(
    parts: list[tuple[_Entries, _Terms]], weight: Floats, genes: slice, n_folds: int
) -> tuple[Floats, Floats]:
    """Mean of some genes, of shape (n_these,), and their coefficients, (n_features, n_these)."""
    n_genes, n_terms = genes.stop - genes.start, parts[0][1].each.shape[1]
    moments, products = np.zeros((n_folds, n_genes, n_terms, n_terms)), np.zeros((n_folds, n_genes, n_terms))
    for f in range(n_folds):
        for part, terms in parts:
            moment, product = _moments(part, terms, weight, (f, n_folds), genes)
            moments[f] += moment
            products[f] += product
    mean_x, mean_y = _center(moments, products)
    coefficients = ridge(moments[:, :, 1:, 1:], products[:, :, 1:].transpose(0, 2, 1))
    return np.maximum(mean_y - (mean_x.T * coefficients).sum(0), 1e-6), coefficients


def _moments(
    part: _Entries, terms: _Terms, weight: Floats, fold: tuple[int, int], genes: slice
) -> tuple[Floats, Floats]:
    """For each of some genes, products of (1, features) with each other, (n_these, f + 1, f + 1), and with values."""
    here = (part.cell % fold[1] == fold[0]) & (part.gene >= genes.start) & (part.gene < genes.stop)
    cell, gene = part.cell[here], part.gene[here] - genes.start
    n_cells, n_terms = terms.each.shape
    shape = genes.stop - genes.start, n_cells
    moment = np.empty((shape[0], n_terms, n_terms))
    left, right = np.triu_indices(n_terms)
    moment[:, left, right] = sp.csr_matrix((weight[cell], (gene, cell)), shape) @ terms.pairs
    moment[:, right, left] = moment[:, left, right]
    return moment, sp.csr_matrix((weight[cell] * part.value[here], (gene, cell)), shape) @ terms.each


def _center(moments: Floats, products: Floats) -> tuple[Floats, Floats]:
    """Take each gene's mean features and value out of its moments, in place; the two means."""
    n_values = np.maximum(moments[:, :, 0, 0].sum(0), 1e-9)
    mean_x, mean_y = moments[:, :, 0, 1:].sum(0) / n_values[:, None], products[:, :, 0].sum(0) / n_values
    for moment, product in zip(moments, products, strict=True):
        total, sums = moment[:, 0, 0], moment[:, 0, 1:]
        product[:, 1:] -= mean_y[:, None] * sums + mean_x * (product[:, 0] - mean_y * total)[:, None]
        cross = sums[:, :, None] * mean_x[:, None]
        moment[:, 1:, 1:] += total[:, None, None] * mean_x[:, :, None] * mean_x[:, None]
        moment[:, 1:, 1:] -= cross + cross.transpose(0, 2, 1)
    return mean_x, mean_y
