"""Open a store that is larger than memory: its matrices become Dask arrays, the rest is read."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from gnnimpute._blocks import BLOCK, require_dask
from gnnimpute._readers import reading

if TYPE_CHECKING:
    from pathlib import Path

    from anndata import AnnData

_log = logging.getLogger(__name__)

_MATRICES = {"csr_matrix", "csc_matrix", "array"}
"""Encodings that can be read in parts: of csc_matrix, some genes of all cells."""


def read_lazy(path: Path) -> AnnData:
    """AnnData of a ``.zarr`` or ``.h5ad`` whose `X` and layers are Dask arrays of a few thousand cells a block.

    Of a matrix that is stored by genes (CSC), blocks are some genes: it is carried along, and refused as counts. Values
    of `raw` are a layer of this name, if they are of the same genes.

    Raises
    ------
    ImportError
        If Dask is not installed.
    ValueError
        If a matrix is stored in a way that cannot be read in parts.
    """
    require_dask(f"Reading {path} a few cells at a time")
    import anndata

    with reading(path, _kind(path)):
        root = _opened(path)
        parts = {name: root[name] for name in root if name not in {"X", "layers", "raw"}}
        read = {name: anndata.io.read_elem(part) for name, part in parts.items()}
        matrices = _matrices(root)
    if "raw" in root and hasattr(root["raw"], "keys"):  # else it is stored as nothing
        is_kept = "raw" in matrices and "raw" not in root.get("layers", {})
        fate = (
            "becomes layers['raw']"
            if is_kept
            else "is left out, as layers has a 'raw', or genes of X are others or in another order"
        )
        _log.warning("%s: .raw %s; what is read a few cells at a time is X and the layers.", path, fate)
    return anndata.AnnData(
        X=_lazy(matrices.pop("X"), path, "X") if "X" in matrices else None,
        layers={name: _lazy(layer, path, f"layers[{name!r}]") for name, layer in matrices.items()},
        **{name: read[name] for name in ("obs", "var", "uns", "obsm", "varm", "obsp", "varp") if name in read},
    )


def n_nonzeros(path: Path) -> int:
    """Stored values of the largest matrix of a store, without reading them."""
    with reading(path, _kind(path)):
        found = _matrices(_opened(path)).values()
        return max((part["data"].shape[0] if hasattr(part, "keys") else part.size for part in found), default=0)


def n_values(path: Path) -> int:
    """Cells times genes of a store, without reading them: the values of an imputed layer."""
    with reading(path, _kind(path)):
        found = _matrices(_opened(path)).values()
        return max((_shape(part)[0] * _shape(part)[1] for part in found), default=0)


def _kind(path: Path) -> str:
    return "zarr" if path.is_dir() else "h5ad"


def _matrices(root: Any) -> dict[str, Any]:
    """What is stored as X and layers."""
    layers = root.get("layers", {})
    found = ({"X": root["X"]} if "X" in root else {}) | _raw(root) | {name: layers[name] for name in layers}
    # One without its kind has not been written to its end.
    return {name: matrix for name, matrix in found.items() if "encoding-type" in matrix.attrs}


def _raw(root: Any) -> dict[str, Any]:
    """The matrix of `raw`, as a layer, if it has the same genes as X."""
    import anndata

    raw = root.get("raw")
    if not hasattr(raw, "keys") or "X" not in raw or "var" not in root:
        return {}
    genes, others = (anndata.io.read_elem(part["var"]).index for part in (root, raw))
    return {"raw": raw["X"]} if genes.equals(others) else {}


def _opened(path: Path) -> Any:
    if path.is_dir():
        import zarr

        return zarr.open_group(path, mode="r")
    import h5py

    return h5py.File(path, "r")


def _lazy(element: Any, path: Path, name: str) -> Any:
    import anndata

    if (encoding := element.attrs["encoding-type"]) not in _MATRICES:
        msg = (
            f"{path}: {name} is stored as {encoding}, which cannot be read a few cells at a time. Read all of it "
            "(--in-memory), or write it by cells first, as CSR."
        )
        raise ValueError(msg)
    n_cells, n_genes = _shape(element)
    chunks = min(BLOCK, n_cells), -1
    if encoding == "csc_matrix":  # as many values in a block
        chunks = -1, min(max(1, BLOCK * n_genes // max(1, n_cells)), n_genes)
    return anndata.experimental.read_elem_lazy(element, chunks=chunks)


def _shape(element: Any) -> tuple[int, int]:
    n_rows, n_columns = element.attrs["shape"] if hasattr(element, "keys") else element.shape
    return int(n_rows), int(n_columns)
