"""What methods read and write, both ways, and results that are not what was asked for."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import anndata
import numpy as np
import pytest
import scipy.sparse as sp
from scipy.io import mmread

from gnnimpute._exchange import (
    About,
    fill_by_rows,
    reading_answer,
    write_answer,
    write_answer_of_folder,
    write_counts,
    write_folder,
)

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def source(counts: sp.csr_matrix) -> anndata.AnnData:
    adata = anndata.AnnData(counts)
    adata.obs_names = [f"cell {number}" for number in range(adata.n_obs)]
    adata.var_names = [f"gene{number}" for number in range(adata.n_vars)]
    adata.obs["type"] = "secret"
    adata.layers["secret"] = counts
    return adata


def write(path: Path, source: anndata.AnnData, values: Any, **changes: Any) -> None:
    """A result as another program writes it."""
    adata = anndata.AnnData(obs=source.obs[[]].copy(), var=source.var[[]].copy(), layers={"mean": values})
    for slot, value in changes.items():
        setattr(adata, slot, value)
    adata.write_h5ad(path)


def read(path: Path, source: anndata.AnnData) -> tuple[dict[str, np.ndarray], About]:
    with reading_answer(path, source) as answer:
        values = {name: answer.estimates[name][0 : source.n_obs] for name in answer.estimates}
        return {name: v.toarray() if sp.issparse(v) else v for name, v in values.items()}, answer.about


def test_a_method_gets_counts_and_names_and_nothing_else(source: anndata.AnnData, tmp_path: Path) -> None:
    write_counts(source, tmp_path / "in.h5ad")
    got = anndata.read_h5ad(tmp_path / "in.h5ad")
    assert (got.X != source.X).nnz == 0
    assert got.X.dtype == np.float32
    assert got.obs_names.equals(source.obs_names)
    assert got.var_names.equals(source.var_names)
    assert not [*got.obs.columns, *got.var.columns, *got.layers, *got.obsm, *got.obsp, *got.uns]
    assert [path.name for path in tmp_path.iterdir()] == ["in.h5ad"]


def test_answers_come_back(source: anndata.AnnData, tmp_path: Path, rng: np.random.Generator) -> None:
    values = rng.random(source.shape).astype(np.float32)
    estimates = {
        "mean": lambda array: fill_by_rows(lambda rows: values[rows], array),
        "posterior": lambda array: fill_by_rows(lambda rows: 2 * values[rows], array),
    }
    about = About("1.2", json.dumps({"rank": 3}), "a note")
    write_answer(tmp_path / "out.h5ad", source, estimates=estimates, about=about)
    got, said = read(tmp_path / "out.h5ad", source)
    np.testing.assert_array_equal(got["mean"], values)
    np.testing.assert_array_equal(got["posterior"], 2 * values)
    assert said == about
    whole = anndata.read_h5ad(tmp_path / "out.h5ad")  # the file is one that others can read
    np.testing.assert_array_equal(whole.layers["mean"], values)


def test_a_failure_leaves_no_file(source: anndata.AnnData, tmp_path: Path) -> None:
    def fail(_: Any) -> None:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_answer(tmp_path / "out.h5ad", source, estimates={"mean": fail}, about=About())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("form", [np.asarray, sp.csr_matrix, sp.csr_array])
def test_dense_and_sparse_results_of_others(source: anndata.AnnData, tmp_path: Path, form: Any) -> None:
    values = source.X.toarray()
    write(tmp_path / "out.h5ad", source, form(values), uns={"method": {"version": "2", "settings": '{"a": 1}'}})
    got, said = read(tmp_path / "out.h5ad", source)
    np.testing.assert_array_equal(got["mean"], values)
    assert said == About("2", '{"a": 1}', "")


def test_a_method_need_not_describe_itself(source: anndata.AnnData, tmp_path: Path) -> None:
    write(tmp_path / "out.h5ad", source, source.X)
    assert read(tmp_path / "out.h5ad", source)[1] == About("", "{}", "")


def test_results_that_nobody_asked_for(source: anndata.AnnData, tmp_path: Path) -> None:
    path = tmp_path / "out.h5ad"
    with pytest.raises(ValueError, match="wrote no result"):
        read(path, source)
    path.write_text("no HDF5")
    with pytest.raises(ValueError, match="no h5ad file"):
        read(path, source)
    write(path, source[:, ::-1].copy(), source.X)
    with pytest.raises(ValueError, match="genes of its result are not those of its input"):
        read(path, source)
    write(path, source[:50].copy(), source.X[:50])
    with pytest.raises(ValueError, match="cells of its result"):
        read(path, source)
    source.write_h5ad(path)
    write(path, source, source.X, layers={})
    with pytest.raises(ValueError, match=r"no layers: expected counts belong in layers\['mean'\]"):
        read(path, source)


def test_a_layer_of_another_shape(source: anndata.AnnData, tmp_path: Path) -> None:
    path = tmp_path / "out.h5ad"
    write_answer(path, source, estimates={}, about=About())
    import h5py

    with h5py.File(path, "r+") as file:
        file.require_group("layers")["mean"] = np.zeros((90, 59))
    with pytest.raises(ValueError, match="'mean' is 90 x 59, but its input is 90 cells x 60 genes"):
        read(path, source)


# R


def test_the_folder_for_r(source: anndata.AnnData, tmp_path: Path) -> None:
    write_folder(source, tmp_path / "in")
    assert "coordinate integer general" in (tmp_path / "in" / "counts.mtx").read_text().splitlines()[0]
    assert (mmread(tmp_path / "in" / "counts.mtx").tocsr() != source.X).nnz == 0
    assert (tmp_path / "in" / "cells.txt").read_text().splitlines() == list(source.obs_names)
    assert (tmp_path / "in" / "genes.txt").read_text().splitlines() == list(source.var_names)


@pytest.mark.parametrize("boxed", [False, True])
def test_the_folder_from_r(source: anndata.AnnData, tmp_path: Path, *, boxed: bool) -> None:
    values = source.X.toarray() / 3
    (tmp_path / "mean.f32").write_bytes(values.astype("<f4").tobytes())
    version = ["1.0"] if boxed else "1.0"
    (tmp_path / "method.json").write_text(json.dumps({"version": version, "settings": {"k": [5]}, "note": None}))
    write_answer_of_folder(tmp_path, tmp_path / "out.h5ad", source)
    got, said = read(tmp_path / "out.h5ad", source)
    np.testing.assert_array_equal(got["mean"], values)
    assert said == About("1.0", '{"k": [5]}', "")


def test_folders_that_are_not_complete(source: anndata.AnnData, tmp_path: Path) -> None:
    out = tmp_path / "out.h5ad"
    with pytest.raises(ValueError, match=r"wrote no mean\.f32 and no method\.json"):
        write_answer_of_folder(tmp_path, out, source)
    (tmp_path / "method.json").write_text("{")
    (tmp_path / "mean.f32").write_bytes(b"1234")
    with pytest.raises(ValueError, match="has 4 bytes, but 90 cells x 60 genes are 21600"):
        write_answer_of_folder(tmp_path, out, source)
    (tmp_path / "mean.f32").write_bytes(bytes(21600))
    with pytest.raises(ValueError, match=r"method\.json is not JSON"):
        write_answer_of_folder(tmp_path, out, source)
