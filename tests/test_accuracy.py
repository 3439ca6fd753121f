"""Scripts of benchmarks/accuracy that do more than call the package."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import anndata
import numpy as np
import scipy.sparse as sp

if TYPE_CHECKING:
    import pytest

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "accuracy" / "twins.py"


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
    runpy.run_path(str(SCRIPT), run_name="__main__")

    assert "gene-4  gene-20  equal in 100% of the cells" in capsys.readouterr().out
    left = anndata.read_h5ad(tmp_path / "out.h5ad")
    assert list(left.var_names) == [name for name in adata.var_names if name != "gene-20"]
    assert left.n_obs == adata.n_obs
