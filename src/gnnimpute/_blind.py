"""What is left of counts of which a part is hidden: quality control, and whatever follows, see only that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gnnimpute._marks import Passed, drop_failed, mark
from gnnimpute._quality import Limits

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import scipy.sparse as sp
    from anndata import AnnData
    from numpy.typing import NDArray


class Visible(NamedTuple):
    """Cells and genes that pass quality control on what is left, and where they were."""

    adata: AnnData
    """Counts that are left, in `X`."""
    cells: NDArray[np.int64]
    """Positions of the cells before quality control."""
    genes: NDArray[np.int64]
    """Positions of the genes before quality control."""
    passed: Passed
    """What came of quality control."""


def visible(
    adata: AnnData,
    kept: sp.csr_matrix,
    *,
    obs: Sequence[str] = (),
    obsm: Sequence[str] = (),
    quality: Mapping[str, Any] | None = None,
    n_pcs: int | None,
    **graph: Any,
) -> Visible:
    """Quality control, principal components and neighbours, on what is left.

    Parameters
    ----------
    adata
        Names, and text columns that mitochondrial genes may be told by; its counts are not looked at.
    kept
        What is left of the counts, of shape (n_obs, n_vars).
    obs, obsm
        Columns and embeddings to take along: not blind, if they were made from all counts.
    quality
        Limits of :func:`gnnimpute.pp.prepare` that differ from its defaults.
    n_pcs, **graph
        As for :func:`gnnimpute._marks.mark`.
    """
    from anndata import AnnData

    left = AnnData(
        kept.copy(),
        obs=adata.obs[list(obs)].copy(),
        var=adata.var.copy(),
        obsm={key: np.asarray(adata.obsm[key]) for key in obsm},
    )
    position = "gnnimpute_position"
    left.obs[position], left.var[position] = np.arange(left.n_obs), np.arange(left.n_vars)
    passed = mark(left, left.X, Limits(**(quality or {})), n_pcs=n_pcs, **graph)
    drop_failed(left, passed)
    return Visible(left, left.obs[position].to_numpy(), left.var[position].to_numpy(), passed)
