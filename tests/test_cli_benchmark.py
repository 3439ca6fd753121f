"""The command `benchmark`, as a user runs it."""

from __future__ import annotations

import os
import signal
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import anndata
import pytest
from click.testing import CliRunner, Result

import gnnimpute as gi
from gnnimpute import _benchmark
from gnnimpute._methods import NAMES
from gnnimpute._results import read
from gnnimpute.cli import main

if TYPE_CHECKING:
    from pathlib import Path

    import scipy.sparse as sp

FAST = ["--min-genes", "0", "--methods", "gene mean,no imputation"]
PEER = """# /// script
# [tool.gnnimpute.methods]
# "MAGIC" = []
# "MAGIC, normalised" = ["--scale", "normalised"]
# ///
"""


@pytest.fixture
def source(counts: sp.csr_matrix, tmp_path: Path) -> Path:
    gi.io.write(anndata.AnnData(counts), tmp_path / "tiny.h5ad")
    return tmp_path / "tiny.h5ad"


@pytest.fixture
def peers(tmp_path: Path) -> Path:
    (tmp_path / "peers").mkdir()
    (tmp_path / "peers" / "magic.py").write_text(PEER)
    return tmp_path / "peers"


def benchmark(*args: object) -> Result:
    return CliRunner().invoke(main, ["benchmark", *map(str, args)])


def refuse(*args: object) -> str:
    done = benchmark(*args)
    assert done.exit_code == 2, done.output
    assert "Traceback" not in done.output
    return done.stderr


def test_results_table_and_figure(source: Path, tmp_path: Path) -> None:
    out, table, figure = (tmp_path / name for name in ("r.csv", "r.md", "r.png"))
    done = benchmark(source, "--out", out, "--table", table, "--figure", figure, *FAST, "--thin", 0.1, "--mask", 0.2)
    assert done.exit_code == 0, done.output
    assert len(read(out)) == 2 * 2 * 4
    assert done.stdout == table.read_text()
    assert "10 % of the molecules hidden" in done.stdout
    assert "20 % of each gene's non-zeros hidden" in done.stdout
    assert figure.read_bytes().startswith(b"\x89PNG")
    assert "tiny (1/1), mask 0.2, seed 0\n" in done.stderr
    assert "  2/2 no imputation: poisson_deviance " in done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"tiny.h5ad", "r.csv", "r.md", "r.png"}


def test_genes_x_cells(source: Path, tmp_path: Path) -> None:
    turned = anndata.read_h5ad(source).T.copy()
    turned.obs_names, turned.var_names = ([str(i) for i in range(n)] for n in turned.shape)  # which tell nothing
    gi.io.write(turned, tmp_path / "turned.h5ad")
    done = benchmark(tmp_path / "turned.h5ad", "--orientation", "genes_by_cells", "--out", tmp_path / "b.csv", *FAST)
    assert done.exit_code == 0, done.output
    assert benchmark(source, "--out", tmp_path / "a.csv", *FAST).exit_code == 0
    assert f"{turned.n_vars} cells x {turned.n_obs} genes" in done.stderr
    rows = [read(tmp_path / name) for name in ("a.csv", "b.csv")]
    assert rows[0]["value"].tolist() == rows[1]["value"].tolist()


def test_again_without_a_word(source: Path, tmp_path: Path) -> None:
    arguments = [source, "--out", tmp_path / "r.csv", *FAST, "--quiet"]
    first, again = benchmark(*arguments), benchmark(*arguments)
    assert first.exit_code == again.exit_code == 0
    assert first.stderr == again.stderr == ""
    assert first.stdout == again.stdout


def test_absent_peers_are_in_the_results(source: Path, tmp_path: Path, peers: Path) -> None:
    chosen = ["--methods", "gene mean,magic, Normalised", "--methods", "MAGIC"]
    done = benchmark(source, "--out", tmp_path / "r.csv", "--min-genes", 0, "--peers", peers, *chosen)
    assert done.exit_code == 0, done.output
    status = read(tmp_path / "r.csv").groupby("method")["status"].unique().map(list).to_dict()
    assert status == {"gene mean": ["ok"], "MAGIC, normalised": ["absent"], "MAGIC": ["absent"]}
    install = f"python {peers / 'install.py'} magic"
    assert f"Warning:   3/3 MAGIC: absent. To install it: {install}\n" in done.stderr
    assert f"- MAGIC: absent. {install}\n" in done.stdout


def test_list(peers: Path) -> None:
    done = benchmark("--list", "--peers", peers)
    assert done.exit_code == 0
    assert "gnnimpute, no graph: installed\n" in done.stdout
    assert f"MAGIC: absent. To install it: python {peers / 'install.py'} magic\n" in done.stdout
    alone = benchmark("--list")
    assert "MAGIC" not in alone.stdout
    assert "--peers benchmarks/peers" in alone.stderr


def test_mistakes(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "r.csv"
    assert "gnnimpute benchmark DATA... --out results.csv" in refuse(source)
    assert "gnnimpute benchmark DATA... --out results.csv" in refuse("--out", out)
    assert "There is no file" in refuse(tmp_path / "nothing.h5ad", "--out", out)
    assert "no method 'magic'" in refuse(source, "--out", out, "--methods", "magic")
    for wrong in ("{", '{"heads": 3}', '{"n_heads": 0}', "3"):
        assert "is not JSON of fields of gnnimpute.Config" in refuse(source, "--out", out, "--config", wrong)
    assert "There is no folder" in refuse(source, "--out", out, "--peers", tmp_path / "nowhere")
    assert "1.5 is no share above 0 and below 1" in refuse(source, "--out", out, "--thin", 1.5)
    assert "its ending must be one of .png" in refuse(source, "--out", out, "--figure", tmp_path / "r.txt")
    assert "add --thin 0.1" in refuse(source, "--out", out, "--mask", 0.1, "--cells", tmp_path / "cells.csv")
    assert "there is no folder" in refuse(source, "--out", out, "--table", tmp_path / "nowhere" / "r.md")
    assert "there is no folder" in refuse(source, "--out", tmp_path / "nowhere" / "r.csv")
    assert "needs raw counts" in refuse(source, "--out", out, "--layer", "spliced")
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    assert "is no CSV of results" in refuse(source, "--out", tmp_path / "other.csv")
    assert (tmp_path / "other.csv").read_text() == "a,b\n1,2\n"
    assert not out.exists()


def test_files_are_told_apart(source: Path, tmp_path: Path) -> None:
    out, kept = tmp_path / "r.csv", source.read_bytes()
    assert "its ending must be one of .md, .txt" in refuse(source, "--out", out, "--table", source)
    assert "its ending must be one of .md, .txt" in refuse(source, "--out", out, "--table", out)
    text = tmp_path / "counts.txt"
    text.write_text("gene\tA\n")
    assert f"--table {text} is the data too: name another file" in refuse(source, text, "--out", out, "--table", text)
    assert f"--out {source} is the data too" in refuse(source, "--out", source)
    assert f"--cells {out} is --out too" in refuse(source, "--out", out, "--cells", out)
    (tmp_path / "sub").mkdir()
    same = tmp_path / "sub" / ".." / "r.svg"
    assert "--figure" in refuse(source, "--out", tmp_path / "r.svg", "--figure", same)
    assert f"--cells {source} is the data too" in refuse(source, "--out", out, "--cells", source)
    assert source.read_bytes() == kept
    assert not out.exists()


def test_a_text_of_somebody_is_no_place_for_the_table(source: Path, tmp_path: Path) -> None:
    readme, table, out = tmp_path / "README.md", tmp_path / "r.md", tmp_path / "r.csv"
    readme.write_text("# Mine\n")
    assert f"{readme} exists and does not begin with a table" in refuse(source, "--out", out, "--table", readme)
    assert readme.read_text() == "# Mine\n"
    table.touch()
    for hidden in (["--thin", 0.1], ["--thin", 0.1], ["--thin", 0.1, "--mask", 0.2]):
        assert benchmark(source, "--out", out, "--table", table, *FAST, *hidden).exit_code == 0
    assert "20 % of each gene's non-zeros hidden" in table.read_text()


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX")
@pytest.mark.parametrize("how", ["SIGINT", "SIGTERM", "SIGHUP"])
@pytest.mark.usefixtures("no_signal_ignored")
def test_interrupted(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)]

    def interrupt(*_: object, **__: object) -> None:
        os.kill(os.getpid(), getattr(signal, how))
        time.sleep(5)

    monkeypatch.setattr(_benchmark, "_rows", interrupt)
    done = benchmark(source, "--out", tmp_path / "r.csv", *FAST)
    assert done.exit_code == 130
    assert f"Interrupted. What was done is in {tmp_path / 'r.csv'}: the same command goes on" in done.stderr
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)] == before


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX")
def test_nohup_still_means_no_hangup(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    request.addfinalizer(partial(signal.signal, signal.SIGHUP, signal.signal(signal.SIGHUP, signal.SIG_IGN)))
    rows = _benchmark._rows

    def hang_up(*given: Any, **options: Any) -> Any:
        os.kill(os.getpid(), signal.SIGHUP)
        return rows(*given, **options)

    monkeypatch.setattr(_benchmark, "_rows", hang_up)
    assert benchmark(source, "--out", tmp_path / "r.csv", *FAST).exit_code == 0


def test_settings_reach_the_methods(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def run(data: object, **options: object) -> list[object]:
        seen.append(options | {"data": data})
        return []

    monkeypatch.setattr(_benchmark, "run", run)
    monkeypatch.setattr("gnnimpute._results.read", lambda _: None)
    monkeypatch.setattr("gnnimpute._cli_benchmark._report", lambda *_, **__: None)
    asked = ["--seeds", 3, "--thin", 0.1, "--thin", 0.8, "--time-limit", 9, "--threads", 1, "--retry", "--epochs", 5]
    asked += ["--config", '{"n_heads": 3}', "--max-genes", 1999, "--max-mito-pct", 5, "--max-total", "none"]
    asked += [
        "--cells",
        tmp_path / "cells.csv",
        "--min-genes",
        7,
        "--min-cells",
        2,
        "--layer",
        "counts",
        "--methods",
        "gnnimpute",
    ]
    assert benchmark(source, "--out", tmp_path / "r.csv", *asked).exit_code == 0
    assert benchmark(source, "--out", tmp_path / "r.csv", "--mask", 0.3).exit_code == 0
    first, second = seen
    assert (first["data"], list(first["seeds"]), first["retry"], first["layer"]) == (
        (source,),
        [0, 1, 2],
        True,
        "counts",
    )
    assert first["protocols"] == [("thin", 0.1), ("thin", 0.8)]
    assert first["cells"] == tmp_path / "cells.csv"
    assert second["cells"] is None
    assert (first["budget"].time_limit, first["budget"].threads) == (9, 1)
    defaults = {"min_genes": 200, "min_cells": 3, "max_genes": None, "max_mito_pct": "mad", "max_total": "mad"}
    given = {"min_genes": 7, "min_cells": 2, "max_genes": 1999, "max_mito_pct": 5, "max_total": None}
    assert (first["quality"], second["quality"]) == (given, defaults)
    assert [(method.name, method.arguments) for method in first["methods"]] == [
        ("gnnimpute", ("--config", '{"n_epochs": 5, "n_heads": 3}'))
    ]
    assert second["protocols"] == [("mask", 0.3)]
    assert [method.name for method in second["methods"]] == list(NAMES)
    assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"
