"""One hold-out: hidden before quality control, the same cells and genes for all, and every end is a row."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

import anndata
import numpy as np
import pytest

import gnnimpute as gi
from gnnimpute._adapters import built_in, chosen
from gnnimpute._judge import Budget, Case, Protocol, failed, told
from gnnimpute._peers import ENVIRONMENTS, Method
from gnnimpute._results import COLUMNS, KEY

if TYPE_CHECKING:
    from pathlib import Path

    import scipy.sparse as sp

THIN, MASK = Protocol("thin", 0.1), Protocol("mask", 0.2)
LOOSE = {"min_genes": 0, "min_cells": 3}

OURS_ARE = "import h5py, shutil, sys, numpy as np; source, out = sys.argv[1:3]; shutil.copy(source, out)\n"
WRITES = OURS_ARE + "file = h5py.File(out, 'r+'); file['layers/mean'] = {}\nfile.close()"


@pytest.fixture
def adata(counts: sp.csr_matrix) -> anndata.AnnData:
    adata = anndata.AnnData(counts)
    adata.obs_names = [f"cell{number}" for number in range(adata.n_obs)]
    adata.var_names = [f"gene{number}" for number in range(adata.n_vars)]
    return adata


def fake(folder: Path, code: str, *arguments: str) -> Method:
    program = folder / ENVIRONMENTS / "fake" / "bin" / "python"
    program.parent.mkdir(parents=True)
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    program.chmod(0o700)
    (folder / "fake.py").write_text(code)
    return Method("fake", arguments, folder / "fake.py", install="pip install fake")


def test_what_is_hidden_is_hidden_before_quality_control(adata: anndata.AnnData) -> None:
    case = Case.make(adata, THIN, seed=1, quality=LOOSE)
    expected = gi.metrics.HoldOut.thin(adata.X, 0.1, rng=1).train
    assert (expected[case.cells][:, case.genes] != case.adata.X).nnz == 0
    assert list(case.adata.obs_names) == [f"cell{number}" for number in case.cells]
    assert list(case.adata.var_names) == [f"gene{number}" for number in case.genes]
    assert not [*case.adata.obs, *case.adata.var, *case.adata.layers, *case.adata.uns, *case.adata.obsm]


def test_quality_control_judges_what_is_left(adata: anndata.AnnData) -> None:
    n_genes = np.diff(adata.X.indptr)
    case = Case.make(adata, Protocol("thin", 0.6), seed=0, quality={"min_genes": int(n_genes.min()), "min_cells": 3})
    assert case.adata.n_obs < adata.n_obs  # all would pass if nothing was hidden
    with pytest.raises(ValueError, match="min_genes"):
        Case.make(adata, THIN, seed=0)


def test_masking_leaves_the_scale_to_the_hold_out(adata: anndata.AnnData) -> None:
    case = Case.make(adata, MASK, seed=0, quality=LOOSE)
    assert case.hold_out.kind == "nonzeros"
    assert case.adata.X.nnz < adata.X.nnz


@pytest.mark.parametrize("protocol", [THIN, MASK])
def test_rows_are_the_scores(adata: anndata.AnnData, protocol: Protocol, tmp_path: Path) -> None:
    case = Case.make(adata, protocol, seed=2, quality=LOOSE)
    rows = case.rows(chosen(built_in(), ["no imputation"])[0], tmp_path, budget=Budget(threads=1))
    expected = gi.metrics.score(case.hold_out, case.adata.X, cells=case.cells, genes=case.genes, rng=2)
    assert {row["metric"] for row in rows} == set(expected)
    for row in rows:
        np.testing.assert_array_equal([row["value"], row["low"], row["high"]], expected[row["metric"]])
        assert {*row, *KEY} == set(COLUMNS)
        assert (row["estimate"], row["status"], row["message"]) == ("mean", "ok", "")
        assert (row["n_cells"], row["n_genes"]) == case.adata.shape
        assert 0 < row["seconds"] < 60
        assert json.loads(row["settings"]) == {"seed": 2, "arguments": [], "threads": 1, "quality": case.quality}
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(os.name != "posix", reason="programs here are shell scripts")
@pytest.mark.parametrize(
    ("code", "status", "said"),
    [
        ("raise ValueError('no rank')", "failed", "ValueError: no rank"),
        ("import time; time.sleep(60)", "timed out", "not done after 3 s"),
        ("raise SystemExit(69)", "absent", "pip install fake"),
        ("", "failed", "wrote no result"),
        (WRITES.format("np.zeros((90, 59))"), "failed", "'mean' is 90 x 59, but its input is 90 cells x 60 genes"),
        (WRITES.format("np.full((90, 60), np.nan)"), "failed", "the estimate holds nan (cell 0, gene 0)"),
    ],
)
def test_methods_that_fail_are_a_row(adata: anndata.AnnData, tmp_path: Path, code: str, status: str, said: str) -> None:
    case = Case.make(adata, THIN, seed=0, quality={**LOOSE, "min_cells": 0, "max_total": None})
    assert case.adata.shape == (90, 60)
    (row,) = case.rows(fake(tmp_path, code, "--x"), tmp_path, budget=Budget(time_limit=3, threads=1))
    assert row["status"] == status
    assert said in row["message"]
    assert (row["estimate"], row["metric"]) == ("", "")
    assert np.isnan(row["value"])
    assert json.loads(row["settings"]) == {"arguments": ["--x"], "threads": 1, "quality": case.quality}
    assert status in told([row], THIN)
    assert {path.name for path in tmp_path.iterdir()} == {ENVIRONMENTS, "fake.py"}


@pytest.mark.skipif(os.name != "posix", reason="programs here are shell scripts")
def test_what_a_method_says_of_itself_is_kept(adata: anndata.AnnData, tmp_path: Path) -> None:
    about = "\nfrom anndata.io import write_elem\nwith h5py.File(out, 'r+') as file:\n"
    about += "    write_elem(file, 'uns/method', {'version': '1.2', 'note': 'slow'})"
    code = WRITES.format("np.ones((90, 60))") + about
    case = Case.make(adata, THIN, seed=0, quality={**LOOSE, "min_cells": 0, "max_total": None})
    rows = case.rows(fake(tmp_path, code), tmp_path, budget=Budget())
    assert {(row["version"], row["message"], row["status"]) for row in rows} == {("1.2", "slow", "ok")}


def test_nothing_to_run_on_is_a_row_too() -> None:
    (row,) = failed(ValueError("no cell passes"), Method("PCA"))
    assert {*row, *KEY} == set(COLUMNS)
    assert (row["status"], row["message"], row["n_cells"]) == ("failed", "no cell passes", 0)
    assert told([row], THIN) == "failed: no cell passes"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"peak_gb": 0.34}, "poisson_deviance 0.1235 (2.0 s, 0.3 GB)"),
        ({}, "poisson_deviance 0.1235 (2.0 s)"),
        ({"status": "absent", "message": "pip install x"}, "absent. To install it: pip install x"),
        ({"status": "timed out", "message": "not done after 2 s"}, "timed out: not done after 2 s (2.0 s)"),
    ],
)
def test_how_a_run_went(changes: dict[str, Any], said: str) -> None:
    row = {"status": "ok", "seconds": 2.0, "peak_gb": float("nan"), "estimate": "mean", "message": ""}
    assert told([row | {"metric": "poisson_deviance", "value": 0.12346} | changes], THIN) == said


def test_protocols_in_words() -> None:
    assert (str(THIN), str(MASK)) == ("thin 0.1", "mask 0.2")
