"""Impute counts that are a Dask array: a layer that is decoded when it is sliced."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gnnimpute._blocks import BLOCK, is_lazy, require_dask
from gnnimpute._on_demand import OnDemand, Values, numbers
from gnnimpute._stream import decoder_for_workers, encode

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from gnnimpute._config import Estimate, Output
    from gnnimpute._imputer import GNNImputer
    from gnnimpute._modelled import Modelled

ROWS, GENES = 16_384, 64
"""Chunk of a lazy layer: few genes, so that only those that are asked for are decoded."""


def on_demand(
    imputer: GNNImputer, chosen: Modelled, var_names: NDArray[np.str_], *, estimate: Estimate, output: Output
) -> OnDemand:
    """Imputed values of all cells and genes, none of which is decoded yet.

    The imputer keeps what stands for the cells, so that :meth:`gnnimpute.GNNImputer.values` can decode them too.
    """
    names = var_names[chosen.genes]
    cells, unmodelled = encode(
        imputer, chosen.counts, chosen.graph, cells=chosen.cells, genes=chosen.genes, names=names
    )
    imputer.cells_ = cells
    columns = numbers(imputer.genes_, var_names, chosen.genes)
    decoder = decoder_for_workers(imputer)
    observed = chosen.counts if decoder.needs_counts(estimate) else unmodelled
    return OnDemand(Values(decoder, columns, estimate, output), cells, observed)


def check_no_interval(interval: float | None) -> None:
    """Raise ValueError for what needs all counts in memory."""
    if interval is not None:
        msg = f"interval={interval!r} needs counts in memory: adata = adata[cells, genes].to_memory() of some first."
        raise ValueError(msg)


def as_dask(lazy: OnDemand) -> Any:
    """The same as a Dask array: slices of it are decoded when they are computed, and nothing else."""
    require_dask("A lazy layer")
    import dask.array as da

    rows, genes = (BLOCK, -1) if is_lazy(lazy.observed) else (ROWS, GENES)
    return da.from_array(lazy, chunks=(rows, genes), name=False, asarray=False, fancy=True)
