"""Stores are opened without reading their matrices."""

from __future__ import annotations

import re
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


@pytest.mark.parametrize("kind", ["h5ad", "zarr"])
def test_raw_of_other_genes_is_left_out_and_said(
    adata: anndata.AnnData, tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    adata.raw = adata
    gi.io.write(adata[:, 1:].copy(), tmp_path / f"x.{kind}")
    read = gi.io.read(tmp_path / f"x.{kind}", lazy=True)
    assert read.raw is None
    assert "raw" not in read.layers
    assert ".raw is left out" in caplog.text


@pytest.mark.parametrize("kind", ["h5ad", "zarr"])
def test_raw_of_the_same_genes_is_a_layer(
    adata: anndata.AnnData, tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    adata.raw = adata
    adata.X = adata.X * 0.5
    gi.io.write(adata, tmp_path / f"x.{kind}")
    read = gi.io.read(tmp_path / f"x.{kind}", lazy=True)
    assert (read.layers["raw"].compute() != adata.raw.X).nnz == 0
    assert ".raw becomes layers['raw']" in caplog.text
    caplog.clear()
    adata.layers["raw"] = adata.X.copy()
    gi.io.write(adata, tmp_path / f"both.{kind}")
    both = gi.io.read(tmp_path / f"both.{kind}", lazy=True)
    assert (both.layers["raw"].compute() != adata.layers["raw"]).nnz == 0
    assert ".raw is left out" in caplog.text


@pytest.mark.parametrize("kind", [".zarr", ".h5ad"])
@pytest.mark.parametrize("where", ["X", "raw1"])
def test_counts_by_genes_cannot_be_read_by_cells(adata: anndata.AnnData, tmp_path: Path, kind: str, where: str) -> None:
    adata.layers["raw1"] = adata.X.copy()
    if where == "X":
        adata.X = adata.X.tocsc()
    else:
        adata.layers["raw1"] = adata.X.tocsc()
    gi.io.write(adata, tmp_path / f"x{kind}")
    read = gi.io.read(tmp_path / f"x{kind}", lazy=True)
    named = "adata.X" if where == "X" else "adata.layers['raw1']"
    said = f"{named} is stored by genes (csc_matrix), of which no cells can be read without reading all. Write it by "
    said += f"cells, {named} = {named}.tocsr(), or read all of it into memory (--in-memory)."
    with pytest.raises(ValueError, match=re.escape(said)):
        gi.pp.prepare(read, layer=where)


@pytest.mark.parametrize("kind", [".zarr", ".h5ad"])
def test_what_is_by_genes_and_not_read_as_counts_is_carried_along(
    adata: anndata.AnnData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(_lazy, "BLOCK", 20)
    adata.layers["counts"] = adata.X.copy()
    adata.X = adata.X.tocsc()
    adata.layers["other"] = (adata.X * 2).tocsc()
    gi.io.write(adata, tmp_path / f"x{kind}")
    read = gi.io.read(tmp_path / f"x{kind}", lazy=True)
    assert read.layers["other"].chunks == ((50,), (12, 12, 6))
    gi.pp.prepare(read, min_genes=1, min_cells=1)
    gi.io.write(read[:45], tmp_path / "out.zarr")
    made = gi.io.read(tmp_path / "out.zarr")
    for found, wanted in ((made.X, adata.X), (made.layers["other"], adata.layers["other"])):
        assert found.format == "csc"
        assert (found != wanted[:45]).nnz == 0


def test_only_stores_can_be_lazy(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("cell,a,b\nc1,1,2\nc2,0,1\n")
    with pytest.raises(ValueError, match=r"x.csv.*lazy=True.*\.zarr.*\.h5ad"):
        gi.io.read(tmp_path / "x.csv", lazy=True)
