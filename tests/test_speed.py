"""The benchmarks of speed: what they compute from runs, and the one for GPUs on a CPU."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import gnnimpute as gi
from gnnimpute._peers import Outcome

FOLDER = Path(__file__).parents[1] / "benchmarks" / "speed"


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))

    def load(name):
        spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    yield load
    sys.modules.pop("measure", None)


def test_a_run_of_the_command_is_measured(script, tmp_path):
    gi.io.write(gi.datasets.splatter(n_genes=40, batch_cells=60, lib_loc=6), tmp_path / "in.h5ad")
    options = ["--min-genes", "0", "--n-epochs", "1", "--n-hidden", "4"]
    done = script("measure").impute(tmp_path / "in.h5ad", tmp_path / "out.h5ad", options, threads=1)
    assert done.status == "ok", done.message
    assert (tmp_path / "out.h5ad").is_file()
    assert done.seconds > 0.1
    assert done.cpu_seconds > 0.1
    assert 0.05 < done.peak_gb < 20
    failed = script("measure").impute(tmp_path / "none.h5ad", tmp_path / "out.h5ad", threads=1)
    assert failed.status == "failed"
    assert "none.h5ad" in failed.message


def test_a_search_of_neighbors_is_measured(script, tmp_path):
    seconds, processor_seconds = script("neighbors").measured("exact", 300, tmp_path / "found.npy", threads=1)
    assert np.load(tmp_path / "found.npy").shape == (300, 5)
    assert min(seconds, processor_seconds) > 0.1


def test_methods_take_turns_and_nothing_is_run_twice(script, monkeypatch, tmp_path, capsys):
    compare, turns = script("compare"), []
    gi.io.write(gi.datasets.splatter(n_genes=300, batch_cells=90, lib_loc=9), tmp_path / "some.h5ad")

    def run(name, status="ok"):
        def outcome(*_, seed=None, **__):
            turns.append((name, seed))
            return Outcome(status, "", 2.0, 1.0, 3.0)

        return outcome

    peer = SimpleNamespace(name="MAGIC", arguments=("--scale", "sqrt"), run=run("MAGIC"))
    monkeypatch.setattr(compare, "impute", lambda *given, **_: run("ours")(seed=int(given[2][-1])))
    monkeypatch.setattr(compare._adapters, "peers", lambda _: [peer])
    monkeypatch.setattr(compare._adapters, "split_names", lambda names, _: names)
    monkeypatch.setattr(compare._adapters, "chosen", lambda found, _: found)
    command = ["compare.py", str(tmp_path / "some.h5ad"), "--out", str(tmp_path / "speed.csv"), "--repeats"]
    for repeats in ("1", "2"):
        monkeypatch.setattr(sys, "argv", [*command, repeats])
        compare.main()
    assert turns == [("ours", 0), ("MAGIC", 0), ("ours", 1), ("MAGIC", 1)]
    rows = pd.read_csv(tmp_path / "speed.csv")
    assert rows[["method", "repeat"]].to_numpy().tolist() == [
        [n, r] for r in (0, 1) for n in ("gnnimpute impute", "MAGIC")
    ]
    assert "MAGIC" in capsys.readouterr().out
    assert rows["version"].notna().all()
    assert json.loads(rows["settings"][1]) == {"data": command[1], "options": ["--scale", "sqrt"]}

    monkeypatch.setattr(sys, "argv", [*command, "3", "--", "--n-heads", "3"])
    with pytest.raises(ValueError, match=r'options \[\], and now it is to be options \["--n-heads", "3"\].*--out'):
        compare.main()
    monkeypatch.setattr(sys, "argv", ["compare.py", str(tmp_path / "other" / "some.h5ad"), *command[2:], "3"])
    with pytest.raises(ValueError, match=r"rows of data .*other/some"):  # another file of the same name
        compare.main()
    monkeypatch.setattr(sys, "argv", [*command[:2], str(tmp_path / "other" / "some.h5ad"), *command[2:], "3"])
    with pytest.raises(ValueError, match="Two files are called 'some'"):
        compare.main()
    assert len(turns) == 4
    # Runs on other numbers of cores stand beside them.
    monkeypatch.setattr(sys, "argv", [*command, "1", "--threads", "1", "--", "--n-heads", "3"])
    compare.main()
    assert turns[4:] == [("ours", 0), ("MAGIC", 0)]


def test_growth_is_measured_with_one_choice_of_settings(script, monkeypatch, tmp_path, capsys):
    scaling, made = script("scaling"), []
    monkeypatch.setattr(scaling, "place", lambda *_: ("simulated", 0.9))
    monkeypatch.setattr(
        scaling, "impute", lambda *given, **limits: made.append((given, limits)) or Outcome("ok", "", 2.0, 1.0, 3.0)
    )
    out = tmp_path / "scaling.csv"
    none = ["--genes", "", "--neighbors", "", "--heads", ""]
    command = ["scaling.py", "--out", str(out), *none, "--threads", "1"]

    def run(*more):
        monkeypatch.setattr(sys, "argv", [*command, *more])
        scaling.main()

    run("--cells", "100")
    run("--cells", "100,200", "--time-limit", "9")
    assert len(made) == 3  # the start, and each number of cells once
    rows = pd.read_csv(out)
    assert rows["version"].notna().all()
    settings = {"data": None, "ending": ".h5ad", "epochs": 3, "options": [], "threads": 1}
    assert [json.loads(text) for text in rows["settings"]] == [settings] * 3

    before = out.read_text()
    for more, told in {
        ("--epochs", "4"): "rows of epochs 3, and now it is to be epochs 4",
        ("--threads", "2"): "rows of threads 1, and now it is to be threads 2",
        ("--ending", ".zarr"): 'rows of ending ".h5ad", and now it is to be ending ".zarr"',
        ("--data", "kang.h5ad"): 'rows of data null, and now it is to be data "kang.h5ad"',
        ("--", "--dtype", "float16"): 'options [], and now it is to be options ["--dtype", "float16"]',
    }.items():
        with pytest.raises(ValueError, match=re.escape(told) + ".*--out"):
            run("--cells", "100,300", *more)
    rows.drop(columns=["settings", "version"]).to_csv(out, index=False)
    with pytest.raises(ValueError, match="do not say what they were run with"):  # a file of an earlier version
        run("--cells", "100")
    out.write_text(before)
    capsys.readouterr()
    run("--cells", "100,200")
    assert len(made) == 3
    assert "cells" in capsys.readouterr().out


def test_exponent(script):
    exponent = script("measure").exponent
    assert exponent([1, 10, 100], [3, 30, 300]) == pytest.approx(1)
    assert exponent([1, 2, 4], [1, 4, 16]) == pytest.approx(2)
    assert np.isnan(exponent([5], [1]))


def test_medians_and_ratios(script):
    rows = [
        {"data": "a", "threads": 2, "method": method, "status": status, "seconds": s, "cpu_seconds": s, "peak_gb": 1.0}
        for method, seconds in {"gnnimpute impute": (1, 2, 9), "MAGIC": (4, 4, 4)}.items()
        for s, status in [*((s, "ok") for s in seconds), (1e9, "failed")]
    ]
    table = script("compare").summary(pd.DataFrame(rows))
    assert table.loc[("a", 2, "MAGIC"), "seconds / ours"] == 2
    assert table["runs"].tolist() == [3, 3]
    without = script("compare").summary(pd.DataFrame([row for row in rows if row["method"] == "MAGIC"]))
    assert without.loc[("a", 2, "MAGIC"), "seconds"] == 4
    assert np.isnan(without.loc[("a", 2, "MAGIC"), "seconds / ours"])
    failed = [row for row in rows if row["status"] == "failed"]
    assert script("compare").summary(pd.DataFrame(failed)).empty


@pytest.fixture
def grown():
    """Rows of runs that cost 5 to begin with, and then grow linearly with cells and with the square of genes."""
    rows = [{"axis": "start", "cells": 9, "genes": 9, "neighbors": 5, "heads": 1, "cost": 5.0}]
    rows += [{"axis": "cells", "cells": n, "cost": 5 + n / 100} for n in (10, 1000, 3000, 10_000)]
    rows += [{"axis": "genes", "genes": n, "cost": 5 + (n / 100) ** 2} for n in (1000, 5000)]
    frame = pd.DataFrame(rows).assign(status="ok", origin="simulated")
    return frame.assign(seconds=frame["cost"], cpu_seconds=frame["cost"], peak_gb=frame["cost"])


def test_the_start_is_taken_off_before_growth_is_fitted(script, grown):
    fitted = script("scaling").exponents(grown).set_index("axis")
    assert fitted.loc["cells", "cpu_seconds"] == pytest.approx(1)
    assert fitted.loc["cells", "from"] == 1000
    assert fitted.loc["genes", "peak_gb"] == pytest.approx(2)
    flat = grown.assign(cpu_seconds=5.2)
    assert script("scaling").exponents(flat)["cpu_seconds"].isna().all()


def test_the_figure_has_a_panel_for_each_axis(script, grown, tmp_path):
    script("scaling").draw(grown, tmp_path / "scaling.png")
    assert (tmp_path / "scaling.png").stat().st_size > 10_000


def test_real_cells_where_there_are_enough(script, tmp_path):
    scaling = script("scaling")
    gi.io.write(gi.datasets.splatter(n_genes=300, batch_cells=90, lib_loc=9), tmp_path / "real.h5ad")
    for n_cells, origin in ((50, "real"), (500, "simulated")):
        for ending in (".h5ad", ".zarr"):
            path = tmp_path / f"{origin}_some{ending}"
            found, zeros = scaling.place({"cells": n_cells, "genes": 200}, tmp_path / "real.h5ad", path)
            adata = gi.io.read(path)
            assert adata.shape == (n_cells, 200)
            assert found == origin
            assert zeros == pytest.approx(1 - adata.X.nnz / (n_cells * 200))


def test_the_benchmark_for_gpus_runs_on_a_cpu(script, monkeypatch, tmp_path, capsys):
    out = tmp_path / "gpu.json"
    size = ["--cells", "200", "--genes", "60", "--epochs", "1", "--product", "512", "--device", "cpu"]
    monkeypatch.setattr(sys, "argv", ["gpu.py", *size, "--out", str(out)])
    gpu = script("gpu")
    # Rates of one moment and seconds of another: of a machine a thousand times as fast, no noise lifts a share above 1.
    monkeypatch.setattr(
        gpu, "rates", lambda *given, of=gpu.rates: {name: 1000 * rate for name, rate in of(*given).items()}
    )
    gpu.main()
    made = json.loads(out.read_text())
    assert json.loads(capsys.readouterr().out) == made
    for part in ("neighbors", "training", "decoding"):
        assert 0 < made[part]["share_of_floor"] < 1
    assert made["training"]["seconds"] < made["trained_and_ready_to_decode_seconds"]


def test_floors_are_those_of_the_formula(script):
    gpu = script("gpu")
    counts = gpu.simulated(100, 50, 0.2)
    assert counts.shape == (100, 50)
    assert 0.1 * 100 * 50 < counts.nnz <= 0.2 * 100 * 50
    assert counts.sum() == 100 * 10
    config = gi.Config(n_hidden=8, n_heads=2, hide_rate=0.5, n_components=5)
    least = gpu.floors(counts, config, n_cells=50)
    assert least == {
        "multiply_adds": counts.nnz / 4 * 10 + 3 * 50 * 8 * 50,
        "bytes": 8 * counts.nnz / 4 + 16 * 50 * 50,
    }
    genes = gpu.floors(counts, replace(config, reads="genes"), n_cells=100)
    assert genes["multiply_adds"] == counts.nnz * 16 + 3 * 100 * 8 * 50
    decoded = gpu.floors(counts, config, n_cells=10, decoding=True)
    assert decoded == {"multiply_adds": 10 * (8 + 5) * 50, "bytes": 4 * 10 * 50}
    assert gpu.report(2.0, {"multiply_adds": 3, "bytes": 1}, {"multiply_adds": 3, "bytes": 1})["share_of_floor"] == 0.5


def test_neighbours_are_of_the_same_group(script):
    graph = script("gpu").neighbors(100, 3)
    assert graph.indices.shape == (100, 4)
    assert (graph.indices // 5 == np.arange(100)[:, None] // 5).all()
