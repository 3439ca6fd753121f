"""An imputed layer on disk, written a few cells at a time and gone on with after an interruption."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from gnnimpute._atomic import replacing
from gnnimpute._blocks import BLOCK, each, n_workers, starts
from gnnimpute._cells import Cells
from gnnimpute._genes import shared
from gnnimpute._inputs import counts_of
from gnnimpute._modelled import passing
from gnnimpute._on_demand import Values, numbers
from gnnimpute._sparse_store import SparseWriter
from gnnimpute._stream import decoder_for_workers

if TYPE_CHECKING:
    from pathlib import Path

    import zarr
    from anndata import AnnData
    from numpy.typing import NDArray

    from gnnimpute._imputer import GNNImputer

log = logging.getLogger(__name__)

AT_ONCE = 4
"""Blocks of values that may be waiting to be written; more, where there are more workers."""
GENES = 512
"""Genes of a chunk on disk."""
FINISHED = "finished"
"""File beside a store that says how many blocks of its layer are."""


class Stored(NamedTuple):
    """How values are stored."""

    dtype: str = "float32"
    """``float32`` or ``float16``: three digits, in half the space."""
    sparse_below: float | None = None
    """Values below it are stored as zero, and the layer as a sparse matrix; by default it is dense."""


def write_layer(adata: AnnData, store: Path, imputer: GNNImputer, *, key: str, stored: Stored) -> None:
    """Decode all cells into ``layers[key]`` of the store, beginning with the first block that is not there yet.

    Parameters
    ----------
    adata
        The counts, as Dask arrays.
    store
        A zarr store that holds all but the layer, ``uns[key]`` too. The number of finished blocks is kept beside it.
    imputer
        The imputer, with what it keeps of the cells.
    key
        Name of the layer.
    stored
        How it is stored.
    """
    import zarr

    root, cells = zarr.open_group(store, mode="r+", use_consolidated=False), imputer.cells_
    about: Any = adata.uns[key]
    counts = counts_of(adata, about["layer"], allow_non_counts=True)
    names = adata.var_names.to_numpy(str)
    columns = numbers(imputer.genes_, names, shared(names, imputer.genes_, preferred=passing(adata.var, "var")))
    values = Values(decoder_for_workers(imputer), columns, about["estimate"], about["output"])
    mark = store.with_name(FINISHED)
    done = int(mark.read_text()) if mark.exists() else 0
    bounds = starts(counts)
    if done:
        log.info("%d of %d cells are imputed already.", bounds[done], bounds[-1])
    writer = _writer(root, f"layers/{key}", counts.shape, stored, n_rows=int(bounds[done]))
    rows = [part[bounds[done] :] for part in cells or ()]
    if done < len(bounds) - 1:
        for block in each(counts.blocks[done:], _block, values, stored, rows=rows, window=max(AT_ONCE, n_workers())):
            writer.append(block)
            done += 1
            with replacing(mark) as beside:
                beside.write_text(str(done))
    writer.close()
    zarr.consolidate_metadata(store)


def _block(counts: sp.csr_matrix, *given: Any) -> Any:
    """Values of some cells as they are stored, from their counts and the fields of `Cells`."""
    *cells, values, stored = given
    return as_stored(values.of(Cells(*cells), counts), stored)


def as_stored(made: NDArray[np.float32], stored: Stored) -> Any:
    """Values in the type they are stored in; sparse, if small ones are left out."""
    if stored.sparse_below is not None:
        made[made < stored.sparse_below] = 0
        return sp.csr_matrix(made)
    largest = np.finfo(stored.dtype).max
    if (most := made.max(initial=0)) > largest:
        msg = (
            f"A value is {most:.0f}, but {stored.dtype} ends at {largest:.0f}: repeat the command with --dtype float32 "
            "or --output log1p; what was trained is kept."
        )
        raise ValueError(msg)
    return made.astype(stored.dtype, copy=False)


def _writer(root: zarr.Group, name: str, shape: tuple[int, int], stored: Stored, *, n_rows: int) -> Any:
    if stored.sparse_below is not None:
        return SparseWriter(root, name, n_columns=shape[1], n_rows=n_rows)
    return DenseWriter(root, name, shape, dtype=stored.dtype, n_rows=n_rows)


class DenseWriter:
    """A dense matrix in a zarr group, to which rows are added; see :class:`gnnimpute._sparse_store.SparseWriter`."""

    def __init__(self, root: zarr.Group, name: str, shape: tuple[int, int], *, dtype: str, n_rows: int) -> None:
        self.n_rows = n_rows
        if not n_rows:
            chunks = (min(BLOCK, shape[0]), min(GENES, shape[1]))
            root.create_array(name, shape=shape, chunks=chunks, dtype=dtype, overwrite=True)
        self._array: Any = root[name]

    def append(self, rows: NDArray[Any]) -> None:
        """Write the rows below those that are there."""
        self._array[self.n_rows : self.n_rows + len(rows)] = rows
        self.n_rows += len(rows)

    def close(self) -> None:
        """Say what it is, so that AnnData reads it."""
        self._array.attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})
