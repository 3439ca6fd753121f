"""Files of AnnData and loom, and what all readers share."""

from __future__ import annotations

import difflib
import gzip
import html
import logging
import os
import warnings
from collections import Counter
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp

from gnnimpute._orientation import settle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import h5py
    import pandas as pd
    from anndata import AnnData
    from numpy.typing import NDArray

    from gnnimpute._orientation import Orientation

logger = logging.getLogger(__name__)

BLOCK_VALUES = 2**24
"""Values held dense while a dense file becomes sparse: 64 MB of float32."""

CELL_NAMES = ("CellID", "obs_names", "cell_names", "cell_id", "barcode", "barcodes", "Cell", "Barcode")
GENE_NAMES = ("Gene", "var_names", "gene_names", "gene", "Accession", "gene_id", "GeneID")
"""Attributes of a loom file that may hold the names, the most usual first."""


@contextmanager
def reading(path: Path, kind: str) -> Iterator[None]:
    """Turn what a library raises on a broken file into one error that says so, and keep its warnings to itself."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (MemoryError, PermissionError):
        raise
    except Exception as error:
        detail = " ".join([str(error) or type(error).__name__, *getattr(error, "__notes__", [])])
        msg = (
            f"{path} cannot be read as {kind}: {detail}. It is corrupt, cut short, or made by a newer version; "
            "copy or download it again, or open it in the program that wrote it."
        )
        raise OSError(msg) from error


def check_readable(path: Path) -> None:
    """Refuse what is not there, may not be read, or is empty."""
    if not path.exists():
        folder = path.parent
        near = difflib.get_close_matches(
            path.name, [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
        )
        hint = f" Did you mean {' or '.join(str(folder / name) for name in near)}?" if near else ""
        msg = f"There is no {path}{'' if folder.is_dir() else f', and no folder {folder}'}.{hint}"
        raise FileNotFoundError(msg)
    if not os.access(path, os.R_OK):
        msg = f"{path} may not be read by you. Allow it (chmod u+r), or ask its owner."
        raise PermissionError(msg)
    if path.is_file() and not path.stat().st_size:
        msg = f"{path} is empty (0 bytes): it may have been cut short. Copy or download it again."
        raise ValueError(msg)


def opened(path: Path) -> IO[str]:
    """Text of a file, plain or gzipped; a byte order mark is skipped and quoted line ends are left to csv."""
    if path.suffix.lower() == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def hdf5_kind(path: Path) -> str:
    """What an HDF5 file holds, by its content: "h5ad", "loom", "10x h5"; a name can be wrong."""
    import h5py

    with reading(path, "HDF5"), h5py.File(path, "r") as file:
        top = sorted(file)
        if "obs" in file and "var" in file:
            return "h5ad"
        if "matrix" in file and "row_attrs" in file and "col_attrs" in file:
            return "loom"
        groups = [file[name] for name in top if isinstance(file[name], h5py.Group)]
        if any({"barcodes", "data", "indices", "indptr", "shape"} <= set(group) for group in groups):
            return "10x h5"
    msg = (
        f"{path} is HDF5, but neither AnnData (obs, var), nor 10x (a group with barcodes, data, indices, indptr, "
        f"shape), nor loom (matrix, row_attrs, col_attrs). It holds {', '.join(top) or 'nothing'}."
    )
    raise ValueError(msg)


def read_h5ad(path: Path, orientation: Orientation | None) -> AnnData:
    """AnnData in HDF5."""
    import anndata

    with reading(path, "h5ad"):
        adata = anndata.read_h5ad(path)
    return turned(adata, path, orientation, by_format="cells_by_genes")


def read_zarr(path: Path, orientation: Orientation | None) -> AnnData:
    """AnnData in a zarr store."""
    import anndata

    with reading(path, "zarr"):
        adata = anndata.read_zarr(path)
    return turned(adata, path, orientation, by_format="cells_by_genes")


def turned(adata: AnnData, path: Path, orientation: Orientation | None, *, by_format: Orientation) -> AnnData:
    """The object with cells as rows: `adata` itself, which the format took for `by_format`, or transposed."""
    # adata already has cells as rows where the format is right, so the names of the file's rows depend on it.
    rows, columns = list(adata.obs_names), list(adata.var_names)
    if by_format == "genes_by_cells":
        rows, columns = columns, rows
    if settle(path, rows, columns, stated=orientation, by_format=by_format) == by_format:
        return adata
    if adata.raw is not None:
        logger.warning("%s: .raw cannot be transposed and is left out.", path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # duplicate names are said once, by gnnimpute.io.read
        adata = adata.T
    if sp.issparse(adata.X):
        adata.X = adata.X.tocsr()
    for key in [key for key, layer in adata.layers.items() if sp.issparse(layer)]:
        adata.layers[key] = adata.layers[key].tocsr()
    return adata


def say_duplicates(adata: AnnData, path: Path, *, number: bool) -> None:
    """Say once that some names occur twice; they stay as they are unless they are to be numbered."""
    for axis, names in (("cell", adata.obs_names), ("gene", adata.var_names)):
        if names.is_unique:
            continue
        (name, times), *others = [(name, n) for name, n in Counter(names).most_common() if n > 1]
        attribute = "obs" if axis == "cell" else "var"
        occur = f"{1 + len(others)} {axis} names occur" if others else f"1 {axis} name occurs"
        found = f"{path}: {occur} more than once ({name}: {times} times)"
        if number:
            getattr(adata, f"{attribute}_names_make_unique")()
            logger.info("%s. Names are numbered: %s, %s-1.", found, name, name)
            continue
        logger.warning(
            "%s. Names are kept as they are; what looks a %s up by such a name is an error. To number them: "
            "adata.%s_names_make_unique() (--unique-names).",
            *(found, axis, attribute),
        )


def read_loom(path: Path, orientation: Orientation | None) -> AnnData:
    """Loom (genes x cells), block by block into sparse matrices: https://linnarssonlab.org/loompy/format."""
    import anndata
    import h5py

    with reading(path, "loom"), h5py.File(path, "r") as file:
        decode = _decoder(file)
        obs, obsm = _attributes(file["col_attrs"], file["matrix"].shape[1], CELL_NAMES, decode)
        var, varm = _attributes(file["row_attrs"], file["matrix"].shape[0], GENE_NAMES, decode)
        adata = anndata.AnnData(
            _transposed(file["matrix"]),
            obs=obs,
            var=var,
            obsm=obsm,
            varm=varm,
            layers={name: _transposed(layer) for name, layer in file.get("layers", {}).items()},
            obsp=_graphs(file.get("col_graphs", {}), len(obs)),
            varp=_graphs(file.get("row_graphs", {}), len(var)),
            uns=_global_attributes(file, decode),
        )
    return turned(adata, path, orientation, by_format="genes_by_cells")


def _transposed(matrix: h5py.Dataset) -> sp.csr_matrix:
    """Cells x genes, read by blocks of cells that are whole chunks of the file."""
    n_genes, n_cells = matrix.shape
    chunk = matrix.chunks[1] if matrix.chunks else 1
    step = max(1, BLOCK_VALUES // max(1, n_genes) // chunk) * chunk
    blocks = [
        sp.csr_matrix(np.asarray(matrix[:, start : start + step], dtype=np.float32).T)
        for start in range(0, n_cells, step)
    ]
    return sp.vstack(blocks, format="csr") if blocks else sp.csr_matrix((n_cells, n_genes), dtype=np.float32)


def _decoder(file: h5py.File) -> Callable[[Any], Any]:
    """Before version 3, loom stored text as ASCII with XML entities."""
    version = file.attrs.get("LOOM_SPEC_VERSION", None)
    if version is None and "LOOM_SPEC_VERSION" in file.get("attrs", {}):
        version = file["attrs/LOOM_SPEC_VERSION"][()]
    escaped = not str(_text(version) if version is not None else "").startswith("3")
    return lambda value: html.unescape(_text(value)) if escaped else _text(value)


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _values(dataset: h5py.Dataset, decode: Callable[[Any], Any]) -> NDArray[Any]:
    values = np.asarray(dataset[()])
    if values.dtype.kind not in "SOU":
        return values
    return np.array([decode(value) for value in values.ravel()], dtype=object).reshape(values.shape)


def _attributes(
    group: h5py.Group, size: int, names: tuple[str, ...], decode: Callable[[Any], Any]
) -> tuple[pd.DataFrame, dict[str, NDArray[Any]]]:
    """Table of an axis, named by the first of `names` that is there, and its attributes with several columns."""
    import pandas as pd

    values = {name: _values(group[name], decode) for name in group}
    key = next((name for name in names if name in values and values[name].shape == (size,)), None)
    index = values.pop(key) if key is not None else np.arange(size)
    table = pd.DataFrame(
        {name: column for name, column in values.items() if column.ndim == 1}, index=pd.Index(index).astype(str)
    )
    return table, {name: columns for name, columns in values.items() if columns.ndim > 1}


def _graphs(group: h5py.Group, size: int) -> dict[str, sp.csr_matrix]:
    return {
        name: sp.csr_matrix((graph["w"][()], (graph["a"][()], graph["b"][()])), shape=(size, size))
        for name, graph in group.items()
    }


def _global_attributes(file: h5py.File, decode: Callable[[Any], Any]) -> dict[str, Any]:
    stored = {name: np.asarray(value) for name, value in file.attrs.items()}
    stored |= {name: np.asarray(dataset[()]) for name, dataset in file.get("attrs", {}).items()}
    return {
        name: (decode(value.item()) if value.dtype.kind in "SOU" else value.item()) if value.ndim == 0 else value
        for name, value in stored.items()
    }
