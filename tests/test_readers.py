from __future__ import annotations

import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from anndata import AnnData

import gnnimpute.io as gio

CELLS = ["s1:AAACATTGCACTAG-1", "s1:AAACATTGGCTAAC-1", "s1:AAACATTGTAACCG-1"]
GENES = ["MT-ND1", "ACTB", "RPL13", "CD3D"]


def make_loom(path, matrix, *, version="3.0.0", cells=("CellID", CELLS), genes=("Gene", GENES), chunks=(2, 2)):
    """The layout of the loom specification: genes x cells, attributes of both axes, layers, graphs."""
    text = h5py.string_dtype() if version == "3.0.0" else "S"
    with h5py.File(path, "w") as file:
        file.create_dataset("matrix", data=matrix, chunks=chunks, compression="gzip")
        for name in ("row_attrs", "col_attrs", "layers", "row_graphs", "col_graphs"):
            file.create_group(name)
        file["row_attrs"].create_dataset(genes[0], data=np.array(genes[1], dtype=object).astype(text))
        file["col_attrs"].create_dataset(cells[0], data=np.array(cells[1], dtype=object).astype(text))
        if version == "3.0.0":
            file.create_group("attrs").create_dataset("LOOM_SPEC_VERSION", data=version)
        else:
            file.attrs["LOOM_SPEC_VERSION"] = version
    return path


@pytest.fixture
def matrix():
    return np.array([[0, 2, 0], [1, 0, 0], [0, 0, 5], [3, 0, 1]], dtype=np.uint16)


def test_loom(tmp_path, matrix, monkeypatch):
    monkeypatch.setattr("gnnimpute._readers.BLOCK_VALUES", 9)  # a block is two cells, whole chunks
    path = make_loom(tmp_path / "x.loom", matrix)
    with h5py.File(path, "a") as file:
        file["layers/spliced"] = matrix * 2
        file["col_attrs/Clusters"] = np.array([1, 0, 1])
        file["col_attrs/UMAP"] = np.arange(6.0).reshape(3, 2)
        file["row_attrs/Chromosome"] = np.array(["M", "7", "16", "é"], dtype=h5py.string_dtype())
        file["attrs/title"] = "a & b"
        graph = file["col_graphs"].create_group("KNN")
        graph["a"], graph["b"], graph["w"] = np.array([0, 2]), np.array([1, 0]), np.array([0.5, 0.25])
    adata = gio.read(path)
    assert isinstance(adata.X, sp.csr_matrix)
    assert isinstance(adata.layers["spliced"], sp.csr_matrix)
    np.testing.assert_array_equal(adata.X.toarray(), matrix.T)
    np.testing.assert_array_equal(adata.layers["spliced"].toarray(), matrix.T * 2)
    assert adata.X.nnz == 5
    assert (list(adata.obs_names), list(adata.var_names)) == (CELLS, GENES)
    assert list(adata.obs["Clusters"]) == [1, 0, 1]
    assert list(adata.var["Chromosome"]) == ["M", "7", "16", "é"]
    np.testing.assert_array_equal(adata.obsm["UMAP"], np.arange(6.0).reshape(3, 2))
    np.testing.assert_array_equal(adata.obsp["KNN"].toarray(), [[0, 0.5, 0], [0, 0, 0], [0.25, 0, 0]])
    assert adata.uns["title"] == "a & b"
    gio.write(adata, tmp_path / "x.h5ad")
    np.testing.assert_array_equal(gio.read(tmp_path / "x.h5ad").obsp["KNN"].toarray(), adata.obsp["KNN"].toarray())


def test_loom_before_version_3_has_xml_entities(tmp_path, matrix):
    genes = ["MT-ND1", "ACTB", "A&amp;B", "&#233;"]
    path = make_loom(tmp_path / "x.loom", matrix, version="2.0.1", genes=("Gene", genes), chunks=None)
    assert list(gio.read(path).var_names) == ["MT-ND1", "ACTB", "A&B", "é"]


def test_loom_names_of_other_writers_and_none(tmp_path, matrix):
    path = make_loom(tmp_path / "x.loom", matrix, cells=("obs_names", CELLS), genes=("Unknown", GENES))
    adata = gio.read(path)
    assert list(adata.obs_names) == CELLS
    assert list(adata.var_names) == ["0", "1", "2", "3"]
    assert list(adata.var["Unknown"]) == GENES


def test_loom_of_cells_x_genes(tmp_path, matrix, caplog):
    path = make_loom(tmp_path / "x.loom", matrix.T, cells=("CellID", GENES), genes=("Gene", CELLS))
    assert list(gio.read(path).obs_names) == GENES
    assert "speak against it" in caplog.text
    adata = gio.read(path, orientation="cells_by_genes")
    assert list(adata.obs_names) == CELLS
    assert isinstance(adata.X, sp.csr_matrix)
    np.testing.assert_array_equal(adata.X.toarray(), matrix.T)


def test_loom_without_cells(tmp_path):
    path = make_loom(tmp_path / "x.loom", np.zeros((4, 0)), cells=("CellID", []), chunks=None)
    assert gio.read(path).shape == (0, 4)


def test_broken_loom(tmp_path, matrix):
    path = make_loom(tmp_path / "x.loom", matrix, cells=("CellID", CELLS[:2]))
    with h5py.File(path, "a") as file:
        file["layers/bad"] = matrix[:2]
    with pytest.raises(OSError, match=r"x\.loom cannot be read as loom"):
        gio.read(path)


@pytest.fixture
def turned():
    """Genes x cells by mistake, with everything that an AnnData can hold."""
    adata = AnnData(sp.random(4, 3, 0.5, format="csr", dtype=np.float32, rng=np.random.default_rng(0)))
    adata.obs_names, adata.var_names = GENES, CELLS
    adata.layers["counts"] = adata.X.copy()
    adata.layers["dense"] = adata.X.toarray()
    adata.obs["chromosome"] = ["M", "7", "16", "11"]
    adata.varm["umap"] = np.ones((3, 2))
    adata.uns["title"] = "x"
    adata.raw = adata
    return adata


@pytest.mark.parametrize("ending", [".h5ad", ".zarr"])
def test_anndata_of_genes_x_cells(tmp_path, turned, ending, caplog):
    path = tmp_path / f"x{ending}"
    gio.write(turned, path)
    as_it_is = gio.read(path)
    np.testing.assert_array_equal(as_it_is.X.toarray(), turned.X.toarray())
    assert "speak against it" in caplog.text
    assert "--orientation genes_by_cells" in caplog.text
    adata = gio.read(path, orientation="genes_by_cells")
    assert (list(adata.obs_names), list(adata.var_names)) == (CELLS, GENES)
    for matrix in (adata.X, adata.layers["counts"]):
        assert isinstance(matrix, sp.csr_matrix)
        np.testing.assert_array_equal(matrix.toarray(), turned.X.toarray().T)
    np.testing.assert_array_equal(adata.layers["dense"], turned.X.toarray().T)
    assert list(adata.var["chromosome"]) == ["M", "7", "16", "11"]
    assert adata.obsm["umap"].shape == (3, 2)
    assert adata.uns["title"] == "x"
    assert adata.raw is None
    assert ".raw cannot be transposed" in caplog.text


@pytest.mark.parametrize("make", [np.asarray, sp.csr_matrix, sp.csc_matrix], ids=["dense", "csr", "csc"])
def test_what_was_brought_stays(tmp_path, counts, make):
    brought = AnnData(make(counts.toarray().astype(np.int64)))
    brought.write_h5ad(tmp_path / "x.h5ad")
    matrix = gio.read(tmp_path / "x.h5ad").X
    assert type(matrix) is type(brought.X)
    assert matrix.dtype == np.int64


def test_without_x(tmp_path):
    AnnData(obs=pd.DataFrame(index=["a"]), var=pd.DataFrame(index=["b"])).write_h5ad(tmp_path / "x.h5ad")
    assert gio.read(tmp_path / "x.h5ad").X is None


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_h5ad_cut_short(tmp_path, counts, share):
    path = tmp_path / "x.h5ad"
    AnnData(counts).write_h5ad(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(OSError, match=r"x\.h5ad cannot be read as HDF5: .*truncated file.*download it again"):
        gio.read(path)


def test_h5ad_with_damaged_values(tmp_path, counts):
    path = tmp_path / "x.h5ad"
    AnnData(counts).write_h5ad(path, compression="gzip")
    with h5py.File(path) as file:
        chunk = file["X/data"].id.get_chunk_info(0)
    content = bytearray(path.read_bytes())
    content[chunk.byte_offset : chunk.byte_offset + chunk.size] = bytes(chunk.size)
    path.write_bytes(content)
    with pytest.raises(OSError, match=r"x\.h5ad cannot be read as h5ad: .*key 'X'"):
        gio.read(path)


def test_other_content(tmp_path):
    (tmp_path / "text.h5ad").write_text("not HDF5 at all")
    with pytest.raises(OSError, match=r"text\.h5ad cannot be read as HDF5"):
        gio.read(tmp_path / "text.h5ad")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["spectra"] = np.arange(3)
    with pytest.raises(ValueError, match=r"neither AnnData .* It holds spectra"):
        gio.read(tmp_path / "other.h5")


def test_broken_zarr(tmp_path, counts):
    path = tmp_path / "x.zarr"
    gio.write(AnnData(counts), path)
    for chunk in (path / "X" / "data").iterdir():
        if not chunk.name.startswith(".") and chunk.name != "zarr.json":
            (chunk if chunk.is_file() else next(f for f in chunk.rglob("*") if f.is_file())).write_bytes(b"\x01")
    with pytest.raises(OSError, match=r"x\.zarr cannot be read as zarr"):
        gio.read(path)


def test_misnamed_files_are_known_by_their_content(tmp_path, matrix):
    make_loom(tmp_path / "x.h5ad", matrix)
    assert gio.read(tmp_path / "x.h5ad").shape == (3, 4)


def test_duplicate_names_are_kept_and_said_once(tmp_path, counts, caplog):
    adata = AnnData(counts[:4, :3])
    adata.obs_names = ["a", "b", "a", "a"]
    adata.var_names = ["x", "y", "z"]
    gio.write(adata, tmp_path / "x.h5ad")
    assert list(gio.read(tmp_path / "x.h5ad").obs_names) == ["a", "b", "a", "a"]
    (record,) = caplog.records
    assert "1 cell name occurs more than once (a: 3 times)" in record.message
    assert "obs_names_make_unique()" in record.message


def test_duplicate_names_are_numbered_if_asked(tmp_path, counts, caplog):
    adata = AnnData(counts[:4, :4])
    adata.obs_names = ["a", "b", "a", "a"]
    adata.var_names = ["x", "y", "x", "y"]
    gio.write(adata, tmp_path / "x.h5ad")
    caplog.set_level("INFO")
    adata = gio.read(tmp_path / "x.h5ad", unique_names=True)
    assert list(adata.obs_names) == ["a", "b", "a-1", "a-2"]
    assert list(adata.var_names) == ["x", "y", "x-1", "y-1"]
    assert "2 gene names occur more than once (x: 2 times). Names are numbered: x, x-1." in caplog.text
    assert not [record for record in caplog.records if record.levelname == "WARNING"]
    assert "kept" not in caplog.text
