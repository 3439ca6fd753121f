"""What `read` says about paths; formats and writing are in test_readers, test_tenx, test_tables and test_writers."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import scipy.sparse as sp
from anndata import AnnData

import gnnimpute.io as gio

FILES = [
    "CITEseq_citefuse500",
    "Kang_ifnb_PBMC_14k",
    "Klein_subset_1000x900",
    "PBMC_facs_zheng",
    "PBMC_frozen_donorA",
    "scmix_RNAmix_celseq2",
    "scmix_celseq2_5cl",
    "splatter_2groups_600cells",
]


def test_missing_file_names_its_neighbours(tmp_path, counts):
    AnnData(counts).write_h5ad(tmp_path / "PBMC_donorA.h5ad")
    with pytest.raises(FileNotFoundError, match=f"Did you mean {tmp_path}/PBMC_donorA.h5ad"):
        gio.read(tmp_path / "PMBC_donorA.h5ad")
    with pytest.raises(FileNotFoundError, match=r"There is no .*zzz\.$"):
        gio.read(tmp_path / "zzz")
    with pytest.raises(FileNotFoundError, match="no folder"):
        gio.read(tmp_path / "nowhere" / "x.h5ad")


@pytest.mark.parametrize("name", ["x.h5ad", "x.h5", "x.loom", "x.csv", "x.csv.gz", "x.mtx"])
def test_empty_file(tmp_path, name):
    (tmp_path / name).touch()
    with pytest.raises(ValueError, match=r"is empty \(0 bytes\)"):
        gio.read(tmp_path / name)


@pytest.mark.parametrize("name", ["x.rds", "x", "x.h5ad.gz", "x.xlsx"])
def test_unknown_ending(tmp_path, name):
    (tmp_path / name).write_text("x")
    with pytest.raises(ValueError, match=r"not known. What can be read: \.h5ad, \.zarr, \.h5, \.loom"):
        gio.read(tmp_path / name)


def test_unreadable_file(tmp_path, monkeypatch):
    (tmp_path / "x.csv").write_text("cell,ACTB\nx,1\n")
    monkeypatch.setattr("os.access", lambda *_: False)  # root may read anything
    with pytest.raises(PermissionError, match="may not be read by you"):
        gio.read(tmp_path / "x.csv")


def test_folder_of_other_things(tmp_path):
    with pytest.raises(ValueError, match=r"neither a zarr store .* It holds nothing\."):
        gio.read(tmp_path)
    for i in range(7):
        (tmp_path / f"{i}.txt").touch()
    with pytest.raises(ValueError, match=r"It holds 0\.txt, .*4\.txt\.\.\.\. Name the file inside"):
        gio.read(tmp_path)


def test_zarr_that_is_a_file(tmp_path):
    (tmp_path / "x.zarr").write_text("x")
    with pytest.raises(ValueError, match="a zarr store is a folder"):
        gio.read(tmp_path / "x.zarr")


def test_unknown_orientation_is_refused_before_reading(tmp_path):
    with pytest.raises(ValueError, match="orientation='rows'"):
        gio.read(tmp_path / "nothing.csv", orientation="rows")


def test_log_says_what_was_read(tmp_path, counts, caplog):
    caplog.set_level("INFO")
    AnnData(counts).write_h5ad(tmp_path / "x.h5ad")
    gio.read(str(tmp_path / "x.h5ad"))
    assert "x.h5ad is read as cells x genes, as the format defines." in caplog.text
    assert "x.h5ad: 90 cells x 60 genes." in caplog.text


def test_import_reads_nothing_heavy():
    code = "import sys, gnnimpute.io; print(*({'scanpy', 'zarr', 'torch', 'dask'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    before = subprocess.run(
        [sys.executable, "-c", code.replace("gnnimpute.io", "anndata")], capture_output=True, text=True, check=True
    )
    assert set(done.stdout.split()) <= set(before.stdout.split())


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_real_files(data_dir, tmp_path, name, caplog):
    adata = gio.read(data_dir / f"{name}.h5ad")
    assert sp.issparse(adata.X)
    assert not caplog.records  # no false alarm about orientation
    adata = adata[:100, :500].copy()
    adata.layers["gnnimpute"] = adata.X.toarray() / 3
    for ending in (".h5ad", ".zarr", ".mtx", ".csv.gz"):
        path = tmp_path / f"x{ending}"
        gio.write(adata, path)
        back = gio.read(path)
        assert list(back.obs_names) == list(adata.obs_names)
        assert list(back.var_names) == list(adata.var_names)
        values = back.layers["gnnimpute"] if "gnnimpute" in back.layers else back.X.toarray()
        np.testing.assert_array_equal(values, adata.layers["gnnimpute"])
