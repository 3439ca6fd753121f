"""The demonstration runs, its numbers are right, and it writes where it says."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import anndata
import numpy as np
import pytest
import scipy.sparse as sp

import gnnimpute as gi

if TYPE_CHECKING:
    from types import ModuleType

DEMO = Path(__file__).parents[1] / "examples" / "demo.py"


@pytest.fixture(scope="module")
def demo() -> ModuleType:
    spec = importlib.util.spec_from_file_location("demo", DEMO)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(folder: Path, *args: object) -> str:
    command = [sys.executable, str(DEMO), *map(str, args)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (folder / "demo").iterdir()) == ["demo.png", "imputed.h5ad"]
    return done.stdout


@pytest.mark.slow
def test_much_of_what_was_lost_comes_back(tmp_path: Path) -> None:
    said = run(tmp_path)
    errors, back = (
        {name: float(value) for name, value in re.findall(pattern, said, re.MULTILINE)}
        for pattern in (r"^   (\S.*?) {2,}(\d\.\d\d) ", r"^   (\S.*?) {2,}\d\.\d\d .* (\d+)%$")
    )
    assert errors["best possible"] < errors["gnnimpute"] < errors["gene's mean"] < errors["no imputation"]
    assert back["gnnimpute"] > back["gene's mean"] + 10
    adata = anndata.read_h5ad(tmp_path / "demo" / "imputed.h5ad")
    lost = (adata.layers["true_counts"].toarray() > 0) & (adata.X.toarray() == 0)
    error = adata.layers["gnnimpute"][lost] - adata.layers["true_counts"].toarray()[lost]
    assert errors["gnnimpute"] == pytest.approx(np.sqrt(np.mean(error**2)), abs=0.006)


def empty_droplets(adata: anndata.AnnData, n_cells: int) -> anndata.AnnData:
    """A thousandth of some cells' molecules: too little to be modelled."""
    counts = np.random.default_rng(0).binomial(adata.X[:n_cells].toarray().astype(np.int64), 1e-3)
    droplets = anndata.AnnData(sp.csr_matrix(counts.astype(np.float32)), var=adata.var[[]])
    droplets.obs_names = [f"droplet{number}" for number in range(n_cells)]
    return droplets


@pytest.mark.slow
def test_own_counts(tmp_path: Path) -> None:
    made = gi.datasets.splatter(n_genes=300, batch_cells=80, group_prob=[0.5, 0.5], lib_loc=10)
    made = anndata.concat([made, empty_droplets(made, 40)])
    made.write_h5ad(tmp_path / "mine.h5ad")
    said = run(tmp_path, "mine.h5ad")
    assert "Predict the hidden molecules of the 80 cells and" in said
    assert "Poisson loss" in said
    assert re.search(r"Imputation (helps|does NOT help) on this data", said)
    adata = anndata.read_h5ad(tmp_path / "demo" / "imputed.h5ad")
    assert adata.shape == made.shape
    assert adata.X.sum() == pytest.approx(0.9 * made.X.sum(), rel=0.02)


def test_counts_of_a_normalised_file_are_those_of_raw(demo: ModuleType, rng: np.random.Generator) -> None:
    adata = anndata.AnnData(sp.csr_matrix(rng.poisson(1.0, (20, 8)).astype(np.float32)))
    assert demo.counts_of(adata) is adata.X
    adata.raw = adata.copy()
    assert (demo.counts_of(adata) != adata.X).nnz == 0
    adata.X = np.log1p(adata.X.toarray())
    assert (demo.counts_of(adata) != adata.raw.X).nnz == 0
    assert (demo.counts_of(adata[:, :5]) == adata.X[:, :5]).all()  # other genes: an error will say so


def test_own_counts_that_are_none(tmp_path: Path) -> None:
    command = [sys.executable, str(DEMO), "none.h5ad"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("Error: There is no none.h5ad")


def test_means_of_genes_are_those_of_the_whole(demo: ModuleType, rng: np.random.Generator) -> None:
    gene, depth = rng.random(5), rng.random(7)
    made = demo.PerGene(gene, depth)
    np.testing.assert_allclose(made[2:4], depth[2:4, None] * gene)
    assert made.shape == (7, 5)


def test_error(demo: ModuleType) -> None:
    assert demo.rmse(np.array([1.0, 2.0]), np.array([1.0, 4.0])) == pytest.approx(np.sqrt(2))
