"""Write beside, then put in place; and what all writers share."""

from __future__ import annotations

import gzip
import os
import shutil
import tempfile
import time
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

import numpy as np
import scipy.sparse as sp

from gnnimpute._atomic import full_disk_named
from gnnimpute._blocks import is_lazy

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator

    import pandas as pd
    from anndata import AnnData
    from numpy.typing import NDArray

BLOCK_VALUES = 2**22
"""Values of a layer held dense while it is written: 16 MB of float32, ten times that as text."""

ZARR_FILES = {"zarr.json", ".zgroup"}
TENX_FILES = ("matrix.mtx.gz", "features.tsv.gz", "barcodes.tsv.gz")
"""What a zarr store and a 10x folder are known by: only such folders are ever replaced."""

GZIP_LEVEL = 1
"""Numbers hardly shrink with more effort: to 0.40 at level 1, to 0.36 at level 6 in five times the time."""

TABLE_BYTES, ENTRY_BYTES = (12.5, 2), (21, 0)
"""Bytes of a value in a table and of an entry in a Matrix Market file, for what is not zero and for zeros."""


def target(path: Path) -> Path:
    """The file or folder behind links: it is what gets replaced, not the link."""
    return Path(os.path.realpath(path))


@contextmanager
def in_place(path: Path, *, suffix: str) -> Iterator[Path]:
    """Name in a new folder beside `path` to write to; moved to `path` at the end, removed if anything goes wrong.

    What was at `path` stays until the new file or folder is complete, and comes back if it cannot be replaced.
    """
    final = target(path)
    beside = Path(tempfile.mkdtemp(prefix=f".{final.name}.", dir=final.parent))
    new, old = beside / f"new{suffix}", beside / "old"
    try:
        with full_disk_named(path, "Free some space, or write to another disk."):
            yield new
        if final.is_dir():  # a folder cannot be replaced by another in one step
            final.rename(old)
        try:
            new.replace(final)
        except BaseException:
            if old.is_dir():
                old.rename(final)
            raise
    finally:
        _remove(beside)


def _remove(folder: Path) -> None:
    """Remove a folder, even if the user is tired of waiting for it."""
    try:
        shutil.rmtree(folder, ignore_errors=True)
    except KeyboardInterrupt:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def check_replaceable(path: Path, kind: str, *, overwrite: bool) -> None:
    """What is there may only be replaced if asked for, and never a folder with other things in it."""
    if not path.exists():
        return
    if not overwrite:
        msg = f"{path} exists. Name another, or replace it with overwrite=True (--overwrite)."
        raise FileExistsError(msg)
    inside = {entry.name for entry in path.iterdir()} if path.is_dir() else set()
    ours = {".zarr": not inside or bool(inside & ZARR_FILES), ".mtx": inside <= set(TENX_FILES)}
    if path.is_dir() != (kind in ours) or not ours.get(kind, True):
        what = f"a folder with {', '.join(sorted(inside)[:3]) or 'nothing in it'}" if path.is_dir() else "a file"
        msg = f"{path} is {what}, which is not replaced by {kind}. Name another, or move it away."
        raise FileExistsError(msg)
    if not os.access(path, os.W_OK):
        msg = f"{path} is write-protected. Name another, or allow writing to it (chmod u+w)."
        raise PermissionError(msg)


def check_space(path: Path, n_bytes: float, *, smaller: str = "impute fewer genes (genes=, --genes)") -> None:
    """Refuse to begin what the disk cannot hold; `smaller` says how to make it so."""
    free = shutil.disk_usage(folder := target(path).parent).free
    if n_bytes > free:
        msg = (
            f"{path} needs about {size(n_bytes)}, but {folder} has {size(free)} free. Free some space, write to "
            f"another disk, or {smaller}."
        )
        raise OSError(msg)


def whole_bytes(adata: AnnData) -> int:
    """Bytes of the whole object when stored without compression, as far as they are known before it is computed."""
    parts = [adata.X, adata.obs, adata.var, dict(adata.uns)]
    parts += [dict(part) for part in (adata.layers, adata.obsm, adata.varm, adata.obsp, adata.varp)]
    if adata.raw is not None:
        parts += [adata.raw.X, adata.raw.var, dict(adata.raw.varm)]
    return sum(map(_bytes, parts))


def text_bytes(layer: Any, sizes: tuple[float, float], *, packed: bool) -> float:
    """Bytes of a layer as text, given those of a value and of a zero."""
    n_values = layer.shape[0] * layer.shape[1]
    n_nonzero = sum(np.count_nonzero(block) for _, block in blocks(layer))
    return float(n_nonzero * sizes[0] + (n_values - n_nonzero) * sizes[1]) * (0.45 if packed else 1)


def write_whole(adata: AnnData, path: Path) -> None:
    """Write the whole object as h5ad or zarr, without changing it: text stays text."""
    import anndata

    stored = _storable(adata)
    try:
        # Text with gaps as pandas keeps it was read from such a file, so it goes back to one.
        with warnings.catch_warnings(), anndata.settings.override(allow_write_nullable_strings=True):
            warnings.simplefilter("ignore")
            if path.suffix == ".h5ad":
                stored.write_h5ad(path, convert_strings_to_categoricals=False)
            else:
                write_zarr(stored, path)
    except (OSError, MemoryError):
        raise
    except Exception as error:
        detail = " ".join([str(error), *getattr(error, "__notes__", [])])
        msg = f"The format {path.suffix} cannot hold something: {detail}. Convert it or delete it, and write again."
        raise TypeError(msg) from error


def write_zarr(adata: AnnData, path: Path) -> None:
    """Write a zarr store whose writing ends when this function does.

    Zarr writes in a thread of its own, which goes on after an interruption and would bring a removed folder back.
    """
    from zarr.storage import LocalStore

    class Store(LocalStore):
        stopped, n_running = False, 0

        async def unless_stopped(self, work: Coroutine[Any, Any, None]) -> None:
            self.n_running += 1
            try:
                if self.stopped:
                    work.close()
                else:
                    await work
            finally:
                self.n_running -= 1

        # All that makes a file or a folder:
        async def _open(self, **options: Any) -> None:
            await self.unless_stopped(super()._open(**options))

        async def clear(self) -> None:
            await self.unless_stopped(super().clear())

        async def set(self, key: str, value: Any) -> None:
            await self.unless_stopped(super().set(key, value))

        async def set_if_not_exists(self, key: str, value: Any) -> None:
            await self.unless_stopped(super().set_if_not_exists(key, value))

    store = Store(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of AnnData, about formats to come
            adata.write_zarr(store, convert_strings_to_categoricals=False)
    finally:
        store.stopped = True
        while store.n_running:
            time.sleep(0.01)


def blocks(layer: Any) -> Iterator[tuple[int, NDArray[Any]]]:
    """First cell and dense values of consecutive cells."""
    n_cells, n_genes = layer.shape
    step = max(1, BLOCK_VALUES // max(1, n_genes))
    for start in range(0, n_cells, step):
        block = layer[start : start + step]
        block = block.compute() if is_lazy(block) else block
        yield start, np.asarray(block.toarray() if sp.issparse(block) else block)


@contextmanager
def compressed(path: Path) -> Iterator[IO[bytes]]:
    """File to write to, through gzip if it ends in ``.gz``, without time or name: the same data, the same file."""
    with path.open("wb") as file:
        if path.suffix.lower() != ".gz":
            yield file
            return
        with gzip.GzipFile(filename="", mode="wb", fileobj=file, compresslevel=GZIP_LEVEL, mtime=0) as packed:
            yield cast("IO[bytes]", packed)


def _storable(adata: AnnData) -> AnnData:
    """The object in memory, sharing all its arrays; text with gaps becomes categories, as no format holds it else."""
    import anndata

    adata = adata.to_memory() if adata.isbacked else adata
    obs, var = _without_gaps(adata.obs), _without_gaps(adata.var)
    if obs is adata.obs and var is adata.var:
        return adata
    parts = {name: dict(getattr(adata, name)) for name in ("uns", "obsm", "varm", "layers", "obsp", "varp")}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return anndata.AnnData(adata.X, obs=obs, var=var, raw=adata.raw, **parts)


def _without_gaps(table: pd.DataFrame) -> pd.DataFrame:
    from pandas.api.types import infer_dtype

    gaps = [
        name
        for name, column in table.items()
        if column.dtype == object and column.hasnans and infer_dtype(column, skipna=True) == "string"
    ]
    return table.astype(dict.fromkeys(gaps, "category")) if gaps else table


def _bytes(part: Any) -> int:
    if isinstance(part, dict):
        return sum(map(_bytes, part.values()))
    if sp.issparse(part):
        return sum(getattr(part, name).nbytes for name in ("data", "indices", "indptr") if hasattr(part, name))
    if is_lazy(part) and sp.issparse(part._meta):  # only computing it would tell; `nbytes` is that of a dense one
        return 0
    if hasattr(part, "memory_usage"):
        used = part.memory_usage(deep=True)
        return int(used.sum() if hasattr(used, "sum") else used)
    return int(getattr(part, "nbytes", 0))


def size(n_bytes: float) -> str:
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 1e8 else f"{n_bytes / 1e6:.1f} MB"
