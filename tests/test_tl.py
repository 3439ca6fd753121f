from __future__ import annotations

import anndata
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
import scipy.sparse as sp
import torch
import zarr
from anndata import AnnData
from anndata.tests.helpers import assert_equal

from gnnimpute import GNNImputer, NeighborGraph, pl, pp, tl
from gnnimpute._canvas import values_of
from gnnimpute._config import Config

TINY = Config(n_hidden=8, n_latent=4, n_epochs=2, patience=2)
PREPARE = {"min_genes": 5, "max_mito_pct": None, "max_total": None, "n_pcs": 5}
FAIL_CELLS, FAIL_GENES = [3, 50], [7, 20, 59]
ADDED = [("layers", "gnnimpute"), ("obsm", "gnnimpute"), ("obsp", "gnnimpute_attention"), ("uns", "gnnimpute")]
ADDED += [("obs", "gnnimpute_depth"), ("var", "gnnimpute_modelled")]


@pytest.fixture(scope="module")
def rich() -> AnnData:
    """A user's object: all slots filled, two cells and three genes that do not pass, prepared."""
    rng = np.random.default_rng(0)
    rate = rng.gamma(0.5, 2.0, size=(3, 60))[np.repeat([0, 1, 2], 30)] * rng.lognormal(0, 0.3, size=(90, 1))
    counts = rng.poisson(rate).astype(np.float32)
    counts[:, 0] += 1
    counts[FAIL_CELLS, 4:] = 0
    counts[:, FAIL_GENES] = 0
    counts[[1, 3], FAIL_GENES[0]] = 2
    adata = AnnData(sp.csr_matrix(np.log1p(counts)), layers={"counts": sp.csr_matrix(counts), "dense": counts + 1})
    adata.obs_names, adata.var_names = [f"cell{i}" for i in range(90)], [f"gene{i}" for i in range(60)]
    adata.raw = adata
    adata.obs["donor"] = pd.Categorical(["a", "b", "a"] * 30)
    adata.var["symbol"] = adata.var_names.str.upper()
    adata.obsm["X_rep"], adata.varm["loadings"] = rng.normal(size=(90, 3)), rng.normal(size=(60, 2))
    adata.varp["genes"] = sp.eye_array(60).tocsr()
    adata.uns["mine"] = {"nested": {"array": np.arange(3), "text": "μ"}}
    sc.pp.neighbors(adata, use_rep="X_rep", n_neighbors=4)
    pp.prepare(adata, **PREPARE)
    assert np.flatnonzero(~adata.obs["gnnimpute_pass"]).tolist() == FAIL_CELLS
    assert np.flatnonzero(~adata.var["gnnimpute_pass"]).tolist() == FAIL_GENES
    return adata


@pytest.fixture
def adata(rich):
    return rich.copy()


@pytest.fixture(scope="module")
def imputer(rich) -> GNNImputer:
    return tl.fit(rich, config=TINY)


def only_added(adata, added=ADDED):
    """Take what was added away again."""
    for slot, key in added:
        del getattr(adata, slot)[key]
    return adata


def assert_same(a, b):
    """Equal to the bit, cells without a latent too."""
    a, b = a.copy(), b.copy()
    for key in a.obsm.keys() & b.obsm.keys():
        if isinstance(a.obsm[key], np.ndarray):
            a.obsm[key], b.obsm[key] = np.nan_to_num(a.obsm[key], nan=-1), np.nan_to_num(b.obsm[key], nan=-1)
    assert_equal(a, b, exact=True)


def test_nothing_changes_but_the_new_keys(adata, rich):
    assert tl.impute(adata, config=TINY) is None
    assert_equal(only_added(adata), rich, exact=True)


def test_fit_changes_nothing(adata, rich):
    tl.fit(adata, config=TINY)
    assert_equal(adata, rich, exact=True)


def test_key_added_names_all_that_is_added(adata, rich, imputer):
    tl.impute(adata, imputer=imputer, key_added="other")
    tl.impute(adata, imputer=imputer, key_added="some", genes=["gene5"])
    added = [("layers", "other"), ("obsm", "some_genes")]
    added += [(s, k.replace("gnnimpute", name)) for s, k in ADDED[1:] for name in ("other", "some")]
    assert_equal(only_added(adata, added), rich, exact=True)


@pytest.mark.parametrize("output", ["normalized", "counts", "log1p"])
def test_what_fails_passes_through_on_the_same_scale(adata, imputer, output):
    tl.impute(adata, imputer=imputer, output=output)
    values, counts = adata.layers["gnnimpute"], adata.layers["counts"].toarray()
    cells, genes = adata.obs["gnnimpute_pass"].to_numpy(), adata.var["gnnimpute_pass"].to_numpy()
    totals = counts[:, genes].sum(1, keepdims=True)
    observed = counts if output == "counts" else counts * np.float32(np.median(totals[cells])) / totals
    observed = np.log1p(observed) if output == "log1p" else observed
    # Training hides some molecules, so the total it scales to is a little below the median.
    close = {"rtol": 0.15} if output != "counts" else {"rtol": 1e-6}
    np.testing.assert_allclose(values[~cells], observed[~cells], **close)
    np.testing.assert_allclose(values[:, ~genes], observed[:, ~genes], **close)
    assert values.dtype == np.float32
    assert np.isfinite(values).all()
    assert values.min() >= 0
    np.testing.assert_array_equal(adata.var["gnnimpute_modelled"], genes)
    if output == "normalized":
        scaled = counts / adata.obs[["gnnimpute_depth"]].to_numpy()
        np.testing.assert_allclose(values[~cells], scaled[~cells], rtol=1e-5)
    assert (values[np.ix_(cells, genes)] != observed[np.ix_(cells, genes)]).mean() > 0.9
    about = adata.uns["gnnimpute"]
    scale = about["target_total"]
    assert about["unit"].startswith({"normalized": "counts scaled", "counts": "counts at", "log1p": "log(1 + "}[output])
    if output == "normalized":
        np.testing.assert_allclose(values[cells][:, genes].sum(1), scale, rtol=1e-4)
        np.testing.assert_allclose(values[~cells][:, genes].sum(1), scale, rtol=1e-4)


def test_latent_and_attention_of_cells_that_fail_are_empty(adata, imputer):
    tl.impute(adata, imputer=imputer)
    passing = adata.obs["gnnimpute_pass"].to_numpy()
    latent, attention = adata.obsm["gnnimpute"], adata.obsp["gnnimpute_attention"]
    assert latent.shape == (90, 4)
    assert np.isnan(latent[~passing]).all()
    assert np.isfinite(latent[passing]).all()
    np.testing.assert_allclose(attention.sum(1)[passing], 1, rtol=1e-5)
    assert attention[~passing].nnz == attention[:, ~passing].nnz == 0
    assert attention.data.min() >= 0


@pytest.mark.parametrize("form", [sp.csc_matrix, sp.csr_array, sp.csr_matrix.toarray], ids=["csc", "array", "dense"])
def test_any_form_of_the_layer_gives_the_same(adata, imputer, form):
    tl.impute(adata, imputer=imputer)
    before = form(adata.layers["counts"])
    adata.layers["formed"] = before.copy()
    tl.impute(adata, imputer=imputer, layer="formed", key_added="again")
    np.testing.assert_array_equal(adata.layers["again"], adata.layers["gnnimpute"])
    assert_equal(adata.layers["formed"], before, exact=True)
    assert adata.uns["again"]["layer"] == "formed"


@pytest.mark.parametrize(
    "graph",
    [
        {"neighbors_key": "neighbors"},
        {"use_rep": "X_rep"},
        {"use_rep": "X_rep", "batch_key": "donor", "n_neighbors": 3},
    ],
    ids=["scanpy", "embedding", "batches"],
)
def test_any_graph_can_be_used(adata, graph):
    tl.impute(adata, config=TINY, **graph)
    about = adata.uns["gnnimpute"]
    assert not about["blind_validation"]
    assert (about["neighbors_key"], about["use_rep"]) == (graph.get("neighbors_key", ""), graph.get("use_rep", ""))
    if "batch_key" in graph:
        donors = adata.obs["donor"].cat.codes.to_numpy()
        reached = adata.obsp["gnnimpute_attention"].tocoo()
        assert (donors[reached.row] == donors[reached.col]).all()


def test_genes_come_as_a_table(adata, imputer):
    tl.impute(adata, imputer=imputer)
    whole = adata.to_df("gnnimpute")
    wanted = ["gene59", "gene30", "gene2"]  # the first does not pass
    tl.impute(adata, imputer=imputer, genes=wanted, key_added="few")
    table = adata.obsm["few_genes"]
    pd.testing.assert_frame_equal(table, whole[wanted])
    assert "few" not in adata.layers
    tl.impute(adata, imputer=imputer, genes=["gene59"], key_added="fails")
    pd.testing.assert_frame_equal(adata.obsm["fails_genes"], whole[["gene59"]])


@pytest.mark.parametrize("genes", [None, ["gene9", "gene59"]])
def test_out_is_written_instead(adata, imputer, tmp_path, genes):
    tl.impute(adata, imputer=imputer)
    expected = adata.to_df("gnnimpute")[genes or list(adata.var_names)]
    out = zarr.create_array(tmp_path / "out.zarr", shape=expected.shape, chunks=(40, 2), dtype="float32")
    tl.impute(adata, imputer=imputer, out=out, genes=genes, key_added="stored")
    np.testing.assert_array_equal(out[:], expected)
    assert "stored" not in adata.layers
    assert "stored_genes" not in adata.obsm


def test_an_imputer_is_used_on_new_cells(adata, imputer):
    new = AnnData(adata.layers["counts"][40:80, ::-1].copy())
    new.var_names = adata.var_names[::-1]
    new.obsm["X_rep"] = adata.obsm["X_rep"][40:80]
    tl.impute(new, imputer=imputer, use_rep="X_rep")
    assert new.layers["gnnimpute"].shape == (40, 60)
    about = new.uns["gnnimpute"]
    assert (about["n_cells"], about["n_genes"]) == (40, 57)
    assert (about["seed"], about["blind_validation"], about["interrupted"]) == (0, True, False)  # those of the fit
    assert about["threads"] == torch.get_num_threads()
    same = AnnData(new.X[:, ::-1].copy(), obsm={"X_rep": new.obsm["X_rep"]})
    same.var_names = adata.var_names
    tl.impute(same, imputer=imputer, use_rep="X_rep")
    np.testing.assert_allclose(same.layers["gnnimpute"], new.layers["gnnimpute"][:, ::-1], rtol=1e-4, atol=1e-6)


def test_running_again_gives_the_same_bits(adata, rich):
    again = rich.copy()
    tl.impute(adata, config=TINY, rng=3)
    tl.impute(again, config=TINY, rng=np.int64(3))
    assert_same(again, adata)
    tl.impute(again, config=TINY, rng=4)
    assert not np.array_equal(again.layers["gnnimpute"], adata.layers["gnnimpute"])


def test_permuting_cells_permutes_the_result(adata, imputer, rng):
    order = rng.permutation(90)
    moved = adata[order].copy()
    for each in (adata, moved):
        tl.impute(each, imputer=imputer)
    expected = adata[order]
    close = {"rtol": 1e-4, "atol": 1e-6}
    np.testing.assert_allclose(moved.layers["gnnimpute"], expected.layers["gnnimpute"], **close)
    np.testing.assert_allclose(moved.obsm["gnnimpute"], expected.obsm["gnnimpute"], **close)
    a, b = (each.obsp["gnnimpute_attention"].toarray() for each in (moved, expected))
    np.testing.assert_allclose(a, b, **close)


@pytest.mark.filterwarnings("ignore:Writing zarr v2")
@pytest.mark.parametrize("kind", ["h5ad", "zarr"])
def test_all_of_it_comes_back_from_a_file(adata, tmp_path, kind):
    tl.impute(adata, config=TINY, rng=np.random.default_rng(0))
    tl.impute(adata, config=TINY, key_added="few", genes=["gene1", "gene59"], use_rep="X_rep", estimate="posterior")
    path = tmp_path / f"a.{kind}"
    getattr(adata, f"write_{kind}")(path)
    read = getattr(anndata, f"read_{kind}")(path)
    assert_same(read, adata)
    for key in ("gnnimpute", "few"):
        assert Config.from_dict(dict(read.uns[key]["params"])) == TINY
        assert len(read.uns[key]["loss"]["validation"]) == 2
    tl.impute(read, config=TINY, rng=np.random.default_rng(0))  # a result of an earlier call may be replaced
    np.testing.assert_array_equal(read.layers["gnnimpute"], adata.layers["gnnimpute"])


def test_a_backed_file_is_left_alone(adata, imputer, tmp_path):
    adata.write_h5ad(tmp_path / "a.h5ad")
    before = (tmp_path / "a.h5ad").read_bytes()
    backed = anndata.read_h5ad(tmp_path / "a.h5ad", backed="r")
    tl.impute(backed, imputer=imputer)
    tl.impute(adata, imputer=imputer)
    np.testing.assert_array_equal(backed.layers["gnnimpute"], adata.layers["gnnimpute"])
    backed.file.close()
    assert (tmp_path / "a.h5ad").read_bytes() == before


LAYERS = ["gnnimpute_lower", "gnnimpute_upper", "gnnimpute_redetection"]


def test_a_model_of_other_genes_marks_its_own_and_counts_are_on_its_scale(rich, imputer, caplog):
    there = rich[:, ~rich.var_names.isin(["gene7", "gene9"])].copy()
    there.var_names = ["new" if name == "gene11" else name for name in there.var_names]
    with caplog.at_level("INFO"):
        tl.impute(there, imputer=imputer)
    modelled = there.var["gnnimpute_pass"] & (there.var_names != "new")
    np.testing.assert_array_equal(there.var["gnnimpute_modelled"], modelled)
    assert "1 genes that pass are none of the model's: of these, observed values are kept" in caplog.text
    cells = there.obs["gnnimpute_pass"].to_numpy()
    depth, values = there.obs["gnnimpute_depth"].to_numpy()[:, None], there.layers["gnnimpute"]
    scaled = there.layers["counts"].toarray() / depth
    np.testing.assert_allclose(values[~cells], scaled[~cells], rtol=1e-5)
    np.testing.assert_allclose(values[:, ~modelled], scaled[:, ~modelled], rtol=1e-5)
    np.testing.assert_allclose(
        values_of(there, ["new"], key="gnnimpute", layer="counts")[:, 0],
        values[:, there.var_names == "new"][:, 0],
        rtol=1e-5,
    )
    total = values[cells][:, modelled].sum(1)
    np.testing.assert_allclose(total, scaled[cells][:, modelled].sum(1), rtol=1e-3)
    share = round(100 * total.mean() / there.uns["gnnimpute"]["target_total"])
    assert 50 < share < 99
    assert there.uns["gnnimpute"]["unit"].endswith(f"; genes that are there have {share}% of it")
    assert pl.embedding(there, "new", basis="gnnimpute_pca").get_title() == "new, observed"
    explained = tl.explain(there, there.obs_names[cells][0], "gene5", imputer=imputer)
    assert explained.mean * explained.target_total / explained.total == pytest.approx(
        values[cells, there.var_names == "gene5"][0], rel=1e-4
    )


def test_intervals_are_layers_around_the_posterior(adata, rich, imputer):
    tl.impute(adata, imputer=imputer, estimate="posterior", interval=0.95)
    assert adata.uns["gnnimpute"]["interval"] == 0.95
    lower, upper, again = (adata.layers[name] for name in LAYERS)
    modelled = np.ix_(rich.obs["gnnimpute_pass"], rich.var["gnnimpute_pass"])
    value = adata.layers["gnnimpute"][modelled]
    assert (lower[modelled] <= value).all()
    assert (value <= upper[modelled]).all()
    assert ((again[modelled] >= 0) & (again[modelled] <= 1)).all()
    for layer in (lower, upper, again):
        layer[modelled] = np.nan
        assert np.isnan(layer).all()
    assert_equal(only_added(adata, [*ADDED, *(("layers", name) for name in LAYERS)]), rich, exact=True)


def test_intervals_of_an_earlier_result_do_not_stay(adata, imputer):
    tl.impute(adata, imputer=imputer, interval=0.9)
    tl.impute(adata, imputer=imputer)
    assert not set(LAYERS) & set(adata.layers)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"interval": 90}, "^interval=90: .*above 0 and below 1"),
        ({"interval": 0.9, "genes": ["gene0"]}, "leave out genes= and out="),
        ({"interval": 0.9, "estimate": "detected"}, r"Config\(hide='molecules'\)"),
    ],
)
def test_intervals_that_cannot_be_given_are_refused_before_training(adata, rich, wrong, message):
    with pytest.raises(ValueError, match=message):
        tl.impute(adata, config=None, **wrong)
    assert_equal(adata, rich, exact=True)


def test_nothing_of_an_earlier_result_stays_under_its_key(adata, imputer):
    tl.impute(adata, imputer=imputer, interval=0.9)
    tl.impute(adata, imputer=imputer, genes=["gene1"], output="log1p")
    assert "gnnimpute" not in adata.layers
    assert "gnnimpute_lower" not in adata.layers
    tl.impute(adata, imputer=imputer, output="counts")
    assert "gnnimpute_genes" not in adata.obsm
    assert "gnnimpute" in adata.layers


def test_another_result_or_layer_whose_name_begins_alike_stays(adata, imputer):
    tl.impute(adata, imputer=imputer, key_added="a")
    for other in ("a_upper", "a_genes"):
        tl.impute(adata, imputer=imputer, key_added=other, output="counts")
    adata.layers["a_lower"] = np.zeros(adata.shape)
    before = adata.copy()
    tl.impute(adata, imputer=imputer, key_added="a")
    for name in ("a_upper", "a_genes", "a_lower"):
        np.testing.assert_array_equal(adata.layers[name], before.layers[name])
    np.testing.assert_array_equal(adata.obsm["a_genes"], before.obsm["a_genes"])
    before = adata.copy()
    with pytest.raises(
        ValueError, match=r"'a' would replace adata.layers\['a_lower'\], adata.layers\['a_upper'\]: choose"
    ):
        tl.impute(adata, imputer=imputer, key_added="a", interval=0.9)
    with pytest.raises(ValueError, match=r"'a' would replace adata.obsm\['a_genes'\]: choose"):
        tl.impute(adata, imputer=imputer, key_added="a", genes=["gene1"])
    assert_equal(adata, before)


@pytest.mark.parametrize("kind", [iter, np.array, pd.Index, tuple])
def test_genes_are_named_in_any_container(adata, imputer, kind):
    tl.impute(adata, imputer=imputer, genes=kind(["gene3", "gene1"]))
    assert adata.obsm["gnnimpute_genes"].columns.tolist() == ["gene3", "gene1"]


def test_a_gene_is_asked_for_once(adata, imputer):
    with pytest.raises(ValueError, match=r"genes=\['gene1', 'gene1'\] names a gene more than once"):
        tl.impute(adata, imputer=imputer, genes=["gene1", "gene1"])


@pytest.mark.parametrize(
    "marks", [[np.nan] * 5 + [True] * 85, ["False"] * 5 + ["True"] * 85, pd.array([None] + [True] * 89, "boolean")]
)
def test_marks_that_are_neither_true_nor_false_are_refused(adata, imputer, marks):
    adata.obs["gnnimpute_pass"] = marks
    with pytest.raises(ValueError, match=r"not true or false everywhere.*Run gi\.pp\.prepare again"):
        tl.impute(adata, imputer=imputer)


def test_x_can_be_named_and_an_error_says_where_counts_are():
    counts = sp.csr_matrix(np.random.default_rng(0).poisson(1.0, size=(30, 20)).astype(np.float32))
    adata = AnnData(counts, layers={"counts": np.log1p(counts.toarray())})
    with pytest.raises(
        ValueError, match=r"adata\.layers\['counts'\] is .*adata\.X does hold counts: layer='X' \(--layer X\)\."
    ):
        pp.prepare(adata, **PREPARE)
    pp.prepare(adata, layer="X", **PREPARE)
    tl.impute(adata, layer="X", config=TINY)
    assert adata.uns["gnnimpute"]["layer"] == "X"
    other = AnnData(np.log1p(counts.toarray()), layers={"mine": counts})
    with pytest.raises(ValueError, match=r"adata\.layers\['mine'\] does hold counts: layer='mine' \(--layer mine\)\."):
        pp.prepare(other, **PREPARE)


def test_fractions_keep_their_totals(adata):
    share = adata.layers["counts"][:, 4:50].toarray().astype(np.float64) + 0.1
    small = sp.csr_matrix((share / share.sum(1, keepdims=True) / 2).astype(np.float32))
    graph = NeighborGraph.from_embedding(adata.obsm["X_rep"], n_neighbors=4)
    fitted = GNNImputer(TINY).fit(small, graph, progress=False)
    np.testing.assert_allclose(fitted.transform(small, graph, output="counts").sum(1), 0.5, rtol=1e-3)


def test_intervals_of_a_model_of_nonzeros_are_refused_in_words_of_theirs(adata):
    with pytest.raises(ValueError, match=r"Intervals, .* not: gi\.Config\(hide='molecules'\) \(--hide molecules\)"):
        tl.impute(adata, estimate="detected", interval=0.9)
    detected = tl.fit(adata, config=Config.detected(n_hidden=8, n_latent=4, n_epochs=1))
    with pytest.raises(ValueError, match=r"Intervals, .* \(--hide molecules\)"):
        tl.explain(adata, "cell1", "gene1", imputer=detected)


def test_neighbors_are_sought_where_all_else_is_computed(
    counts: sp.csr_matrix, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A GPU that is there is left alone if the CPU is asked for."""
    asked, from_embedding = [], NeighborGraph.from_embedding

    def recorded(*points, **options):
        asked.append(options["device"])
        return from_embedding(*points, **options)

    monkeypatch.setattr(NeighborGraph, "from_embedding", recorded)
    adata = AnnData(counts.copy())
    pp.prepare(adata, min_genes=1, max_mito_pct=None, max_total=None, n_pcs=5, device="cpu")
    config = Config(n_hidden=8, n_latent=4, n_epochs=1)
    tl.fit(adata, config=config, device="cpu", progress=False)
    tl.impute(adata, config=config, device="cpu", use_rep="gnnimpute_pca", progress=False)
    assert asked == ["cpu"] * 3


def test_a_fitted_imputer_has_its_own_settings(counts):
    adata = AnnData(counts.copy())
    pp.prepare(adata, **PREPARE)
    imputer = tl.fit(adata, config=TINY, progress=False)
    with pytest.raises(ValueError, match=r"leave out config="):
        tl.impute(adata, imputer=imputer, config=Config(n_latent=3))
    assert "gnnimpute" not in adata.uns
    tl.impute(adata, imputer=imputer)
    assert adata.uns["gnnimpute"]["linear_share"] == float(imputer.network_.linear.weight)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "90 cells x 60 genes, 0.0 GB. Less: `genes=` (--genes), or `out=` a zarr array on disk (--out-of-core)."),
        ({"interval": 0.9}, "90 cells x 60 genes, 4 times, 0.0 GB. Less: leave out `interval=`."),
        (
            {"genes": ["gene1"]},
            "90 cells x 1 genes, 0.0 GB. Less: `genes=` (--genes), or `out=` a zarr array on disk (--out-of-core).",
        ),
    ],
)
def test_a_large_result_is_told_of_once_before_training(adata, caplog, monkeypatch, options, said):
    monkeypatch.setattr("gnnimpute._values._LARGE", 0)

    def no_training(*_, **__):
        assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [told]
        raise KeyboardInterrupt

    told = f"The result is dense: {said}"
    with monkeypatch.context() as here:
        here.setattr("gnnimpute._imputer.train", no_training)
        with pytest.raises(KeyboardInterrupt):
            tl.impute(adata, config=TINY, **options)
    caplog.clear()
    tl.impute(adata, config=TINY, **options)
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [told]
