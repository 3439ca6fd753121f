"""Scripts of benchmarks/accuracy that do more than call the package."""

from __future__ import annotations

import runpy
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

import gnnimpute as gi
from gnnimpute import _methods
from gnnimpute._peers import Method, Outcome
from gnnimpute._results import COLUMNS

SCRIPTS = Path(__file__).parents[1] / "benchmarks" / "accuracy"


@pytest.fixture
def few_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scripts that train with the defaults stop after five epochs."""
    whole = gi.tl.fit

    def fit(adata: anndata.AnnData, *, config: gi.Config | None = None, **options: Any) -> gi.GNNImputer:
        return whole(adata, config=replace(config or gi.Config(), n_epochs=5), **options)

    monkeypatch.setattr(gi.tl, "fit", fit)


def write(expression: np.ndarray, path: Path, rng: np.random.Generator) -> Path:
    """Counts that are Poisson around what cells express."""
    anndata.AnnData(sp.csr_matrix(rng.poisson(expression).astype(np.float32))).write_h5ad(path)
    return path


def cells_of_rows(out: str, beginning: str) -> list[list[str]]:
    """What stands in the lines of a Markdown table that begin so."""
    return [[cell.strip() for cell in line.strip("|").split("|")]
            for line in out.splitlines() if line.startswith(f"| {beginning} |")]  # fmt: skip


def test_genes_that_share_molecules_are_found_and_the_later_one_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    counts = rng.poisson(rng.gamma(2.0, 2.0, (200, 30))).astype(np.float32)
    counts[:, 20] = counts[:, 4]  # every read of one fits the other
    adata = anndata.AnnData(sp.csr_matrix(counts))
    adata.var_names = [f"gene-{g}" for g in range(30)]
    adata.write_h5ad(tmp_path / "in.h5ad")

    monkeypatch.setattr(sys, "argv", ["twins.py", str(tmp_path / "in.h5ad"), str(tmp_path / "out.h5ad")])
    runpy.run_path(str(SCRIPTS / "twins.py"), run_name="__main__")

    assert "gene-4  gene-20  equal in 100% of the cells" in capsys.readouterr().out
    left = anndata.read_h5ad(tmp_path / "out.h5ad")
    assert list(left.var_names) == [name for name in adata.var_names if name != "gene-20"]
    assert left.n_obs == adata.n_obs


@pytest.mark.slow
def test_genes_that_are_missing_change_little_of_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    programs = rng.gamma(0.5, 4.0, (3, 500))
    counts = rng.poisson(programs[rng.integers(3, size=150)]).astype(np.float32)
    anndata.AnnData(sp.csr_matrix(counts)).write_h5ad(tmp_path / "in.h5ad")
    monkeypatch.setattr(sys, "argv", ["absent.py", str(tmp_path / "in.h5ad")])
    runpy.run_path(str(SCRIPTS / "absent.py"), run_name="__main__")
    rows = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines() if line.startswith("| in ")]
    assert len(rows) == 6
    for _, missing, left, _, off, _, alike in rows:
        assert float(left.strip("%")) < 90
        assert abs(float(off.strip("%"))) < 5
        assert float(alike) > (0.98 if missing.startswith("90%") else 0.99)


@pytest.mark.slow
def test_nobody_predicts_better_than_who_knows_what_counts_were_drawn_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    programs = rng.gamma(0.5, 4.0, (3, 500))
    expression = programs[rng.integers(3, size=150)] * rng.gamma(3.0, 1 / 3, (150, 500))
    anndata.AnnData(sp.csr_matrix(rng.poisson(expression).astype(np.float32))).write_h5ad(tmp_path / "in.h5ad")

    asked = [str(tmp_path / "in.h5ad"), "--out", str(tmp_path / "out.csv"), "--mask", "0.1"]
    methods = "gene mean;gnnimpute;mean of non-zeros"
    monkeypatch.setattr(sys, "argv", ["attainable.py", *asked, "--methods", methods])
    row = dict.fromkeys(COLUMNS, 1) | {"data": "another", "protocol": "thin", "method": "gene mean", "status": "ok"}
    row |= {"estimate": "mean", "metric": "poisson_loss", "version": "", "settings": "{}", "message": ""}
    pd.DataFrame([row]).to_csv(tmp_path / "out.csv", index=False)  # of another call with the same file of results
    runpy.run_path(str(SCRIPTS / "attainable.py"), run_name="__main__")

    lines = [line.split("|")[4:-1] for line in capsys.readouterr().out.splitlines() if line.startswith("| in ")]
    masked = {name.strip(): float(mse) for name, mse, *others in lines if len(others) == 3}
    rows = [line for line in lines if len(line) == 3]
    losses = {name.strip(): float(loss) for name, loss, _ in rows}
    shares = {name.strip(): float(share.strip(" %")) for name, _, share in rows}
    assert min(losses, key=losses.__getitem__) == "its posterior"
    assert (shares["its posterior"], shares["gene mean"]) == (100, 0)
    assert 50 < shares["gnnimpute (posterior)"] < 100
    assert shares["gnnimpute"] < shares["gnnimpute (posterior)"]
    assert shares["the true mean"] < 100
    assert min(masked, key=masked.__getitem__) == "the true mean of what was detected"
    assert {"gene mean", "gnnimpute", "mean of non-zeros"} < masked.keys()


def test_pairings_of_the_same_libraries_are_no_more_evidence_than_one(rng: np.random.Generator) -> None:
    table = runpy.run_path(str(SCRIPTS / "replicates.py"))["table"]
    losses = pd.DataFrame(rng.normal(1.0, 0.1, (40, 2)), columns=["ours", "theirs"])
    assert table([losses] * 3, "ours") == table([losses], "ours")


@pytest.mark.slow
def test_replicates_are_judged_by_the_other_library_of_the_pair(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    programs, group = rng.gamma(0.5, 6.0, (3, 400)), np.repeat([0, 1, 2], [61, 60, 60])
    adata = anndata.AnnData(sp.csr_matrix(rng.poisson(programs[group]).astype(np.float32)))
    adata.obs["mix"] = [f"mix {g}" for g in group]
    adata.write_h5ad(tmp_path / "in.h5ad")
    asked = [str(tmp_path / "in.h5ad"), "--group", "mix", "--reference", "gene mean"]
    methods = "gene mean;no imputation;neighbour mean"
    monkeypatch.setattr(sys, "argv", ["replicates.py", *asked, "--methods", methods])
    script = runpy.run_path(str(SCRIPTS / "replicates.py"), run_name="__main__")

    out = capsys.readouterr().out
    assert "90 pairs" in out  # the odd one is left out
    rows = {cells[1].strip(): cells[2:-1] for line in out.splitlines() if len(cells := line.split("|")) > 3}
    assert float(rows["neighbour mean"][0]) < float(rows["gene mean"][0]) < float(rows["no imputation"][0])
    assert float(rows["neighbour mean"][1].split()[0]) < 0
    assert not rows["gene mean"][1].strip()
    # Counts that are Poisson around what is equal in all cells of a group: intervals hold, zeros come as often as said.
    for share, level in zip(rows["all entries"], (50, 80, 95), strict=True):
        assert float(share.strip(" %")) == pytest.approx(level, abs=2)
    zeros = [cells for name, cells in rows.items() if "% to " in name and int(cells[0].replace(",", "")) > 500]
    assert len(zeros) >= 2
    for _, said, shown in zeros:
        assert float(said.strip(" %")) == pytest.approx(float(shown.strip(" %")), abs=6)

    case = script["replicates"](adata, ["mix"], 0)
    first, second = script["pairs"](
        adata.obs.groupby("mix", observed=True).indices.values(), np.random.default_rng(0)
    ).T
    assert not np.isin(second, first).any()
    assert (group[first] == group[second]).all()
    assert len({*first, *second}) == 180
    seen, hidden = (
        adata.X[cells].toarray()[:, adata.var_names.get_indexer(case.adata.var_names)] for cells in (first, second)
    )
    passed = np.isin(adata.obs_names[first], case.adata.obs_names)
    np.testing.assert_array_equal(case.adata.X.toarray(), seen[passed])
    expected = hidden[passed].sum(1, keepdims=True) * seen[passed].sum(0) / seen[passed].sum()
    y = hidden[passed]
    deviance = 2 * (np.where(y > 0, y * np.log(np.maximum(y, 1) / expected), 0) - y + expected).mean()
    assert float(rows["gene mean"][0]) == pytest.approx(deviance, abs=1e-4)


def test_differences_are_those_of_the_losses_beside_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], rng: np.random.Generator
) -> None:
    def run(method: Method, _: object, source: Path, out: Path, *, seed: int, **__: object) -> Outcome:
        _methods.main([method.name, str(source), str(out), "--seed", str(seed), *method.arguments])
        return Outcome("ok", "", 1.0, 1.0, 1.0)

    monkeypatch.setattr(Method, "run", run)  # in this process, which has imported all that takes long
    path = write(rng.gamma(0.5, 8.0, (3, 400))[rng.integers(3, size=150)], tmp_path / "in.h5ad", rng)
    asked = [str(path), "--out", str(tmp_path / "out.csv"), "--methods", "gene mean", "gnnimpute"]
    script = runpy.run_path(str(SCRIPTS / "blind.py"))
    script["main"]([*asked, "--config", '{"n_epochs": 2}'])

    [row] = cells_of_rows(capsys.readouterr().out, "in")
    gene_mean, mean, posterior = map(float, row[4:7])
    assert mean < gene_mean - 0.05
    for loss, told in zip((mean, posterior), row[7:], strict=True):
        difference, low, high = (float(part.strip(",[]")) for part in told.split())
        assert difference == pytest.approx(loss - gene_mean, abs=2e-5)  # both are rounded
        assert low < difference < high < 0
        assert (low + high) / 2 == pytest.approx(difference, rel=0.1)


@pytest.mark.usefixtures("few_epochs")
def test_intervals_of_the_held_out_half_hold_what_they_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], rng: np.random.Generator
) -> None:
    path = write(rng.gamma(0.5, 8.0, (3, 500))[rng.integers(3, size=150)], tmp_path / "in.h5ad", rng)
    monkeypatch.setattr(sys, "argv", ["intervals.py", str(path), "--hide", "0.5"])
    runpy.run_path(str(SCRIPTS / "intervals.py"), run_name="__main__")

    rows = {row[3]: row[4:] for row in cells_of_rows(capsys.readouterr().out, "in | 0 | 50%")}
    assert rows.keys() == {"all", "1 or more, randomised", "1 or more"}
    for name in ("all", "1 or more, randomised"):
        for share, level in zip(rows[name], (50, 80, 95), strict=True):
            assert float(share.strip("%")) == pytest.approx(level, abs=4)
    # Of what is not randomised whole counts lie in an interval, and so more than it says.
    assert 55 < float(rows["1 or more"][0].strip("%")) < 80


@pytest.mark.usefixtures("few_epochs")
def test_the_expected_log_is_that_of_the_held_out_half(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], rng: np.random.Generator
) -> None:
    expression = rng.gamma(2.0, 1.0, (3, 500))[rng.integers(3, size=150)]
    path = write(expression, tmp_path / "in.h5ad", rng)
    monkeypatch.setattr(sys, "argv", ["log1p.py", str(path), "--hide", "0.5"])
    runpy.run_path(str(SCRIPTS / "log1p.py"), run_name="__main__")

    [row] = cells_of_rows(capsys.readouterr().out, "in")
    posterior, scaled, as_it_is = map(float, row[2:])
    drawn = rng.poisson(expression / 2, (40, *expression.shape))
    logs = np.log1p(1e4 * drawn / drawn.sum(2, keepdims=True))
    least = logs.var(axis=0, ddof=1).mean()  # the error of who knows what counts were drawn from
    assert row[1] == "150"
    assert least * 0.98 < as_it_is < least * 1.08  # at a depth of 1/2 of the cell's own instead of 1, 1.15
    assert as_it_is < scaled < posterior


@pytest.mark.slow
@pytest.mark.usefixtures("few_epochs")
def test_parts_of_the_default_can_be_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], rng: np.random.Generator
) -> None:
    # Three types of cells, and genes that rise and fall in pairs: more pairs than there are components.
    pairs = rng.gamma(1.0, 1.0, (150, 150)).repeat(2, axis=1)
    path = write(rng.gamma(2.0, 3.0, (3, 300))[rng.integers(3, size=150)] * pairs, tmp_path / "in.h5ad", rng)
    name = "no genes that covary"
    monkeypatch.setattr(sys, "argv", ["ablation.py", str(path), "--seeds", "1", "--changes", name])
    script = runpy.run_path(str(SCRIPTS / "ablation.py"), run_name="__main__")

    out = capsys.readouterr().out
    [[_, *default]] = cells_of_rows(out, "nothing: the loss")
    [[_, mean, posterior]] = cells_of_rows(out, name)
    assert mean == "+0.0 ± 0.0"  # counts of other genes are no part of it
    assert float(posterior.split()[0]) > 1

    losses, changes = script["losses"], script["CHANGES"]
    whole = losses(path, script["Change"](), rate=0.1, seed=0)["posterior"]
    assert float(default[1]) == pytest.approx(whole, abs=1e-5)
    for name in ("no groups of cells", "no Fano factor", "no average of the gene in the prior",
                 "the prior by held-out molecules alone"):  # fmt: skip
        loss = losses(path, changes[name], rate=0.1, seed=0)["posterior"]
        assert abs(loss - whole) > 1e-7, name
