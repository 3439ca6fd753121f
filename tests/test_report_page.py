"""The report: one file that needs nothing, with the verdict first, whatever the data are like."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

import gnnimpute as gi
from gnnimpute.report._shown import shown

if TYPE_CHECKING:
    from pathlib import Path

LOOSE: dict[str, Any] = {"min_genes": 0, "min_cells": 1, "max_mito_pct": None}
CONFIG = gi.Config(n_hidden=16, n_latent=4, n_epochs=10)
VOID = {"meta", "br", "img", "link", "input"}


class Tags(HTMLParser):
    """Checks that tags are closed in order, and collects addresses and texts."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.headings: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [value or "" for name, value in attrs if name in {"src", "href", "xlink:href", "action"}]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag("br" if tag not in VOID else tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in {"h1", "h2"}:
            self.headings.append(data)


def made(*, n_types: int, n_cells: int = 90, n_genes: int = 60) -> anndata.AnnData:
    rng = np.random.default_rng(0)
    rate = rng.gamma(0.5, 2.0, size=(n_types, n_genes))[np.arange(n_cells) % n_types] + 0.1
    adata = anndata.AnnData(sp.csr_matrix(rng.poisson(rate).astype(np.float32)))
    adata.var_names = [f"gene{number}" for number in range(n_genes)]
    adata.obs["kind"] = pd.Categorical([f"kind {number}" for number in np.arange(n_cells) % n_types])
    gi.pp.prepare(adata, **LOOSE, n_pcs=5)
    return adata


def read(path: Path) -> tuple[str, Tags]:
    text = path.read_text(encoding="utf-8")
    tags = Tags()
    tags.feed(text)
    assert tags.open == []
    return text, tags


@pytest.fixture(scope="module")
def whole() -> anndata.AnnData:
    adata = made(n_types=3)
    gi.tl.impute(adata, config=CONFIG, interval=0.9, progress=False)
    gi.tl.evaluate(adata, config=CONFIG, n_pcs=5, seeds=(0,), progress=False)
    return adata


@pytest.fixture(scope="module")
def page(whole: anndata.AnnData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "a.html"
    before = set(whole.uns), set(whole.obs), set(whole.obsm)
    gi.report.write(whole, path, command="gnnimpute impute a b --report a.html", source="a.h5ad")
    assert (set(whole.uns), set(whole.obs), set(whole.obsm)) == before
    return path


def test_the_page_needs_nothing_from_elsewhere(page: Path) -> None:
    text, tags = read(page)
    assert [one for one in tags.addresses if not one.startswith(("data:", "#"))] == []
    assert not re.search(r"url\(\s*['\"]?(?!#)", text)
    assert not re.search(r"@import|fetch\(|XMLHttpRequest", text)
    assert tags.headings == [
        "Can the imputed values be believed?", "Verdict", "How much is gained, and where", "Before and after",
        "How sure it is", "What went in", "Graph", "Training", "To repeat it",
    ]  # fmt: skip
    assert "gnnimpute impute a b --report a.html" in text
    assert "intervals of 90%" in text
    assert "Probability of redetection" in text
    assert "Do intervals hold what they say?" in text
    assert "the same" in text  # settings of the evaluation
    assert text.index('class="said"') < text.index('class="lights"') < text.index("<svg")
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert len(ids) == len(set(ids))


def test_lights_are_words_and_shapes_beside_colours(whole: anndata.AnnData, page: Path) -> None:
    text, _ = read(page)
    light = r'<li class="(\w+)"><span class="light"><span aria-hidden="true">(.)</span> '
    found = re.findall(f"{light}(passed|FAILED|open)</span>", text)
    checks = whole.uns["gnnimpute_evaluation"]["checks"]
    assert len(found) == 1 + len(checks)
    assert set(found) <= {("pass", "●", "passed"), ("fail", "▲", "FAILED"), ("unknown", "○", "open")}
    answers = re.findall(r'aria-hidden="true">(.)</span> (yes|NO|not shown)</span>', text)
    assert len(answers) == 7
    assert set(answers) <= {("●", "yes"), ("▲", "NO"), ("○", "not shown")}
    n_failed = (checks["status"] == "fail").sum()
    assert (f"{n_failed} of {len(checks)} tests for false signals FAILED" in text) == (n_failed > 0)


def test_pictures_show_the_groups_that_were_tested(whole: anndata.AnnData) -> None:
    from gnnimpute.report._shown import shown

    groups = whole.uns["gnnimpute_evaluation"]["groups"]
    assert list(groups.index) == list(whole.obs_names)
    for given in (groups, groups[::-1], groups.iloc[10:]):
        seen = shown(whole, key="gnnimpute", cluster_key=None, genes=None, groups=given)
        names = [seen.names[group] for group in seen.groups]
        assert names == list(groups["group"].reindex(whole.obs_names[seen.cells]))
        assert set(whole.obs_names[seen.cells]) == set(given.index)
    # Cells of another data set have none of these groups.
    strangers = shown(whole, key="gnnimpute", cluster_key=None, genes=None, groups=groups.rename(index="x{}".format))
    assert len(strangers.cells) == whole.n_obs


def test_pictures_of_other_groups_say_so(whole: anndata.AnnData, tmp_path: Path) -> None:
    adata = whole.copy()
    groups = adata.uns["gnnimpute_evaluation"]["groups"]
    adata.obs["tested"], adata.obs["other"] = groups["group"], np.where(np.arange(adata.n_obs) % 2, "a", "b")
    adata.obs["renamed"] = "type of " + groups["group"].astype(str)
    for cluster_key, of, are_tested in (
        (None, groups, True), (None, None, True), ("tested", groups, True), ("tested", groups.iloc[10:], True),
        ("other", groups, False), ("other", None, True), ("renamed", groups, True),
        (None, groups.rename(index="x{}".format), False), ("tested", groups.rename(index="x{}".format), False),
    ):  # fmt: skip
        seen = shown(adata, key="gnnimpute", cluster_key=cluster_key, genes=["gene1"], groups=of)
        assert seen.are_tested == are_tested
    gi.report.write(adata, tmp_path / "a.html", cluster_key="other", genes=["gene1"])
    said = "What is said above of groups is of others than those of these pictures."
    assert said in read(tmp_path / "a.html")[0]


@pytest.mark.parametrize("missing", ["", None])
def test_cells_without_a_label_are_not_shown(whole: anndata.AnnData, missing: str | None, tmp_path: Path) -> None:
    from gnnimpute.report._shown import shown

    adata = whole.copy()
    labels = adata.obs["kind"].astype(object).to_numpy()
    labels[:20] = missing
    adata.obs["label"] = labels
    seen = shown(adata, key="gnnimpute", cluster_key="label", genes=None)
    assert list(seen.cells) == list(range(20, 90))
    assert [seen.names[group] for group in seen.groups] == list(labels[20:])
    gi.report.write(adata, tmp_path / "a.html", cluster_key="label")
    assert "20 cells without a group: left out of these pictures." in read(tmp_path / "a.html")[0]
    gi.report.write(adata, tmp_path / "all.html", cluster_key="kind")
    assert "without a group" not in read(tmp_path / "all.html")[0]


def test_where_it_does_not_help_the_headline_says_only_that(whole: anndata.AnnData) -> None:
    from gnnimpute._verdict import told
    from gnnimpute.report._judged import headline

    found = whole.uns["gnnimpute_evaluation"]
    checks = found["checks"].assign(status="fail")
    for verdict, but in (("helps", "9 of 9 tests"), ("no gain", "")):
        judged = found | {"verdict": verdict, "checks": checks}
        seen = headline(judged | {"text": told(judged)})
        assert seen.but.startswith(but)
        assert bool(seen.but) == bool(but)
        assert not any("tests for false signals" in line for line in seen.why)


def test_a_page_is_not_written_under_the_name_of_another_kind_of_file(whole: anndata.AnnData, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"z\.pdf: the name of a report ends in \.html\."):
        gi.report.write(whole, tmp_path / "z.pdf")
    assert not list(tmp_path.iterdir())


def test_same_data_same_page(whole: anndata.AnnData, page: Path, tmp_path: Path) -> None:
    gi.report.write(whole, tmp_path / "b.html", command="gnnimpute impute a b --report a.html", source="a.h5ad")
    assert (tmp_path / "b.html").read_bytes() == page.read_bytes()


def test_without_an_imputation_and_an_evaluation(tmp_path: Path) -> None:
    gi.report.write(made(n_types=2), tmp_path / "a.html")
    text, tags = read(tmp_path / "a.html")
    assert "Not evaluated." in text
    assert "Training" not in tags.headings
    assert "<script" not in text


def test_one_type(tmp_path: Path) -> None:
    adata = made(n_types=1)
    gi.tl.impute(adata, config=CONFIG, progress=False)
    gi.report.write(adata, tmp_path / "a.html", cluster_key="kind")
    text, _ = read(tmp_path / "a.html")
    assert "Markers by group" not in text  # there is one
    assert "Markers, imputed" in text


def test_scales_of_the_imputation_are_brought_to_one() -> None:
    from gnnimpute.report._shown import shown

    adata = made(n_types=2)
    imputer = gi.tl.fit(adata, config=CONFIG, progress=False)
    values = []
    for output in ("normalized", "counts", "log1p"):
        gi.tl.impute(adata, imputer=imputer, output=output, progress=False)
        values.append(shown(adata, key="gnnimpute", cluster_key="kind", genes=None).imputed(["gene1", "gene2"]))
    np.testing.assert_allclose(values[1], values[0], rtol=1e-4)
    np.testing.assert_allclose(values[2], values[0], rtol=1e-4)


def test_markers_tell_groups_apart() -> None:
    from gnnimpute.report._shown import shown

    adata = made(n_types=3, n_cells=300)
    seen = shown(adata, key="gnnimpute", cluster_key="kind", genes=None)
    assert seen.names == ["kind 0", "kind 1", "kind 2"]
    first = seen.counts(seen.markers[:1])[:, 0]
    means = [first[seen.groups == group].mean() for group in range(3)]
    assert means[0] > 1.5 * max(means[1:])
    assert seen.imputed(["gene1"]) is None


def test_names_cannot_break_the_page(tmp_path: Path) -> None:
    adata = made(n_types=2)
    adata.var_names = ["</script><b>" + name for name in adata.var_names]
    adata.obs["kind"] = pd.Categorical(np.where(adata.obs["kind"] == "kind 0", "<i>a & b", '"c"'))
    gi.tl.impute(adata, config=CONFIG, progress=False)
    gi.report.write(adata, tmp_path / "a.html", cluster_key="kind", source="<script>", command="a < b")
    text, _ = read(tmp_path / "a.html")
    assert "<b>gene" not in text
    assert "<script>," not in text
    assert "a &lt; b" in text


@pytest.mark.slow
def test_many_cells_make_no_big_page(tmp_path: Path) -> None:
    adata = made(n_types=4, n_cells=20_000)
    adata.obs["gnnimpute_pass"] &= np.arange(20_000) % 50 > 0  # some are set aside
    config = gi.Config(n_hidden=8, n_latent=4, n_epochs=1)
    gi.tl.impute(adata, config=config, progress=False)
    gi.tl.evaluate(adata, config=config, quality=LOOSE, n_pcs=5, seeds=(0,), checks=False, progress=False)
    gi.report.write(adata, tmp_path / "a.html")
    text, _ = read(tmp_path / "a.html")
    assert len(text) < 6e6
    assert "5,000 of 20,000 cells" in text
    assert "19,600 of 20,000 are modelled" in text
    # Cells are pixels: in vectors, each would be a tag.
    assert text.count("<use ") + text.count("<path ") < 8_000


def many(n_types: int, name: str) -> anndata.AnnData:
    adata = made(n_types=n_types, n_cells=6 * n_types)
    adata.obs["kind"] = adata.obs["kind"].cat.rename_categories([name.format(number) for number in range(n_types)])
    gi.tl.impute(adata, config=CONFIG, progress=False)
    return adata


LONG = "CD4-positive, alpha-beta memory T cell, CD45RO-positive, type {:03}"


@pytest.mark.parametrize(("n_types", "name"), [(51, LONG), (12, LONG), (51, "{:03} T cell")])
def test_many_or_long_names_of_groups_are_numbers_in_pictures(n_types: int, name: str, tmp_path: Path) -> None:
    adata = many(n_types, name)
    gi.report.write(adata, tmp_path / "a.html", cluster_key="kind")
    text, _ = read(tmp_path / "a.html")
    listed = re.search(r'<ul class="groups">(.*?)</ul>', text, re.DOTALL)
    assert listed is not None
    expected = [f"g{number + 1}: {name.format(number)}" for number in range(n_types)]
    assert re.findall("<li>(.*?)</li>", listed[1]) == expected
    seen = shown(adata, key="gnnimpute", cluster_key="kind", genes=None)
    assert seen.tags == [f"g{number}" for number in range(1, n_types + 1)]  # which no number of a cluster looks like
    (dots,) = re.findall(r'aria-label="Markers by group, imputed".*?</svg>', text, re.DOTALL)
    drawn = set(re.findall(r"<text[^>]*>(g\d+)</text>", dots)) & set(seen.tags)
    n_drawn = min(n_types, 24)
    assert len(drawn) == n_drawn
    assert text.count("The 24 largest of 51 groups; 27 are left out.") == (4 if n_types > 24 else 0)


@pytest.mark.parametrize("names", [["a", "B cell, memory"], [str(number) for number in range(51)]])
def test_few_short_names_and_numbers_are_names_in_pictures(names: list[str]) -> None:
    adata = made(n_types=len(names), n_cells=6 * len(names))
    adata.obs["kind"] = adata.obs["kind"].cat.rename_categories(names)
    seen = shown(adata, key="gnnimpute", cluster_key="kind", genes=None)
    assert seen.tags == seen.names


def test_columns_are_of_the_largest_groups_and_markers_of_these() -> None:
    adata = made(n_types=30, n_cells=300)
    sizes = np.r_[np.full(6, 5), np.full(24, 11), 6]  # the last also goes to the last group
    adata.obs["kind"] = np.repeat([f"{number:02}" for number in [*range(30), 29]], sizes)
    seen = shown(adata, key="gnnimpute", cluster_key="kind", genes=None)
    assert seen.drawn.tolist() == list(range(6, 30))
    assert len(set(seen.markers)) == 24


def test_groups_are_equally_wide_in_heat_maps(monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib.axes import Axes

    from gnnimpute.report._before_after import heat_maps

    images: list[Any] = []
    draw = Axes.imshow
    monkeypatch.setattr(Axes, "imshow", lambda ax, image, **how: images.append((ax, image)) or draw(ax, image, **how))
    adata = made(n_types=2)
    gi.tl.impute(adata, config=CONFIG, progress=False)
    adata.obs["kind"] = np.repeat(["most", "rare"], [88, 2])
    seen = shown(adata, key="gnnimpute", cluster_key="kind", genes=None)
    list(heat_maps(seen))
    for ax, image in images:
        assert image.shape == (len(seen.markers), 600)
        assert ax.get_xticks().tolist() == [149.5, 449.5]
        assert len(np.unique(image[:, 300:], axis=1).T) <= 2


def test_long_names_beside_a_picture_are_wrapped_and_whole() -> None:
    from gnnimpute.report._judged import _intervals

    labels = [LONG.format(number) for number in range(51)]
    value = np.linspace(1, 9, 51)
    found = _intervals("Cells by group", labels, value, value - 1, value + 1, caption="").html
    lines = re.findall(r"<text[^>]*>([^<]*)</text>", found)
    beside = "\n".join(lines)
    assert max(map(len, lines)) <= 40
    assert all(f"type {number:03}" in beside for number in range(51))
    width, height = map(float, re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', found).groups())
    assert height < 72 * 19
    left = float(re.search(r'patch_2">\s*<path d="M ([\d.]+) ', found)[1])
    assert left < 0.6 * width


def test_more_groups_than_a_byte_holds_keep_their_names(whole: anndata.AnnData) -> None:
    import base64
    import json
    from dataclasses import replace

    from gnnimpute.report._page import _chooser

    seen = shown(whole, key="gnnimpute", cluster_key="kind", genes=None)
    groups = np.arange(len(seen.cells)) + 210
    data = json.loads(_chooser(replace(seen, groups=groups)))
    np.testing.assert_array_equal(np.frombuffer(base64.b64decode(data["groups"]), dtype="<u2"), groups)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"key": "gnnimput"}, "no imputation 'gnnimput'.* Did you mean 'gnnimpute'"),
        ({"key": "gnnimpute_evaluation"}, "no imputation 'gnnimpute_evaluation'"),
        ({"evaluation_key": "typo"}, "no evaluation 'typo'"),
    ],
)
def test_keys_that_are_named_have_to_be_there(
    whole: anndata.AnnData, tmp_path: Path, wrong: dict[str, str], said: str
) -> None:
    with pytest.raises(KeyError, match=said):
        gi.report.write(whole, tmp_path / "a.html", **wrong)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("wrong", "said"), [({"cluster_key": "typo"}, "typo"), ({"genes": ["typo"]}, "typo"), ({}, "prepare")]
)
def test_what_cannot_be_shown_is_refused(tmp_path: Path, wrong: dict[str, Any], said: str) -> None:
    adata = made(n_types=2) if wrong else anndata.AnnData(np.ones((5, 4), dtype=np.float32))
    with pytest.raises(KeyError, match=said):
        gi.report.write(adata, tmp_path / "a.html", **wrong)
    assert not list(tmp_path.iterdir())


def test_the_counts_that_were_imputed_are_shown(tmp_path: Path) -> None:
    adata = made(n_types=3)
    adata.layers["half"] = sp.csr_matrix(np.floor(adata.X.toarray() / 2))
    gi.tl.impute(adata, config=CONFIG, layer="half", progress=False)
    gi.report.write(adata, tmp_path / "page.html")
    zeros = 1 - adata.layers["half"].nnz / np.prod(adata.shape)
    assert f"{zeros:.1%} of all counts" in (tmp_path / "page.html").read_text(encoding="utf-8")
    seen = shown(adata, key="gnnimpute", cluster_key="kind", genes=["gene1"])
    expected = adata.layers["half"].toarray()[seen.cells, 1] / adata.obs["gnnimpute_depth"].to_numpy()[seen.cells]
    np.testing.assert_allclose(seen.counts(["gene1"])[:, 0], expected)
