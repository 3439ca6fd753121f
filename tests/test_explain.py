"""Explanations: the numbers that `impute` gives, and markers of groups among what sets these apart."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
import scanpy as sc
import scipy.sparse as sp
from anndata import AnnData
from anndata.tests.helpers import assert_equal
from click.testing import CliRunner

from gnnimpute import Config, GNNImputer, io, pl, pp, tl
from gnnimpute.cli import main

if TYPE_CHECKING:
    from pathlib import Path

PREPARE = {"min_genes": 5, "max_mito_pct": None, "max_total": None, "n_pcs": 5}


@pytest.fixture(scope="module")
def adata() -> AnnData:
    """Three types of 60 cells; gene0 to gene2 are markers of one each. A cell and a gene do not pass."""
    rng = np.random.default_rng(0)
    rate = np.full((180, 80), 1.5)
    types = np.repeat([0, 1, 2], 60)
    for kind in range(3):
        rate[types == kind, kind] = 12
        rate[types != kind, kind] = 0.2
    counts = rng.poisson(rate).astype(np.float32)
    counts[7, 3:], counts[:, 79] = 0, 0
    adata = AnnData(sp.csr_matrix(counts))
    adata.obs_names, adata.var_names = [f"cell{i}" for i in range(180)], [f"gene{i}" for i in range(80)]
    adata.obs["type"] = np.array(["a", "b", "c"])[types]
    pp.prepare(adata, **PREPARE)
    assert np.flatnonzero(~adata.obs["gnnimpute_pass"]).tolist() == [7]
    return adata


@pytest.fixture(scope="module")
def imputer(adata: AnnData) -> GNNImputer:
    return tl.fit(adata, config=Config(n_hidden=16, n_latent=4, n_epochs=15))


def test_it_says_what_impute_gives(adata: AnnData, imputer: GNNImputer) -> None:
    before = adata.copy()
    why = tl.explain(adata, "cell9", "gene1", imputer=imputer, level=0.8)
    assert_equal(adata, before, exact=True)
    row, column = adata.obs_names.get_loc("cell9"), adata.var_names.get_loc("gene1")
    for estimate, value in (("mean", why.mean), ("posterior", why.posterior)):
        there = adata.copy()
        tl.impute(there, imputer=imputer, estimate=estimate, output="counts", interval=0.8)
        assert value == pytest.approx(there.layers["gnnimpute"][row, column], rel=1e-4)
    for name, value in (("lower", why.lower), ("upper", why.upper), ("redetection", why.redetection)):
        assert value == pytest.approx(there.layers[f"gnnimpute_{name}"][row, column], rel=1e-4)
    weights = there.obsp["gnnimpute_attention"][row].toarray()[0]
    assert why.own_weight == pytest.approx(weights[row], abs=1e-5)
    expected = weights[[adata.obs_names.get_loc(name) for name in why.neighbors.index]]
    np.testing.assert_allclose(why.neighbors["weight"], expected, rtol=1e-4)
    assert why.own_weight + why.neighbors["weight"].sum() == pytest.approx(1, abs=1e-5)
    assert why.neighbors["weight"].is_monotonic_decreasing
    # The posterior is the mean of the prior and the count, as the pull says, and the prior that of two others.
    assert why.posterior == pytest.approx((1 - why.own_pull) * why.prior + why.own_pull * why.count, rel=1e-4)
    modelled = adata[adata.obs["gnnimpute_pass"]].layers["counts"]
    typical = why.total * modelled[:, column].sum() / modelled.sum()
    assert why.average == pytest.approx(typical, rel=0.1)  # of what validation left
    assert why.prior == pytest.approx((1 - why.average_weight) * why.given + why.average_weight * why.average, rel=1e-4)
    counts = adata[why.neighbors.index, "gene1"].layers["counts"].toarray()[:, 0]
    np.testing.assert_array_equal(why.neighbors["count"], counts)


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_the_linear_part_is_taken_apart(adata: AnnData, imputer: GNNImputer, share: float) -> None:
    imputer = copy.deepcopy(imputer)
    imputer.network_.linear.weight.fill_(share)
    # A marker, in a cell of its type and in one of another.
    why, elsewhere = (tl.explain(adata, cell, "gene1", imputer=imputer) for cell in ("cell70", "cell130"))
    if not share:
        assert why.linear is None
        assert "linear" not in str(why)
        return
    part = why.linear
    assert ("The network has no share in this value" in str(why)) == (share == 1)
    assert part.share == share
    expected = share * part.value + (1 - share) * part.network
    assert part.group * expected == pytest.approx(why.mean, rel=1e-4)
    assert elsewhere.linear.group < part.group
    assert f"times {part.group:.2f}" in str(why)
    assert part.typical + part.own + part.neighbors == pytest.approx(part.value, rel=1e-3)
    assert part.own + part.neighbors > 0 > elsewhere.linear.own + elsewhere.linear.neighbors
    assert f"{share:.0%} of a linear prediction's {part.value:.3g}" in str(why)
    # What is said of a mean cell does not depend on the cell, but for its depth.
    same = part.typical / why.total
    assert elsewhere.linear.typical / elsewhere.total == pytest.approx(same, rel=0.1)


def test_the_text_names_the_average_where_it_has_a_say(adata: AnnData, imputer: GNNImputer) -> None:
    imputer = copy.copy(imputer)
    for weight in (0.0, 0.25):
        imputer.average_ = imputer.average_._replace(weight=np.full(len(imputer.genes_), weight, np.float32))
        why = tl.explain(adata, "cell9", "gene1", imputer=imputer)
        said = f"prior         {why.prior:.3g}, with 25% of its average at this depth, {why.average:.3g}"
        assert (said in str(why)) == (weight > 0)
        assert ("average" in str(why)) == (weight > 0)


def test_the_text_names_what_matters(adata: AnnData, imputer: GNNImputer) -> None:
    zero = adata.obs_names[(adata.layers["counts"][:, 4].toarray()[:, 0] == 0) & adata.obs["gnnimpute_pass"]][0]
    why = tl.explain(adata, zero, "gene4", imputer=imputer)
    text = str(why)
    for part in (
        f"gene4 in cell {zero}",
        "interval",
        "90%",
        "dropout",
        f"{why.redetection:.0%}",
        why.neighbors.index[0],
    ):
        assert part in text
    seen = adata.obs_names[adata.layers["counts"][:, 4].toarray()[:, 0] > 0][0]
    assert "dropout" not in str(tl.explain(adata, seen, "gene4", imputer=imputer))


def test_the_plot_has_a_bar_for_the_cell_and_each_neighbour(adata: AnnData, imputer: GNNImputer) -> None:
    why = tl.explain(adata, "cell9", "gene1", imputer=imputer)
    ax = pl.explain(why, n_cells=3)
    widths = [bar.get_width() for bar in ax.patches]
    np.testing.assert_allclose(widths, [100 * why.own_weight, *(100 * why.neighbors["weight"].iloc[:3])], rtol=1e-6)
    assert ax.get_yticklabels()[0].get_text() == "cell9 (itself)"
    assert f"counted, {why.mean:.2g} expected, posterior {why.posterior:.2g}\n" in ax.get_title()
    assert [t.get_text() for t in ax.texts] == [f"{why.count:g}", *(f"{c:g}" for c in why.neighbors["count"].iloc[:3])]


def test_long_names_of_cells_show_their_end(adata: AnnData, imputer: GNNImputer) -> None:
    long = adata.copy()
    long.obs_names = "a_long_name_of_a_sample_" + adata.obs_names
    ax = pl.explain(tl.explain(long, long.obs_names[9], "gene1", imputer=imputer))
    names = [tick.get_text() for tick in ax.get_yticklabels()]
    assert names[0] == "\u2026e_of_a_sample_cell9 (itself)"
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("cell", "gene", "message"),
    [
        ("cell999", "gene1", "no cell 'cell999'"),
        ("cell7", "gene1", "did not pass quality control"),
        ("cell9", "geneX", "'geneX' is not among the genes of the model, which passed"),
        ("cell9", "gene79", "Gene 'gene79' did not pass quality control and is not modelled"),
    ],
)
def test_what_is_not_there_is_named(adata: AnnData, imputer: GNNImputer, cell: str, gene: str, message: str) -> None:
    with pytest.raises(KeyError, match=message):
        tl.explain(adata, cell, gene, imputer=imputer)


def test_a_name_of_two_cells_is_refused(adata: AnnData, imputer: GNNImputer) -> None:
    twice = adata.copy()
    names = twice.obs_names.to_numpy(copy=True)
    names[3] = names[50] = "cell10"
    twice.obs_names = names
    with pytest.raises(ValueError, match=r"'cell10' stands 3 times.*adata\.obs_names_make_unique\(\)"):
        tl.explain(twice, "cell10", "gene1", imputer=imputer)
    assert tl.explain(twice, "cell9", "gene1", imputer=imputer).cell == "cell9"


def test_markers_drive_their_groups(adata: AnnData, imputer: GNNImputer) -> None:
    shares = tl.drivers(adata, "type", imputer=imputer)
    assert shares.shape == (79, 3)
    for group, marker in zip("abc", ["gene0", "gene1", "gene2"], strict=True):
        assert marker in shares[group].nlargest(8).index  # of 79


def test_drivers_of_one_group_or_no_column_are_refused(adata: AnnData, imputer: GNNImputer) -> None:
    with pytest.raises(KeyError, match="no 'nocolumn'"):
        tl.drivers(adata, "nocolumn", imputer=imputer)
    one = adata.copy()
    one.obs["type"] = "a"
    with pytest.raises(ValueError, match="has one group"):
        tl.drivers(one, "type", imputer=imputer)


def test_leiden_takes_the_attention_graph(adata: AnnData, imputer: GNNImputer) -> None:
    adata = adata[adata.obs["gnnimpute_pass"]].copy()
    tl.impute(adata, imputer=imputer)
    attention = adata.obsp["gnnimpute_attention"]
    np.testing.assert_allclose(attention.sum(1), 1, rtol=1e-5)
    sc.tl.leiden(adata, 0.2, adjacency=attention, flavor="igraph", directed=False, n_iterations=2, random_state=0)
    sizes = adata.obs.groupby("leiden", observed=True)["type"].agg(lambda types: types.value_counts().iloc[0])
    assert sizes.sum() > 0.9 * adata.n_obs  # clusters are of one type each


@pytest.mark.slow
def test_umap_takes_the_attention_graph(adata: AnnData, imputer: GNNImputer) -> None:
    adata = adata[adata.obs["gnnimpute_pass"]].copy()
    tl.impute(adata, imputer=imputer)
    attention = adata.obsp["gnnimpute_attention"]
    adata.obsp["listening"] = (attention + attention.T) / 2
    adata.uns["listening"] = {"connectivities_key": "listening", "distances_key": "listening",
                              "params": {"method": "umap", "use_rep": "gnnimpute", "n_neighbors": 6}}  # fmt: skip
    sc.tl.umap(adata, neighbors_key="listening")
    centres = np.array([adata.obsm["X_umap"][adata.obs["type"] == kind].mean(0) for kind in "abc"])
    nearest = ((adata.obsm["X_umap"][:, None] - centres) ** 2).sum(-1).argmin(1)
    assert (np.array(list("abc"))[nearest] == adata.obs["type"]).mean() > 0.9


def test_the_command_says_the_same_and_draws(adata: AnnData, imputer: GNNImputer, tmp_path: Path) -> None:
    io.write(adata, tmp_path / "in.h5ad")
    imputer.save(tmp_path / "model.safetensors")
    arguments = ["explain", tmp_path / "in.h5ad", "--model", tmp_path / "model.safetensors", "--cell", "cell9"]
    arguments += ["--gene", "gene1", "--figure", tmp_path / "why.png"]
    done = CliRunner().invoke(main, [str(a) for a in arguments])
    assert done.exit_code == 0, done.output
    assert done.stdout.strip() == str(tl.explain(adata, "cell9", "gene1", imputer=imputer))
    assert (tmp_path / "why.png").read_bytes()[:4] == b"\x89PNG"
    again = CliRunner().invoke(main, [str(a) for a in arguments])
    assert again.exit_code == 2
    assert "why.png exists" in again.stderr


@pytest.mark.parametrize(
    "graph", [{"use_rep": "X_rep", "n_neighbors": 3, "batch_key": "lane"}, {"neighbors_key": "near"}]
)
def test_what_is_explained_is_what_was_imputed(adata: AnnData, tmp_path: Path, graph: dict[str, Any]) -> None:
    """The layer and the graph of the imputation, from Python and at a shell, though the one of `prepare` is there."""
    rng = np.random.default_rng(1)
    adata = adata.copy()
    adata.layers["other"], adata.obsm["X_rep"] = adata.layers["counts"] * 2, rng.normal(size=(180, 3))
    adata.obs["lane"] = pd.Categorical(["x", "y"] * 90)
    sc.pp.neighbors(adata, use_rep="X_rep", n_neighbors=4, key_added="near")
    imputer = tl.fit(adata, config=Config(n_hidden=16, n_latent=4, n_epochs=3), layer="other", **graph)
    tl.impute(adata, imputer=imputer, layer="other", output="counts", **graph)
    value = adata.layers["gnnimpute"][adata.obs_names.get_loc("cell9"), adata.var_names.get_loc("gene1")]
    why = tl.explain(adata, "cell9", "gene1", imputer=imputer)
    assert why.mean == pytest.approx(value, rel=1e-4)
    drivers = tl.drivers(adata, "type", imputer=imputer)
    pd.testing.assert_frame_equal(drivers, tl.drivers(adata, "type", imputer=imputer, layer="other", **graph))
    two = adata.copy()
    two.uns["mine"] = two.uns["gnnimpute"]
    two.uns["gnnimpute"] = two.uns["mine"] | {
        "layer": "counts",
        "neighbors_key": "gnnimpute_neighbors",
        "use_rep": "",
        "batch_key": "",
    }
    assert not drivers.equals(tl.drivers(two, "type", imputer=imputer))
    pd.testing.assert_frame_equal(drivers, tl.drivers(two, "type", imputer=imputer, key="mine"))

    io.write(adata, tmp_path / "in.h5ad")
    imputer.save(tmp_path / "model.safetensors")
    asked = ["explain", tmp_path / "in.h5ad", "--model", tmp_path / "model.safetensors", "--cell", "cell9"]
    done = CliRunner().invoke(main, [*map(str, asked), "--gene", "gene1"])
    assert done.exit_code == 0, done.output
    assert done.stdout.strip() == str(why)


@pytest.mark.parametrize("option", [["--use-rep", "X_rep"], ["--neighbors-key", "near"]])
def test_the_command_makes_no_graph_beside_the_one_that_is_named(
    adata: AnnData, imputer: GNNImputer, tmp_path: Path, option: list[str]
) -> None:
    counts = AnnData(adata.layers["counts"], adata.obs[[]], adata.var[[]])
    counts.obsm["X_rep"] = np.random.default_rng(1).normal(size=(180, 3))
    sc.pp.neighbors(counts, use_rep="X_rep", n_neighbors=6, key_added="near")
    io.write(counts, tmp_path / "in.h5ad", key=None)
    imputer.save(tmp_path / "model.safetensors")
    asked = ["explain", tmp_path / "in.h5ad", "--model", tmp_path / "model.safetensors", "--cell", "cell9"]
    done = CliRunner().invoke(main, [*map(str, asked), "--gene", "gene1", "--min-genes", "5", *option])
    assert done.exit_code == 0, done.output
    pp.prepare(counts, **PREPARE | {"n_pcs": None})
    graph = {option[0][2:].replace("-", "_"): option[1]}
    assert done.stdout.strip() == str(tl.explain(counts, "cell9", "gene1", imputer=imputer, **graph))


@pytest.mark.slow
def test_known_markers_drive_sorted_blood_cells(data_dir: Path) -> None:
    adata = io.read(data_dir / "PBMC_facs_zheng.h5ad")
    adata = adata[np.random.default_rng(0).choice(adata.n_obs, 1200, replace=False)].copy()
    pp.prepare(adata, filter=True)
    ranks = tl.drivers(adata, "subpop", imputer=tl.fit(adata)).rank(ascending=False)
    for group, marker in (("T cell", "CD3D"), ("NK cell", "NKG7"), ("B cell", "MS4A1"), ("CD14+", "LYZ")):
        assert ranks.loc[marker, group] <= 30, f"{marker} is number {ranks.loc[marker, group]:.0f} of {group}"


def test_drivers_are_in_the_order_of_the_groups(adata: AnnData, imputer: GNNImputer) -> None:
    ordered = adata.copy()
    ordered.obs["type"] = ordered.obs["type"].astype("category").cat.rename_categories({"a": "10", "b": "9", "c": "2"})
    assert tl.drivers(ordered, "type", imputer=imputer).columns.tolist() == ["10", "9", "2"]


def test_the_command_explains_the_layer_that_is_named(
    adata: AnnData, imputer: GNNImputer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = adata.layers["counts"]
    plain = AnnData(counts, adata.obs[[]], adata.var[[]], layers={"counts": counts, "other": counts})
    io.write(plain, tmp_path / "in.h5ad", key=None)
    imputer.save(tmp_path / "model.safetensors")
    asked: list[Any] = []
    monkeypatch.setattr(pp, "prepare", lambda _, layer, **limits: asked.extend([layer, limits["min_genes"]]))
    monkeypatch.setattr(tl, "explain", lambda *_, **options: asked.append(options["layer"]))
    arguments = ["explain", str(tmp_path / "in.h5ad"), "--model", str(tmp_path / "model.safetensors")]
    arguments += ["--cell", adata.obs_names[0], "--gene", adata.var_names[0], "--layer", "other", "--min-genes", "7"]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    assert asked == ["other", 7, "other"]


def test_the_command_explains_values_that_are_no_counts(adata: AnnData, tmp_path: Path) -> None:
    tpm = AnnData(1.37 * adata.layers["counts"], adata.obs[[]], adata.var[[]])
    io.write(tpm, tmp_path / "in.h5ad", key=None)
    few = ["--min-genes", "5", "--max-mito-pct", "none", "--max-total", "none"]
    arguments = ["impute", tmp_path / "in.h5ad", tmp_path / "out.h5ad", "--allow-non-counts", *few, "--n-epochs", "2"]
    done = CliRunner().invoke(main, [str(a) for a in [*arguments, "--save-model", tmp_path / "model.safetensors"]])
    assert done.exit_code == 0, done.output
    asked = ["--model", tmp_path / "model.safetensors", "--cell", "cell9", "--gene", "gene1"]
    for name in ("in.h5ad", "out.h5ad"):
        arguments = [str(a) for a in ["explain", tmp_path / name, *asked, *few]]
        assert "--allow-non-counts" in CliRunner().invoke(main, arguments).stderr
        done = CliRunner().invoke(main, [*arguments, "--allow-non-counts"])
        assert done.exit_code == 0, done.output
        assert "gene1" in done.stdout


def test_the_linear_part_of_expression_is_taken_apart(adata: AnnData) -> None:
    imputer = tl.fit(adata, config=Config(loss="squared_error", n_hidden=16, n_latent=4, n_epochs=15))
    imputer.network_.linear.weight.fill_(0.25)
    why = tl.explain(adata, "cell70", "gene1", imputer=imputer)
    part = why.linear
    assert 0.25 * part.value + 0.75 * part.network == pytest.approx(why.mean, rel=1e-3)
    assert part.typical + part.own + part.neighbors == pytest.approx(part.value, rel=1e-3)
    assert part.value == pytest.approx(tl.explain(adata, "cell71", "gene1", imputer=imputer).linear.value, rel=0.5)


def test_a_path_is_no_anndata(imputer: GNNImputer) -> None:
    with pytest.raises(TypeError, match=r"adata = gi\.io\.read\('x\.h5ad'\)"):
        tl.explain("x.h5ad", "cell9", "gene1", imputer=imputer)


def test_drivers_where_some_cells_have_no_group(adata: AnnData, imputer: GNNImputer) -> None:
    gaps = adata.copy()
    gaps.obs["type"] = pd.array(adata.obs["type"].astype(str), dtype="string")
    gaps.obs.loc[gaps.obs_names[:20], "type"] = pd.NA
    found = tl.drivers(gaps, "type", imputer=imputer)
    gaps.obs["type"] = gaps.obs["type"].astype(object).fillna("none")
    pd.testing.assert_frame_equal(found, tl.drivers(gaps, "type", imputer=imputer)[["a", "b", "c"]])
    gaps.obs["type"] = pd.array([None] * 180, dtype="string")
    with pytest.raises(ValueError, match=r"obs\['type'\] is empty for all 179 cells"):
        tl.drivers(gaps, "type", imputer=imputer)


def test_drivers_of_a_quantity_are_refused(adata: AnnData, imputer: GNNImputer) -> None:
    with pytest.raises(ValueError, match=r"holds \d+ different numbers, too many for groups"):
        tl.drivers(adata, "gnnimpute_total_counts", imputer=imputer)


def test_another_value_than_the_layers_is_told(
    adata: AnnData, imputer: GNNImputer, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    imputed = adata.copy()
    tl.impute(imputed, imputer=imputer, output="log1p", key_added="mine")
    tl.impute(imputed, imputer=imputer, estimate="detected", key_added="other")
    at = imputed.obs_names.get_loc("cell9"), imputed.var_names.get_loc("gene1")
    for key in ("mine", "other"):
        tl.explain(imputed, "cell9", "gene1", imputer=imputer, key=key)
        assert not caplog.records
        some = imputed[[name not in tl.explain(adata, "cell9", "gene1", imputer=imputer).neighbors.index[:4]
                        for name in imputed.obs_names]].copy()  # fmt: skip
        tl.explain(some, "cell9", "gene1", imputer=imputer, key=key)
        assert f"adata.layers[{key!r}] has {imputed.layers[key][at]:.4g} there, but" in caplog.text
        caplog.clear()
    tl.explain(imputed, "cell9", "gene1", imputer=imputer)
    assert "adata.uns has the imputations ['mine', 'other']: none of them is meant" in caplog.text
    caplog.clear()
    tl.impute(imputed, imputer=imputer, genes=["gene1"], key_added="some")
    tl.explain(imputed, "cell9", "gene1", imputer=imputer, key="some")
    assert not caplog.records
    imputed.obsm["some_genes"].loc["cell9", "gene1"] = 99
    tl.explain(imputed, "cell9", "gene1", imputer=imputer, key="some")
    assert "adata.obsm['some_genes'] has 99 there" in caplog.text
    with pytest.raises(KeyError, match=r"no imputation 'mime'.*mine"):
        tl.explain(imputed, "cell9", "gene1", imputer=imputer, key="mime")
    imputed.write_h5ad(source := tmp_path / "imputed.h5ad")
    imputer.save(model := tmp_path / "model.safetensors")
    asked = ["explain", str(source), "--model", str(model), "--cell", "cell9", "--gene", "gene1"]
    assert CliRunner().invoke(main, [*asked, "--key", "mine"]).exit_code == 0
    wrong = CliRunner().invoke(main, [*asked, "--key", "mime"])
    assert wrong.exit_code
    assert "no imputation 'mime'" in wrong.output


def test_cells_out_of_reach_have_no_say(adata: AnnData, imputer: GNNImputer, monkeypatch: pytest.MonkeyPatch) -> None:
    why = tl.explain(adata, "cell9", "gene1", imputer=imputer)
    other = adata.copy()
    near = {other.obs_names.get_loc("cell9")}
    distances = other.obsp["gnnimpute_neighbors_distances"]
    for _ in range(2):
        near |= {int(cell) for one in near for cell in distances[one].indices}
    far = np.setdiff1d(np.arange(adata.n_obs), [*near])
    assert len(far) > 90
    counts = other.layers["counts"].tolil()
    counts[far, 5] = 1000
    other.layers["counts"] = counts.tocsr()
    with monkeypatch.context() as here:
        read, transform = [], GNNImputer.transform
        here.setattr(
            GNNImputer, "transform", lambda self, x, *a, **o: read.append(x.shape[0]) or transform(self, x, *a, **o)
        )
        again = tl.explain(other, "cell9", "gene1", imputer=imputer)
    assert str(again) == str(why)
    assert set(read) == {len(near)}


def test_a_name_of_a_modelled_gene_and_of_another_is_no_trouble(adata: AnnData) -> None:
    twice = adata.copy()
    twice.var_names = [*adata.var_names[:79], "gene3"]  # the last did not pass
    imputer = tl.fit(twice, config=Config(n_hidden=4, n_latent=2, n_epochs=1))
    tl.impute(twice, imputer=imputer, output="counts")
    why = tl.explain(twice, "cell9", "gene3", imputer=imputer)
    assert why.mean == pytest.approx(twice.layers["gnnimpute"][twice.obs_names.get_loc("cell9"), 3], rel=1e-4)
