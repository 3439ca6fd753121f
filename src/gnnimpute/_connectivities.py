"""Distances and connectivities of a neighbour graph, as scanpy and its tools expect them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LEAST_WIDTH = 1e-3
"""Least kernel width, relative to the mean distance, as in UMAP: duplicates would make it 0."""


def scanpy_graph(
    embedding: NDArray[np.float32], indices: NDArray[np.int64], *, cells: NDArray[np.bool_]
) -> tuple[sp.csr_matrix, sp.csr_matrix]:
    """Distances and connectivities of some of the cells, among all cells.

    Parameters
    ----------
    embedding
        Array of shape (n_passing, n_dimensions).
    indices
        Array of shape (n_passing, k + 1), column 0 the cell itself.
    cells
        Array of shape (n_cells,): which cells the two above are about. The others have empty rows and columns.
    """
    distances = neighbor_distances(embedding, indices)
    weights = connectivities(distances, k=indices.shape[1] - 1)
    at = np.flatnonzero(cells)
    return spread_graph(distances, at, cells.size), spread_graph(weights, at, cells.size)


def neighbor_distances(embedding: NDArray[np.float32], indices: NDArray[np.int64]) -> sp.csr_matrix:
    """Euclidean distance of each cell to its neighbours, without the cell itself.

    Parameters
    ----------
    embedding
        Array of shape (n_cells, n_dimensions).
    indices
        Array of shape (n_cells, k + 1), column 0 the cell itself. Further columns that name it again are no neighbours.

    Returns
    -------
    Sparse matrix of shape (n_cells, n_cells), float32: k entries a row, explicit zeros between identical cells.
    """
    n_cells = len(indices)
    columns = [np.linalg.norm(embedding[others] - embedding, axis=1) for others in indices.T[1:]]
    values = np.stack(columns, axis=1).astype(np.float32) if columns else np.zeros((n_cells, 0), np.float32)
    others = indices[:, 1:]
    real = others != np.arange(n_cells)[:, None]
    indptr = np.concatenate([[0], np.cumsum(real.sum(1))])
    distances = sp.csr_matrix((values[real], others[real], indptr), shape=(n_cells, n_cells))
    distances.sort_indices()
    return distances


def connectivities(distances: sp.csr_matrix, *, k: int) -> sp.csr_matrix:
    """Weights between 0 and 1 as in UMAP :cite:p:`McInnes2018`, symmetric: equal to those of `scanpy.pp.neighbors`.

    The nearest cell has weight 1, and weights fall exponentially with the distance beyond it, at a rate by which those
    of a cell sum to the log2 of its number of neighbours; the union of both directions is ``a + b - ab``.

    Parameters
    ----------
    distances
        Sparse matrix of shape (n_cells, n_cells), without the cell itself; explicit zeros are neighbours.
    k
        Number of neighbours that a cell is meant to have: some have fewer, where their batch has no more.

    Returns
    -------
    Sparse matrix of shape (n_cells, n_cells), float32.
    """
    row = np.repeat(np.arange(distances.shape[0]), np.diff(distances.indptr))
    d = distances.data.astype(np.float64)
    nearest = np.full(distances.shape[0], np.inf)
    np.minimum.at(nearest, row[d > 0], d[d > 0])
    nearest[np.isinf(nearest)] = 0
    beyond = np.maximum(d - nearest[row], 0)
    own_mean = np.bincount(row, d, minlength=len(nearest)) / (k + 1)
    least = _LEAST_WIDTH * np.where(nearest > 0, own_mean, own_mean.mean())
    width = np.maximum(_widths(beyond, row, target=np.log2(k + 1), n_cells=len(nearest)), least)
    # Identical cells everywhere: no distance, no width, weight 1.
    exponent = np.divide(beyond, width[row], out=np.zeros_like(beyond), where=beyond > 0)
    directed = sp.csr_matrix((np.exp(-exponent), distances.indices, distances.indptr), distances.shape)
    union = directed + directed.T - directed.multiply(directed.T)
    return sp.csr_matrix(union, dtype=np.float32)


def _widths(beyond: NDArray[np.float64], row: NDArray[np.int64], *, target: float, n_cells: int) -> NDArray[np.float64]:
    """Kernel width of each cell for which its weights sum to `target`, by bisection."""
    low, high, width = np.zeros(n_cells), np.full(n_cells, np.inf), np.ones(n_cells)
    for _ in range(64):
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            weight = np.where(beyond > 0, np.exp(-beyond / width[row]), 1.0)
        above = np.bincount(row, weight, minlength=n_cells) > target
        high, low = np.where(above, width, high), np.where(above, low, width)
        width = np.where(np.isinf(high), 2 * low, (low + np.where(np.isinf(high), low, high)) / 2)
    return width


def spread_graph(matrix: sp.csr_matrix, cells: NDArray[np.int64], n_obs: int) -> sp.csr_matrix:
    """Graph among all cells, of shape (n_obs, n_obs); rows of cells that are not among `cells` are empty."""
    indptr = np.zeros(n_obs + 1, dtype=np.int64)
    indptr[cells + 1] = np.diff(matrix.indptr)
    return sp.csr_matrix((matrix.data, cells[matrix.indices], np.cumsum(indptr)), shape=(n_obs, n_obs))
