"""The files that methods read and write: counts in, expected counts out. R gets a folder of plain files instead."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from gnnimpute._atomic import replacing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    import h5py
    from anndata import AnnData

    from gnnimpute._molecules import Matrix

    Fill = Callable[[Any], object]
    """Writes an estimate to an array of shape (n_cells, n_genes) on disk."""

MEAN = "mean"
"""Name of the estimate of a method that has but one."""

_ABOUT = "method"
_ROWS = 512


class About(NamedTuple):
    """What a method says of itself."""

    version: str = ""
    settings: str = "{}"
    """All settings, as JSON."""
    note: str = ""


class Answer(NamedTuple):
    """What a method wrote."""

    estimates: dict[str, Matrix]
    """Expected counts at the total of each cell, on disk: read some rows at a time."""
    about: About


def write_counts(adata: AnnData, path: Path) -> None:
    """Write what a method gets: raw counts and names, and nothing else."""
    from anndata import AnnData

    plain = AnnData(sp.csr_matrix(adata.X, dtype=np.float32), obs=adata.obs[[]].copy(), var=adata.var[[]].copy())
    with replacing(path) as beside:
        plain.write_h5ad(beside)


def write_answer(path: Path, source: AnnData, *, estimates: Mapping[str, Fill], about: About) -> None:
    """Write estimates of the cells and genes of `source`, each straight to disk."""
    import h5py
    from anndata import AnnData

    with replacing(path) as beside:
        uns = {_ABOUT: {key: value for key, value in about._asdict().items() if value}}
        AnnData(obs=source.obs[[]].copy(), var=source.var[[]].copy(), uns=uns).write_h5ad(beside)
        with h5py.File(beside, "r+") as file:
            for name, fill in estimates.items():
                array = file.require_group("layers").create_dataset(name, shape=source.shape, dtype=np.float32)
                array.attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})
                fill(array)


def fill_by_rows(rows: Callable[[slice], Any], array: Any) -> None:
    """Write rows that are made some at a time."""
    for start in range(0, array.shape[0], _ROWS):
        part = slice(start, min(start + _ROWS, array.shape[0]))
        array[part] = rows(part)


@contextmanager
def reading_answer(path: Path, source: AnnData) -> Iterator[Answer]:
    """Open what a method wrote for `source`.

    Raises
    ------
    ValueError
        If it is not what the method was asked for.
    """
    import h5py
    from anndata.io import read_elem

    if not path.is_file():
        msg = "It ended well but wrote no result."
        raise ValueError(msg)
    try:
        file = h5py.File(path)
    except OSError as error:
        msg = f"Its result is no h5ad file ({error})."
        raise ValueError(msg) from None
    with file:
        for axis, names in (("obs", source.obs_names), ("var", source.var_names)):
            what = "cells" if axis == "obs" else "genes"
            if axis not in file or not np.array_equal(read_elem(file[axis]).index.astype(str), names.astype(str)):
                msg = f"The {what} of its result are not those of its input, in their order."
                raise ValueError(msg)
        layers = dict(file.get("layers", {}))  # by name; the mean comes first
        estimates = {name: _layer(layers[name]) for name in sorted(layers, key=lambda name: name != MEAN)}
        if not estimates:
            msg = f"Its result has no layers: expected counts belong in layers[{MEAN!r}]."
            raise ValueError(msg)
        for name, values in estimates.items():
            _check_shape(name, values.shape, source)
        yield Answer(estimates, _about(read_elem(file["uns"]) if "uns" in file else {}))


def write_folder(adata: AnnData, folder: Path) -> None:
    """Write what an R script gets: ``counts.mtx`` (cells x genes), ``cells.txt`` and ``genes.txt``."""
    from scipy.io import mmwrite

    folder.mkdir()
    counts = sp.csr_matrix(adata.X)
    integers = sp.csr_matrix((counts.data.astype(np.int64), counts.indices, counts.indptr), shape=counts.shape)
    mmwrite(folder / "counts.mtx", integers, field="integer", symmetry="general")
    for name, names in (("cells.txt", adata.obs_names), ("genes.txt", adata.var_names)):
        (folder / name).write_text("".join(f"{one}\n" for one in names), encoding="utf-8")


def write_answer_of_folder(folder: Path, path: Path, source: AnnData) -> None:
    """Bring ``mean.f32`` and ``method.json``, as an R script writes them, to the form of all other methods.

    Raises
    ------
    ValueError
        If they are not there, or have another size.
    """
    values, about = folder / "mean.f32", folder / "method.json"
    if missing := [file.name for file in (values, about) if not file.is_file()]:
        msg = f"It ended well but wrote no {' and no '.join(missing)}."
        raise ValueError(msg)
    n_cells, n_genes = source.shape
    if (size := values.stat().st_size) != 4 * n_cells * n_genes:
        msg = f"Its mean.f32 has {size} bytes, but {n_cells} cells x {n_genes} genes are {4 * n_cells * n_genes}."
        raise ValueError(msg)
    try:
        said = json.loads(about.read_text(encoding="utf-8"))
    except ValueError as error:
        msg = f"Its method.json is not JSON ({error})."
        raise ValueError(msg) from None
    mean = np.memmap(values, dtype="<f4", mode="r", shape=source.shape)
    write_answer(
        path,
        source,
        estimates={MEAN: lambda array: fill_by_rows(lambda rows: mean[rows], array)},
        about=_about_of(said),
    )


def _layer(element: h5py.Dataset | h5py.Group) -> Any:
    import h5py
    from anndata.io import sparse_dataset

    return sparse_dataset(element) if isinstance(element, h5py.Group) else element


def _check_shape(name: str, shape: tuple[int, ...], source: AnnData) -> None:
    if tuple(shape) != source.shape:
        found = " x ".join(map(str, shape))
        msg = f"Its {name!r} is {found}, but its input is {source.n_obs} cells x {source.n_vars} genes."
        raise ValueError(msg)


def _about(uns: Mapping[str, Any]) -> About:
    said = uns.get(_ABOUT, {})
    return _about_of(said if hasattr(said, "get") else {})


def _about_of(said: Mapping[str, Any]) -> About:
    """What a method said; R writes a single text as a list of one, and settings as what they are."""
    texts = {}
    for key in About._fields:
        value = said.get(key)
        value = value[0] if isinstance(value, list) and len(value) == 1 else value
        if value is not None:
            texts[key] = value if isinstance(value, str) else json.dumps(value)
    return About(**{key: text for key, text in texts.items() if text or key != "settings"})
