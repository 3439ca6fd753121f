"""The evaluation of a user's own data: blind, within its time, and honest where there is nothing to gain."""

from __future__ import annotations

import logging
import signal
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

import gnnimpute as gi
from gnnimpute import _evaluate

if TYPE_CHECKING:
    from pathlib import Path

LOOSE = {"min_genes": 0, "min_cells": 1, "max_total": None}
QUICK: dict[str, Any] = {
    "config": gi.Config(n_hidden=16, n_latent=4, n_epochs=30),
    "quality": LOOSE,
    "n_pcs": 5,
    "progress": False,
    "time_limit": np.inf,  # a busy machine must not change what is tested
}
FEW: dict[str, Any] = QUICK | {"config": gi.Config(n_hidden=4, n_epochs=1), "checks": False}


def made(*, n_types: int, rng: np.random.Generator, n_cells: int = 300, n_genes: int = 120) -> anndata.AnnData:
    """Poisson counts of cells that differ by type and depth alone."""
    types = rng.gamma(0.5, 2.0, size=(n_types, n_genes)) + 0.05
    of = np.arange(n_cells) % n_types
    rate = 0.3 * types[of] * rng.lognormal(0, 0.3, size=(n_cells, 1))
    adata = anndata.AnnData(sp.csr_matrix(rng.poisson(rate).astype(np.float32)))
    adata.obs["type"] = pd.Categorical([f"type {number}" for number in of])
    return adata


@pytest.fixture(scope="module")
def typed() -> anndata.AnnData:
    adata = made(n_types=3, rng=np.random.default_rng(0))
    gi.tl.evaluate(adata, cluster_key="type", **QUICK)
    return adata


def test_types_are_worth_imputing(typed: anndata.AnnData) -> None:
    found = typed.uns["gnnimpute_evaluation"]
    methods = found["methods"].set_index("method")
    assert found["verdict"] == "helps"
    assert found["text"].startswith("Imputation helps these data.")
    assert list(found["seeds"]) == [0, 1]
    assert methods.loc["gnnimpute", "over_gene_mean_low"] > 0
    assert methods.loc["gnnimpute", "won"] > 0.5  # types are all there is to learn
    assert 0.5 < methods.loc["gnnimpute", "noise_gone"] <= 1
    assert methods.loc["no imputation", "noise_gone"] == 0
    assert methods.loc["gene mean", "over_gene_mean"] == 0


def test_every_test_is_made(typed: anndata.AnnData) -> None:
    found = typed.uns["gnnimpute_evaluation"]
    checks = found["checks"].set_index("name")
    assert list(checks.index) == [
        "molecules", "null_gain", "null_correlation", "split", "zeros", "variance", "correlation", "calibration",
        "seeds",
    ]  # fmt: skip
    assert set(checks["status"]) <= {"pass", "fail", "unknown"}
    assert checks.loc["null_gain", "status"] == "pass"
    assert checks.loc["calibration", "status"] == "unknown"  # cells of a type are alike: there is no spread to tell
    assert checks.loc["calibration", "value"] < 0.03
    assert all(question in found["text"] for question in checks["question"])


def test_parts_are_quarters_and_groups(typed: anndata.AnnData) -> None:
    parts = typed.uns["gnnimpute_evaluation"]["parts"]
    assert list(parts["by"].unique()) == [
        "genes by expression", "genes by variability", "cells by depth", "cells by group",
    ]  # fmt: skip
    groups = parts[parts["by"] == "cells by group"]
    assert list(groups["part"]) == ["type 0", "type 1", "type 2"]
    assert list(groups["n"]) == [100, 100, 100]


@pytest.mark.parametrize("shape", [(24, 24), (3, 30)])
def test_where_no_part_is_large_enough_there_are_none(shape: tuple[int, int], tmp_path: Path) -> None:
    adata = made(n_types=min(5, shape[0]), rng=np.random.default_rng(2), n_cells=shape[0], n_genes=shape[1])
    gi.tl.evaluate(adata, cluster_key="type", seeds=[0], **FEW | {"n_pcs": 2})
    found = adata.uns["gnnimpute_evaluation"]
    assert not len(found["parts"])
    assert "no parts to compare" in found["text"]
    adata.write_h5ad(tmp_path / "a.h5ad")
    back = anndata.read_h5ad(tmp_path / "a.h5ad").uns["gnnimpute_evaluation"]["parts"]
    assert list(back.columns) == list(found["parts"].columns)


def test_nothing_but_the_key_changes_and_it_survives_a_file(typed: anndata.AnnData, tmp_path: Path) -> None:
    assert list(typed.uns) == ["gnnimpute_evaluation"]
    assert not [*typed.layers, *typed.obsm, *typed.obsp, *typed.var]
    typed.write_h5ad(tmp_path / "a.h5ad")
    back = anndata.read_h5ad(tmp_path / "a.h5ad").uns["gnnimpute_evaluation"]
    assert back["text"] == typed.uns["gnnimpute_evaluation"]["text"]
    pd.testing.assert_frame_equal(
        back["methods"].reset_index(drop=True), typed.uns["gnnimpute_evaluation"]["methods"], check_index_type=False
    )


def test_what_is_said_is_of_the_users_data_alone(rng: np.random.Generator, caplog: pytest.LogCaptureFixture) -> None:
    """Not of what is left of it after hiding, which is prepared in memory of its own."""
    adata = made(n_types=2, rng=rng)
    adata.layers["umis"] = adata.X
    adata.X = np.log1p(adata.X)
    with caplog.at_level(logging.INFO, "gnnimpute"):
        gi.tl.evaluate(adata, layer="umis", **QUICK | {"config": FEW["config"]})
    said = [record.message for record in caplog.records]
    assert [line for line in said if "read from" in line] == ["Counts are read from adata.layers['umis']"]
    assert not [line for line in said if "pass" in line or "dropped" in line]


def test_of_a_single_gene_there_is_nothing_to_win(rng: np.random.Generator) -> None:
    adata = anndata.AnnData(sp.csr_matrix(1 + rng.poisson(4, (60, 1)).astype(np.float32)))
    gi.tl.evaluate(adata, **FEW)
    found = adata.uns["gnnimpute_evaluation"]
    assert found["verdict"] == "no gain"
    assert "genes by variability" not in set(found["parts"]["by"])  # none is expressed more than others


def test_cells_that_are_all_alike_are_not_worth_it(caplog: pytest.LogCaptureFixture) -> None:
    adata = made(n_types=1, rng=np.random.default_rng(1))
    gi.tl.evaluate(adata, **QUICK | {"checks": False})
    found = adata.uns["gnnimpute_evaluation"]
    assert found["verdict"] == "no gain"
    assert "do not impute" in found["text"]
    assert "nothing to win" in found["text"]
    gi.pp.prepare(adata, **LOOSE, n_pcs=5)
    with caplog.at_level(logging.WARNING, "gnnimpute"):
        gi.tl.impute(adata, config=gi.Config(n_hidden=8, n_latent=2, n_epochs=1), progress=False)
        assert "does not help these data" in caplog.text
        caplog.clear()  # of another estimate the evaluation says nothing
        config = gi.Config(n_hidden=8, n_latent=2, n_epochs=1)
        gi.tl.impute(adata, config=config, estimate="posterior", progress=False)
    assert "does not help" not in caplog.text


def test_a_limit_that_is_none_suggests_near_names() -> None:
    adata = made(n_types=2, rng=np.random.default_rng(2), n_cells=80, n_genes=40)
    with pytest.raises(TypeError, match=r"quality has 'mingenes', which is no limit.*Did you mean 'min_genes'"):
        gi.tl.evaluate(adata, quality={"mingenes": 0})


def test_what_is_hidden_reaches_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever hidden molecules are changed to, all but the errors stays as it is."""
    from gnnimpute import _trial

    adata = made(n_types=2, rng=np.random.default_rng(2), n_cells=80, n_genes=40)
    settings: dict[str, Any] = {"seed": 0, "rate": 0.2, "estimate": "mean", "config": QUICK["config"]}
    settings |= {"quality": LOOSE, "progress": False}
    settings |= {"graph": {"n_neighbors": 5, "n_pcs": 5, "batch_key": None, "use_rep": None}}
    real = gi.metrics.HoldOut.thin(adata.X, 0.2, rng=0)

    def trial(hidden: sp.csr_matrix) -> Any:
        from gnnimpute._holdout import HoldOut, Sealed

        fixed = HoldOut(real.train, Sealed(hidden, np.full(80, 0.25)), "molecules", 0.2)
        monkeypatch.setattr(_trial.metrics.HoldOut, "thin", lambda *_, **__: fixed)
        return _trial.try_once(adata, adata.X, **settings)

    one, other = trial(sp.csr_matrix((80, 40))), trial(sp.csr_matrix(np.full((80, 40), 7.0)))
    assert one.imputer.history_ == other.imputer.history_
    np.testing.assert_array_equal(one.graph.indices, other.graph.indices)
    assert not np.allclose(one.tallies["gnnimpute"].deviance[0], other.tallies["gnnimpute"].deviance[0])


def test_time_ends_the_seeds() -> None:
    adata = made(n_types=2, rng=np.random.default_rng(3), n_cells=60, n_genes=40)
    gi.tl.evaluate(adata, seeds=(5, 6, 7), **FEW | {"time_limit": 0})
    assert list(adata.uns["gnnimpute_evaluation"]["seeds"]) == [5]


@pytest.mark.parametrize(("says", "limit", "seeds"), [(True, np.inf, [5]), (False, 0.0, [5, 6])])
def test_the_first_process_says_whether_there_is_time(
    monkeypatch: pytest.MonkeyPatch, says: bool, limit: float, seeds: list[int]
) -> None:
    """The clock of this one, the second, says the contrary."""
    monkeypatch.setattr(_evaluate, "join", lambda: SimpleNamespace(told=lambda _: says))
    monkeypatch.setattr(_evaluate, "try_once", lambda *_, seed: seed)
    until = time.monotonic() + limit
    assert list(_evaluate._trials(anndata.AnnData(), sp.csr_matrix((1, 1)), [5, 6], {}, until=until)) == seeds


def test_many_cells_are_drawn_from() -> None:
    adata = made(n_types=2, rng=np.random.default_rng(3), n_cells=90, n_genes=40)
    gi.tl.evaluate(adata, seeds=(0,), max_cells=50, **FEW)
    found = adata.uns["gnnimpute_evaluation"]
    assert (found["n_cells"], found["n_given"]) == (50, 90)
    assert "50 of 90 cells" in found["text"]


def test_limits_of_the_last_prepare_are_taken() -> None:
    adata = made(n_types=2, rng=np.random.default_rng(3), n_cells=60, n_genes=40)
    gi.pp.prepare(adata, **LOOSE, n_pcs=5)
    gi.tl.evaluate(adata, seeds=(0,), **{name: value for name, value in FEW.items() if name != "quality"})
    assert adata.uns["gnnimpute_evaluation"]["n_cells"] == 60  # none has the 200 genes of the default


def test_an_embedding_of_all_counts_is_not_blind() -> None:
    adata = made(n_types=2, rng=np.random.default_rng(3), n_cells=60, n_genes=40)
    adata.obsm["X_mine"] = np.random.default_rng(0).normal(size=(60, 3))
    gi.tl.evaluate(adata, seeds=(0,), use_rep="X_mine", **FEW)
    assert not adata.uns["gnnimpute_evaluation"]["blind"]
    assert "Not blind" in adata.uns["gnnimpute_evaluation"]["text"]


@pytest.mark.parametrize(
    ("wrong", "error", "said"),
    [
        ({"estimate": "detected"}, ValueError, "benchmark DATA --mask"),
        ({"cluster_key": "typo"}, KeyError, "typo"),
        ({"use_rep": "X_none"}, KeyError, "X_none"),
        ({"seeds": ()}, ValueError, "empty"),
        ({"held_out": 1.5}, ValueError, "rate=1.5"),
        ({"n_pcs": None}, ValueError, "n_pcs=50, or an embedding of your own, use_rep="),
        ({"key_added": "a/b"}, ValueError, "key_added='a/b' .* without '/'"),
    ],
)
def test_what_cannot_be_judged_is_refused(wrong: dict[str, Any], error: type[Exception], said: str) -> None:
    adata = made(n_types=2, rng=np.random.default_rng(3), n_cells=40, n_genes=30)
    with pytest.raises(error, match=said):
        gi.tl.evaluate(adata, **QUICK | wrong)
    assert not adata.uns


@pytest.mark.parametrize("there", [{"estimate": "mean"}, "mine"])
def test_what_is_no_evaluation_is_not_replaced(there: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    adata = made(n_types=2, rng=np.random.default_rng(3), n_cells=40, n_genes=30)
    adata.uns["gnnimpute"] = there
    monkeypatch.setattr(_evaluate, "try_once", None)  # nothing is trained before
    with pytest.raises(
        ValueError, match=r"uns\['gnnimpute'\] holds something else .* key_added='gnnimpute_evaluation'"
    ):
        gi.tl.evaluate(adata, **FEW, key_added="gnnimpute")
    assert adata.uns["gnnimpute"] == there


def test_an_earlier_evaluation_is_replaced() -> None:
    adata = made(n_types=2, rng=np.random.default_rng(3), n_cells=40, n_genes=30)
    adata.uns["mine"] = {"verdict": "helps", "seeds": [7]}
    gi.tl.evaluate(adata, **FEW, seeds=[0], key_added="mine")
    assert list(adata.uns["mine"]["seeds"]) == [0]


def test_batches_may_be_the_groups(typed: anndata.AnnData) -> None:
    adata = typed[:, :60].copy()
    adata.obs["type"] = adata.obs["type"].cat.rename_categories(["a", "b", "c"])
    gi.tl.evaluate(adata, batch_key="type", cluster_key="type", seeds=[0], **FEW)
    assert set(adata.uns["gnnimpute_evaluation"]["parts"]["part"]) >= {"a", "b", "c"}


@pytest.mark.parametrize("missing", ["", None])
def test_cells_without_a_label_are_in_no_group(typed: anndata.AnnData, missing: str | None) -> None:
    adata = typed[:, :60].copy()
    labels = adata.obs["type"].astype(object).to_numpy()
    labels[:30] = missing
    adata.obs["label"] = pd.Categorical(labels) if missing is None else labels
    few = FEW | {"checks": True}
    gi.tl.evaluate(adata, cluster_key="label", seeds=[0], **few)
    found = adata.uns["gnnimpute_evaluation"]
    groups = found["parts"][found["parts"]["by"] == "cells by group"]
    assert dict(zip(groups["part"], groups["n"], strict=True)) == {"type 0": 90, "type 1": 90, "type 2": 90}
    assert list(found["groups"]["group"]) == [*[""] * 30, *typed.obs["type"].iloc[30:]]
    assert len(found["checks"]) == 9


def test_where_only_cells_that_fail_have_a_label_there_is_one_group(typed: anndata.AnnData) -> None:
    adata = typed[:, :60].copy()
    counts = adata.X.toarray()
    counts[:5] = 0
    adata.X = sp.csr_matrix(counts)
    adata.obs["label"] = np.where(np.arange(adata.n_obs) < 5, "empty", "")
    gi.tl.evaluate(adata, cluster_key="label", seeds=[0], **FEW | {"checks": True})
    found = adata.uns["gnnimpute_evaluation"]
    assert "cells by group" not in set(found["parts"]["by"])
    assert len(found["checks"]) == 9


def test_a_column_without_labels_is_refused_before_any_training(
    typed: anndata.AnnData, monkeypatch: pytest.MonkeyPatch
) -> None:
    adata = typed.copy()
    adata.obs["label"] = ""
    monkeypatch.setattr("gnnimpute._evaluate.try_once", lambda *_, **__: pytest.fail("trained"))
    with pytest.raises(ValueError, match=r"'label'.* is empty for all 300 cells"):
        gi.tl.evaluate(adata, cluster_key="label", **FEW)


def test_ctrl_c_in_a_training_ends_all(typed: anndata.AnnData, monkeypatch: pytest.MonkeyPatch) -> None:
    block = gi.NeighborGraph.block

    def pressed(graph: gi.NeighborGraph, seeds: np.ndarray) -> Any:
        signal.raise_signal(signal.SIGINT)
        monkeypatch.setattr(gi.NeighborGraph, "block", block)
        return block(graph, seeds)

    monkeypatch.setattr(gi.NeighborGraph, "block", pressed)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            gi.tl.evaluate(typed.copy(), seeds=[0, 1], **FEW)
    finally:
        signal.signal(signal.SIGINT, before)


def test_limits_are_for_whole_counts_and_not_for_halves() -> None:
    """Of half of the molecules no cell would have as many genes."""
    rng = np.random.default_rng(0)
    adata = anndata.AnnData(sp.csr_matrix(rng.poisson(0.8, size=(60, 300)).astype(np.float32)))
    config = gi.Config(n_hidden=8, n_latent=2, n_epochs=1)
    quality = {"min_genes": 140, "max_total": None}
    gi.tl.evaluate(adata, config=config, quality=quality, n_pcs=5, seeds=(0,), progress=False)
    found = adata.uns["gnnimpute_evaluation"]
    assert found["n_cells"] > 30
    assert len(found["coverage"])
