"""The paper's sets from small files in the published formats, placed by hand in the cache folder."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import tarfile
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import anndata
import numpy as np
import pooch
import pytest
import requests
import scipy.sparse as sp

from gnnimpute import _published, datasets

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

GENES = ["Actb", "NA", "Gapdh", "Sox2", "mt-Nd1"]  # pandas would take the second for a missing value
COUNTS = np.array([[0, 12, 3, 0, 1], [7, 0, 0, 2, 0], [0, 0, 1, 0, 140], [5, 1, 0, 0, 0]], dtype=np.float32)
CELLS = ["B1_Normal_AACC", "B1_Normal_AACG", "B2_Hunger_TTGC", "B2_Hunger_TTGA"]
"""Counts of four cells and five genes; the published tables are genes x cells."""


def rows(sep: str, counts: np.ndarray = COUNTS, quote: str = "") -> str:
    lines = zip(GENES, counts.T.astype(int), strict=True)
    return "".join(sep.join([f"{quote}{gene}{quote}", *map(str, values)]) + "\n" for gene, values in lines)


def archive(**files: str) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, text in files.items():
            member = tarfile.TarInfo(f"filtered_matrices_mex/hg19/{name.replace('_', '.')}")
            member.size = len(text.encode())
            tar.addfile(member, io.BytesIO(text.encode()))
    return packed.getvalue()


def pbmc_files() -> list[bytes]:
    entries = [(gene + 1, cell + 1, int(COUNTS[cell, gene])) for cell, gene in np.argwhere(COUNTS)]
    matrix = "%%MatrixMarket matrix coordinate real general\n%\n" + f"5 4 {len(entries)}\n"
    matrix += "".join(f"{gene} {cell} {count}\n" for gene, cell, count in entries)
    symbols = [*GENES[:4], "Actb"]
    genes = "".join(f"ENSG0000000000{number}\t{symbol}\n" for number, symbol in enumerate(symbols))
    return [archive(matrix_mtx=matrix, genes_tsv=genes, barcodes_tsv="".join(f"{cell}-1\n" for cell in "ACGT"))]


def klein_files() -> list[bytes]:
    return [bz2.compress(rows(",", COUNTS[[cell]]).encode()) for cell in range(4)]


def chen_files() -> list[bytes]:
    counts = "\t".join(["Gene", *CELLS]) + "\n" + rows("\t")
    labels = zip(CELLS[::-1], ["Tany", "zothers", "Glu1", "Glu1"], strict=True)
    text = '"","Cell_ID_temp","SVM_clusterID"\n' + "".join(f'"{cell}","{cell}","{label}"\n' for cell, label in labels)
    return [gzip.compress(counts.encode()), gzip.compress(text.encode())]


def campbell_files() -> list[bytes]:
    header = "\t".join(f'"{cell}"' for cell in CELLS)  # R names no first column
    columns = ["1.ID", "2.group", "7.clust_all", "10.clust_neurons", "", "All Cell Clusters"]
    labels = [
        [CELLS[0], "Chow", "a18", "n03", "", "a01.Oligodend3"],
        [CELLS[1], "HFD", "miss", "miss", "", "a18.Neurons6"],
        [CELLS[2], "Chow", "a01", "", "", ""],
        [CELLS[3], "Chow", "a18", "n12", "", ""],
    ]
    text = "".join("\t".join(line) + "\n" for line in [columns, *labels])
    return [gzip.compress((header + "\n" + rows("\t", quote='"')).encode()), gzip.compress(text.encode())]


FILES: dict[str, Callable[[], list[bytes]]] = {
    "pbmc": pbmc_files,
    "klein": klein_files,
    "chen": chen_files,
    "campbell": campbell_files,
}
every = pytest.mark.parametrize("name", FILES)


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_args: Any, **_others: Any) -> None:
        msg = "Network is unreachable"
        raise requests.exceptions.ConnectionError(msg)

    monkeypatch.setattr(pooch.HTTPDownloader, "__call__", fail)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The published shapes are those of the small files."""
    for name in FILES:
        collection = getattr(_published, name.upper())
        monkeypatch.setattr(_published, name.upper(), replace(collection, shape=COUNTS.shape))


def place(name: str, folder: Path) -> list[Path]:
    """Files of a set, placed by hand."""
    paths = [folder / file.name for file in getattr(_published, name.upper()).files]
    for path, content in zip(paths, FILES[name](), strict=True):
        path.write_bytes(content)
    return paths


def load(name: str, folder: Path) -> anndata.AnnData:
    return getattr(datasets, name)(folder=folder)


@every
def test_counts_are_cells_by_genes(name: str, tmp_path: Path) -> None:
    place(name, tmp_path)
    adata = load(name, tmp_path)
    assert sp.isspmatrix_csr(adata.X)
    assert adata.X.dtype == np.float32
    np.testing.assert_array_equal(adata.X.toarray(), COUNTS)
    assert adata.obs_names.is_unique
    assert adata.var_names.is_unique


@every
def test_source_and_citation_are_kept(name: str, tmp_path: Path) -> None:
    paths = place(name, tmp_path)
    load(name, tmp_path).write_h5ad(tmp_path / "out.h5ad")
    source = anndata.read_h5ad(tmp_path / "out.h5ad").uns["source"]
    assert "doi:" in source["citation"]
    assert list(source["files"]) == [path.name for path in paths]
    assert all(url.startswith("https://") for url in source["urls"])
    assert list(source["sha256"]) == [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]


@every
def test_nothing_is_written_but_checksums(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache, here = tmp_path / "cache", tmp_path / "here"
    cache.mkdir()
    here.mkdir()
    monkeypatch.chdir(here)
    paths = place(name, cache)
    first = load(name, cache)
    assert not list(here.iterdir())
    assert set(cache.iterdir()) == {*paths, *(path.with_name(f"{path.name}.sha256") for path in paths)}
    assert (load(name, cache).X != first.X).nnz == 0


@every
def test_a_file_that_changed_is_refused(name: str, tmp_path: Path) -> None:
    path = place(name, tmp_path)[-1]
    load(name, tmp_path)
    path.write_bytes(path.read_bytes() + b"\n")
    with pytest.raises(OSError, match="is not the known file"):
        load(name, tmp_path)


@every
def test_without_network_the_missing_file_is_named(name: str, tmp_path: Path) -> None:
    missing = place(name, tmp_path)[-1]
    missing.unlink()
    with pytest.raises(OSError, match="Network is unreachable") as error:
        load(name, tmp_path)
    assert str(tmp_path) in str(error.value)
    assert f"exact name {missing.name} " in str(error.value)
    assert getattr(_published, name.upper()).files[-1].url in str(error.value)


def damages(content: bytes) -> dict[str, bytes]:
    return {
        "cut short": content[: len(content) // 2],
        "an error page": b"<html><body>Service unavailable</body></html>",
        "empty": b"",
        "a byte changed": content[:60] + bytes([content[60] ^ 0xFF]) + content[61:],
    }


@every
@pytest.mark.parametrize("damage", damages(bytes(100)))
def test_damaged_files_are_refused_and_never_trusted(name: str, damage: str, tmp_path: Path) -> None:
    path = place(name, tmp_path)[0]
    path.write_bytes(damages(path.read_bytes())[damage])
    with pytest.raises(ValueError, match="is cut short, or is not what was published") as error:
        load(name, tmp_path)
    for part in (str(path), "Delete it", getattr(_published, name.upper()).files[0].url):
        assert part in str(error.value)
    assert not list(tmp_path.glob("*.sha256"))


@every
def test_other_counts_than_published_are_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = place(name, tmp_path)
    monkeypatch.setattr(_published, name.upper(), replace(getattr(_published, name.upper()), shape=(2717, 24175)))
    with pytest.raises(ValueError, match="hold 4 cells x 5 genes, but 2,717 x 24,175 were published") as error:
        load(name, tmp_path)
    assert all(str(path) in str(error.value) for path in paths)
    assert not list(tmp_path.glob("*.sha256"))


@pytest.mark.parametrize("value", ["-3", "0.5", "nan", "many"])
def test_values_that_are_no_counts_are_refused(value: str, tmp_path: Path) -> None:
    for name, opened in {"chen": gzip, "klein": bz2}.items():
        path = place(name, tmp_path)[0]
        text = opened.decompress(path.read_bytes()).decode()
        assert text.count("12") == 1
        path.write_bytes(opened.compress(text.replace("12", value).encode()))
        with pytest.raises(ValueError, match=rf"is not what was published.*What is wrong: .*[ ']{value}"):
            load(name, tmp_path)


def test_pbmc_is_named_by_symbols(tmp_path: Path) -> None:
    place("pbmc", tmp_path)
    adata = datasets.pbmc(folder=tmp_path)
    assert adata.var_names.tolist() == ["Actb", "NA", "Gapdh", "Sox2", "Actb-1"]
    assert adata.var["gene_ids"].tolist() == [f"ENSG0000000000{number}" for number in range(5)]
    assert adata.obs_names.tolist() == ["A-1", "C-1", "G-1", "T-1"]


def test_klein_is_labelled_by_days(tmp_path: Path) -> None:
    place("klein", tmp_path)
    adata = datasets.klein(folder=tmp_path)
    assert adata.obs["day"].cat.categories.tolist() == ["d0", "d2", "d4", "d7"]
    assert adata.obs["day"].tolist() == ["d0", "d2", "d4", "d7"]
    assert adata.obs_names.tolist() == ["d0_1", "d2_1", "d4_1", "d7_1"]
    assert adata.var_names.tolist() == GENES


def test_chen_is_labelled(tmp_path: Path) -> None:
    place("chen", tmp_path)
    adata = datasets.chen(folder=tmp_path)
    assert adata.obs["cell_type"].tolist() == ["Glu1", "Glu1", "zothers", "Tany"]
    assert adata.obs_names.tolist() == CELLS
    assert adata.var_names.tolist() == GENES


def test_campbell_is_labelled(tmp_path: Path) -> None:
    place("campbell", tmp_path)
    adata = datasets.campbell(folder=tmp_path)
    assert list(adata.obs) == ["group", "clust_all", "clust_neurons", "cell_type"]
    assert adata.obs["cell_type"].tolist() == ["Neurons6", np.nan, "Oligodend3", "Neurons6"]
    assert adata.obs["clust_neurons"].tolist() == ["n03", np.nan, np.nan, "n12"]
    assert adata.obs_names.tolist() == CELLS
