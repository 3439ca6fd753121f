"""Sparse matrices on disk, written some rows at a time in the format of AnnData."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np

if TYPE_CHECKING:
    from typing import Any

    import scipy.sparse as sp
    import zarr

CHUNK = 2**20
"""Values of a chunk: 4 MB before compression."""


class SparseWriter:
    """A CSR matrix in a zarr group, to which rows are added; it can be read once it is closed.

    Parameters
    ----------
    root
        Group to write into.
    name
        Path of the matrix in it.
    n_columns
        Number of columns.
    n_rows
        Rows to keep of what an earlier writer left there; what is beyond them was cut short.
    """

    def __init__(self, root: zarr.Group, name: str, *, n_columns: int, n_rows: int = 0) -> None:
        self.n_columns, self.n_rows = n_columns, n_rows
        self._group = root.require_group(name)
        if not n_rows:
            for key, kind in (("data", "float32"), ("indices", "int32"), ("indptr", "int64")):
                self._group.create_array(key, shape=(0,), chunks=(CHUNK,), dtype=kind, overwrite=True)
            self._array("indptr").append(np.zeros(1, np.int64))
        self._array("indptr").resize((n_rows + 1,))
        self.n_values = int(np.asarray(self._array("indptr")[n_rows]))
        for key in ("data", "indices"):
            self._array(key).resize((self.n_values,))

    def append(self, rows: sp.csr_matrix) -> None:
        """Add rows below those that are there."""
        ends = rows.indptr[1:].astype(np.int64) + self.n_values
        for key, values in (("data", rows.data), ("indices", rows.indices), ("indptr", ends)):
            array = self._array(key)
            array.append(values.astype(array.dtype))
        self.n_values += rows.nnz
        self.n_rows += rows.shape[0]

    def close(self) -> None:
        """Say what it is, so that AnnData reads it."""
        shape = [self.n_rows, self.n_columns]
        self._group.attrs.update({"encoding-type": "csr_matrix", "encoding-version": "0.1.0", "shape": shape})

    def _array(self, key: str) -> zarr.Array[Any]:
        return cast("zarr.Array[Any]", self._group[key])
