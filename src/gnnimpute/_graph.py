"""The neighbour graph: a fixed number of cells that each cell attends to."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, Self

import numpy as np
import scipy.sparse as sp

from gnnimpute._arguments import check_whole
from gnnimpute._device import device_named
from gnnimpute._nearest import approximate, exact

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

log = logging.getLogger(__name__)

EXACT_BELOW = 100_000
"""Number of cells below which neighbours are exact: all pairs take no longer than NN-descent takes to compile."""
_GPU_FROM = 50_000
"""Number of cells from which a GPU, if there is one, compares the pairs: below, the numbers of a CPU cost little."""


class Block(NamedTuple):
    """Cells needed to run two attention layers on some seeds, neighbours renumbered within each layer."""

    cells: NDArray[np.int64]
    """(m,) cells whose counts are read."""
    first: NDArray[np.int64]
    """(r, k) neighbours in the first layer, as positions in `cells`."""
    second: NDArray[np.int64]
    """(n_seeds, k) neighbours in the second layer, as rows of the first layer's result."""


@dataclass(frozen=True)
class NeighborGraph:
    """k cells that every cell attends to, itself first.

    Parameters
    ----------
    indices
        Array of shape (n_cells, k). Row ``i`` lists the cells that cell ``i`` attends to; ``indices[i, 0] == i``.
        A cell with fewer neighbours than others repeats itself: no padding that could gather a wrong cell. What is
        repeated counts once.

    Raises
    ------
    ValueError
        If a row does not start with its own cell or names a cell that is not there.
    """

    indices: NDArray[np.int64]

    def __post_init__(self) -> None:
        indices = np.ascontiguousarray(self.indices, dtype=np.int64)
        if indices.ndim != 2 or not indices.size:
            msg = f"`indices` must be cells x neighbours, but its shape is {indices.shape}."
            raise ValueError(msg)
        if (wrong := np.flatnonzero(indices[:, 0] != np.arange(len(indices)))).size:
            row = wrong[0]
            msg = f"Column 0 of `indices` must be the cell itself, but row {row} starts with {indices[row, 0]}."
            raise ValueError(msg)
        if indices.min() < 0 or indices.max() >= len(indices):
            row = np.flatnonzero(((indices < 0) | (indices >= len(indices))).any(1))[0]
            msg = f"Row {row} of `indices` is {indices[row].tolist()}, but cells are numbered 0 to {len(indices) - 1}."
            raise ValueError(msg)
        object.__setattr__(self, "indices", indices)

    @property
    def n_cells(self) -> int:
        """Number of cells."""
        return len(self.indices)

    @classmethod
    def from_embedding(
        cls,
        embedding: ArrayLike,
        *,
        n_neighbors: int,
        batches: ArrayLike | None = None,
        rng: np.random.Generator | int | None = 0,
        exact_below: int = EXACT_BELOW,
        device: str | None = None,
    ) -> Self:
        """Nearest cells by Euclidean distance: exact for few cells or on a GPU, else approximate (NN-descent).

        Parameters
        ----------
        embedding
            Array of shape (n_cells, n_dimensions), for example principal components.
        n_neighbors
            Neighbours of a cell, not counting the cell itself. Cut to what the cells allow.
        batches
            Array of shape (n_cells,). Neighbours are then sought within each batch.
        rng
            Seed or generator: the approximate search starts at random.
        exact_below
            Number of cells below which the search is exact without a GPU.
        device
            Where neighbours of 50,000 cells and more, or of `exact_below`, are sought; by default a GPU if there is
            one.
        """
        points = np.ascontiguousarray(embedding, dtype=np.float32)
        if points.ndim != 2 or not len(points) or not np.isfinite(points).all():
            msg = f"The embedding must be cells x dimensions and finite, but it is {points.shape}"
            if points.ndim == 2 and len(points):
                msg += f" and cell {np.flatnonzero(~np.isfinite(points).all(1))[0]} is not finite"
            raise ValueError(msg + ".")
        _check_n_neighbors(n_neighbors)
        rng = np.random.default_rng(rng)
        group = np.zeros(len(points), np.int64) if batches is None else np.unique(batches, return_inverse=True)[1]
        if len(group) != len(points):
            msg = f"The embedding has {len(points)} cells, but `batches` has {len(group)}."
            raise ValueError(msg)
        sizes = np.bincount(group)
        k = min(n_neighbors, int(sizes.max()) - 1)
        indices = np.repeat(np.arange(len(points))[:, None], k + 1, axis=1)
        for g in range(len(sizes)):
            cells = np.flatnonzero(group == g)
            if (k_here := min(k, len(cells) - 1)) > 0:
                place = device_named(device if len(cells) >= min(exact_below, _GPU_FROM) else "cpu")
                all_pairs = place.type != "cpu" or len(cells) < exact_below
                found = exact(points[cells], k_here, place) if all_pairs else approximate(points[cells], k_here, rng)
                indices[cells, 1 : k_here + 1] = cells[found]
        return cls(indices)

    @classmethod
    def from_sparse(
        cls,
        matrix: sp.spmatrix | sp.sparray,
        *,
        nearest: Literal["smallest", "largest"],
        n_neighbors: int | None = None,
    ) -> Self:
        """Graph from an n_cells x n_cells matrix that any tool made (`obsp`).

        Whether the tool counted the cell itself does not matter: entries on the diagonal are ignored, and explicit
        zeros (cells at distance 0) count.

        Parameters
        ----------
        matrix
            Distances or connectivities, of shape (n_cells, n_cells).
        nearest
            Which entries are the nearest cells: the smallest (distances) or the largest (connectivities).
        n_neighbors
            Most neighbours to keep of each cell. By default all, but the nearest of a hub: no more than 32 or, if that
            is more, four times as many as the median cell has.
        """
        if n_neighbors is not None:
            _check_n_neighbors(n_neighbors)
        edges = sp.coo_matrix(matrix, copy=True)
        edges.sum_duplicates()  # keeps explicit zeros
        if edges.shape[0] != edges.shape[1]:
            msg = f"A graph is cells x cells, but this matrix is {edges.shape[0]} x {edges.shape[1]}."
            raise ValueError(msg)
        others = edges.row != edges.col
        row, col, value = edges.row[others], edges.col[others], edges.data[others].astype(np.float64)
        order = np.lexsort((col, value if nearest == "smallest" else -value, row))
        row, col = row[order], col[order]
        degree = np.bincount(row, minlength=edges.shape[0])
        rank = np.arange(len(row)) - np.repeat(np.cumsum(degree) - degree, degree)
        k = min(_most(degree) if n_neighbors is None else n_neighbors, int(degree.max(initial=0)))
        indices = np.repeat(np.arange(edges.shape[0])[:, None], k + 1, axis=1)
        keep = rank < k
        indices[row[keep], rank[keep] + 1] = col[keep]
        return cls(indices)

    def neighbors_of(self, cell: int) -> NDArray[np.int64]:
        """Neighbours of a cell, without the cell itself; of one that has none, itself.

        Parameters
        ----------
        cell
            Its position.
        """
        others = self.indices[cell, 1:]
        return others[others != cell] if (others != cell).any() else others[:1]

    def block(self, seeds: NDArray[np.int64]) -> Block:
        """Cells needed to run two attention layers on `seeds`, with neighbours renumbered within each layer."""
        hop1 = np.unique(self.indices[seeds])
        cells = np.unique(self.indices[hop1])
        return Block(
            cells=cells,
            first=np.searchsorted(cells, self.indices[hop1]),
            second=np.searchsorted(hop1, self.indices[seeds]),
        )

    def among(self, cells: NDArray[np.int64]) -> NeighborGraph:
        """The graph of some `cells`, in their order: a neighbour that is none of them becomes the cell itself."""
        own = np.arange(len(cells))
        number = np.full(self.n_cells, -1, dtype=np.int64)
        number[cells] = own
        found = number[self.indices[cells]]
        return NeighborGraph(np.where(found < 0, own[:, None], found))


def _most(degree: NDArray[np.int64]) -> int:
    """Most neighbours of a cell that are kept: every cell takes the memory of the one that has most."""
    most = max(32, 4 * int(np.median(degree))) if len(degree) else 0
    if hubs := int((degree > most).sum()):
        log.warning(
            "%d of %d cells have more than %d neighbours in this graph, up to %d: the nearest %d of each are used.",
            hubs, len(degree), most, degree.max(), most,
        )  # fmt: skip
    return most


def _check_n_neighbors(n_neighbors: int) -> None:
    check_whole(n_neighbors=n_neighbors)
    if n_neighbors < 1:
        msg = f"n_neighbors={n_neighbors}: a cell needs at least one neighbour."
        raise ValueError(msg)
