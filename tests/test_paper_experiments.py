"""The experiments of the paper run from data to tables and figures, and go on where they were."""

from __future__ import annotations

import importlib
import subprocess
import sys
from concurrent.futures import wait
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anndata
import matplotlib.image
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from gnnimpute._peers import Method
from gnnimpute._results import COLUMNS
from gnnimpute.metrics import HoldOut

FOLDER = Path(__file__).parents[1] / "benchmarks" / "paper"
LABELLED = ("headline", "curves", "dropout", "labels", "attention", pytest.param("splatter", marks=pytest.mark.slow))
BLIND = ("clusters", "markers", "error")
PUBLISHED = {
    "headline": ("2.8800", "0.7736", "0.9478", "0.9547"),
    "curves": (),  # pictures only
    "dropout": ("3.4783", "0.8141", "0.9353", "0.9438", "17.0714"),
    "labels": ("3.4685", "0.8147", "0.9351", "0.9436"),
    "attention": ("3.3047", "2.8800", "0.7998", "0.8049", "0.8155", "0.8204"),
    "splatter": ("21.2961", "19.9282"),
    "clusters": ("0.8199", "0.8368"),
    "markers": (),
    "error": ("3.0130", "0.6781", "0.9073", "0.9134", "5.1888"),
}


def load(name: str) -> Any:
    """A module of the scripts, which are no package."""
    sys.path.insert(0, str(FOLDER))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(FOLDER))


experiments = load("experiments")
tables = load("tables")
blind, clusters, data, drawing, labelled = (
    load(f"experiments.{name}") for name in ("blind", "clusters", "data", "drawing", "labelled")
)
markers, published, reports, rows, setting_module = (
    load(f"experiments.{name}") for name in ("markers", "published", "reports", "rows", "setting")
)


@pytest.fixture(scope="module")
def data_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sets of 90 cells in three types and 260 genes, under the names of real ones."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    for file in ("PBMC_frozen_donorA.h5ad", "Klein_subset_1000x900.h5ad"):
        types = np.repeat([0, 1, 2], 30)
        counts = rng.poisson(0.5 + rng.gamma(2, 1.5, size=(3, 260))[types]).astype(np.float32)
        adata = anndata.AnnData(sp.csr_matrix(counts))
        adata.obs_names, adata.var_names = [f"c{i}" for i in range(90)], [f"G{i}" for i in range(260)]
        adata.obs["cell_type"] = np.array(["a", "b", "c"])[types]
        adata.write_h5ad(folder / file)
    return folder


@pytest.fixture
def setting(data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    # Regressions on 200 of the 260 genes would take most of the time.
    monkeypatch.setattr("gnnimpute._posterior_fit.N_GENES", 30)
    return setting_module.Setting(
        out=tmp_path, data=data_folder, n_seeds=1, epochs=1, threads=1, methods=("neighbour mean",), sim_cells=80,
        sim_genes=2000,
    )  # fmt: skip


def is_drawn(path: Path) -> bool:
    return path.stat().st_size > 5000 and float(matplotlib.image.imread(path)[..., :3].std()) > 0.01


def check(name: str, setting: Any, monkeypatch: pytest.MonkeyPatch) -> pd.DataFrame:
    """Run an experiment twice: the second time nothing may be computed."""
    path = setting.out / f"{name}.csv"
    experiments.EXPERIMENTS[name].compute(setting, path)
    report = experiments.finish(name, setting.out)
    assert is_drawn(path.with_suffix(".png"))
    assert "nan" not in report.line
    tables.write(setting.out, {})
    summary = (setting.out / "summary.md").read_text(encoding="utf-8")
    assert report.line in summary
    assert report.tables in summary
    assert [number for number in PUBLISHED[name] if number not in summary] == []

    def again(*_: Any, **__: Any) -> None:
        pytest.fail("this was computed before")

    before = path.read_bytes()
    monkeypatch.setattr(labelled, "impute_labelled", again)
    monkeypatch.setattr(labelled, "control", again)
    monkeypatch.setattr(load("experiments.splatter"), "control", again)
    monkeypatch.setattr(Method, "run", again)
    experiments.EXPERIMENTS[name].compute(setting, path)
    assert path.read_bytes() == before
    return rows.read(path)


# Experiments


@pytest.mark.parametrize("name", LABELLED)
def test_experiments_of_the_labelled_protocol(name: str, setting: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    table = check(name, setting, monkeypatch)
    numbers = table[["mse", "mae", "pcc", "cs"]].to_numpy()
    assert np.isfinite(numbers).all()
    assert (numbers[:, :2] > 0).all()
    assert (numbers[:, 2:] <= 1).all()
    if name == "dropout":
        assert sorted(table["rate"].unique()) == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
    if name == "labels":
        assert sorted(table["labelled"].unique()) == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]


@pytest.mark.slow
@pytest.mark.parametrize("name", BLIND)
def test_experiments_that_run_methods(name: str, setting: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    table = check(name, setting, monkeypatch)
    if name == "error":
        blind_table = pd.read_csv(setting.out / "error_blind.csv")
        assert set(blind_table["protocol"]) == {"mask", "thin"}
        assert is_drawn(setting.out / "error_blind.png")
        page = setting.out / "page.md"
        page.write_text("<!-- molecules -->\n<!-- /molecules -->\n")
        assert tables.fill(page, setting.out) == ["molecules"]
        assert "| neighbour mean | **" in page.read_text(encoding="utf-8")
    else:
        assert "neighbour mean" in set(table["matrix"])
        assert set(table["status"]) == {"ok"}
        with_labels, blindly = experiments.EXPERIMENTS[name].report(setting.out / f"{name}.csv").tables.split("Blind\n")
        assert "gnnimpute, labelled" in with_labels
        assert "| neighbour mean" not in with_labels
        assert "| neighbour mean" in blindly
        assert "labelled" not in blindly


def test_seeds(setting: Any, tmp_path: Path) -> None:
    path = tmp_path / "headline.csv"
    experiments.EXPERIMENTS["headline"].compute(replace(setting, n_seeds=2), path)
    table = rows.read(path)
    assert table["seed"].tolist() == [0, 1]
    assert table["mse"].nunique() == 2
    assert "±" in experiments.EXPERIMENTS["headline"].report(path).line
    assert list(replace(setting, n_seeds=None).seeds(5)) == [0, 1, 2, 3, 4]


def test_full_length_is_the_papers(setting: Any) -> None:
    full = replace(setting, full=True, epochs=None)
    assert full.paper().n_epochs == 3000
    assert full.paper().patience == 200
    short = replace(setting, epochs=None).paper(n_heads=8)
    assert short.n_epochs < 100
    assert short.n_heads == 8
    assert short.n_hidden == full.paper().n_hidden


# Data


def test_pbmc_is_that_of_the_paper(data_dir: Path, tmp_path: Path) -> None:
    values = data.values_of(setting_module.Setting(out=tmp_path, data=data_dir), data.PBMC).normalized
    assert values.shape == (2843, 13003)
    assert 1 - values.nnz / np.prod(values.shape) == pytest.approx(published.SPARSITY["PBMC"], abs=0.005)
    total = np.asarray(values.sum(axis=1)).ravel()
    np.testing.assert_allclose(total, np.median(total), rtol=1e-4)


def test_a_cell_without_counts_stays_empty() -> None:
    scaled = data.normalized(sp.csr_matrix([[1.0, 1], [0, 0], [4, 0]]))
    np.testing.assert_allclose(scaled.toarray(), [[1.5, 1.5], [0, 0], [3, 0]])


def test_data_that_are_not_at_hand_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline() -> None:
        msg = "place the file by hand"
        raise OSError(msg)

    monkeypatch.setitem(data.SOURCES, data.PBMC, data.Source("no.h5ad", offline))
    setting = setting_module.Setting(out=tmp_path, data=tmp_path)
    with pytest.raises(data.Absent, match="PBMC is not at hand: place the file by hand"):
        experiments.EXPERIMENTS["headline"].compute(setting, tmp_path / "headline.csv")
    with pytest.raises(data.Absent, match="celseq2"):
        data.read(setting, data.LINES)
    with pytest.raises(data.Absent):
        experiments.EXPERIMENTS["error"].compute(setting, tmp_path / "error.csv")
    tables.write(tmp_path, {"headline": "Not at hand."})
    assert "Not run. Not at hand." in (tmp_path / "summary.md").read_text(encoding="utf-8")


def test_without_a_folder_there_are_downloads(tmp_path: Path) -> None:
    assert data.at_hand(setting_module.Setting(out=tmp_path)) == ["PBMC", "Klein", "Chen", "Campbell"]


def test_the_papers_network_is_left_out_of_large_data(setting: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    adata = anndata.AnnData(sp.csr_matrix((20, 3)))
    every = replace(setting, methods=None, epochs=None)
    names = [method.name for method in blind.within_budget(every, adata)]
    assert setting_module.PAPER in names
    monkeypatch.setattr(blind, "MOST_CELLS", 10)
    assert {*names} - {method.name for method in blind.within_budget(every, adata)} == {setting_module.PAPER}
    assert setting_module.PAPER in [method.name for method in blind.within_budget(replace(every, full=True), adata)]


@pytest.mark.parametrize(("name", "methods"), [("dropout", None), ("splatter", None), ("dropout", ["gene mean"])])
def test_blind_rates_are_of_other_methods_and_few_of_ours(
    name: str, methods: list[str] | None, setting: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    experiment = sys.modules["experiments.shares" if name == "dropout" else "experiments.splatter"]
    monkeypatch.setattr(blind._benchmark, "run", lambda _, **given: asked.append(given) or [])
    monkeypatch.setattr(experiment, "_fill" if name == "dropout" else "_network", lambda *_, **__: {})
    if name == "splatter":
        monkeypatch.setattr(experiment, "_control", lambda *_: {})
        monkeypatch.setattr(experiment, "simulate", lambda *_, **__: anndata.AnnData(sp.csr_matrix((20, 3))))
        monkeypatch.setattr(experiment, "_values", lambda _: experiment.Simulated(sp.csr_matrix((20, 3)), None))
        monkeypatch.setattr(labelled.Case, "make", lambda *_, **__: None)
    with_peers = replace(setting, peers=FOLDER.parent / "peers", methods=methods, retry=True)
    experiments.EXPERIMENTS[name].compute(with_peers, tmp_path / f"{name}.csv")
    names = [method.name for method in asked[0]["methods"]]
    if methods:
        assert names == methods
    else:
        assert names[:3] == ["gnnimpute, detected", "mean of non-zeros", "neighbour mean of non-zeros"]
        assert names[3:] == [method.name for method in blind.peers(FOLDER.parent / "peers")]
    assert {given["retry"] for given in asked} == {True}


def test_the_graph_of_the_labelled_protocol_is_of_what_is_left(setting: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    values, seen = data.values_of(setting, data.PBMC).normalized, []
    monkeypatch.setattr(labelled, "neighbors", lambda matrix, _: seen.append(matrix))
    case = labelled.Case.make(values, seed=0)
    assert (seen[0] != case.hold_out.train).nnz == 0
    assert seen[0].nnz < 0.95 * values.nnz


def test_blind_methods_get_what_is_left(setting: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[sp.csr_matrix] = []
    monkeypatch.setattr(blind, "imputed", lambda *asked, **_: given.append(asked[-1].X))
    adata = data.read(setting, data.KLEIN)
    counts = adata.layers["counts"]
    for made in (
        clusters._Set(setting, data.KLEIN, adata, setting.out / "points.csv", seed=0).matrices(),
        markers._matrices(setting, adata, data.normalized(counts)),
    ):
        made["neighbour mean"][0]()
    left = HoldOut.mask(counts, 0.1, rng=0).train
    assert [(matrix != left).nnz for matrix in given] == [0, 0]
    assert left.nnz < 0.95 * counts.nnz


def test_clusters_of_other_seeds_are_of_other_masks(setting: Any) -> None:
    adata = data.read(setting, data.KLEIN)
    some = [clusters._Set(setting, data.KLEIN, adata, setting.out / "p.csv", seed=seed).matrices() for seed in (0, 1)]
    assert [clusters.RAW in matrices for matrices in some] == [True, False]
    first, second = (matrices[clusters.MASKED][0]() for matrices in some)
    assert (first != second).nnz > 0.1 * first.nnz


def test_lost_values_are_on_the_scale_of_those_that_are_left(setting: Any) -> None:
    splatter = load("experiments.splatter")
    adata = splatter.simulate(setting, 2)
    normalized, lost = (part.toarray() for part in splatter._values(adata))
    counts = adata.layers["counts"].toarray()
    scale = normalized.sum(1, keepdims=True) / counts.sum(1, keepdims=True)
    assert lost.any()
    np.testing.assert_allclose(lost, scale * adata.layers["lost"].toarray(), rtol=1e-4)
    assert not lost[counts > 0].any()


# Results


def test_rows_are_computed_once(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    rows.Rows(path).once({"data": "x", "rate": 0.1}, lambda: {"mse": 1 / 3, "status": "ok"}, config="a")
    again = rows.Rows(path)
    again.once({"data": "x", "rate": 0.1}, lambda: pytest.fail("computed again"), config="a")
    again.once({"data": "x", "rate": 0.2}, lambda: {"mse": 2.0, "status": "ok"}, config="a")
    assert rows.read(path)["mse"].tolist() == [1 / 3, 2.0]
    with pytest.raises(ValueError, match=r"x, 0\.1 with other settings"):
        again.once({"data": "x", "rate": 0.1}, lambda: {}, config="b")


def test_what_was_absent_is_tried_again(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    rows.Rows(path).once({"matrix": "DCA"}, lambda: {"status": "absent: pip install"})
    rows.Rows(path).once({"matrix": "DCA"}, lambda: {"status": "ok", "ari": 0.5})
    assert rows.read(path)[["matrix", "status", "ari"]].to_numpy().tolist() == [["DCA", "ok", 0.5]]


def test_what_failed_is_tried_again_if_asked(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    rows.Rows(path).once({"matrix": "DCA"}, lambda: {"status": "timed out: not done after 600 s"})
    rows.Rows(path).once({"matrix": "DCA"}, lambda: pytest.fail("computed again"))
    rows.Rows(path, retry=True).once({"matrix": "DCA"}, lambda: {"status": "ok", "ari": 0.5})
    rows.Rows(path, retry=True).once({"matrix": "DCA"}, lambda: pytest.fail("computed again"))
    assert rows.read(path)["ari"].tolist() == [0.5]


def test_rows_of_several_processes_keep_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "table.csv"
    rows.Rows(path).once({"seed": 7}, lambda: {"mse": 0.0})
    work = [rows.Work({"seed": seed}, partial(dict, mse=seed / 10), "") for seed in range(4)]
    work.insert(2, rows.Work({"seed": 9}, partial(int, "no number"), ""))
    monkeypatch.setattr(rows, "as_completed", lambda started: wait(started) and [*started][::-1])
    with pytest.raises(ValueError, match="no number"):
        rows.Rows(path).each(work, jobs=2)
    assert rows.read(path)["seed"].tolist() == [7, 0, 1, 2, 3]
    assert rows.read(path)["mse"].tolist() == [0, 0, 0.1, 0.2, 0.3]
    rows.Rows(path).each([one for one in work if one.key["seed"] != 9], jobs=2)  # nothing is left to do


def test_a_training_that_was_interrupted_is_no_row(setting: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    made = SimpleNamespace(interrupted=True)
    monkeypatch.setattr(labelled, "impute_labelled", lambda *_, **__: made)
    path = setting.out / "headline.csv"
    with pytest.raises(KeyboardInterrupt):
        experiments.EXPERIMENTS["headline"].compute(setting, path)
    assert not path.exists()


THEIRS = {
    "__init__": "",
    "model": """
import torch

class GNNImpute:
    def __init__(self, input_dim, h_dim, z_dim, layerType, heads):
        self.asked = input_dim, h_dim, z_dim, layerType, heads

    def __call__(self, x, adj, size_factors):
        return torch.full_like(x, 3.0)
""",
    "train": """
from pathlib import Path

def train(gdata, model, epochs):
    assert model.asked == (gdata["x"].shape[1], 512, 50, "GCNConv", 1)
    assert epochs == 7
    known = gdata["train_mask"] | gdata["val_mask"]
    assert known.sum() == 72 and not (gdata["train_mask"] & gdata["val_mask"]).any()
    assert gdata["y"][known].any() and not gdata["y"][~known].any()
    assert abs(gdata["x"].mean()) < 1e-3 and gdata["adj"].shape == (90, 90)
    Path("0.pkl").write_text("weights")
""",
    "utils": """
import scipy.sparse as sp

def kneighbor(adata):
    return sp.identity(adata.n_obs, format="csr")
""",
}


def test_the_code_of_the_authors_gets_what_our_networks_get(data_folder: Path, tmp_path: Path) -> None:
    for name, text in THEIRS.items():
        path = tmp_path / "code" / "GNNImpute" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    asked = [str(tmp_path / "code"), "--data", str(data_folder), "--layer", "GCNConv", "--heads", "1", "--epochs", "7"]
    done = subprocess.run(
        [sys.executable, str(FOLDER / "authors.py"), *asked], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "GCNConv, 1 heads" in done.stdout
    assert not list(tmp_path.glob("*.pkl"))


def test_the_code_of_the_authors_reads_what_is_left() -> None:
    values = sp.csr_matrix(np.random.default_rng(0).poisson(2.0, size=(90, 30)).astype(np.float32))
    case = labelled.Case.make(values, seed=0)
    made = load("authors").tensors(case, lambda adata: sp.identity(adata.n_obs, format="csr"))
    train, x = case.hold_out.train.toarray(), made["x"].numpy()
    np.testing.assert_allclose(made["size_factors"].numpy().ravel(), train.sum(1) / np.median(train.sum(1)), rtol=1e-4)
    is_least = np.isclose(x, x.min(0), atol=1e-4)
    assert is_least[train == 0].all()
    assert not is_least[train > 0].all()


def test_rows_say_which_code_made_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "headline.csv"
    old = {"data": "PBMC", "seed": 0, "network": "gnnimpute", **published.HEADLINE, "config": "{}"}
    pd.DataFrame([old]).to_csv(path, index=False)
    assert "Code:" not in tables._report("headline", tmp_path).tables
    monkeypatch.setattr(rows, "version", lambda: "12e456789")  # a commit that looks like a number
    kept = rows.Rows(path)
    kept.once({"data": "PBMC", "seed": 0}, lambda: pytest.fail("computed again"), config="{}")
    kept.once({"data": "PBMC", "seed": 1}, lambda: {"network": "gnnimpute", **published.HEADLINE}, config="{}")
    assert rows.read(path)["version"].tolist() == ["", "12e456789"]
    assert tables._report("headline", tmp_path).tables.endswith("Code: 12e456789.")
    rows.Rows(path).once({"data": "PBMC", "seed": 1}, lambda: pytest.fail("computed again"), config="{}")


def test_code_without_git(monkeypatch: pytest.MonkeyPatch) -> None:
    rows.version.cache_clear()
    monkeypatch.setenv("PATH", "")
    assert rows.version() == rows.gnnimpute.__version__
    rows.version.cache_clear()


@pytest.fixture
def blind_csv(tmp_path: Path) -> Path:
    """Twelve methods at two rates, one of them far off, and three that have no result somewhere."""
    made = [{"method": f"method {i}", "metric": metric, "value": 40.0 if i == 11 else 1 + i / 10, "rate": rate}
            for i in range(12) for metric in published.METRICS for rate in (0.1, 0.2)]  # fmt: skip
    bad = [{"method": "DCA", "rate": rate, "status": "absent", "message": "install it"} for rate in (0.1, 0.2)]
    bad += [{"method": "SAVER", "rate": 0.2, "status": "timed out", "message": "not done after 600 s"},
            {"method": "scVI", "rate": 0.1, "status": "failed", "message": "", "protocol": "thin"}]  # fmt: skip
    common = {"data": "PBMC", "protocol": "mask", "seed": 0, "estimate": "mean", "status": "ok"}
    path = tmp_path / "dropout_blind.csv"
    pd.DataFrame([common | row for row in made + bad], columns=[*COLUMNS]).to_csv(path, index=False)
    return path


def test_what_has_no_result_is_told(blind_csv: Path) -> None:
    said = blind.report(blind_csv, by="rate")
    assert "| MSE       | 10 % masked | 20 % masked |" in said
    assert said.endswith(
        "\n\nNot in the tables:\n\n- DCA: absent. install it\n- SAVER (PBMC 20 %): timed out. not done after 600 s"
    )
    assert blind.report(blind_csv.with_stem("none")) == ""


def test_comparisons_without_any_result_have_no_table(blind_csv: Path) -> None:
    table = pd.read_csv(blind_csv)
    table[table["status"] != "ok"].to_csv(blind_csv, index=False)
    assert blind.report(blind_csv).startswith("Blind, masked non-zeros\n\nNot in the tables:\n\n- DCA: absent.")


def test_all_methods_are_drawn(blind_csv: Path) -> None:
    _, axes = drawing.panels(1, 4)
    table = blind.wide(blind_csv)
    styles = drawing.styles(table["network"])
    drawing.by_share(axes[0], table, x="rate", metrics=published.METRICS, styles=styles)
    lines = axes[0][0].get_legend_handles_labels()[0]
    assert [line.get_label() for line in lines] == [f"method {i}" for i in range(12)]
    assert len({(line.get_color(), line.get_marker(), line.get_linestyle()) for line in lines}) == 12
    assert axes[0][0].get_ylim()[1] < 3  # the others are not one flat line
    assert [text.get_text() for text in axes[0][0].texts] == ["beyond the axis: method 11"]
    assert axes[0][2].get_ylim()[1] > 40  # here it is the best
    assert len({tuple(style.values()) for style in drawing.styles(map(str, range(40))).values()}) == 40


def test_budgets_are_told_where_they_differ(setting: Any) -> None:
    networks = replace(setting, epochs=None).networks()
    table = pd.DataFrame({"network": [*networks, "control"], "config": [*map(labelled.text, networks.values()), ""]})
    said = labelled.budgets(table)
    assert said.startswith("Networks have different budgets: `gnnimpute` up to 100 epochs, stopped after ")
    assert said.endswith("; `gnnimpute, paper` up to 10 epochs.")
    assert labelled.budgets(table[1:]) == ""


def test_names_say_the_protocol() -> None:
    names = ("raw", "masked 10 %", "gnnimpute, labelled", "gnnimpute, nothing masked", "gnnimpute", "MAGIC")
    assert [clusters.titled(name) for name in names] == [*names[:4], "gnnimpute, blind", "MAGIC, blind"]


def test_tables_are_averages_over_seeds() -> None:
    table = pd.DataFrame({"network": ["a", "a", "b"], "mse": [1.0, 3.0, 5.0]})
    lines = reports.averaged(table, ["network"], ["mse"], published=[(("theirs",), {"mse": 2.5})]).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert cells[0] == ["network", "MSE", "seeds"]
    assert cells[2:] == [["a", "2.0000 ± 1.4142", "2"], ["b", "5.0000", "1"], ["theirs", "2.5000", ""]]
    assert len({len(line) for line in lines}) == 1


def test_networks_side_by_side() -> None:
    table = pd.DataFrame({"network": ["a", "a", "b", "b"], "data": ["x", "y"] * 2,
                          "mse": [3.0, 1.0, 2.0, 0.5], "pcc": [0.9, 0.1, 0.8, np.nan]})  # fmt: skip
    mse, pcc = reports.side_by_side(table, ["mse", "pcc"]).split("\n\n")
    cells = [[[cell.strip() for cell in line.strip("|").split("|")] for line in t.splitlines()] for t in (mse, pcc)]
    assert cells[0][0] == ["MSE", "x", "y"]
    assert cells[0][2:] == [["b", "**2.0000**", "**0.5000**"], ["a", "3.0000", "1.0000"]]
    assert cells[1][2:] == [["b", "0.8000", ""], ["a", "**0.9000**", "**0.1000**"]]


@pytest.mark.parametrize("networks", [["GCN"], ["3 heads"], ["GCN", "1 head"]])
def test_numbers_of_heads_that_are_not_all_there_yet(networks: list[str], tmp_path: Path) -> None:
    numbers = dict.fromkeys(("mse", "mae", "pcc", "cs", "ari", "nmi"), 0.5)
    table = [{"data": d, "network": n, "seed": 0, **numbers} for d in ("PBMC", "Klein") for n in networks]
    pd.DataFrame(table).to_csv(tmp_path / "attention.csv", index=False)
    report = experiments.EXPERIMENTS["attention"].report(tmp_path / "attention.csv")
    assert ("GCN 0.5000" in report.line) == (len(networks) == 2)
    assert all(f"| {network}" in report.tables for network in networks)


def test_a_page_is_filled_between_its_marks(setting: Any, tmp_path: Path) -> None:
    experiments.EXPERIMENTS["headline"].compute(setting, tmp_path / "headline.csv")
    page = tmp_path / "page.md"
    page.write_text("Before\n<!-- headline -->\nold\n<!-- /headline -->\nAfter <!-- error -->x<!-- /error -->\n")
    assert tables.fill(page, tmp_path) == ["headline"]
    text = page.read_text(encoding="utf-8")
    assert text.startswith("Before\n<!-- headline -->\nMSE ")
    assert text.endswith("<!-- /headline -->\nAfter <!-- error -->x<!-- /error -->\n")
    assert "old" not in text
    assert tables.fill(page, tmp_path) == ["headline"]
    assert page.read_text(encoding="utf-8") == text


def test_the_page_has_a_place_for_every_experiment() -> None:
    page = (FOLDER.parents[1] / "docs" / "reproduction.md").read_text(encoding="utf-8")
    for name in experiments.EXPERIMENTS:
        assert f"<!-- {name} -->\n" in page
        assert f"<!-- /{name} -->" in page


def test_markers_by_hand() -> None:
    logged = np.array([[2.0, 0], [2, 0], [0, 1], [0, 3]])
    numbers = markers.judged(logged, np.array([0, 0, 1, 1]), np.array([0, 1]))
    assert numbers["contrast"] == pytest.approx((2 + 2) / 2)
    assert numbers["between"] == pytest.approx((1 + 1 / 1.5) / 2)


def test_methods_that_fail_say_why(setting: Any) -> None:
    adata = anndata.AnnData(sp.csr_matrix(np.ones((5, 4), dtype=np.float32)))
    absent = Method("peer", adapter=setting.out / "peer.py", install="pip install peer")
    assert blind.imputed(setting, absent, adata) == "absent: pip install peer"


# Command


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(FOLDER / "run.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_the_command(data_folder: Path, tmp_path: Path) -> None:
    command = ("headline", "--data", data_folder, "--out", tmp_path / "out", "--seeds", 1, "--epochs", 1)
    done = run(*command, "--threads", 1)
    assert done.returncode == 0, done.stderr
    assert "published 2.8800" in done.stdout
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"headline.csv", "headline.png", "summary.md"}
    other = run(*command[:-1], 2)
    assert other.returncode == 2
    assert "with other settings" in other.stderr


def test_mistakes_in_the_command(tmp_path: Path) -> None:
    assert "there is no folder" in run("--data", tmp_path / "nowhere").stderr
    assert "not a number above 0" in run("--epochs", 0).stderr
