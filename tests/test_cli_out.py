"""OUT is refused before anything is read where it would cost the counts, or could not hold the result."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import anndata
import pytest
from click.testing import CliRunner

import gnnimpute as gi
from gnnimpute.cli import main

if TYPE_CHECKING:
    from pathlib import Path

TINY = ["--min-genes", "0", "--n-epochs", "1", "--n-hidden", "8", "--n-latent", "4"]


@pytest.fixture
def adata() -> anndata.AnnData:
    return gi.datasets.splatter(n_genes=40, batch_cells=60, lib_loc=6)


def refused(*args: object) -> str:
    done = CliRunner().invoke(main, ["impute", *map(str, args), *TINY])
    assert done.exit_code == 2, done.output
    return done.stderr


def content(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("way", ["--in-memory", "--out-of-core"])
@pytest.mark.parametrize(
    ("source", "out"),
    [("raw.mtx/matrix.mtx.gz", "raw.mtx"), ("x.zarr/in.h5ad", "x.zarr"), ("link/in.h5ad", "x.zarr")],
)
def test_counts_inside_what_is_replaced_stay(
    adata: anndata.AnnData, tmp_path: Path, source: str, out: str, way: str
) -> None:
    gi.io.write(adata, tmp_path / "raw.mtx", key=None)
    gi.io.write(adata, tmp_path / "x.zarr")
    gi.io.write(adata, tmp_path / "x.zarr" / "in.h5ad")
    (tmp_path / "link").symlink_to(tmp_path / "x.zarr")
    before = content(tmp_path)
    said = refused(tmp_path / source, tmp_path / out, "--overwrite", way)
    assert f"OUT, {tmp_path / out}, holds IN, {tmp_path / source}, whose counts would be lost" in said
    assert content(tmp_path) == before


@pytest.mark.parametrize("way", ["--in-memory", "--out-of-core"])
def test_a_store_that_is_read_is_not_written_to(adata: anndata.AnnData, tmp_path: Path, way: str) -> None:
    gi.io.write(adata, tmp_path / "in.zarr")
    before = content(tmp_path)
    assert "is inside IN" in refused(tmp_path / "in.zarr", tmp_path / "in.zarr" / "out.zarr", way)
    assert content(tmp_path) == before


def test_a_result_may_lie_beside_the_files_of_10x(adata: anndata.AnnData, tmp_path: Path) -> None:
    gi.io.write(adata, tmp_path / "raw.mtx", key=None)
    out = tmp_path / "raw.mtx" / "out.h5ad"
    done = CliRunner().invoke(main, ["impute", str(tmp_path / "raw.mtx"), str(out), *TINY])
    assert done.exit_code == 0, done.output
    assert "gnnimpute" in anndata.read_h5ad(out).layers
    with gzip.open(tmp_path / "raw.mtx" / "matrix.mtx.gz") as file:
        assert file.readline().startswith(b"%%MatrixMarket")


@pytest.mark.parametrize(
    ("gene", "out", "way_out"),
    [
        ("HLA-A/B", "out.zarr", "name OUT .h5ad or .csv"),
        ("x" * 300, "out.zarr", "name OUT .h5ad or .csv"),
        ("..", "out.zarr", "name OUT .csv"),
        ("/HLA", "out.h5ad", "name OUT .csv"),
    ],
)
def test_genes_that_no_column_can_be_named_after(
    adata: anndata.AnnData, tmp_path: Path, gene: str, out: str, way_out: str
) -> None:
    adata.var_names = [gene, *adata.var_names[1:]]
    gi.io.write(adata, tmp_path / "in.csv", key=None)
    said = " ".join(refused(tmp_path / "in.csv", tmp_path / out, "--genes", f"{gene},Gene2").split())
    assert f"cannot hold a column {gene!r}: {way_out}" in said
    assert not (tmp_path / out).exists()


@pytest.mark.parametrize(("gene", "out"), [("HLA-A/B", "out.h5ad"), ("/HLA", "out.csv")])
def test_genes_that_a_column_can_be_named_after(adata: anndata.AnnData, tmp_path: Path, gene: str, out: str) -> None:
    adata.var_names = [gene, *adata.var_names[1:]]
    gi.io.write(adata, tmp_path / "in.csv", key=None)
    args = ["impute", str(tmp_path / "in.csv"), str(tmp_path / out), "--genes", f"{gene},Gene2", *TINY]
    done = CliRunner().invoke(main, args)
    assert done.exit_code == 0, done.output
    read = gi.io.read(tmp_path / out)
    assert gene in (read.obsm["gnnimpute_genes"].columns if out == "out.h5ad" else read.var_names)


@pytest.mark.parametrize("option", [None, "--save-model", "--report"])
def test_names_too_long_are_refused_before_anything_is_read(tmp_path: Path, option: str | None) -> None:
    endings = {None: ".zarr", "--save-model": ".safetensors", "--report": ".html"}
    long = tmp_path / f"{'x' * 240}{endings[option]}"
    args = [long] if option is None else [tmp_path / "out.zarr", option, long]
    assert "are the most: choose a shorter one" in refused(tmp_path / "nothing.h5ad", *args)
