"""Split counts in two: find in one part, test in the other."""

from __future__ import annotations

from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np

from gnnimpute import _keys
from gnnimpute._arguments import check_rng
from gnnimpute._blocks import require_in_memory
from gnnimpute._inputs import counts_of
from gnnimpute._masking import hide_molecules, hide_overdispersed

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData
    from numpy.typing import ArrayLike, NDArray


def split_counts(
    adata: AnnData,
    *,
    share: float = 0.5,
    inverse_dispersion: ArrayLike | None = None,
    layer: str | None = None,
    rng: np.random.Generator | int | None = 0,
) -> tuple[AnnData, AnnData]:
    r"""Split the molecules of every cell at random into two objects of the same cells and genes.

    Groups that were found in counts, imputed or not, differ in these counts even where chance alone has made them:
    whoever tests them there finds genes where there are none. Find groups in the first part, by whatever means, and
    test them in the second, which has not seen them :cite:p:`Neufeld2024`.

    Parameters
    ----------
    adata
        Cells x genes; it is not changed.
    share
        Share of the molecules that the first part gets.
    inverse_dispersion
        By default each molecule is dealt by itself: what the parts then have in common is the expression of each cell.
        With sizes :math:`\theta` of negative binomials, whose variance is :math:`\mu + \mu^2 / \theta`, it is only the
        mean :math:`\mu`, and cells of one mean differ by chance. A number, or one for each gene: an array of shape
        (n_vars,) or a Series by name; infinite for genes whose cells do not differ. It is 1 over what edgeR and DESeq2
        call dispersion.
    layer
        Layer of the raw counts, or ``"raw"``. By default ``layers["counts"]`` if there is one, else `X`.
    rng
        Seed or generator; `None` draws one.

    Returns
    -------
    Two AnnData with counts in `X` (:class:`scipy.sparse.csr_matrix`, `float32`), whose sum are the counts of `adata`.
    Columns of `obs` and `var` are copied, but those of gnnimpute; nothing else is, for it has seen all molecules. So
    have columns of `obs` that were made from the counts, such as clusters.

    Raises
    ------
    KeyError
        If there is no such layer.
    TypeError
        If the counts are a Dask array.
    ValueError
        If the matrix does not hold counts, `share` is not between 0 and 1, or an inverse dispersion is missing or not
        above 0.
    """
    from anndata import AnnData

    check_rng(rng)
    if not isinstance(share, Real) or not 0 < float(share) < 1:
        msg = f"share={share!r}: give the share of the molecules that the first part gets, above 0 and below 1."
        raise ValueError(msg)
    counts = counts_of(adata, layer, allow_non_counts=None)
    require_in_memory(counts)
    generator = np.random.default_rng(rng)
    if inverse_dispersion is None:
        parts = hide_molecules(counts, 1 - share, generator)
    else:
        parts = hide_overdispersed(counts, 1 - share, generator, size=_sizes(inverse_dispersion, adata))
    first, second = (AnnData(part, obs=_own(adata, adata.obs), var=_own(adata, adata.var)) for part in parts)
    return first, second


def _sizes(given: Any, adata: AnnData) -> NDArray[np.float64]:
    """Size of each gene."""
    if isinstance(given, str):
        msg = f"inverse_dispersion={given!r} is a name: give the numbers, such as 1 / adata.var[{given!r}]."
        raise TypeError(msg)
    sizes = np.asarray(given.reindex(adata.var_names) if hasattr(given, "reindex") else given, dtype=np.float64)
    if sizes.shape not in {(), (adata.n_vars,)}:
        msg = f"inverse_dispersion has shape {sizes.shape}: give a number, or one for each of {adata.n_vars} genes."
        raise ValueError(msg)
    sizes = np.broadcast_to(sizes, adata.n_vars)
    if (wrong := np.flatnonzero(~(sizes > 0))).size:
        gene = adata.var_names[wrong[0]]
        msg = f"inverse_dispersion is {sizes[wrong[0]]:g} for gene {gene!r}: give 1 over a dispersion, or infinity."
        raise ValueError(msg)
    return sizes


def _own(adata: AnnData, frame: pd.DataFrame) -> pd.DataFrame:
    """Columns that are not ours."""
    ours = {name(key) for key in _keys.imputations(adata.uns) for name in (_keys.depth, _keys.modelled)}
    return frame[[name for name in frame if name not in ours and not str(name).startswith(_keys.ADDED)]].copy()
