"""What a linear prediction is made of: components of a cell, of the mean of its neighbours, and the cell's depth."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import scipy.sparse as sp
import torch

from gnnimpute._counts import moments
from gnnimpute._directions import directions
from gnnimpute._linear import mean_of_neighbors
from gnnimpute._rows import Rows
from gnnimpute._sparse_rows import SparseRows

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray

    Floats = NDArray[np.floating[Any]]


_N_ROUNDS = 8
"""Products with the log counts by which components are found."""
_PER_COMPONENT = 4
"""Least number of cells, and of genes, for each component."""


class Cells(NamedTuple):
    """Cells to fit on, and their neighbours."""

    counts: sp.csr_matrix
    """(m, n_genes) counts of both."""
    neighbors: NDArray[np.int64]
    """(n_cells, k) rows of `counts`: the cell itself, then its neighbours."""
    target_total: float
    """Total that counts are scaled to."""
    device: torch.device | str = "cpu"
    """Where rows are multiplied."""
    is_normalized: bool = False
    """Whether counts were scaled to that total already, before some of them were masked."""

    @property
    def own(self) -> NDArray[np.int64]:
        """Rows of the cells that are fitted on."""
        return self.neighbors[:, 0]

    def rows(self, counts: sp.csr_matrix | None = None, kept_share: float = 1.0) -> Rows:
        """Rows with these of their counts: a share of the non-zeros, if not all."""
        counts = self.counts if counts is None else counts
        return Rows(counts, self.target_total, kept_share=kept_share, is_normalized=self.is_normalized)

    def features(self, logged: sp.csr_matrix, loadings: Floats, depth: Floats) -> Floats:
        """Of shape (n_cells, 2 k + 1): components of the cell, of the mean of its neighbours, depth."""
        weight = torch.from_numpy(loadings.astype(np.float32)).to(self.device)
        h = (SparseRows(logged, device=self.device).rows @ weight).cpu()
        neighbors = torch.from_numpy(self.neighbors)
        mean = mean_of_neighbors(h, neighbors) if neighbors.shape[1] > 1 else torch.zeros(len(neighbors), h.shape[1])
        return np.concatenate([h[self.own], mean, depth[self.own, None]], 1)


class Line(NamedTuple):
    """One regression on the features of :class:`Cells`."""

    loadings: Floats
    """(n_genes, k)"""
    center: Floats
    """(2 k + 1,)"""
    coefficients: Floats
    """(2 k + 1, n_genes)"""


class Weights(NamedTuple):
    """Buffers of :class:`gnnimpute._linear.Linear`, by name."""

    own: Floats
    neighbors: Floats
    depth: Floats
    center: Floats
    intercept: Floats
    coefficients: Floats


def loadings_of(
    rows: sp.csr_matrix, n_components: int, rng: np.random.Generator, *, device: torch.device | str = "cpu"
) -> Floats:
    """Components of log counts, (n_genes, k); genes are scaled half-way to unit variance.

    One more than `n_components`: nothing is centred, so that the first is close to the mean. Fewer, where cells or
    genes are few: a gene that is nearly a component of its own would be predicted from the cell's own count.
    """
    n_used = max(min(n_components + 1, min(rows.shape) // _PER_COMPONENT), 1)
    scale = (np.maximum(np.sqrt(moments(rows)[1]), 0.1) ** -0.5).astype(np.float32)
    scaled = sp.csr_matrix((rows.data * scale[rows.indices], rows.indices, rows.indptr), rows.shape)
    return scale[:, None] * directions(scaled, n_used, rng=rng, n_rounds=_N_ROUNDS, device=device)


def combined(cells: Cells, lines: list[Line], intercept: Floats, *, n_components: int) -> Weights:
    """The mean of some regressions, in the dimensions in which its predictions vary most.

    Predictions of a gene count in units of the square root of its mean, their Poisson noise.
    """
    rows = cells.rows()
    logged, depth = rows.normalized(), rows.log_depth
    x = np.concatenate([cells.features(logged, line.loadings, depth) - line.center for line in lines], 1)
    coefficients = np.concatenate([line.coefficients / len(lines) for line in lines])
    values, vectors = np.linalg.eigh(x.T @ x / len(x))
    spread = np.sqrt(np.maximum(values, values.max() * 1e-10 + 1e-30))
    root = (vectors * spread) @ vectors.T
    scaled = root @ (coefficients / np.sqrt(np.maximum(intercept, intercept.mean() * 1e-3)))
    directions = np.linalg.eigh(scaled @ scaled.T)[1][:, ::-1][:, :n_components]
    turned = (vectors / spread) @ vectors.T @ directions
    parts = np.split(turned, np.cumsum([len(line.center) for line in lines])[:-1])
    sizes = [line.loadings.shape[1] for line in lines]
    return Weights(
        own=np.sum([line.loadings @ t[:k] for line, t, k in zip(lines, parts, sizes, strict=True)], axis=0),
        neighbors=np.sum(
            [line.loadings @ t[k : 2 * k] for line, t, k in zip(lines, parts, sizes, strict=True)], axis=0
        ),
        depth=np.sum([t[-1] for t in parts], axis=0),
        center=np.concatenate([line.center for line in lines]) @ turned,
        intercept=intercept,
        coefficients=(directions.T @ root @ coefficients).T,
    )
