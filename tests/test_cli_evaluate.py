"""The command that evaluates, and imputation that refuses where there is nothing to gain."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import anndata
import numpy as np
import pytest
import scipy.sparse as sp
from click.testing import CliRunner, Result

import gnnimpute as gi
from gnnimpute.cli import main

if TYPE_CHECKING:
    from pathlib import Path

TINY = [
    "--min-genes",
    "0",
    "--n-epochs",
    "30",
    "--n-hidden",
    "16",
    "--learning-rate",
    "0.01",
    "--n-latent",
    "4",
    "--n-pcs",
    "5",
]


def gnnimpute(*args: object) -> Result:
    return CliRunner().invoke(main, [str(arg) for arg in args])


def write(path: Path, *, n_types: int) -> Path:
    rng = np.random.default_rng(0)
    rate = rng.gamma(0.5, 1.0, size=(n_types, 100))[np.arange(240) % n_types] + 0.05
    gi.io.write(anndata.AnnData(sp.csr_matrix(rng.poisson(rate).astype(np.float32))), path)
    return path


def test_the_verdict_is_printed_and_nothing_is_written(tmp_path: Path) -> None:
    source = write(tmp_path / "in.h5ad", n_types=3)
    done = gnnimpute("evaluate", source, "--seeds", 1, "--cluster-key", "none", *TINY)
    assert done.exit_code == 2
    assert "adata.obs has no 'none'" in done.stderr
    done = gnnimpute("evaluate", source, "--seeds", 1, *TINY)
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("Imputation helps these data.")
    assert "Tests for false signals" in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["in.h5ad"]


def test_a_report_of_each_command(tmp_path: Path) -> None:
    source, out = write(tmp_path / "in.h5ad", n_types=3), tmp_path / "out.h5ad"
    few = ["--n-epochs", "2", "--n-hidden", "8", "--min-genes", "0", "--n-pcs", "5"]
    done = gnnimpute("impute", source, out, "--report", tmp_path / "a.html", *few)
    assert done.exit_code == 0, done.output
    page = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert f"gnnimpute impute {source} {out} --report {tmp_path / 'a.html'} --n-epochs 2" in page
    assert page.index("Verdict") < page.index("Before and after")
    again = gnnimpute("impute", source, tmp_path / "b.h5ad", "--report", tmp_path / "a.html", *few)
    assert again.exit_code == 2
    assert "exists" in again.stderr
    assert not (tmp_path / "b.h5ad").exists()
    done = gnnimpute("impute", source, tmp_path / "b.h5ad", "--report", tmp_path / "page.txt", *few)
    assert done.exit_code == 2
    assert "ends in .html" in done.stderr


def test_groups_of_ones_own_in_the_report(tmp_path: Path) -> None:
    source, out = write(tmp_path / "in.h5ad", n_types=3), tmp_path / "out.h5ad"
    adata = gi.io.read(source)
    adata.obs["type"] = [f"kind {number % 3}" for number in range(240)]
    gi.io.write(adata, source, overwrite=True)
    few = ["--n-epochs", "2", "--n-hidden", "8", "--min-genes", "0", "--n-pcs", "5", "--cluster-key"]
    done = gnnimpute("impute", source, out, *few, "type")
    assert done.exit_code == 2
    assert "--cluster-key is for --report" in done.stderr
    done = gnnimpute("impute", source, out, "--report", tmp_path / "a.html", *few, "kind")
    assert done.exit_code == 2
    assert "adata.obs has no 'kind'" in done.stderr
    assert not out.exists()
    done = gnnimpute("impute", source, out, "--report", tmp_path / "a.html", *few, "type")
    assert done.exit_code == 0, done.output
    assert "Cells by group: most in kind" in done.stderr
    assert "kind 2" in (tmp_path / "a.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(("n_types", "code"), [(1, 3), (3, 0)])
def test_refusing(tmp_path: Path, n_types: int, code: int) -> None:
    source, out = write(tmp_path / "in.h5ad", n_types=n_types), tmp_path / "out.h5ad"
    done = gnnimpute("impute", source, out, "--refuse-if-no-gain", *TINY)
    assert done.exit_code == code, done.output
    assert out.exists() == (code == 0)
    if code:
        assert "Nothing was written" in done.stderr
    else:
        assert anndata.read_h5ad(out).uns["gnnimpute_evaluation"]["verdict"] == "helps"


@pytest.mark.parametrize(
    "others", [["--model", "m.safetensors"], ["--estimate", "detected"], ["--neighbors-key", "neighbors"]]
)
def test_what_cannot_be_judged_is_refused_at_once(tmp_path: Path, others: list[str]) -> None:
    done = gnnimpute("impute", tmp_path / "none.h5ad", tmp_path / "out.h5ad", "--refuse-if-no-gain", *others)
    assert done.exit_code == 2
    assert "--refuse-if-no-gain" in done.stderr


def test_only_a_remedy_that_there_is_is_advised(tmp_path: Path) -> None:
    adata = anndata.read_h5ad(write(tmp_path / "counts.h5ad", n_types=2))
    adata.layers["tpm"] = adata.X * 1.37
    gi.io.write(adata, tmp_path / "in.h5ad", key=None)
    for command in ("evaluate", "tune", "benchmark"):
        out = ["--out", tmp_path / "r.csv"] if command == "benchmark" else []
        said = gnnimpute(command, tmp_path / "in.h5ad", "--layer", "tpm", *out).stderr
        assert "molecules are to be hidden" in said, said
        assert "non-counts" not in said
    for asked in ([], ["--report", tmp_path / "r.html"]):
        said = gnnimpute("impute", tmp_path / "in.h5ad", tmp_path / "out.h5ad", "--layer", "tpm", *asked).stderr
        assert "--allow-non-counts" in said, said


def test_filtering_the_result_changes_no_verdict(tmp_path: Path) -> None:
    """What fails is told by what is left after hiding: dropping it first would have seen what was hidden."""
    source = write(tmp_path / "in.h5ad", n_types=3)
    found = []
    for filters in ([], ["--filter"]):
        out = tmp_path / f"out{len(filters)}.h5ad"
        done = gnnimpute("impute", source, out, "--report", f"{out}.html", *TINY, "--min-cells", 120, *filters)
        assert done.exit_code == 0, done.output
        found.append(anndata.read_h5ad(out))
    whole, kept = found
    assert 0 < kept.n_vars < whole.n_vars
    verdicts = [re.sub(r"genes; \d+ s", "", adata.uns["gnnimpute_evaluation"]["text"]) for adata in found]
    assert verdicts[0] == verdicts[1]
