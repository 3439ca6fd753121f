"""Sparse matrices written block by block: what is read is what one write would have written."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anndata
import numpy as np
import pytest
import scipy.sparse as sp
import zarr

from gnnimpute import _sparse_store
from gnnimpute._sparse_store import SparseWriter

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_sparse_store, "CHUNK", 64)


@pytest.fixture
def root(tmp_path: Path) -> zarr.Group:
    return zarr.open_group(tmp_path / "store.zarr", mode="w", zarr_format=2)


def same(group: zarr.Group, matrix: sp.csr_matrix) -> None:
    found = anndata.io.read_elem(group)
    for name in ("data", "indices", "indptr"):
        np.testing.assert_array_equal(getattr(found, name), getattr(matrix, name))
    assert found.shape == matrix.shape


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("size", [13, 90])
def test_blocks_are_the_whole(root: zarr.Group, counts: sp.csr_matrix, size: int) -> None:
    writer = SparseWriter(root, "layers/x", n_columns=counts.shape[1])
    for start in range(0, 90, size):
        writer.append(counts[start : start + size])
    writer.close()
    assert writer.n_values == counts.nnz
    same(root["layers/x"], counts)


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("kept", [0, 30])
def test_what_was_cut_short_is_written_anew(root: zarr.Group, counts: sp.csr_matrix, kept: int) -> None:
    SparseWriter(root, "x", n_columns=counts.shape[1]).append(counts[:50])
    root["x/data"].append(np.full(99, -1, np.float32))  # killed in the middle of the next block
    writer = SparseWriter(root, "x", n_columns=counts.shape[1], n_rows=kept)
    writer.append(counts[kept:])
    writer.close()
    same(root["x"], counts)


def test_unfinished_is_no_matrix(root: zarr.Group, counts: sp.csr_matrix) -> None:
    SparseWriter(root, "x", n_columns=counts.shape[1]).append(counts)
    with pytest.warns(anndata.OldFormatWarning, match="without encoding"):
        assert not sp.issparse(anndata.io.read_elem(root["x"]))
