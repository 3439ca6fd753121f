"""Many runs: names, resuming, and results that must not be mixed."""

from __future__ import annotations

import json
import logging
import re
from typing import TYPE_CHECKING, Any

import anndata
import numpy as np
import pandas as pd
import pytest

import gnnimpute as gi
from gnnimpute import _benchmark
from gnnimpute._adapters import built_in, chosen
from gnnimpute._benchmark import run
from gnnimpute._judge import Budget, Case, Protocol
from gnnimpute._peers import Method
from gnnimpute._results import read

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import scipy.sparse as sp

    from gnnimpute._results import Row

LOOSE = {"min_genes": 0}
THIN = Protocol("thin", 0.1)
METHODS = chosen(built_in(), ["gene mean", "no imputation"])


@pytest.fixture
def adata(counts: sp.csr_matrix) -> anndata.AnnData:
    return anndata.AnnData(counts)


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the methods that run, in order; they are not run in earnest."""
    names: list[str] = []

    def rows(case: Case, method: Method, folder: Path, *, budget: Budget, **_: Any) -> list[Row]:
        assert folder.is_dir()
        names.append(method.name)
        status = {"absent": "absent", "crashes": "failed", "hangs": "timed out"}.get(method.name, "ok")
        about = {"version": "", "settings": f'{{"arguments": {list(method.arguments)}}}'.replace("'", '"')}
        numbers = dict.fromkeys(("value", "low", "high", "peak_gb"), case.protocol.rate)
        about |= {"status": status, "message": "", "estimate": "mean", "metric": "poisson_deviance"}
        size = {"n_cells": case.adata.n_obs, "n_genes": case.adata.n_vars}
        return [about | numbers | size | {"seconds": budget.time_limit}]

    monkeypatch.setattr(Case, "rows", rows)
    return names


def rows_of(data: Any, methods: Sequence[Method] = METHODS, **options: Any) -> list[Row]:
    return list(run(data, methods=methods, quality=LOOSE, progress=False, **options))


def test_in_earnest(adata: anndata.AnnData, tmp_path: Path) -> None:
    out = tmp_path / "results.csv"
    rows = rows_of({"tiny": adata}, out=out, protocols=[THIN, Protocol("mask", 0.1)])
    assert len(rows) == 2 * 2 * 4
    assert {row["status"] for row in rows} == {"ok"}
    assert {(row["protocol"], row["rate"]) for row in rows} == {("thin", 0.1), ("mask", 0.1)}
    table = read(out)
    np.testing.assert_array_equal(table["value"], [row["value"] for row in rows])
    loss = table[table["metric"] == "poisson_deviance"].set_index("method")["value"]
    assert loss["gene mean"] < loss["no imputation"]
    assert [path.name for path in tmp_path.iterdir()] == ["results.csv"]


def test_the_input_is_left_alone(adata: anndata.AnnData, ran: list[str]) -> None:
    before = adata.copy()
    rows_of({"tiny": adata})
    assert len(ran) == 2
    assert (adata.X != before.X).nnz == 0
    assert not [*adata.obs, *adata.var, *adata.layers, *adata.uns]


def test_every_method_on_every_seed_and_protocol_and_file(
    adata: anndata.AnnData, ran: list[str], tmp_path: Path
) -> None:
    for name in ("one", "two"):
        gi.io.write(adata, tmp_path / f"{name}.h5ad")
    protocols = [THIN, Protocol("thin", 0.5)]
    rows = rows_of([tmp_path / "one.h5ad", tmp_path / "two.h5ad"], seeds=range(3), protocols=protocols)
    assert [row["data"] for row in rows] == ["one"] * 12 + ["two"] * 12
    assert [row["method"] for row in rows] == ran == ["gene mean", "no imputation"] * 12
    assert [row["seed"] for row in rows[:6]] == [0, 0, 1, 1, 2, 2]
    assert [row["rate"] for row in rows[:12]] == [0.1] * 6 + [0.5] * 6


def test_it_goes_on_where_it_was_interrupted(adata: anndata.AnnData, ran: list[str], tmp_path: Path) -> None:
    out = tmp_path / "results.csv"
    first = run({"tiny": adata}, methods=METHODS, quality=LOOSE, out=out, progress=False)
    next(first)
    first.close()
    assert ran == ["gene mean"]
    rows = rows_of({"tiny": adata}, out=out)
    assert ran == ["gene mean", "no imputation"]
    assert [row["method"] for row in rows] == ran
    assert rows_of({"tiny": adata}, out=out, retry=True) == rows
    assert len(ran) == 2


def test_losses_of_cells_that_are_missing_are_made(adata: anndata.AnnData, tmp_path: Path) -> None:
    out, cells = tmp_path / "results.csv", tmp_path / "cells.csv"
    protocols = [THIN, Protocol("mask", 0.1)]
    rows = rows_of({"tiny": adata}, METHODS[:1], out=out, protocols=protocols)
    again = rows_of({"tiny": adata}, METHODS[:1], out=out, protocols=protocols, cells=cells)
    table = pd.read_csv(cells)
    assert [row["value"] for row in again] == [row["value"] for row in rows]
    (loss,) = [row for row in rows if row["protocol"] == "thin" and row["metric"] == "poisson_deviance"]
    assert len(table) == loss["n_cells"]
    assert table["gene mean"].mean() == pytest.approx(loss["value"])
    before = cells.read_bytes()
    assert rows_of({"tiny": adata}, METHODS[:1], out=out, protocols=protocols, cells=cells) == again
    assert cells.read_bytes() == before


def test_absent_methods_are_tried_again_and_failed_ones_if_asked(
    adata: anndata.AnnData, ran: list[str], tmp_path: Path
) -> None:
    methods = [Method(name) for name in ("absent", "crashes", "hangs", "works")]
    options = {"methods": methods, "out": tmp_path / "results.csv"}
    assert [row["status"] for row in rows_of({"tiny": adata}, **options)] == ["absent", "failed", "timed out", "ok"]
    ran.clear()
    rows_of({"tiny": adata}, **options)
    assert ran == ["absent"]
    rows_of({"tiny": adata}, **options, retry=True)
    assert ran == ["absent", "absent", "crashes", "hangs"]
    assert len(read(tmp_path / "results.csv")) == 4


def test_results_of_other_methods_stay(adata: anndata.AnnData, ran: list[str], tmp_path: Path) -> None:
    out = tmp_path / "results.csv"
    rows_of({"tiny": adata}, [Method("one")], out=out)
    assert [row["method"] for row in rows_of({"tiny": adata}, [Method("two")], out=out)] == ["two"]
    assert list(read(out)["method"]) == ran == ["one", "two"]


def forget_counts(out: Path) -> None:
    """Make results those of an earlier version, which did not say what counts they are of."""
    table = read(out)
    table["settings"] = [json.dumps({"arguments": json.loads(text)["arguments"]}) for text in table["settings"]]
    table.to_csv(out, index=False)


def test_results_of_other_data_are_refused(adata: anndata.AnnData, ran: list[str], tmp_path: Path) -> None:
    out = tmp_path / "results.csv"
    rows_of({"tiny": adata}, METHODS[:1], out=out)
    forget_counts(out)
    with pytest.raises(ValueError, match=r"other data called 'tiny': \d+ cells x 60 genes there, 50 x \d+ here.*--out"):
        rows_of({"tiny": adata[:50].copy()}, out=out, protocols=[THIN])
    assert len(ran) == 1


def test_results_of_other_counts_are_refused(adata: anndata.AnnData, ran: list[str], tmp_path: Path) -> None:
    out, changed = tmp_path / "results.csv", adata.copy()
    changed.X.data[0] += 1
    adata.layers["spliced"] = changed.X.copy()
    first = rows_of({"other": adata, "tiny": adata}, out=out)
    ran.clear()
    said = rf"{re.escape(str(out))} has results of other counts called 'tiny' \((.*)\): name another file with --out"
    # All that is asked for is there; the same for a method that is new, and for data that come last.
    for methods in (METHODS, [Method("new")]):
        with pytest.raises(ValueError, match=said.replace(".*", "the data have changed since")):
            rows_of({"more": adata, "tiny": changed}, methods, out=out)
        with pytest.raises(ValueError, match=said.replace(".*", "no --layer then, --layer spliced now")):
            rows_of({"tiny": adata}, methods, out=out, layer="spliced")
    assert ran == []
    assert rows_of({"other": adata, "tiny": adata}, out=out) == first
    forget_counts(out)
    assert len(rows_of({"tiny": changed}, out=out)) == 2
    assert ran == []


def test_absent_methods_have_no_results_to_be_mixed(adata: anndata.AnnData, ran: list[str], tmp_path: Path) -> None:
    out, changed = tmp_path / "results.csv", adata.copy()
    changed.X.data[0] += 1
    rows_of({"tiny": adata}, [Method("absent")], out=out)
    assert [row["status"] for row in rows_of({"tiny": changed}, [Method("works")], out=out)] == ["ok"]
    assert ran == ["absent", "works"]


def test_the_same_counts_however_they_are_stored(adata: anndata.AnnData, ran: list[str], tmp_path: Path) -> None:
    out = tmp_path / "results.csv"
    first = rows_of({"tiny": adata}, out=out)
    unsorted = adata.X.copy()
    unsorted.indices[:2], unsorted.data[:2] = unsorted.indices[1::-1].copy(), unsorted.data[1::-1].copy()
    unsorted.has_sorted_indices = False
    stored = [adata.X.toarray(), adata.X.astype(np.int64).tocsc(), adata.X.astype(np.uint16), unsorted]
    for counts in stored:
        assert rows_of({"tiny": anndata.AnnData(counts)}, out=out) == first
    gi.io.write(adata, tmp_path / "tiny.h5ad")
    assert rows_of([tmp_path / "tiny.h5ad"], out=out, layer="X") == first
    assert len(ran) == 2


def test_results_of_other_settings_are_refused(adata: anndata.AnnData, ran: list[str], tmp_path: Path) -> None:
    out = tmp_path / "results.csv"
    rows_of({"tiny": adata}, [Method("net", ("--epochs", "3"))], out=out)
    with pytest.raises(ValueError, match=r"'net' run with --epochs 3, and now it is to run with its defaults.*--out"):
        rows_of({"tiny": adata}, [Method("net")], out=out)
    assert len(ran) == 1


def test_what_leaves_no_cell_fails_and_stops_nothing(
    adata: anndata.AnnData, ran: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    few = anndata.AnnData(adata.X[:, :30])
    with caplog.at_level(logging.INFO):
        rows = list(run({"few": few, "all": adata}, methods=METHODS, quality={"min_genes": 20}, progress=False))
    status = {(row["data"], row["status"]) for row in rows}
    assert ("all", "ok") in status
    assert len(ran) in {2, 4}
    strict = list(run({"few": few}, methods=METHODS, progress=False))
    assert [row["status"] for row in strict] == ["failed", "failed"]
    assert "min_genes" in strict[0]["message"]


def test_data_that_cannot_be_used(adata: anndata.AnnData, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"There is no file .*nothing\.h5ad"):
        rows_of([tmp_path / "nothing.h5ad"])
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        gi.io.write(adata, tmp_path / folder / "x.h5ad")
    with pytest.raises(ValueError, match="one name, 'x'"):
        rows_of([tmp_path / "a" / "x.h5ad", tmp_path / "b" / "x.h5ad"])
    with pytest.raises(ValueError, match=r"tiny: adata\.X is .* not a count.* name their layer with --layer"):
        rows_of({"tiny": anndata.AnnData(adata.X * 0.5)})
    with pytest.raises(ValueError, match=r"tiny: adata\.layers has no 'spliced'"):
        rows_of({"tiny": adata}, layer="spliced")


@pytest.mark.filterwarnings("ignore:(Observation|Variable) names are not unique")
def test_names_that_stand_twice(counts: sp.csr_matrix, ran: list[str]) -> None:
    adata = anndata.AnnData(counts)
    adata.obs_names, adata.var_names = np.repeat("cell", 90), np.repeat("gene", 60)
    assert len(rows_of({"twice": adata})) == len(ran) == 2
    assert _benchmark._read("twice", adata, None, None).var_names.is_unique


def test_what_happens_is_told(
    adata: anndata.AnnData, ran: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    methods = [Method("works"), Method("crashes")]
    with caplog.at_level(logging.INFO):
        rows_of({"tiny": adata}, methods, out=tmp_path / "r.csv")
        rows_of({"tiny": adata}, [*methods, Method("new")], out=tmp_path / "r.csv")
    assert ran == ["works", "crashes", "new"]
    said = [(record.levelname, record.message) for record in caplog.records]
    assert ("INFO", "Counts are read from adata.X") in said
    assert ("INFO", "tiny (1/1), thin 0.1, seed 0") in said
    assert ("INFO", "  1/2 works: poisson_deviance 0.1 (1200.0 s, 0.1 GB)") in said
    assert ("WARNING", "  2/2 crashes: failed:  (1200.0 s, 0.1 GB)") in said
    assert ("INFO", f"2 of 3 runs are in {tmp_path / 'r.csv'} already") in said


def test_results_after_other_quality_control_are_refused(adata: anndata.AnnData, tmp_path: Path) -> None:
    options = {"methods": METHODS[:1], "out": tmp_path / "results.csv", "progress": False}
    first = list(run({"tiny": adata}, quality={"min_genes": 5}, **options))
    assert list(run({"tiny": adata}, quality={"min_genes": 5}, **options)) == first
    with pytest.raises(ValueError, match=r"of 'tiny' after quality control with min_genes=5, .* be min_genes=6: name"):
        list(run({"tiny": adata}, quality={"min_genes": 6}, **options))
    defaults = {"min_genes": 5, "min_cells": 3, "max_genes": None, "max_mito_pct": "mad", "max_total": "mad"}
    assert list(run({"tiny": adata}, quality=defaults, **options)) == first
    with pytest.raises(ValueError, match=r"with max_total=mad, and now it is to be max_total=900: name"):
        list(run({"tiny": adata}, quality=defaults | {"max_total": 900}, **options))
