"""Read counts from the files people have, and write results to the files people need."""

from __future__ import annotations

import logging
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gnnimpute import _keys, _lazy, _readers, _tables, _tenx, _writers
from gnnimpute._atomic import check_length
from gnnimpute._names import suggestion
from gnnimpute._orientation import check_orientation

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from anndata import AnnData

    from gnnimpute._orientation import Orientation

__all__ = ["check_writable", "read", "write"]

logger = logging.getLogger(__name__)

TABLES = (".csv", ".csv.gz", ".tsv", ".tsv.gz")
READABLE = (".h5ad", ".zarr", ".h5", ".loom", ".mtx", ".mtx.gz", *TABLES, ".txt", ".txt.gz")
WRITABLE = (".h5ad", ".zarr", ".mtx", *TABLES)


def read(
    path: str | os.PathLike[str],
    *,
    orientation: Orientation | None = None,
    unique_names: bool = False,
    lazy: bool = False,
) -> AnnData:
    """Read counts as cells x genes; the log says what was found and why rows were taken for cells or genes.

    Nothing but the orientation is changed: values, names and their order stay, sparse stays sparse, and text tables
    become sparse. Names that occur more than once are kept, and said.

    ================================  ==========================================================================
    ``.h5ad``, ``.zarr``              AnnData, the whole object
    folder with ``matrix.mtx``        Cell Ranger 2 (``genes.tsv``) or later (``features.tsv``), STARsolo and
                                      others, plain or gzipped; or the matrix file itself, where several samples
                                      lie in one folder (``GSM1_matrix.mtx.gz``)
    ``.h5``                           Cell Ranger 2 or later
    ``.loom``                         layers, attributes and graphs too
    ``.csv``, ``.tsv``, ``.txt``      names in the first line and the first column; also ``.gz``
    ================================  ==========================================================================

    Parameters
    ----------
    path
        File or folder. What is inside an HDF5 file or a folder counts, not its name.
    orientation
        What the rows and columns of the file are. By default the format says so, and for tables the names: barcodes,
        genes, and the header above the row names; where they do not tell, rows are cells. A warning says if the names
        speak against the format. 10x files count and name their cells and genes, so there it is only checked.
    unique_names
        Number the names that genes or cells have in common: ``ACTB``, ``ACTB-1``.
    lazy
        Leave the matrices of a ``.zarr`` or ``.h5ad`` in the file, as Dask arrays: for what is larger than memory.

    Returns
    -------
    Cells x genes. Genes of 10x files are named by symbol, ids are in ``var["gene_ids"]``; antibodies and other features
    are in ``obsm`` under their type, their names in ``uns``.

    Raises
    ------
    FileNotFoundError
        If there is no such file, or a list of names is missing beside a matrix.
    ValueError
        If the file is empty, of a kind that is not known, or its content does not fit together.
    OSError
        If the file is corrupt or cut short.
    """
    path = Path(path)
    check_orientation(orientation)
    _readers.check_readable(path)
    reader = _reader(path)
    if lazy and reader not in {_readers.read_h5ad, _readers.read_zarr}:
        msg = f"{path} cannot be read with lazy=True: only .zarr and .h5ad can. Read it, and write it as .zarr."
        raise ValueError(msg)
    adata = _lazy.read_lazy(path) if lazy else reader(path, orientation)
    _readers.say_duplicates(adata, path, number=unique_names)
    logger.info("%s: %d cells x %d genes.", path, *adata.shape)
    return adata


def write(
    adata: AnnData, path: str | os.PathLike[str], *, key: str | None = _keys.ADDED, overwrite: bool = False
) -> None:
    """Write the whole object for Python, or the imputed layer for R and spreadsheets.

    The file appears at once when it is complete: if anything goes wrong, what was there before is still there and
    nothing else is left behind. `adata` is not changed.

    ================================  ==========================================================================
    ``.h5ad``, ``.zarr``              the whole object
    ``.mtx``                          a folder with the layer, genes x cells, as Cell Ranger 3 writes it
                                      (``matrix.mtx.gz``, ``features.tsv.gz``, ``barcodes.tsv.gz``): in R,
                                      ``Seurat::Read10X("out.mtx")``
    ``.csv``, ``.tsv``, also ``.gz``  the layer, cells x genes: in R, ``read.csv("out.csv", row.names = 1)``,
                                      of tabs ``read.delim``
    ================================  ==========================================================================

    Parameters
    ----------
    adata
        What to write.
    path
        File or folder to write; its name says in which format.
    key
        Layer for the formats that hold only one matrix; `None` is ``adata.X``.
    overwrite
        Replace what is there.

    Raises
    ------
    FileExistsError
        If there is something already, and `overwrite` is not set or it is not of this kind.
    KeyError
        If there is no such layer.
    OSError
        If the disk has not enough space: the message has both numbers.
    TypeError
        If `adata` holds something that the format cannot.
    """
    path = Path(path)
    check_writable(path, overwrite=overwrite)
    kind = _format(path)
    if kind in {".h5ad", ".zarr"}:
        n_bytes: float = _writers.whole_bytes(adata)
        save: Callable[[Path], None] = partial(_writers.write_whole, adata)
    else:
        layer = _layer(adata, key)
        sizes = _writers.ENTRY_BYTES if kind == ".mtx" else _writers.TABLE_BYTES
        n_bytes = _writers.text_bytes(layer, sizes, packed=kind == ".mtx" or kind.endswith(".gz"))
        save = partial(_tenx.write_folder if kind == ".mtx" else _tables.write_table, adata, layer=layer)
    _writers.check_space(path, n_bytes)
    with _writers.in_place(path, suffix=kind) as beside:
        save(beside)
    logger.info("Wrote %s.", path)


def check_writable(path: str | os.PathLike[str], *, overwrite: bool = False, n_bytes: float = 0) -> None:
    """Refuse, before any work is done, what :func:`write` could not write; nothing is written.

    Parameters
    ----------
    path
        File or folder to write.
    overwrite
        Whether to replace what is there.
    n_bytes
        Size of the result, as far as it is known: four bytes for each cell and gene of an imputed layer.

    Raises
    ------
    ValueError
        If the ending of the name is not known, or the name is too long.
    FileNotFoundError
        If the folder to write to does not exist.
    FileExistsError
        If there is something already, and `overwrite` is not set or it is not of this kind.
    PermissionError
        If the folder, or the file to replace, cannot be written to.
    OSError
        If the disk has not enough space.
    """
    path = Path(path)
    kind, final = _format(path), _writers.target(path)
    check_length(final)
    folder = final.parent
    if not folder.is_dir():
        msg = f"{path} cannot be written: there is no folder {folder}. Make it first (mkdir -p), or name another."
        raise FileNotFoundError(msg)
    _writers.check_replaceable(path, kind, overwrite=overwrite)
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        msg = f"{path} cannot be written: {folder} cannot be written to ({error.strerror}). Name another folder."
        raise PermissionError(msg) from error
    _writers.check_space(path, n_bytes)


def _reader(path: Path) -> Callable[[Path, Orientation | None], AnnData]:
    """Function that reads this file or folder, by what is in it."""
    if path.is_dir():
        return _folder_reader(path)
    kind = _ending(path, READABLE)
    if kind in {".h5ad", ".h5", ".loom"}:
        readers = {"h5ad": _readers.read_h5ad, "loom": _readers.read_loom, "10x h5": _tenx.read_h5}
        return readers[_readers.hdf5_kind(path)]
    if kind in {".mtx", ".mtx.gz"}:
        return _tenx.read_matrix
    if kind is None or kind == ".zarr":
        what = "is a file, but a zarr store is a folder" if kind else "is of a kind that is not known"
        msg = f"{path} {what}. What can be read: {', '.join(READABLE)}, or a folder of Cell Ranger."
        raise ValueError(msg)
    return _tables.read_table


def _folder_reader(path: Path) -> Callable[[Path, Orientation | None], AnnData]:
    inside = sorted(entry.name for entry in path.iterdir())
    if _writers.ZARR_FILES & set(inside):
        return _readers.read_zarr
    if _tenx.matrices(path):
        return _tenx.read_folder
    deeper = [entry for entry in path.iterdir() if entry.is_dir() and _tenx.matrices(entry)]
    hint = f"Did you mean {' or '.join(map(str, sorted(deeper)))}?" if deeper else "Name the file inside to read."
    msg = (
        f"{path} is a folder, but neither a zarr store (zarr.json or .zgroup) nor 10x (matrix.mtx). It holds "
        f"{', '.join(inside[:5]) or 'nothing'}{'...' if len(inside) > 5 else ''}. {hint}"
    )
    raise ValueError(msg)


def _layer(adata: AnnData, key: str | None) -> Any:
    if key is None:
        return adata.X
    if key in adata.layers:
        return adata.layers[key]
    msg = f"There is no layer {key!r} to write: impute first (gnnimpute.tl.impute). {suggestion(key, adata.layers)}"
    raise KeyError(msg)


def _format(path: Path) -> str:
    """Format to write, from the name."""
    if (kind := _ending(path, WRITABLE)) is None:
        msg = f"{path}: the ending of the name says in which format to write. Choose one of {', '.join(WRITABLE)}."
        raise ValueError(msg)
    return kind


def _ending(path: Path, endings: tuple[str, ...]) -> str | None:
    """The longest of `endings` that the name ends with, in any case of letters."""
    return max((ending for ending in endings if path.name.lower().endswith(ending)), key=len, default=None)
