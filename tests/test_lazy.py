"""Stores are opened without reading their matrices."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

import gnnimpute as gi
from gnnimpute import _blocks, _lazy

if TYPE_CHECKING:
    from pathlib import Path

    import anndata


@pytest.fixture
def adata() -> anndata.AnnData:
    made = gi.datasets.splatter(n_genes=30, batch_cells=50, lib_loc=6, dropout_type="experiment")
    made.layers["dense"] = made.X.toarray()
    made.obsm["pca"] = made.layers["dense"][:, :2]
    return made


@pytest.mark.parametrize("kind", [".zarr", ".h5ad"])
def test_what_is_in_the_store(
    adata: anndata.AnnData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(_lazy, "BLOCK", 20)
    path = tmp_path / f"x{kind}"
    gi.io.write(adata, path)
    read = gi.io.read(path, lazy=True)
    for name, matrix in (("X", read.X), *read.layers.items()):
        assert _blocks.is_lazy(matrix), name
        assert matrix.chunks == ((20, 20, 10), (30,))
    assert (read.X.compute() != adata.X).nnz == 0
    np.testing.assert_array_equal(read.layers["dense"].compute(), adata.layers["dense"])
    assert (read.layers["true_counts"].compute() != adata.layers["true_counts"]).nnz == 0
    assert read.obs.equals(adata.obs)
    assert read.var.equals(adata.var)
    np.testing.assert_array_equal(read.obsm["pca"], adata.obsm["pca"])
    assert _lazy.n_nonzeros(path) == 50 * 30
    assert _lazy.n_values(path) == 50 * 30


def test_raw_is_left_out_and_said(adata: anndata.AnnData, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    adata.raw = adata
    gi.io.write(adata, tmp_path / "x.h5ad")
    assert gi.io.read(tmp_path / "x.h5ad", lazy=True).raw is None
    assert ".raw is left out" in caplog.text


def test_genes_first_cannot_be_read_by_cells(adata: anndata.AnnData, tmp_path: Path) -> None:
    adata.X = adata.X.tocsc()
    gi.io.write(adata, tmp_path / "x.h5ad")
    with pytest.raises(ValueError, match=r"X is stored as csc_matrix.*tocsr"):
        gi.io.read(tmp_path / "x.h5ad", lazy=True)


def test_only_stores_can_be_lazy(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("cell,a,b\nc1,1,2\nc2,0,1\n")
    with pytest.raises(ValueError, match=r"x.csv.*lazy=True.*\.zarr.*\.h5ad"):
        gi.io.read(tmp_path / "x.csv", lazy=True)
