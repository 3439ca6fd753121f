"""The options of ``gnnimpute impute`` for stores that are larger than memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anndata
import numpy as np
import pytest
from click.testing import CliRunner, Result

import gnnimpute as gi
from gnnimpute import _cli_store
from gnnimpute.cli import main

if TYPE_CHECKING:
    from pathlib import Path

TINY = ["--n-epochs", "1", "--n-hidden", "8", "--n-latent", "4"]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cli") / "counts.h5ad"
    gi.io.write(gi.datasets.splatter(n_genes=60, batch_cells=80, lib_loc=6), path)
    return path


def gnnimpute(*args: object) -> Result:
    return CliRunner().invoke(main, ["impute", *map(str, args), "--min-genes", "0"])


def test_out_of_core(source: Path, tmp_path: Path) -> None:
    out, model = tmp_path / "out.zarr", tmp_path / "model.safetensors"
    done = gnnimpute(source, out, "--dtype", "float16", "--save-model", model, *TINY)
    assert done.exit_code == 0, done.output
    assert "Imputed 80 cells" in done.stdout
    assert "on disk" in done.stderr
    made = anndata.read_zarr(out)
    assert made.layers["gnnimpute"].dtype == np.float16
    again = gnnimpute(source, tmp_path / "again.zarr", "--out-of-core", "--model", model, "--quiet")
    assert again.exit_code == 0, again.output
    assert not again.output
    found = anndata.read_zarr(tmp_path / "again.zarr").layers["gnnimpute"]
    np.testing.assert_allclose(found, made.layers["gnnimpute"], rtol=2e-3)


def test_large_stores_go_out_of_core_by_themselves(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"out_of_core": None, "sparse_below": None, "scheduler": None, "dtype": "float32"}
    options |= dict.fromkeys(_cli_store._REFUSED)
    out = tmp_path / "out.zarr"
    assert not _cli_store.is_out_of_core(source, out, options)
    monkeypatch.setattr(_cli_store, "LARGE", 100)
    assert _cli_store.is_out_of_core(source, out, options)
    assert not _cli_store.is_out_of_core(source, out.with_suffix(".h5ad"), options)
    assert not _cli_store.is_out_of_core(source, out, options | {"out_of_core": False})
    assert not _cli_store.is_out_of_core(source, out, options | {"genes": ["a"]})


@pytest.mark.parametrize(
    ("out", "args", "said"),
    [
        ("out.h5ad", ["--out-of-core"], "writes .zarr"),
        ("out.zarr", ["--out-of-core", "--genes", "Gene1"], "--genes needs all counts in memory"),
        ("out.zarr", ["--out-of-core", "--checkpoint", "x"], "--checkpoint needs"),
        ("out.zarr", ["--dtype", "float16", "--sparse-below", "1"], "sparse ones have no such type"),
        ("out.zarr", ["--in-memory", "--sparse-below", "1"], "--sparse-below goes with --out-of-core"),
    ],
)
def test_refused(source: Path, tmp_path: Path, out: str, args: list[str], said: str) -> None:
    done = gnnimpute(source, tmp_path / out, *args)
    assert done.exit_code == 2
    assert said in done.stderr
    assert not list(tmp_path.iterdir())
