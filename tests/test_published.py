"""The registry of the paper's sets, and how their parts are joined."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from gnnimpute._published import CAMPBELL, CHEN, KLEIN, PBMC, Collection

EVERY = pytest.mark.parametrize("collection", [PBMC, KLEIN, CHEN, CAMPBELL], ids=lambda one: one.citation.split()[0])


def cells(*names: str) -> anndata.AnnData:
    genes = pd.DataFrame(index=["Actb", "Gapdh"])
    return anndata.AnnData(sp.csr_matrix(np.ones((len(names), 2), "f")), obs=pd.DataFrame(index=list(names)), var=genes)


@EVERY
def test_every_file_has_an_address_that_names_it(collection: Collection) -> None:
    assert len(collection.files) == len(collection.readers)
    assert len({file.name for file in collection.files}) == len(collection.files)
    for file in collection.files:
        address = urlsplit(file.url)
        assert address.scheme == "https"
        query = parse_qs(address.query)
        assert (query["file"] == [file.name]) if query else (Path(address.path).name == file.name)
        assert not query or file.name.startswith(query["acc"][0])


@EVERY
def test_no_checksum_is_made_up(collection: Collection) -> None:
    assert all(file.sha256 is None for file in collection.files), "say in datasets.py where it is published"


@EVERY
def test_citations_can_be_looked_up(collection: Collection) -> None:
    assert "doi:10." in collection.citation


def test_an_archive_without_a_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "archive.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        archive.addfile(tarfile.TarInfo("filtered_matrices_mex/hg19/genes.tsv"), io.BytesIO())
    with pytest.raises(ValueError, match=r"matrix\.mtx"):
        PBMC.readers[0](path)


def test_an_archive_cannot_write_elsewhere(tmp_path: Path) -> None:
    path = tmp_path / "cache" / "archive.tar.gz"
    path.parent.mkdir()
    with tarfile.open(path, "w:gz") as archive:
        for name in ("../../matrix.mtx", "/tmp/genes.tsv", "../barcodes.tsv"):
            archive.addfile(tarfile.TarInfo(name), io.BytesIO())
    with pytest.raises((ValueError, OSError)):
        PBMC.readers[0](path)
    assert [file.name for file in tmp_path.rglob("*")] == ["cache", "archive.tar.gz"]


def test_days_must_have_the_same_genes() -> None:
    other = cells("1")
    other.var_names = ["Actb", "Sox2"]
    with pytest.raises(ValueError, match="genes of day d4 are not those of day d0"):
        KLEIN.join(cells("1"), cells("1"), other, cells("1"))


def test_every_cell_must_have_labels() -> None:
    labels = pd.DataFrame({"SVM_clusterID": ["Glu1"]}, index=["b"])
    with pytest.raises(ValueError, match="2 cells have no labels, the first is 'a'"):
        CHEN.join(cells("a", "b", "c"), labels)


def test_labels_must_have_their_column() -> None:
    with pytest.raises(ValueError, match=r"no column \['SVM_clusterID'\], but \['cluster'\]"):
        CHEN.join(cells("a"), pd.DataFrame({"cluster": ["Glu1"]}, index=["a"]))
    with pytest.raises(ValueError, match=r"no column \['7.clust_all'\]"):
        CAMPBELL.join(cells("a"), pd.DataFrame({"2.group": ["Chow"]}, index=["a"]))


def test_labels_may_come_in_any_order_and_number() -> None:
    labels = pd.DataFrame({"SVM_clusterID": ["Glu1", "Tany", "", "Glu1"]}, index=["x", "b", "c", "a"])
    joined = CHEN.join(cells("a", "b", "c"), labels)
    assert joined.obs["cell_type"].tolist() == ["Glu1", "Tany", np.nan]


def test_cluster_names_stand_in_columns_of_their_own() -> None:
    labels = pd.DataFrame(
        {
            "2.group": ["Chow_M", "HFD_F", "Chow_M"],
            "7.clust_all": ["a02", "miss", "a06"],
            "": ["", "", ""],
            "All Cell Clusters": ["a01.Oligodend3", "a02.NG2/OPC", ""],
        },
        index=["a", "b", "c"],
    )
    joined = CAMPBELL.join(cells("a", "b", "c"), labels)
    assert list(joined.obs) == ["group", "clust_all", "cell_type"]
    assert joined.obs["clust_all"].tolist() == ["a02", np.nan, "a06"]
    assert joined.obs["cell_type"].tolist() == ["NG2/OPC", np.nan, "a06"], "without a name the number stays"
