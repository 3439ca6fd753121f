"""Plots as they look: each against a picture in `images` that somebody has looked at.

After a change that is meant, delete the picture: the test writes it anew and fails once. Look at it, then commit it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from anndata import AnnData

import gnnimpute as gi
from gnnimpute._explanation import Explanation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from matplotlib.axes import Axes

IMAGES = Path(__file__).parent / "images"
TOLERANCE = 6.0
"""Root mean square of the differences, of 255: letters of another version of FreeType stay below, lost dots do not."""


@pytest.fixture
def adata() -> AnnData:
    """Three groups of cells in three places, with a gene for each."""
    rng = np.random.default_rng(0)
    of = np.repeat([0, 1, 2], 30)
    true = 1 + 9 * (of[:, None] == np.arange(6) % 3)
    adata = AnnData(sp.csr_matrix(rng.poisson(true * 0.4).astype(np.float32)))
    adata.obs_names, adata.var_names = (
        [f"cell{i}" for i in range(90)],
        ["CD3D", "CD79A", "LYZ", "CD3E", "MS4A1", "CST3"],
    )
    adata.obs["type"] = pd.Categorical(np.array(["T", "B", "mono"])[of])
    adata.layers["counts"] = adata.X
    adata.obs["gnnimpute_depth"], adata.var["gnnimpute_modelled"] = adata.X.sum(axis=1).A1 / 12, True
    adata.layers["gnnimpute"] = (true + rng.normal(0, 0.6, true.shape)).astype(np.float32)
    adata.obsm["X_umap"] = np.array([[0, 0], [6, 1], [3, 5]])[of] + rng.normal(0, 0.6, (90, 2))
    weights = sp.lil_matrix((90, 90), dtype=np.float32)
    weights[3, [3, 4, 12, 20, 25]] = 0.4, 0.3, 0.15, 0.1, 0.05
    adata.obsp["gnnimpute_attention"] = weights.tocsr()
    history = {"training": 0.6 + np.exp(-np.arange(8.0)), "validation": 2.8 + np.exp(-0.5 * np.arange(8.0))}
    adata.uns["gnnimpute"] = {
        "estimate": "mean", "output": "normalized", "unit": "counts scaled to the median total, 12", "best_epoch": 6,
        "target_total": 12.0, "layer": "counts", "loss": history, "params": {"loss": "poisson"},
    }  # fmt: skip
    levels = np.array([0.1, 0.3, 0.5, 0.7, 0.9])
    adata.uns["gnnimpute_evaluation"] = {
        "methods": pd.DataFrame({"method": ["gnnimpute", "gene mean", "no imputation"], "deviance": [0.9, 1.0, 1.3]}),
        "coverage": pd.DataFrame({"entries": "all", "level": levels, "share": levels + 0.02}),
    }
    return adata


def explanation() -> Explanation:
    neighbors = pd.DataFrame(
        {"weight": [0.3, 0.2, 0.1], "count": [4.0, 0, 2], "total": [900.0] * 3, "normalized": [4.0, 0, 2]},
        index=["cell4", "cell12", "cell20"],
    )
    numbers = {"count": 0, "total": 900, "mean": 1.9, "posterior": 1.5, "lower": 0.7, "upper": 2.5, "level": 0.9}
    numbers |= {"redetection": 0.74, "own_weight": 0.4, "own_pull": 0.2, "target_total": 1000}
    numbers |= {"given": 1.9, "average": 1.0, "average_weight": 0.0, "prior": 1.9}
    alone = {"covarying": pd.DataFrame(columns=["weight", "count", "expected"])}
    return Explanation("cell3", "CD79A", **numbers, neighbors=neighbors, linear=None, **alone)


PLOTS: dict[str, Callable[[AnnData, Axes], Axes]] = {
    "attention": lambda a, ax: gi.pl.attention(a, "cell3", ax=ax),
    "calibration": lambda a, ax: gi.pl.calibration(a, ax=ax),
    "embedding_gene": lambda a, ax: gi.pl.embedding(a, "CD79A", ax=ax),
    "embedding_groups": lambda a, ax: gi.pl.embedding(a, "type", ax=ax),
    "explain": lambda _, ax: gi.pl.explain(explanation(), ax=ax),
    "gene_pair": lambda a, ax: gi.pl.gene_pair(a, "CD3D", "CD3E", color="type", ax=ax),
    "heatmap": lambda a, ax: gi.pl.heatmap(a, list(a.var_names), "type", ax=ax),
    "held_out": lambda a, ax: gi.pl.held_out(a, ax=ax),
    "loss": lambda a, ax: gi.pl.loss(a, ax=ax),
}


@pytest.fixture(autouse=True)
def plain_style() -> Iterator[None]:
    with mpl.rc_context(mpl.rcParamsDefault | {"backend": "agg"}):
        yield


@pytest.mark.parametrize("name", PLOTS)
def test_it_looks_as_it_did(name: str, adata: AnnData, tmp_path: Path) -> None:
    from matplotlib.figure import Figure
    from matplotlib.testing.compare import compare_images

    figure = Figure(figsize=(5, 4), layout="constrained")
    PLOTS[name](adata, figure.add_subplot())
    asked: dict[str, Any] = {"dpi": 60, "metadata": {"Software": None}}
    expected = IMAGES / f"{name}.png"
    if not expected.exists():
        IMAGES.mkdir(exist_ok=True)
        figure.savefig(expected, **asked)
        pytest.fail(f"{expected} is new: look at it, then commit it")
    figure.savefig(tmp_path / "now.png", **asked)
    assert compare_images(str(expected), str(tmp_path / "now.png"), tol=TOLERANCE) is None


def test_every_plot_has_a_picture() -> None:
    shown = {name.split("_g")[0] if name.startswith("embedding") else name for name in PLOTS}
    assert shown == set(gi.pl.__all__)
    assert {path.stem for path in IMAGES.glob("*.png")} == set(PLOTS)
