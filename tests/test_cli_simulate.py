"""The command ``gnnimpute simulate``."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import anndata
import pytest
from click.testing import CliRunner, Result

import gnnimpute as gi
from gnnimpute.cli import main

if TYPE_CHECKING:
    from pathlib import Path


def gnnimpute(*args: object) -> Result:
    return CliRunner().invoke(main, [str(arg) for arg in args])


def succeed(*args: object) -> Result:
    done = gnnimpute(*args)
    assert done.exit_code == 0, done.output
    return done


def refuse(*args: object) -> str:
    """What a command that ends with bad usage or bad input says."""
    done = gnnimpute(*args)
    assert done.exit_code == 2, done.output
    return done.stderr


def test_simulate(tmp_path: Path) -> None:
    out = tmp_path / "sim.h5ad"
    args = ["--n-cells", "50", "--n-genes", "40", "--groups", "2", "--lib-loc", "6", "--seed", "5"]
    done = succeed("simulate", out, *args)
    assert "Group1" in done.stdout
    made = anndata.read_h5ad(out)
    expected = gi.datasets.splatter(
        batch_cells=50, n_genes=40, group_prob=[0.5, 0.5], lib_loc=6, dropout_type="experiment", dropout_mid=1, rng=5
    )
    assert made.shape == (50, 40)
    assert (made.X != expected.X).nnz == 0
    assert made.layers["true_counts"].nnz > made.X.nnz
    assert "--overwrite" in refuse("simulate", out, *args)
    succeed("simulate", out, *args, "--overwrite", "--quiet")


@pytest.mark.parametrize(
    ("args", "option"),
    [(["--n-cells", "50", "--n-genes", "100"], ["--min-genes", "0"]), (["--n-cells", "20", "--n-genes", "3000"], [])],
)
def test_the_command_that_comes_next_works(tmp_path: Path, args: list[str], option: list[str]) -> None:
    last = succeed("simulate", tmp_path / "my counts.h5ad", *args).stdout.splitlines()[-1]
    command = shlex.split(last.removeprefix("Next: gnnimpute "))
    assert command == ["impute", f"{tmp_path}/my counts.h5ad", f"{tmp_path}/my counts_imputed.h5ad", *option]
    succeed(*command, "--n-epochs", "1")


def test_a_store_is_written_in_blocks(tmp_path: Path) -> None:
    out = tmp_path / "sim.zarr"
    args = ["--n-cells", "50", "--n-genes", "40", "--lib-loc", "6"]
    done = succeed("simulate", out, *args)
    assert "of the non-zeros were lost" in done.stdout
    made = anndata.read_zarr(out)
    succeed("simulate", tmp_path / "sim.h5ad", *args)
    assert (made.X != anndata.read_h5ad(tmp_path / "sim.h5ad").X).nnz == 0
    assert "--overwrite" in refuse("simulate", out, *args)
    succeed("simulate", out, *args, "--overwrite", "--true-means")
    assert "true_means" in anndata.read_zarr(out).layers


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["out.csv"], "only .h5ad and .zarr"),
        (["out.h5ad", "--n-cells", "5", "--batch-cells", "5"], "say the same"),
        (["out.h5ad", "--groups", "0"], "at least 1"),
        (["out.h5ad", "--group-prob", "0.5,0.2"], "must sum to 1"),
        (["out.h5ad", "--n-genes", "none"], "not a valid"),
        (["out.h5ad", "--out-prob", "2"], "out_prob=2"),
    ],
)
def test_simulate_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, args: list[str], said: str) -> None:
    monkeypatch.chdir(tmp_path)
    assert said in refuse("simulate", *args)
    assert not list(tmp_path.iterdir())
