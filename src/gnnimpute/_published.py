"""The four data sets of the paper: which files they are, how these are read, and that they are what was published."""

from __future__ import annotations

import re
import shutil
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gnnimpute import io
from gnnimpute._counts import check_counts
from gnnimpute._download import Published, fetch, geo, reading, trust

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd
    from anndata import AnnData


@dataclass(frozen=True)
class Collection:
    """Files that together are a data set, each with a function that reads it, and one that joins what these return."""

    title: str
    citation: str
    shape: tuple[int, int]  # cells and genes, as published
    files: tuple[Published, ...]
    readers: tuple[Callable[[Path], Any], ...]
    join: Callable[..., AnnData]


def load(collection: Collection, folder: str | Path | None) -> AnnData:
    """Fetch, read, check, and only then trust the files of a data set."""
    paths = [fetch(file, folder) for file in collection.files]
    parts = []
    for file, path, reader in zip(collection.files, paths, collection.readers, strict=True):
        with reading(file, path):
            parts.append(reader(path))
    try:
        adata = collection.join(*parts)
        if adata.shape != collection.shape:
            msg = "they hold {:,} cells x {:,} genes, but {:,} x {:,} were published.".format(
                *adata.shape, *collection.shape
            )
            raise ValueError(msg)
    except ValueError as error:
        names = " and ".join(map(str, paths))
        msg = f"The files are not those of {collection.title}: {error} Delete {names}, and call this again."
        raise ValueError(msg) from error
    adata.uns["source"] = {
        "title": collection.title,
        "citation": collection.citation,
        "files": [file.name for file in collection.files],
        "urls": [file.url for file in collection.files],
        "sha256": [trust(path) for path in paths],
    }
    return adata


# Reading one file


def _archive(path: Path) -> AnnData:
    """Cell Ranger's three files, unpacked where nothing is left of them."""
    with tempfile.TemporaryDirectory() as folder, tarfile.open(path, "r:gz") as archive:
        for member in archive:
            name = Path(member.name).name
            if name in {"matrix.mtx", "genes.tsv", "barcodes.tsv"} and (packed := archive.extractfile(member)):
                with packed, (Path(folder) / name).open("wb") as unpacked:
                    shutil.copyfileobj(packed, unpacked)
        return _counts(io.read(folder), path)


def _table(path: Path) -> AnnData:
    return _counts(io.read(path, orientation="genes_by_cells"), path)


def _headless(path: Path) -> AnnData:
    """A table of genes x cells that names its genes but not its cells."""
    import pandas as pd
    import scipy.sparse as sp
    from anndata import AnnData

    table = pd.read_csv(path, header=None, index_col=0, na_filter=False)
    counts = sp.csr_matrix(table.to_numpy(dtype="float32").T)
    return _counts(AnnData(counts, var=pd.DataFrame(index=table.index.astype(str).rename(None))), path)


def _counts(adata: AnnData, path: Path) -> AnnData:
    adata.X = check_counts(adata.X, where=path.name, cell_names=adata.obs_names, gene_names=adata.var_names)
    return adata


def _words(path: Path) -> pd.DataFrame:
    """A table of labels, its rows named by its first column."""
    import pandas as pd

    sep = "," if ".csv" in path.suffixes else "\t"
    return pd.read_csv(path, sep=sep, index_col=0, dtype=str, keep_default_na=False)


# Joining what was read


def _join_pbmc(adata: AnnData) -> AnnData:
    adata.var_names_make_unique()
    return adata


def _join_klein(*days: AnnData) -> AnnData:
    import anndata

    names = ["d0", "d2", "d4", "d7"]
    for name, day in zip(names, days, strict=True):
        if not day.var_names.equals(days[0].var_names):
            msg = f"the genes of day {name} are not those of day d0."
            raise ValueError(msg)
        day.obs_names = [f"{name}_{number + 1}" for number in range(day.n_obs)]
    return anndata.concat(dict(zip(names, days, strict=True)), label="day")


def _join_chen(adata: AnnData, labels: pd.DataFrame) -> AnnData:
    _label(adata, labels, {"cell_type": "SVM_clusterID"})
    return adata


def _join_campbell(adata: AnnData, labels: pd.DataFrame) -> AnnData:
    """Numbered columns are of the cells; those beside them list the names of the clusters, as ``a01.Oligodend3``."""
    numbered = {match[1]: name for name in labels if (match := re.fullmatch(r"\d+\.(\w+)", name))}
    _label(adata, labels, numbered | {"cell_type": "7.clust_all"})
    names = dict(text.split(".", 1) for text in labels.get("All Cell Clusters", []) if "." in text)
    types = adata.obs["cell_type"]
    adata.obs["cell_type"] = types.cat.rename_categories({one: names.get(one, one) for one in types.cat.categories})
    return adata


def _label(adata: AnnData, labels: pd.DataFrame, columns: dict[str, str]) -> None:
    """Set columns of `obs` from a table of labels; ``miss`` and nothing are no label."""
    if len(missing := adata.obs_names.difference(labels.index, sort=False)):
        msg = f"{len(missing)} cells have no labels, the first is {missing[0]!r}."
        raise ValueError(msg)
    if absent := set(columns.values()) - set(labels):
        msg = f"the labels have no column {sorted(absent)}, but {list(labels)}."
        raise ValueError(msg)
    for name, column in columns.items():
        values = labels[column].reindex(adata.obs_names)
        adata.obs[name] = values.where(~values.isin(["", "miss"])).astype("category")


PBMC = Collection(
    "Frozen PBMCs (Donor A), 10x Genomics, Cell Ranger 1.1.0",
    "Zheng et al., Nature Communications 8, 14049 (2017), doi:10.1038/ncomms14049",
    (2900, 32738),
    (
        Published(
            "frozen_pbmc_donor_a_filtered_gene_bc_matrices.tar.gz",
            "https://cf.10xgenomics.com/samples/cell-exp/1.1.0/frozen_pbmc_donor_a/"
            "frozen_pbmc_donor_a_filtered_gene_bc_matrices.tar.gz",
        ),
    ),
    (_archive,),
    _join_pbmc,
)
KLEIN = Collection(
    "Mouse embryonic stem cells after withdrawal of LIF, inDrop, GSE65525",
    "Klein et al., Cell 161, 1187-1201 (2015), doi:10.1016/j.cell.2015.04.044",
    (2717, 24175),
    (
        geo("GSM1599494", "GSM1599494_ES_d0_main.csv.bz2"),
        geo("GSM1599497", "GSM1599497_ES_d2_LIFminus.csv.bz2"),
        geo("GSM1599498", "GSM1599498_ES_d4_LIFminus.csv.bz2"),
        geo("GSM1599499", "GSM1599499_ES_d7_LIFminus.csv.bz2"),
    ),
    (_headless, _headless, _headless, _headless),
    _join_klein,
)
CHEN = Collection(
    "Mouse hypothalamus, Drop-seq, GSE87544",
    "Chen et al., Cell Reports 18, 3227-3241 (2017), doi:10.1016/j.celrep.2017.03.004",
    (14437, 23284),
    (
        geo("GSE87544", "GSE87544_Merged_17samples_14437cells_count.txt.gz"),
        geo("GSE87544", "GSE87544_1443737Cells.SVM.cluster.identity.renamed.csv.gz"),
    ),
    (_table, _words),
    _join_chen,
)
CAMPBELL = Collection(
    "Mouse arcuate hypothalamus and median eminence, Drop-seq, GSE93374",
    "Campbell et al., Nature Neuroscience 20, 484-496 (2017), doi:10.1038/nn.4495",
    (21086, 26774),
    (
        geo("GSE93374", "GSE93374_Merged_all_020816_DGE.txt.gz"),
        geo("GSE93374", "GSE93374_cell_metadata.txt.gz"),
    ),
    (_table, _words),
    _join_campbell,
)
