"""Every example of the pages runs: Python, commands and R, page by page, on simulated counts."""

from __future__ import annotations

import importlib.util
import re
import shlex
import shutil
import subprocess
import warnings
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from click.testing import CliRunner

import gnnimpute as gi
from gnnimpute import _imputer
from gnnimpute._train import train
from gnnimpute.cli import main

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anndata import AnnData

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(python|sh|r)\n(.*?)^```", re.DOTALL | re.MULTILINE)
APART = {"tutorial.md", "design.md"}  # with a data set of its own; without examples
LONG = ("gnnimpute benchmark",)  # tested elsewhere, and takes minutes
COMMANDS_OF = {"howto_graph.md", "howto_uncertainty.md", "howto_gpu.md", "howto_r.md"}
MARKERS = ["CD3D", "IL7R", "CD8A", "NKG7", "GNLY", "MS4A1", "CD79A", "LYZ", "S100A9"]


def blocks(page: Path) -> list[tuple[str, str]]:
    return BLOCK.findall(page.read_text(encoding="utf-8"))


def simulated(n_cells: int = 160, n_genes: int = 400) -> AnnData:
    adata = gi.datasets.splatter(
        n_genes=n_genes, batch_cells=n_cells, group_prob=[0.4, 0.3, 0.3], lib_loc=8.5, de_prob=0.3, rng=0
    )
    rng = np.random.default_rng(0)
    adata.var_names = [f"gene{i}" for i in range(n_genes - len(MARKERS))] + MARKERS
    adata.obs["batch"] = rng.choice(["one", "two"], n_cells)
    for name in ("X_pca_harmony", "X_scVI"):
        adata.obsm[name] = rng.normal(size=(n_cells, 5)).astype(np.float32)
    return adata


def trained_shortly(split: Any, graph: Any, config: gi.Config, **others: Any) -> Any:
    return train(split, graph, replace(config, n_epochs=2), **others)


@pytest.fixture(scope="module")
def adata() -> AnnData:
    return simulated()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, adata: AnnData) -> Iterator[Path]:
    from matplotlib import pyplot as plt

    monkeypatch.chdir(tmp_path)
    # That a page runs does not depend on how long it trains.
    monkeypatch.setattr(_imputer, "train", trained_shortly)
    monkeypatch.setenv("MPLBACKEND", "agg")
    gi.io.write(adata, "counts.h5ad")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of other packages: users see them too
        yield tmp_path
    plt.close("all")


def given(page: Path, adata: AnnData) -> dict[str, Any]:
    """What a page takes for granted."""
    if page.name in {"howto_big.md", "howto_cluster.md"}:
        gi.io.write(adata, "big.zarr")
    counts = adata.X.copy()
    graph = gi.NeighborGraph.from_embedding(adata.obsm["X_scVI"], n_neighbors=4)
    return {"counts": counts, "graph": graph} if page.name == "howto_cluster.md" else {}


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if page.name not in APART and any(kind == "python" for kind, _ in blocks(page))],
    ids=lambda page: page.name,
)
def test_python_runs(page: Path, adata: AnnData) -> None:
    names = given(page, adata)
    for kind, code in blocks(page):
        if kind == "python":
            exec(compile(code, page.name, "exec"), names)


@pytest.mark.parametrize("with_layer", [False, True])
def test_a_setting_of_yours_is_judged_blind(adata: AnnData, with_layer: bool) -> None:
    """Where X is normalised and a layer holds the counts, too, nothing sees what is hidden."""
    if with_layer:
        both = adata.copy()
        both.X, both.layers["counts"] = adata.X.log1p(), adata.X
        gi.io.write(both, "counts.h5ad", key=None, overwrite=True)
    names: dict[str, Any] = {}
    for kind, code in blocks(ROOT / "docs" / "howto_benchmark.md"):
        if kind == "python":
            exec(compile(code, "howto_benchmark.md", "exec"), names)
    assert ("counts" in names["adata"].layers) == with_layer
    kept, hold_out = names["kept"], names["hold_out"]
    for seen in (kept.X, kept.layers["counts"]):
        assert (seen != hold_out.train).nnz == 0
    assert hold_out.train.sum() < 0.95 * adata.X.sum()


@pytest.mark.parametrize("name", sorted(COMMANDS_OF))
def test_commands_and_r_run_in_their_order(name: str, adata: AnnData) -> None:
    has_r = shutil.which("Rscript") is not None
    script = 'suppressMessages(library(Matrix))\ncounts <- readMM("counts.mtx")\n' \
             'rownames(counts) <- readLines("genes.txt")\ncolnames(counts) <- readLines("cells.txt")\n'  # fmt: skip
    if name == "howto_r.md":
        if not has_r:
            pytest.skip("R is not installed here")
        write_for_r(adata)
    for kind, code in blocks(ROOT / "docs" / name):
        if kind == "sh":
            for line in code.splitlines():
                if line.startswith("gnnimpute ") and not line.startswith(LONG):
                    done = CliRunner().invoke(main, [*shlex.split(line)[1:], "--quiet", *small(line)])
                    assert done.exit_code == 0, f"{line}\n{done.output}"
        elif kind == "r":
            script += code
            run_r(script)
            script = script.replace('dir.create("from_r")\n', "")


def small(line: str) -> list[str]:
    """Quality control that few genes pass."""
    return ["--min-genes", "5"] if " impute " in f" {line}" else []


def write_for_r(adata: AnnData) -> None:
    from scipy.io import mmwrite

    mmwrite("counts.mtx", adata.X.T.tocoo())
    Path("genes.txt").write_text("\n".join(adata.var_names) + "\n", encoding="utf-8")
    Path("cells.txt").write_text("\n".join(adata.obs_names) + "\n", encoding="utf-8")


def run_r(script: str) -> None:
    done = subprocess.run(["Rscript", "-e", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def tutorial() -> Any:
    spec = importlib.util.spec_from_file_location("run_tutorial", ROOT / "docs" / "run_tutorial.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_the_tutorial_runs_and_makes_the_pictures_of_the_page(folder: Path) -> None:
    page = ROOT / "docs" / "tutorial.md"
    text = tutorial().run(page, folder, data=simulated())
    pictures = re.compile(r"!\[[^]]*\]\(_static/(\S+)\)")
    made, shown = pictures.findall(text), pictures.findall(page.read_text(encoding="utf-8"))
    assert shown
    assert set(shown) <= set(made)
    assert all((folder / name).is_file() for name in made)
    assert all((ROOT / "docs" / "_static" / name).is_file() for name in shown)
