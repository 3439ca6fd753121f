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
    """Latent of each cell, of shape (n_cells, n_latent); parameters as for :meth:`transform`."""
    made, rows = self._reading(counts, names, graph)
    return np.asarray(_infer.embed(made.network_, rows, graph)[:, : self.config.n_latent].cpu().numpy())


def attention(
    self: GNNImputer, counts: ArrayLike | sp.spmatrix, graph: NeighborGraph, *, names: Sequence[str] | None = None
) -> sp.csr_matrix:
    """Weight that each cell's counts have in each other's latent; parameters as for :meth:`transform`.

    Returns
    -------
    Sparse matrix of shape (n_cells, n_cells), whose rows sum to 1: two steps of attention, heads averaged.
    """
    made, rows = self._reading(counts, names, graph)
    return _infer.attention(made.network_, rows, graph)
