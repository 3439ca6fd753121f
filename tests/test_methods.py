"""Methods of the package as commands: one file in, one file out."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import anndata
import numpy as np
import pytest

from gnnimpute import Config
from gnnimpute._methods import CONTROLS, DETECTED, NAMES, OURS, PAPER, PAPER_BUDGET, impute, main

if TYPE_CHECKING:
    from pathlib import Path

    import scipy.sparse as sp

ESTIMATES = {
    "gnnimpute": {"mean", "posterior"},
    "gnnimpute, detected": {"detected"},
    "gnnimpute, paper": {"mean", "detected"},
}


SHORT = ("--config", '{"n_epochs": 2}')


@pytest.fixture
def source(counts: sp.csr_matrix, tmp_path: Path) -> Path:
    adata = anndata.AnnData(counts)
    adata.obs_names = [f"cell{number}" for number in range(adata.n_obs)]
    adata.var_names = [f"gene{number}" for number in range(adata.n_vars)]
    adata.write_h5ad(tmp_path / "in.h5ad")
    return tmp_path / "in.h5ad"


def run(name: str, source: Path, *arguments: str) -> anndata.AnnData:
    out = source.with_name("out.h5ad")
    main([name, str(source), str(out), "--seed", "3", *arguments])
    return anndata.read_h5ad(out)


@pytest.mark.parametrize("name", NAMES)
def test_every_method_keeps_the_contract(name: str, source: Path) -> None:
    given = anndata.read_h5ad(source)
    answer = run(name, source, *SHORT)
    assert answer.obs_names.equals(given.obs_names)
    assert answer.var_names.equals(given.var_names)
    assert answer.X is None
    assert set(answer.layers) == ESTIMATES.get(name, {"mean"})
    total = given.X.toarray().sum(axis=1)
    for values in answer.layers.values():
        assert values.dtype == np.float32
        assert np.isfinite(values).all()
        assert (values >= 0).all()
        assert np.corrcoef(values.sum(axis=1), total)[0, 1] > 0.5  # on the scale of each cell
    about = answer.uns["method"]
    assert about["version"]
    assert json.loads(about["settings"])["seed"] == 3
    assert (name == PAPER) == ("note" in about)


@pytest.mark.parametrize("name", OURS)
def test_ours_record_every_setting(name: str, source: Path) -> None:
    settings = json.loads(run(name, source, *SHORT).uns["method"]["settings"])
    makers = {PAPER: partial(Config.paper, **PAPER_BUDGET), DETECTED: Config.detected}
    expected = replace(makers.get(name, Config)(), n_epochs=2).to_dict()
    assert {key: settings[key] for key in expected} == expected
    assert settings["best_epoch"] in {0, 1}


def test_the_paper_has_a_stated_budget(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PAPER_BUDGET, "n_epochs", 1)
    made = impute(PAPER, anndata.read_h5ad(source), seed=0)
    assert made.note == "a shorter training than the paper's: see the settings"
    assert made.settings["n_epochs"] == 1
    assert made.settings["n_hidden"] == Config.paper().n_hidden


def test_defaults_are_those_of_the_package(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr("gnnimpute._methods._ours", lambda _, config, *__: seen.append(config))
    impute("gnnimpute", anndata.read_h5ad(source), seed=0)
    assert seen == [Config()]


def test_no_graph_is_another_network(source: Path) -> None:
    with_graph = run("gnnimpute", source, *SHORT).layers["mean"]
    assert np.abs(run("gnnimpute, no graph", source, *SHORT).layers["mean"] - with_graph).max() > 1e-3


def test_as_a_process(source: Path) -> None:
    out = source.with_name("out.h5ad")
    command = [sys.executable, "-P", "-m", "gnnimpute._methods"]
    done = subprocess.run([*command, "gene mean", source, out], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert list(anndata.read_h5ad(out).layers) == ["mean"]
    done = subprocess.run([*command, "no such", source, out], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "gnnimpute, no graph" in done.stderr


def test_names_are_unique() -> None:
    assert len({name.lower() for name in NAMES}) == len(OURS) + len(CONTROLS)
