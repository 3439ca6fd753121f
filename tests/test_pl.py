"""Plots: what is drawn, in which unit, and what is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
import pytest
from anndata import AnnData

import gnnimpute as gi

if TYPE_CHECKING:
    from collections.abc import Iterator

    import scipy.sparse as sp


@pytest.fixture(autouse=True)
def closed_figures() -> Iterator[None]:
    mpl.use("agg")
    from matplotlib import pyplot as plt

    yield
    plt.close("all")


@pytest.fixture
def adata(counts: sp.csr_matrix) -> AnnData:
    """An object as :func:`gnnimpute.tl.impute` leaves it, with values that are easy to tell apart."""
    adata = AnnData(counts.astype(np.float32), layers={"counts": counts})
    adata.obs["type"] = np.repeat(["a", "b", "c"], 30)
    adata.var["gnnimpute_pass"] = np.arange(60) > 4
    adata.layers["gnnimpute"] = np.arange(90 * 60, dtype=np.float32).reshape(90, 60)
    adata.uns["gnnimpute"] = {
        "estimate": "mean",
        "output": "normalized",
        "unit": "counts scaled to 100",
        "target_total": 100.0,
        "layer": "counts",
        "loss": {"training": np.array([3.0, 2.0, 1.5]), "validation": np.array([4.0, 2.5, 2.75])},
        "best_epoch": 1,
        "params": {"loss": "negative_binomial"},
    }
    return adata


def test_loss_marks_the_best_epoch(adata: AnnData) -> None:
    ax = gi.pl.loss(adata)
    validation, best = (line.get_xydata().tolist() for line in ax.lines)
    assert validation == [[1, 4.0], [2, 2.5], [3, 2.75]]
    assert best == [[2, 2.5]]
    assert ax.get_ylabel() == "validation: negative binomial loss"
    (right,) = [other for other in ax.figure.axes if other is not ax]
    assert right.lines[0].get_ydata().tolist() == [3.0, 2.0, 1.5]


def test_loss_of_one_epoch_is_visible(adata: AnnData) -> None:
    adata.uns["gnnimpute"]["loss"] = {"training": np.ones(1), "validation": np.ones(1)}
    adata.uns["gnnimpute"]["best_epoch"] = 0
    assert gi.pl.loss(adata).lines[0].get_marker() == "."


@pytest.mark.parametrize("output", ["normalized", "counts", "log1p"])
def test_gene_pair_shows_both_on_the_same_scale(adata: AnnData, output: str) -> None:
    adata.uns["gnnimpute"]["output"] = output
    ax = gi.pl.gene_pair(adata, "7", "3")
    observed, imputed = (np.asarray(dots.get_offsets()) for dots in ax.collections)
    counts = adata.layers["counts"].toarray()
    scaled = counts / counts[:, 5:].sum(1, keepdims=True) * 100
    expected = {"normalized": scaled, "counts": counts, "log1p": np.log1p(scaled)}[output]
    np.testing.assert_allclose(observed, expected[:, [7, 3]], rtol=1e-5)
    np.testing.assert_array_equal(imputed, adata.layers["gnnimpute"][:, [7, 3]])
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("7", "3")
    assert "mean" in ax.get_title()
    assert "counts scaled to 100" in ax.get_title()


def test_gene_pair_colours_groups_and_draws_where_it_is_told(adata: AnnData) -> None:
    from matplotlib import pyplot as plt

    _, ax = plt.subplots()
    adata.uns["gnnimpute"]["layer"] = "X"
    assert gi.pl.gene_pair(adata, "7", "8", color="type", ax=ax) is ax
    assert [dots.get_label() for dots in ax.collections] == ["observed", "imputed, a", "imputed, b", "imputed, c"]
    assert len({tuple(dots.get_facecolor()[0][:3]) for dots in ax.collections}) == 4


def test_held_out_puts_the_least_error_on_top() -> None:
    ax = gi.pl.held_out({"gnnimpute": -0.5, "none": 2.0, "gene": 1.0}, unit="Poisson loss", title="Hidden")
    assert [label.get_text() for label in ax.get_yticklabels()] == ["none", "gene", "gnnimpute"]
    np.testing.assert_array_equal(np.asarray(ax.collections[0].get_offsets())[:, 0], [2.0, 1.0, -0.5])
    assert ax.get_xlabel() == "Poisson loss\n(lower is better)"
    low, high = ax.get_xlim()
    assert low < -0.5 < 2.0 < high


def test_held_out_of_a_single_method() -> None:
    low, high = gi.pl.held_out({"none": 0.0}, unit="loss", title="").get_xlim()
    assert low < 0 < high


def test_mistakes_are_named(adata: AnnData) -> None:
    with pytest.raises(KeyError, match="Did you mean '7'"):
        gi.pl.gene_pair(adata, "77", "8")
    with pytest.raises(KeyError, match="Did you mean 'type'"):
        gi.pl.gene_pair(adata, "7", "8", color="types")
    with pytest.raises(KeyError, match=r"gi\.tl\.impute"):
        gi.pl.loss(adata, key="gnnimput")
    with pytest.raises(KeyError, match=r"layers has no 'umis'"):
        gi.pl.gene_pair(adata, "7", "8", layer="umis")
    del adata.layers["gnnimpute"]
    with pytest.raises(KeyError, match="without genes="):
        gi.pl.gene_pair(adata, "7", "8")
    with pytest.raises(ValueError, match="finite"):
        gi.pl.held_out({"none": float("nan")}, unit="loss", title="")
    with pytest.raises(ValueError, match="at least"):
        gi.pl.held_out({}, unit="loss", title="")
