"""Plots: what is drawn, in which unit, and what is refused."""

from __future__ import annotations

from itertools import combinations, pairwise
from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from anndata import AnnData

import gnnimpute as gi

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Text


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
    adata.var["gnnimpute_pass"] = adata.var["gnnimpute_modelled"] = np.arange(60) > 4
    adata.obs["gnnimpute_depth"] = counts[:, 5:].toarray().sum(1) / 100
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
    assert (ax.get_xlabel(), ax.get_ylabel()) == (
        "7\ncounts scaled to 100",
        "3 (not modelled)\ncounts scaled to 100",
    )
    assert ax.get_title() == "7 and 3, estimate: mean"


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


@pytest.fixture
def mapped(adata: AnnData) -> AnnData:
    """With places for the cells, their latent and their attention."""
    adata.obsm["X_umap"] = np.stack([np.arange(90.0), -np.arange(90.0)], axis=1)
    adata.obsm["gnnimpute"] = np.random.default_rng(0).normal(size=(90, 4)).astype(np.float32)
    weights = sp.lil_matrix((90, 90), dtype=np.float32)
    weights[3, [3, 4, 80]] = 0.5, 0.4, 0.1
    adata.obsp["gnnimpute_attention"] = weights.tocsr()
    return adata


def test_embedding_of_a_gene_shows_imputed_values_the_highest_on_top(mapped: AnnData) -> None:
    ax = gi.pl.embedding(mapped, "7")
    (dots,) = ax.collections
    np.testing.assert_array_equal(dots.get_array(), np.sort(mapped.layers["gnnimpute"][:, 7]))
    np.testing.assert_array_equal(dots.get_offsets()[:, 0], np.arange(90))
    (bar,) = [other for other in ax.figure.axes if other is not ax]
    assert bar.get_ylabel() == "counts scaled to 100"
    assert (ax.get_xlabel(), ax.get_title()) == ("UMAP1", "7, imputed (mean, normalized)")


def test_embedding_of_observed_counts_is_on_the_same_scale(mapped: AnnData) -> None:
    ax = gi.pl.embedding(mapped, "7", layer="counts")
    raw = mapped.layers["counts"].toarray()
    expected = 100 * raw[:, 7] / raw[:, 5:].sum(1)
    np.testing.assert_allclose(np.sort(ax.collections[0].get_array()), np.sort(expected), rtol=1e-6)
    assert ax.get_title() == "7, observed"


def test_embedding_draws_one_at_a_time(mapped: AnnData) -> None:
    with pytest.raises(TypeError, match=r"color=\['7', '8'\]: one gene or column is drawn at a time"):
        gi.pl.embedding(mapped, ["7", "8"])


def test_embedding_of_groups_keeps_them_apart(mapped: AnnData) -> None:
    mapped.obs["many"] = (np.arange(90) // 9).astype(str)
    ax = gi.pl.embedding(mapped, "many")
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [str(i) for i in range(10)]
    looks = {(tuple(c.get_facecolor()[0]), len(c.get_paths()[0].vertices)) for c in ax.collections}
    assert len(looks) == 10
    assert [len(c.get_offsets()) for c in ax.collections] == [9] * 10


LONG = [f"CD4+ T cell, naive, thymus-derived, number {number}" for number in range(45)]


def inside(texts: list[Text], figure: Figure) -> bool:
    """Whether each text is on the figure whole, no smaller than can be read, and beside the others."""
    figure.canvas.draw()
    boxes = [text.get_window_extent().padded(-1) for text in texts]
    apart = not any(one.overlaps(other) for one, other in combinations(boxes, 2))
    return apart and all(
        figure.bbox.fully_contains(*corner)
        for box in boxes
        for corner in (box.min, box.max)
    ) and min(text.get_fontsize() for text in texts) >= 5  # fmt: skip


@pytest.mark.parametrize(
    "draw", [lambda a: gi.pl.embedding(a, "many"), lambda a: gi.pl.gene_pair(a, "7", "8", color="many")]
)
def test_a_legend_of_many_long_names_is_all_on_the_figure(mapped: AnnData, draw: Callable[[AnnData], Axes]) -> None:
    mapped.obs["many"] = np.tile(LONG, 2)
    ax = draw(mapped)
    texts = ax.get_legend().get_texts()
    assert len(texts) >= 45
    assert inside(texts, ax.figure)
    assert ax.get_window_extent().width > 200
    looks = {(tuple(c.get_facecolor()[0][:3]), len(c.get_paths()[0].vertices)) for c in ax.collections}
    assert len(looks) == len(texts)


@pytest.mark.parametrize("n_groups", [12, 30])
def test_a_legend_fits_the_figure_that_is_given(mapped: AnnData, n_groups: int) -> None:
    from matplotlib import pyplot as plt

    mapped.obs["many"] = np.tile(LONG[:n_groups], 8)[:90]
    figure, ax = plt.subplots(figsize=(6.4, 4.8), layout="constrained")
    texts = gi.pl.embedding(mapped, "many", ax=ax).get_legend().get_texts()
    assert inside(texts, figure)
    assert figure.get_size_inches().tolist() == [6.4, 4.8]


@pytest.mark.parametrize(("n_genes", "n_groups"), [(2, 3), (60, 3), (60, 45)])
def test_names_of_a_heatmap_are_apart(mapped: AnnData, n_genes: int, n_groups: int) -> None:
    mapped.obs["many"] = np.tile(LONG[:n_groups], 30)[:90]
    ax = gi.pl.heatmap(mapped, list(mapped.var_names[:n_genes]), "many")
    assert inside(ax.get_yticklabels(), ax.figure)
    if n_groups > 8:  # boxes around slanted ones do overlap
        assert inside(ax.get_xticklabels(), ax.figure)


def test_names_of_genes_shrink_on_the_figure_that_is_given(mapped: AnnData) -> None:
    from matplotlib import pyplot as plt

    figure, ax = plt.subplots(layout="constrained")
    gi.pl.heatmap(mapped, list(mapped.var_names), "type", ax=ax)
    assert figure.get_size_inches().tolist() == [6.4, 4.8]
    figure.canvas.draw()
    boxes = [text.get_window_extent() for text in ax.get_yticklabels()]
    assert not any(above.overlaps(below) for above, below in pairwise(boxes))


def test_a_heatmap_grows_no_further_than_a_page(mapped: AnnData) -> None:
    ax = gi.pl.heatmap(mapped, list(mapped.var_names) * 5, "type")
    assert ax.figure.get_size_inches()[1] == 30
    assert ax.get_yticklabels()[0].get_fontsize() < 10


@pytest.fixture
def partial(mapped: AnnData) -> AnnData:
    """Three cells of the first and one of the second group were not modelled."""
    mapped.obsm["gnnimpute"][[0, 1, 2, 40]] = np.nan
    return mapped


def test_cells_that_were_not_modelled_are_grey_on_an_embedding(partial: AnnData) -> None:
    ax = gi.pl.embedding(partial, "7")
    grey, dots = ax.collections
    assert np.asarray(grey.get_offsets())[:, 0].tolist() == [0, 1, 2, 40]
    np.testing.assert_array_equal(dots.get_array(), np.delete(partial.layers["gnnimpute"][:, 7], [0, 1, 2, 40]))
    assert ax.get_title() == "7, imputed (mean, normalized)\n4 cells not modelled: grey"
    # What was observed, and groups, are there for all cells.
    for other in (gi.pl.embedding(partial, "7", layer="counts"), gi.pl.embedding(partial, "2")):
        assert other.get_title()[1:] == ", observed"
        assert len(other.collections[0].get_offsets()) == 90
    assert sum(len(c.get_offsets()) for c in gi.pl.embedding(partial, "type").collections) == 90
    del partial.obsm["X_umap"]
    assert gi.pl.embedding(partial, "7").get_title().endswith("\n4 cells not modelled: not shown")


def test_cells_that_were_not_modelled_are_told_by_their_mark_where_there_is_no_latent(mapped: AnnData) -> None:
    del mapped.obsm["gnnimpute"]
    mapped.obs["gnnimpute_pass"] = np.arange(90) > 0
    assert gi.pl.embedding(mapped, "7").get_title().endswith("\n1 cell not modelled: grey")


def test_cells_that_were_not_modelled_are_grey_in_a_heatmap(partial: AnnData) -> None:
    partial.layers["gnnimpute"][0] = 1e6  # not in the scale
    ax = gi.pl.heatmap(partial, ["8"], "type")
    shown = ax.images[0].get_array()[0]
    assert np.flatnonzero(np.ma.getmaskarray(shown)).tolist() == [0, 1, 2, 40]
    assert (shown.min(), shown.max()) == (0, 1)
    assert (shown > 0.5).sum() > 30
    assert ax.get_title() == "imputed (mean, normalized)\n4 cells not modelled: grey"
    ax = gi.pl.heatmap(partial, ["8"], "type", layer="counts")
    assert ax.get_title() == "observed"
    assert not np.ma.getmaskarray(ax.images[0].get_array()).any()


def test_genes_that_were_not_modelled_are_named_so(mapped: AnnData) -> None:
    mapped.var.loc["8", "gnnimpute_modelled"] = False
    ax = gi.pl.heatmap(mapped, ["7", "8"], "type")
    assert [label.get_text() for label in ax.get_yticklabels()] == ["7", "8 (not modelled)"]
    ax = gi.pl.heatmap(mapped, ["7", "8"], "type", layer="counts")
    assert [label.get_text() for label in ax.get_yticklabels()] == ["7", "8"]
    ax = gi.pl.gene_pair(mapped, "8", "7")
    assert ax.get_xlabel().startswith("8 (not modelled)\n")
    assert ax.get_ylabel().startswith("7\n")
    backwards = mapped[:, ::-1].copy()
    ax = gi.pl.heatmap(backwards, [8, 7], "type")  # names, though they are given as numbers
    assert [label.get_text() for label in ax.get_yticklabels()] == ["8 (not modelled)", "7"]
    del mapped.var["gnnimpute_modelled"]
    assert gi.pl.gene_pair(mapped, "8", "7").get_xlabel().startswith("8\n")


def test_cells_that_were_not_modelled_have_no_pair_of_imputed_values(partial: AnnData) -> None:
    ax = gi.pl.gene_pair(partial, "7", "8", color="type")
    assert [len(dots.get_offsets()) for dots in ax.collections] == [90, 27, 29, 30]
    assert ax.get_title() == "7 and 8, estimate: mean\n4 cells not modelled: observed only"


def test_attention_of_a_cell_that_was_not_modelled_is_refused(mapped: AnnData) -> None:
    with pytest.raises(ValueError, match="Cell '5' was not modelled"):
        gi.pl.attention(mapped, "5")


def test_a_column_goes_before_a_gene_of_its_name(mapped: AnnData, caplog: pytest.LogCaptureFixture) -> None:
    mapped.obs["7"] = mapped.obs["type"]
    assert gi.pl.embedding(mapped, "7").get_legend() is not None
    assert "'7' is a column of obs and a gene: the column is drawn" in caplog.text


def test_embedding_of_a_quantity_of_cells_has_a_scale(mapped: AnnData) -> None:
    mapped.obs["total"] = np.arange(90)[::-1]
    ax = gi.pl.embedding(mapped, "total")
    (dots,) = ax.collections
    np.testing.assert_array_equal(dots.get_array(), np.arange(90))
    np.testing.assert_array_equal(dots.get_offsets()[:, 0], np.arange(90)[::-1])
    (bar,) = [other for other in ax.figure.axes if other is not ax]
    assert (bar.get_ylabel(), ax.get_title(), ax.get_legend()) == ("total", "total", None)


@pytest.mark.parametrize("values", [np.arange(90) % 5, np.arange(90) % 2 == 0, pd.Categorical(np.arange(90))])
def test_numbers_that_name_groups_stay_groups(mapped: AnnData, values: object) -> None:
    mapped.obs["cluster"] = values
    assert gi.pl.embedding(mapped, "cluster").get_legend() is not None
    gi.pl.heatmap(mapped, ["7"], "cluster")


GAPS = {
    "string": lambda labels: pd.array(labels, dtype="string"),
    "Int64": lambda labels: pd.array(
        [None if label is None else "bca".index(label) for label in labels], dtype="Int64"
    ),
    "category of string": lambda labels: pd.Categorical(pd.array(labels, dtype="string")),
    "object": lambda labels: np.array(labels, dtype=object),
}


@pytest.mark.parametrize("kind", GAPS)
def test_cells_without_a_group_are_left_out(mapped: AnnData, kind: str) -> None:
    mapped.obs["g"] = GAPS[kind]([None] * 10 + ["a"] * 30 + ["b"] * 50)
    names = [str(name) for name in mapped.obs["g"].astype("category").cat.categories]
    assert len(names) == 2
    sizes = [int((mapped.obs["g"].dropna().astype(str) == name).sum()) for name in names]
    assert [len(c.get_offsets()) for c in gi.pl.embedding(mapped, "g").collections] == sizes
    pair = gi.pl.gene_pair(mapped, "7", "8", color="g").collections
    assert [(c.get_label(), len(c.get_offsets())) for c in pair[1:]] == [
        (f"imputed, {name}", size) for name, size in zip(names, sizes, strict=True)
    ]
    ax = gi.pl.heatmap(mapped, ["7"], "g")
    assert ax.images[0].get_array().shape == (1, 80)
    assert [tick.get_text() for tick in ax.get_xticklabels()] == names


@pytest.mark.parametrize("kind", [list, pd.Categorical])
def test_an_empty_text_names_no_group(mapped: AnnData, kind: Callable[[list[str]], object]) -> None:
    mapped.obs["g"] = kind([""] * 10 + ["a"] * 30 + ["b"] * 50)
    assert [len(c.get_offsets()) for c in gi.pl.embedding(mapped, "g").collections] == [30, 50]
    ax = gi.pl.heatmap(mapped, ["7"], "g")
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["a", "b"]


@pytest.mark.parametrize("dtype", ["string", "Int64", "float", "object", "category"])
def test_a_column_without_any_group_is_refused(mapped: AnnData, dtype: str) -> None:
    mapped.obs["g"] = pd.Series([None] * 90, index=mapped.obs_names, dtype=dtype)
    for draw in (
        lambda: gi.pl.embedding(mapped, "g"),
        lambda: gi.pl.heatmap(mapped, ["7"], "g"),
        lambda: gi.pl.gene_pair(mapped, "7", "8", color="g"),
    ):
        with pytest.raises(ValueError, match=r"obs\['g'\] is empty for all 90 cells that are looked at"):
            draw()


def test_a_quantity_is_no_groups(mapped: AnnData) -> None:
    mapped.obs["total"] = np.linspace(0, 1, 90)
    for draw in (
        lambda: gi.pl.heatmap(mapped, ["7"], "total"),
        lambda: gi.pl.gene_pair(mapped, "7", "8", color="total"),
    ):
        with pytest.raises(ValueError, match=r"obs\['total'\] holds 90 different numbers, .* pandas\.qcut"):
            draw()


def test_embedding_without_a_map_is_of_the_latent(mapped: AnnData) -> None:
    del mapped.obsm["X_umap"]
    mapped.obsm["gnnimpute"][5] = np.nan  # a cell that was not modelled
    ax = gi.pl.embedding(mapped, "type")
    assert ax.get_xlabel() == "principal component of the latent, 1"
    shown = np.concatenate([c.get_offsets().compressed().reshape(-1, 2) for c in ax.collections])
    assert len(shown) == 89
    np.testing.assert_allclose(shown.mean(0), 0, atol=1e-6)


def test_heatmap_has_cells_in_the_order_of_groups_and_genes_from_least_to_highest(mapped: AnnData) -> None:
    mapped.obs["type"] = np.tile(["c", "a", "b"], 30)
    ax = gi.pl.heatmap(mapped, ["3", "8"], "type")
    shown = ax.images[0].get_array()
    assert shown.shape == (2, 90)
    order = np.concatenate([np.flatnonzero(mapped.obs["type"] == name) for name in "abc"])
    values = mapped.layers["gnnimpute"][order, 3]
    scaled = (values - values.min()) / (np.quantile(values, 0.99) - values.min())
    np.testing.assert_allclose(shown[0], np.minimum(scaled, 1), rtol=1e-5)
    assert (shown.min(), shown.max()) == (0, 1)
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["a", "b", "c"]
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["3 (not modelled)", "8"]
    np.testing.assert_allclose(ax.get_xticks(), [14.5, 44.5, 74.5])
    assert ax.get_title() == "imputed (mean, normalized)"
    assert gi.pl.heatmap(mapped, ["3"], "type", layer="counts").get_title() == "observed"


def test_attention_draws_a_line_to_each_cell_the_wider_the_more_it_weighs(mapped: AnnData) -> None:
    ax = gi.pl.attention(mapped, "3")
    everywhere, lines, others, own = ax.collections
    assert len(everywhere.get_offsets()) == 90
    assert [segment.tolist() for segment in lines.get_segments()] == [[[3, -3], [4, -4]], [[3, -3], [80, -80]]]
    assert lines.get_linewidths()[0] > lines.get_linewidths()[1]
    np.testing.assert_allclose(others.get_array(), [40, 10])
    assert own.get_offsets().tolist() == [[3, -3]]
    assert ax.get_title() == "3\nown counts 50 %, 2 other cells"


def test_calibration_is_in_percent_with_the_diagonal() -> None:
    ax = gi.pl.calibration({"ours": {0.8: 0.79, 0.5: 0.51}})
    diagonal, ours = ax.lines
    assert diagonal.get_xydata().tolist() == [[0, 0], [100, 100]]
    np.testing.assert_allclose(ours.get_xydata(), [[50, 51], [80, 79]])
    with pytest.raises(ValueError, match="of one set at least"):
        gi.pl.calibration({})


def test_an_evaluation_is_drawn_from_the_object(adata: AnnData) -> None:
    adata.uns["gnnimpute_evaluation"] = {
        "methods": pd.DataFrame({"method": ["gnnimpute", "gene mean"], "deviance": [1.0, 2.0]}),
        "coverage": pd.DataFrame({"entries": ["all"] * 2, "level": [0.5, 0.8], "share": [0.51, 0.79]}),
    }
    ax = gi.pl.held_out(adata)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["gene mean", "gnnimpute"]
    assert ax.get_xlabel() == "Poisson deviance of hidden molecules\n(lower is better)"
    ours = gi.pl.calibration(adata).lines[1]
    np.testing.assert_allclose(ours.get_xydata(), [[50, 51], [80, 79]])
    for draw in (gi.pl.held_out, gi.pl.calibration):
        with pytest.raises(KeyError, match=r"gi\.tl\.evaluate"):
            draw(adata, key="typo")
    with pytest.raises(KeyError, match=r"no imputation 'gnnimpute_evaluation'"):
        gi.pl.loss(adata, key="gnnimpute_evaluation")


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda a: gi.pl.embedding(a, "nogene"), "'nogene' is not there"),
        (lambda a: gi.pl.embedding(a, "7", basis="X_tsne"), "adata.obsm has no 'X_tsne'"),
        (lambda a: gi.pl.embedding(a, "7", key="other"), "no imputation 'other'"),
        (lambda a: gi.pl.heatmap(a, ["7"], "nocolumn"), "adata.obs has no 'nocolumn'"),
        (lambda a: gi.pl.heatmap(a, ["7"], "type", layer="nolayer"), "adata.layers has no 'nolayer'"),
        (lambda a: gi.pl.attention(a, "nocell"), "There is no cell 'nocell'"),
    ],
)
def test_what_is_not_there_is_named(mapped: AnnData, draw, message: str) -> None:
    with pytest.raises(KeyError, match=message):
        draw(mapped)


def test_a_single_gene_in_place_of_a_list_is_named(mapped: AnnData) -> None:
    with pytest.raises(TypeError, match=r"genes='7' is one name: give a list, \['7'\]"):
        gi.pl.heatmap(mapped, "7", "type")


@pytest.mark.parametrize("name", ["embedding", "heatmap", "attention", "loss"])
def test_drawn_on_the_given_axes_and_written(mapped: AnnData, name: str, tmp_path: Path) -> None:
    from matplotlib import pyplot as plt
    from matplotlib.image import imread

    figure, ax = plt.subplots()
    arguments = {"embedding": ("7",), "heatmap": (["7", "8"], "type"), "attention": ("3",), "loss": ()}
    assert getattr(gi.pl, name)(mapped, *arguments[name], ax=ax) is ax
    figure.savefig(tmp_path / "plot.png")
    assert len(np.unique(imread(tmp_path / "plot.png").reshape(-1, 4), axis=0)) > 20


def test_cells_without_a_group_are_told(mapped: AnnData) -> None:
    mapped.obs["type"] = mapped.obs["type"].astype("category")
    mapped.obs.iloc[[3, 60], mapped.obs.columns.get_loc("type")] = np.nan
    ax = gi.pl.embedding(mapped, "type")
    assert sum(len(c.get_offsets()) for c in ax.collections) == 88
    assert ax.get_title() == "type\n2 cells without a group: left out"
    ax = gi.pl.heatmap(mapped, ["7", "8"], "type")
    assert ax.get_title().endswith("\n2 cells without a group: left out")
    assert ax.images[0].get_array().shape == (2, 88)
    assert (
        gi.pl.gene_pair(mapped, "7", "8", color="type").get_title().endswith("\n2 cells without a group: observed only")
    )
