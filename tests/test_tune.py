"""Tuning: what is surely better is chosen, chance is not, and the time is kept."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from anndata import AnnData
from anndata.tests.helpers import assert_equal
from click.testing import CliRunner

from gnnimpute import Config, _tune, io, pp, tl
from gnnimpute.cli import main

if TYPE_CHECKING:
    from pathlib import Path

PREPARE = {"min_genes": 5, "max_mito_pct": None, "max_total": None, "n_pcs": 5}
SMALL = Config(n_hidden=8, n_latent=4, n_epochs=2, patience=2)


@pytest.fixture(scope="module")
def adata() -> AnnData:
    rng = np.random.default_rng(0)
    rate = rng.gamma(0.5, 2.0, size=(3, 60))[np.repeat([0, 1, 2], 40)]
    adata = AnnData(sp.csr_matrix(rng.poisson(rate).astype(np.float32)))
    adata.var_names = [f"gene{i}" for i in range(60)]
    pp.prepare(adata, **PREPARE)
    return adata


def test_each_setting_is_halved_and_doubled_from_the_best(adata: AnnData) -> None:
    before = adata.copy()
    tuned = tl.tune(adata, config=SMALL)
    assert_equal(adata, before, exact=True)
    assert len(tuned.table) == 7
    assert tuned.table.iloc[0][["n_neighbors", "n_latent", "tolerance"]].tolist() == [5, 4, 1e-3]
    assert set(tuned.table["n_neighbors"]) >= {2, 5, 10}
    assert set(tuned.table["tolerance"]) == {5e-4, 1e-3, 2e-3}
    assert tuned.table.iloc[0][["difference", "low", "high"]].tolist() == [0, 0, 0]
    chosen = tuned.table.query(
        f"n_neighbors == {tuned.n_neighbors} and n_latent == {tuned.config.n_latent} "
        f"and tolerance == {tuned.config.tolerance}"
    )
    assert chosen["loss"].min() <= tuned.table.iloc[0]["loss"]


@pytest.mark.parametrize(("gain", "expected"), [(0.05, 10), (0.0, 5)])
def test_only_what_is_surely_better_is_chosen(
    adata: AnnData, monkeypatch: pytest.MonkeyPatch, gain: float, expected: int
) -> None:
    rng = np.random.default_rng(1)

    def run(_: object, config: Config, n_neighbors: int) -> _tune._Trial:
        losses = 1 + rng.normal(0, 0.05, 120) - gain * (n_neighbors == 10)
        return _tune._Trial(config, n_neighbors, losses, 0.0)

    monkeypatch.setattr(_tune._Trials, "run", run)
    tuned = tl.tune(adata, config=SMALL)
    assert tuned.n_neighbors == expected
    assert tuned.config == SMALL


def test_without_time_there_is_one_trial(adata: AnnData) -> None:
    tuned = tl.tune(adata, config=SMALL, time_limit=0)
    assert len(tuned.table) == 1
    assert (tuned.config, tuned.n_neighbors) == (SMALL, 5)


def test_the_first_process_says_whether_there_is_time(adata: AnnData, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_tune, "join", lambda: SimpleNamespace(told=lambda _: True))
    monkeypatch.setattr(_tune._Trials, "run", lambda _, *changed: _tune._Trial(*changed, np.ones(120), 0.0))
    assert len(tl.tune(adata, config=SMALL, time_limit=np.inf).table) == 1


def test_a_tolerance_is_not_doubled_beyond_what_it_may_be() -> None:
    trial = _tune._Trial(Config(tolerance=0.08), 5, np.zeros(1), 0.0)
    assert [config.tolerance for config, _ in _tune._changes("tolerance", trial)] == [0.04, 0.1]


def test_what_cannot_be_judged_is_refused(adata: AnnData) -> None:
    with pytest.raises(ValueError, match=r"config \(--hide\) has hide='nonzeros', .* hide='molecules', the default"):
        tl.tune(adata, config=Config.detected())
    with pytest.raises(KeyError, match=r"gi\.pp\.prepare"):
        tl.tune(AnnData(adata.layers["counts"]), config=SMALL)


def test_the_command_prints_the_trials_and_what_to_do(adata: AnnData, tmp_path: Path) -> None:
    io.write(AnnData(adata.layers["counts"], var=adata.var[[]]), tmp_path / "in.h5ad")
    arguments = ["tune", str(tmp_path / "in.h5ad"), "--time-limit", "0", "--out", str(tmp_path / "trials.csv")]
    arguments += ["--min-genes", "5", "--n-hidden", "8", "--n-latent", "4", "--n-epochs", "2", "--patience", "2"]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    assert "OUT --n-neighbors 5 --n-latent 4 --tolerance 0.001" in done.stdout
    assert len(pd.read_csv(tmp_path / "trials.csv")) == 1
    assert "trials.csv exists" in CliRunner().invoke(main, arguments).stderr


def test_how_it_is_run_is_no_part_of_what_to_do(adata: AnnData, tmp_path: Path) -> None:
    io.write(AnnData(adata.layers["counts"]), tmp_path / "in.h5ad")
    arguments = ["tune", str(tmp_path / "in.h5ad"), "--time-limit", "0", "--min-genes", "5", "--n-epochs", "2"]
    done = CliRunner().invoke(main, [*arguments, "--n-hidden", "8", "--seed", "1", "--debug", "--quiet"])
    assert done.exit_code == 0, done.output
    assert "--debug" not in done.stdout
    assert "--quiet" not in done.stdout
    assert "--seed 1" in done.stdout


def test_the_command_tries_the_layer_that_is_named_and_says_so(adata: AnnData, tmp_path: Path) -> None:
    counts = adata.layers["counts"]
    both = AnnData(counts, layers={"counts": counts, "logged": counts.log1p(), "other": 2 * counts})
    io.write(both, tmp_path / "i n.h5ad", key=None)
    arguments = ["tune", str(tmp_path / "i n.h5ad"), "--time-limit", "0", "--min-genes", "5", "--n-hidden", "8"]
    arguments += ["--max-mito-pct", "none", "--max-total", "1e6"]
    arguments += ["--n-latent", "4", "--n-epochs", "2", "--patience", "2"]
    refused = CliRunner().invoke(main, [*arguments, "--layer", "logged"])
    assert "adata.layers['logged'] is" in refused.stderr
    first, second = (CliRunner().invoke(main, [*arguments, "--layer", layer]) for layer in ("counts", "other"))
    assert first.exit_code == second.exit_code == 0, second.output
    assert first.stdout.splitlines()[1] != second.stdout.splitlines()[1]
    assert "i n.h5ad' OUT --n-neighbors 5" in second.stdout
    assert "--layer other" in second.stdout
    assert "--min-genes 5" in second.stdout
    assert "--max-mito-pct None --max-total 1000000.0" in second.stdout  # as impute takes them
    assert "--n-hidden 8" in second.stdout
    assert "no folder" in CliRunner().invoke(main, [*arguments, "--out", str(tmp_path / "no" / "x.csv")]).stderr
