"""What Cell Ranger, STARsolo and others write: a folder with a sparse matrix and two lists of names, or HDF5."""

from __future__ import annotations

import csv
import io
import logging
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.io
import scipy.sparse as sp

from gnnimpute._readers import opened, reading
from gnnimpute._writers import blocks, compressed

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from anndata import AnnData

    from gnnimpute._orientation import Orientation

logger = logging.getLogger(__name__)

MATRIX = ("matrix.mtx.gz", "matrix.mtx")
FEATURES = ("features.tsv.gz", "features.tsv", "genes.tsv.gz", "genes.tsv")
BARCODES = ("barcodes.tsv.gz", "barcodes.tsv")


def matrices(folder: Path) -> list[Path]:
    """Matrix files of a 10x folder; more than one where several samples lie in it, told apart by a prefix."""
    return sorted(path for path in folder.iterdir() if path.name.endswith(MATRIX) and path.is_file())


def read_folder(folder: Path, orientation: Orientation | None) -> AnnData:
    """Folder with ``matrix.mtx``, ``features.tsv`` or ``genes.tsv``, and ``barcodes.tsv``, each plain or gzipped."""
    found = matrices(folder)
    if len({_prefix(path) for path in found}) > 1:
        msg = f"{folder} holds several matrices: {', '.join(p.name for p in found)}. Read one of these files instead."
        raise ValueError(msg)
    return read_matrix(found[-1], orientation)  # plain before gzipped in the order of names, and gzipped is last


def read_matrix(path: Path, orientation: Orientation | None) -> AnnData:
    """Matrix Market file, with the names in files beside it that begin with the same prefix."""
    import anndata
    import pandas as pd

    features, barcodes = _beside(path, FEATURES), _beside(path, BARCODES)
    with reading(path, "Matrix Market"):
        matrix = scipy.io.mmread(path)
        genes = _lines(features)
        cells = [line[0] for line in _lines(barcodes)]
    by_genes = matrix.shape == (len(genes), len(cells)) and orientation != "cells_by_genes"
    if not by_genes and (matrix.shape != (len(cells), len(genes)) or orientation == "genes_by_cells"):
        msg = (
            f"{path} is {matrix.shape[0]} x {matrix.shape[1]}, but {features.name} names {len(genes)} genes and "
            f"{barcodes.name} {len(cells)} cells" + (f", and orientation={orientation!r}." if orientation else ".")
        )
        raise ValueError(msg)
    logger.info("%s is read as %s, as its names are counted.", path, "genes x cells" if by_genes else "cells x genes")
    counts = sp.csr_matrix(matrix.T if by_genes else matrix, dtype=np.float32)
    names = [line[1] if len(line) > 1 else line[0] for line in genes]
    var = pd.DataFrame(index=pd.Index(names, dtype=object))
    if genes and min(map(len, genes)) > 1:
        var["gene_ids"] = [line[0] for line in genes]
    if genes and min(map(len, genes)) > 2:
        var["feature_types"] = [line[2] for line in genes]
    with reading(path, "Matrix Market"):  # anndata warns of duplicate names, which gnnimpute.io.read says once
        adata = anndata.AnnData(counts, obs=pd.DataFrame(index=pd.Index(cells, dtype=object)), var=var)
        return genes_only(adata, path)


def read_h5(path: Path, orientation: Orientation | None) -> AnnData:
    """HDF5 of Cell Ranger 2 (one group per genome) or 3 and later (group ``matrix``), read by scanpy."""
    import h5py

    if orientation == "cells_by_genes":
        msg = f"{path}: 10x HDF5 is genes x cells and names both itself; leave out orientation={orientation!r}."
        raise ValueError(msg)
    with reading(path, "10x HDF5"):
        import scanpy as sc

        with h5py.File(path, "r") as file:
            genomes = sorted(file)
        if "matrix" in genomes or len(genomes) == 1:
            adata = sc.read_10x_h5(path, gex_only=False)
            logger.info("%s is read as genes x cells, as the format defines.", path)
            return genes_only(adata, path)
    msg = (
        f"{path} holds several genomes: {', '.join(genomes)}. Choose one and read the result: "
        f'scanpy.read_10x_h5("{path}", genome="{genomes[0]}").write_h5ad("{genomes[0]}.h5ad").'
    )
    raise ValueError(msg)


def genes_only(adata: AnnData, path: Path) -> AnnData:
    """Genes as variables; antibodies, guides or peaks of the same cells in ``obsm``, their names in ``uns``."""
    kinds = adata.var.get("feature_types")
    if kinds is None or not 0 < (kinds == "Gene Expression").sum() < adata.n_vars:
        return adata
    genes = adata[:, (kinds == "Gene Expression").to_numpy()].copy()
    for kind in kinds.unique():
        if kind != "Gene Expression":
            others = adata[:, (kinds == kind).to_numpy()]
            genes.obsm[kind] = others.X.copy()
            genes.uns[kind] = {"names": others.var_names.to_numpy(dtype=object)}
            logger.info('%s: %d features of type %s are kept in obsm["%s"].', path, others.n_vars, kind, kind)
    return genes


def write_folder(adata: AnnData, folder: Path, layer: Any) -> None:
    """Write a layer as genes x cells in the layout of Cell Ranger 3, block by block."""
    folder.mkdir()
    ids = adata.var.get("gene_ids", adata.var_names.to_series())
    _write_lines(folder / FEATURES[0], zip(ids, adata.var_names, ["Gene Expression"] * adata.n_vars, strict=True))
    _write_lines(folder / BARCODES[0], ([name] for name in adata.obs_names))
    shape = (adata.n_vars, adata.n_obs)
    n_entries = sum(np.count_nonzero(block) for _, block in blocks(layer))
    with compressed(folder / MATRIX[0]) as file:
        file.write(f"%%MatrixMarket matrix coordinate real general\n%\n{shape[0]} {shape[1]} {n_entries}\n".encode())
        for start, block in blocks(layer):
            cells, genes = np.nonzero(block)
            text = io.BytesIO()
            entries = sp.coo_matrix((block[cells, genes], (genes, cells + start)), shape=shape)
            scipy.io.mmwrite(text, entries, symmetry="general")
            file.write(text.getvalue().split(b"\n", 3)[3])  # its own three lines of header: these are for a part


def _beside(path: Path, names: tuple[str, ...]) -> Path:
    for name in names:
        if (found := path.with_name(_prefix(path) + name)).is_file():
            return found
    wanted = " or ".join(_prefix(path) + name for name in names)
    msg = f"{path} has no names: {wanted} must lie beside it, in {path.parent}."
    raise FileNotFoundError(msg)


def _prefix(path: Path) -> str:
    """Text before ``matrix.mtx``: files from GEO carry their accession and sample there."""
    ending = next((name for name in MATRIX if path.name.endswith(name)), None)
    return path.name.removesuffix(ending) if ending else ""


def _lines(path: Path) -> list[list[str]]:
    with opened(path) as file:
        return [line for line in csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE) if line]


def _write_lines(path: Path, lines: Iterable[Sequence[str]]) -> None:
    with compressed(path) as file, io.TextIOWrapper(file, encoding="utf-8", newline="") as text:
        writer = csv.writer(text, delimiter="\t", lineterminator="\n", quoting=csv.QUOTE_NONE, quotechar=None)
        for line in lines:
            try:
                writer.writerow(line)
            except csv.Error:
                name = next(name for name in line if not str(name).isprintable())
                msg = f"The format .mtx cannot hold the name {name!r}: rename it, or write another format."
                raise TypeError(msg) from None
