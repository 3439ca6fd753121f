"""What an imputer makes of cells before it decodes them: methods of :class:`gnnimpute.GNNImputer`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gnnimpute import _infer

if TYPE_CHECKING:
    from collections.abc import Sequence

    import scipy.sparse as sp
    from numpy.typing import ArrayLike, NDArray

    from gnnimpute._graph import NeighborGraph
    from gnnimpute._imputer import GNNImputer


def embed(
    self: GNNImputer, counts: ArrayLike | sp.spmatrix, graph: NeighborGraph, *, names: Sequence[str] | None = None
) -> NDArray[np.float32]:
    """Latent of each cell.

    Parameters
    ----------
    counts
        Molecule counts, of shape (n_cells, n_columns): the fitted cells or others.
    graph
        Neighbours among the same cells.
    names
        Gene name of each column; needed if the columns are not the fitted genes in the same order.

    Returns
    -------
    Array of shape (n_cells, n_latent).
    """
    made, rows = self._reading(counts, names, graph)
    return np.asarray(_infer.embed(made.network_, rows, graph)[:, : self.config.n_latent].cpu().numpy())


def attention(
    self: GNNImputer, counts: ArrayLike | sp.spmatrix, graph: NeighborGraph, *, names: Sequence[str] | None = None
) -> sp.csr_matrix:
    """Weight that each cell's counts have in each other's latent.

    Parameters
    ----------
    counts
        Molecule counts, of shape (n_cells, n_columns): the fitted cells or others.
    graph
        Neighbours among the same cells.
    names
        Gene name of each column; needed if the columns are not the fitted genes in the same order.

    Returns
    -------
    Sparse matrix of shape (n_cells, n_cells), whose rows sum to 1: two steps of attention, heads averaged.
    """
    made, rows = self._reading(counts, names, graph)
    return _infer.attention(made.network_, rows, graph)
