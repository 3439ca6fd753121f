from __future__ import annotations

import gzip

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
import scipy.io
import scipy.sparse as sp
from anndata import AnnData

import gnnimpute.io as gio

IDS = [f"ENSG{i:011d}" for i in range(60)]
SYMBOLS = ["MT-ND1", "ACTB", "NA", "ACTB"] + [f"GENE{i}" for i in range(56)]  # ACTB twice, as in real references
TYPES = ["Gene Expression"] * 60


def barcodes(n):
    return ["".join("ACGT"[i // 4**j % 4] for j in range(16)) + "-1" for i in range(n)]


def save(path, text):
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())


def make_folder(folder, counts, *, genes, gz="", prefix="", types=None):
    folder.mkdir(exist_ok=True)
    mtx = folder / f"{prefix}matrix.mtx"
    scipy.io.mmwrite(mtx, sp.coo_matrix(counts.T.astype(int)))
    if gz:
        save(mtx.with_name(mtx.name + ".gz"), mtx.read_text())
        mtx.unlink()
    columns = [IDS, SYMBOLS] + ([types] if types else [])
    save(folder / f"{prefix}{genes}.tsv{gz}", "".join("\t".join(line) + "\n" for line in zip(*columns, strict=True)))
    save(folder / f"{prefix}barcodes.tsv{gz}", "\n".join(barcodes(counts.shape[0])) + "\n")
    return folder


def check(adata, counts):
    assert isinstance(adata.X, sp.csr_matrix)
    assert adata.X.dtype == np.float32
    np.testing.assert_array_equal(adata.X.toarray(), counts.toarray())
    assert list(adata.obs_names) == barcodes(counts.shape[0])
    assert list(adata.var_names) == SYMBOLS
    assert list(adata.var["gene_ids"]) == IDS


@pytest.mark.parametrize(
    ("genes", "gz", "types"),
    [("genes", "", None), ("genes", ".gz", None), ("features", ".gz", TYPES), ("features", "", TYPES)],
    ids=["v2", "v2-gz", "v3", "starsolo"],
)
def test_folder(tmp_path, counts, genes, gz, types):
    check(gio.read(make_folder(tmp_path / "x", counts, genes=genes, gz=gz, types=types)), counts)


def test_scanpy_reads_the_same_but_for_a_gene_called_na(tmp_path, counts):
    folder = make_folder(tmp_path / "x", counts, genes="features", gz=".gz", types=TYPES)
    expected = sc.read_10x_mtx(folder, var_names="gene_ids")
    found = gio.read(folder)
    np.testing.assert_array_equal(found.X.toarray(), expected.X.toarray())
    assert list(found.var["gene_ids"]) == list(expected.var_names)
    assert list(found.obs_names) == list(expected.obs_names)


def test_samples_in_one_folder_are_read_by_their_matrix(tmp_path, counts):
    make_folder(tmp_path, counts, genes="features", gz=".gz", types=TYPES, prefix="GSM1_a_")
    check(gio.read(tmp_path), counts)  # one sample: its prefix is found
    make_folder(tmp_path, counts[:50], genes="genes", prefix="GSM2_b_")
    check(gio.read(tmp_path / "GSM1_a_matrix.mtx.gz"), counts)
    check(gio.read(tmp_path / "GSM2_b_matrix.mtx"), counts[:50])
    with pytest.raises(ValueError, match=r"several matrices: GSM1_a_matrix\.mtx\.gz, GSM2_b_matrix\.mtx"):
        gio.read(tmp_path)


def test_duplicate_symbols_are_kept_and_said(tmp_path, counts, caplog):
    gio.read(make_folder(tmp_path / "x", counts, genes="genes"))
    (record,) = caplog.records
    assert "1 gene name occurs more than once (ACTB: 2 times)" in record.message
    assert "var_names_make_unique()" in record.message


def test_one_column_of_names(tmp_path, counts):
    folder = make_folder(tmp_path / "x", counts, genes="genes")
    save(folder / "genes.tsv", "\n".join(IDS))
    adata = gio.read(folder)
    assert list(adata.var_names) == IDS
    assert not len(adata.var.columns)


def test_matrix_of_cells_x_genes_is_known_by_its_size(tmp_path, counts, caplog):
    caplog.set_level("INFO")
    folder = make_folder(tmp_path / "x", counts, genes="genes")
    scipy.io.mmwrite(folder / "matrix.mtx", sp.coo_matrix(counts))
    check(gio.read(folder), counts)
    assert "is read as cells x genes" in caplog.text
    with pytest.raises(ValueError, match="orientation='genes_by_cells'"):
        gio.read(folder, orientation="genes_by_cells")


def test_square_matrix_follows_what_is_stated(tmp_path, counts):
    square = counts[:60]
    folder = make_folder(tmp_path / "x", square, genes="genes")
    check(gio.read(folder), square)
    check(gio.read(folder, orientation="cells_by_genes"), square.T.tocsr())


def test_names_that_do_not_fit(tmp_path, counts):
    folder = make_folder(tmp_path / "x", counts, genes="genes")
    save(folder / "barcodes.tsv", "\n".join(barcodes(89)))
    with pytest.raises(ValueError, match=r"60 x 90, but genes\.tsv names 60 genes and barcodes\.tsv 89 cells"):
        gio.read(folder)
    (folder / "barcodes.tsv").unlink()
    with pytest.raises(FileNotFoundError, match=r"barcodes\.tsv\.gz or barcodes\.tsv must lie beside it"):
        gio.read(folder)


def test_broken_matrix(tmp_path, counts):
    folder = make_folder(tmp_path / "x", counts, genes="genes")
    content = (folder / "matrix.mtx").read_text()
    (folder / "matrix.mtx").write_text(content[: len(content) // 2])
    with pytest.raises(OSError, match=r"matrix\.mtx cannot be read as Matrix Market"):
        gio.read(folder)


def test_folder_above_is_pointed_out(tmp_path, counts):
    folder = make_folder(tmp_path / "hg19", counts, genes="genes")
    with pytest.raises(ValueError, match=f"neither a zarr store .* Did you mean {folder}"):
        gio.read(tmp_path)


def test_features_that_are_no_genes_are_kept_apart(tmp_path, counts, caplog):
    caplog.set_level("INFO")
    types = TYPES[:50] + ["Antibody Capture"] * 7 + ["CRISPR Guide Capture"] * 3
    adata = gio.read(make_folder(tmp_path / "x", counts, genes="features", gz=".gz", types=types))
    np.testing.assert_array_equal(adata.X.toarray(), counts[:, :50].toarray())
    np.testing.assert_array_equal(adata.obsm["Antibody Capture"].toarray(), counts[:, 50:57].toarray())
    assert list(adata.uns["CRISPR Guide Capture"]["names"]) == SYMBOLS[57:]
    assert '7 features of type Antibody Capture are kept in obsm["Antibody Capture"]' in caplog.text
    gio.write(adata, tmp_path / "x.h5ad")
    back = gio.read(tmp_path / "x.h5ad")
    assert sp.issparse(back.obsm["Antibody Capture"])
    assert list(back.uns["CRISPR Guide Capture"]["names"]) == SYMBOLS[57:]


def write_h5(path, counts, *, v3, genome="GRCh38", types=TYPES):
    """The layout of Cell Ranger: columns are barcodes, compressed sparse column."""
    matrix = counts.tocsr().astype(np.int32)
    with h5py.File(path, "a") as file:
        group = file.create_group("matrix" if v3 else genome)
        group["barcodes"] = np.array(barcodes(counts.shape[0]), dtype="S")
        group["data"], group["indices"], group["indptr"] = matrix.data, matrix.indices.astype(np.int64), matrix.indptr
        group["shape"] = np.array([counts.shape[1], counts.shape[0]], dtype=np.int32)
        if v3:
            features = group.create_group("features")
            features["_all_tag_keys"] = np.array([b"genome"])
            for name, values in {"id": IDS, "name": SYMBOLS, "feature_type": types, "genome": [genome] * 60}.items():
                features[name] = np.array(values, dtype="S")
        else:
            group["genes"], group["gene_names"] = np.array(IDS, dtype="S"), np.array(SYMBOLS, dtype="S")


@pytest.mark.parametrize("v3", [False, True], ids=["v2", "v3"])
def test_h5(tmp_path, counts, v3):
    path = tmp_path / "x.h5"
    write_h5(path, counts, v3=v3)
    check(gio.read(path), counts)


def test_h5_of_two_genomes(tmp_path, counts):
    for genome in ("hg19", "mm10"):
        write_h5(tmp_path / "x.h5", counts, v3=False, genome=genome)
    with pytest.raises(ValueError, match="several genomes: hg19, mm10"):
        gio.read(tmp_path / "x.h5")


def test_h5_keeps_antibodies_apart_and_refuses_a_wrong_statement(tmp_path, counts):
    path = tmp_path / "x.h5"
    write_h5(path, counts, v3=True, types=TYPES[:50] + ["Antibody Capture"] * 10)
    adata = gio.read(path, orientation="genes_by_cells")
    assert adata.shape == (90, 50)
    assert adata.obsm["Antibody Capture"].shape == (90, 10)
    with pytest.raises(ValueError, match="names both itself"):
        gio.read(path, orientation="cells_by_genes")


def test_h5_without_a_part(tmp_path, counts):
    write_h5(tmp_path / "x.h5", counts, v3=True)
    with h5py.File(tmp_path / "x.h5", "a") as file:
        del file["matrix/features"]
    with pytest.raises(OSError, match="cannot be read as 10x HDF5"):
        gio.read(tmp_path / "x.h5")


@pytest.mark.parametrize("make", [np.asarray, sp.csr_matrix], ids=["dense", "csr"])
def test_written_folder_is_what_cell_ranger_3_writes(tmp_path, counts, make, monkeypatch):
    monkeypatch.setattr("gnnimpute._writers.BLOCK_VALUES", 700)  # several blocks
    adata = AnnData(counts.copy(), var=pd.DataFrame({"gene_ids": IDS}, index=[f"g{i}" for i in range(60)]))
    adata.obs_names = barcodes(90)
    adata.layers["gnnimpute"] = make((counts * 0.3).toarray())
    folder = tmp_path / "out.mtx"
    gio.write(adata, folder)
    assert sorted(path.name for path in folder.iterdir()) == ["barcodes.tsv.gz", "features.tsv.gz", "matrix.mtx.gz"]
    for back in (sc.read_10x_mtx(folder), gio.read(folder)):
        np.testing.assert_array_equal(back.X.toarray(), (counts * 0.3).toarray())
        assert list(back.obs_names) == list(adata.obs_names)
        assert list(back.var_names) == list(adata.var_names)
        assert list(back.var["gene_ids"]) == IDS
        assert set(back.var["feature_types"]) == {"Gene Expression"}


def test_written_folder_without_ids_and_without_values(tmp_path):
    adata = AnnData(np.zeros((3, 2), dtype=np.float32))
    gio.write(adata, tmp_path / "out.mtx", key=None)
    back = gio.read(tmp_path / "out.mtx")
    assert back.shape == (3, 2)
    assert back.X.nnz == 0
    assert list(back.var["gene_ids"]) == list(adata.var_names)


def test_h5ad_called_h5(tmp_path, counts):
    AnnData(counts).write_h5ad(tmp_path / "x.h5")
    np.testing.assert_array_equal(gio.read(tmp_path / "x.h5").X.toarray(), counts.toarray())
    assert anndata.read_h5ad(tmp_path / "x.h5").shape == counts.shape


@pytest.mark.parametrize("axis", ["obs", "var"])
def test_a_name_that_such_lists_cannot_hold(tmp_path, counts, axis):
    adata = AnnData(counts.copy())
    names = getattr(adata, axis).index
    setattr(adata, f"{axis}_names", ["a\t1", *names[1:]])
    with pytest.raises(TypeError, match=r"cannot hold the name 'a\\t1': rename it"):
        gio.write(adata, tmp_path / "out.mtx", key=None)
    assert not any(tmp_path.iterdir())
