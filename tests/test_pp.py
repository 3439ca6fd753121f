from __future__ import annotations

import logging
from copy import deepcopy

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
import scipy.sparse as sp
from anndata import AnnData
from hypothesis import given, settings
from hypothesis import strategies as st

from gnnimpute import _marks, pp
from gnnimpute._graph import NeighborGraph

GRAPH = "gnnimpute_neighbors"
ALL = {"min_genes": 0, "min_cells": 0, "max_mito_pct": None, "max_total": None}
"""Every step of quality control left out."""


@pytest.fixture
def adata(counts):
    """90 cells x 60 genes; g0, g1, g2 mitochondrial by a column of symbols; one empty cell, one empty gene."""
    dense = counts.toarray()
    dense[7], dense[:, 59] = 0, 0
    adata = AnnData(sp.csr_matrix(dense))
    adata.obs_names = [f"cell{i}" for i in range(90)]
    adata.var_names = [f"ENSG{i:011d}" for i in range(60)]
    adata.var["symbol"] = ["MT-ND1", "MT-CO1", "MT-CYB", *(f"GENE{i}" for i in range(57))]
    adata.obs["donor"] = pd.Categorical(["a", "b", "c"] * 30)
    return adata


def test_the_paper_numbers(data_dir):
    """2843 cells x 13003 genes of the paper, by the limits in the code of its authors."""
    adata = ad.read_h5ad(data_dir / "PBMC_frozen_donorA.h5ad")
    pp.prepare(adata, max_genes=2000, max_mito_pct=5, max_total=None, n_pcs=None)
    assert adata.shape == (2896, 13939)
    assert adata.obs["gnnimpute_pass"].sum() == 2843
    assert adata.var["gnnimpute_pass"].sum() == 13003
    pp.prepare(adata, max_genes=2000, max_mito_pct=5, max_total=None, n_pcs=None, filter=True)
    assert adata.shape == (2843, 13003)


def test_real_data_by_default(data_dir):
    """Outliers are few, and none of the paper's limits has to be known."""
    adata = ad.read_h5ad(data_dir / "PBMC_facs_zheng.h5ad")
    pp.prepare(adata)
    assert 0.95 < adata.obs["gnnimpute_pass"].mean() < 1
    assert adata.obs.loc[~adata.obs["gnnimpute_pass"], "gnnimpute_total_counts"].median() > 1000
    assert adata.obsm["gnnimpute_pca"].shape == (3774, 50)
    same = adata.obs["subpop"].to_numpy()
    row, column = adata.obsp[f"{GRAPH}_distances"].nonzero()
    assert np.mean(same[row] == same[column]) > 0.6  # 0.1 by chance


def test_the_fields_that_are_set(adata):
    pp.prepare(adata, **ALL, n_pcs=10)
    passing = np.arange(90) != 7
    np.testing.assert_array_equal(adata.obs["gnnimpute_pass"], passing)
    np.testing.assert_array_equal(adata.var["gnnimpute_pass"], np.arange(60) != 59)
    total = adata.X.sum(1).A1
    np.testing.assert_allclose(adata.obs["gnnimpute_size_factor"], total / np.median(total[passing]))
    np.testing.assert_array_equal(adata.obs["gnnimpute_n_genes"], (adata.X > 0).sum(1).A1)
    np.testing.assert_array_equal(adata.obs["gnnimpute_total_counts"], total)
    share = adata.X[:, :3].sum(1).A1 / np.maximum(total, 1)
    np.testing.assert_allclose(adata.obs["gnnimpute_pct_mito"], 100 * share, rtol=1e-5)
    np.testing.assert_array_equal(adata.var["gnnimpute_n_cells"], (adata.X > 0).sum(0).A1)
    assert adata.obsm["gnnimpute_pca"].shape == (90, 10)
    assert np.isfinite(adata.obsm["gnnimpute_pca"]).all()
    degree = np.diff(adata.obsp[f"{GRAPH}_distances"].indptr)
    np.testing.assert_array_equal(degree, np.where(passing, 5, 0))
    assert adata.uns[GRAPH] == {
        "connectivities_key": f"{GRAPH}_connectivities",
        "distances_key": f"{GRAPH}_distances",
        "params": {"n_neighbors": 6, "k": 5, "method": "umap", "metric": "euclidean", "random_state": 0}
        | {"n_pcs": 10, "use_rep": "gnnimpute_pca"},
    }


def snapshot(adata):
    return {
        "X": adata.X.copy(), "layer": adata.layers["spliced"].copy(), "raw": adata.raw.X.copy(),
        "names": [*adata.obs_names, *adata.var_names], "donor": adata.obs["donor"].copy(),
        "total_counts": adata.obs["total_counts"].copy(), "uns": deepcopy(dict(adata.uns)),
    }  # fmt: skip


def test_what_the_user_brought_is_not_changed(adata):
    adata.raw = adata
    adata.layers["spliced"] = adata.X.copy()
    adata.X = sp.csr_matrix(np.log1p(adata.X.toarray()))
    adata.obs["total_counts"] = np.arange(90)  # scanpy's own columns of the same kind
    adata.uns["neighbors"] = {"params": {"n_neighbors": 3}}
    adata.obsm["X_pca"] = np.ones((90, 2))
    before, columns = snapshot(adata), list(adata.obs)
    pp.prepare(adata, layer="spliced", min_genes=20, min_cells=3)
    after = snapshot(adata)
    assert (after["X"] != before["X"]).nnz == (after["raw"] != before["raw"]).nnz == 0
    assert (after["layer"] != before["layer"]).nnz == 0
    assert after["names"] == before["names"]
    pd.testing.assert_series_equal(after["donor"], before["donor"])
    pd.testing.assert_series_equal(after["total_counts"], before["total_counts"])
    assert after["uns"]["neighbors"] == before["uns"]["neighbors"]
    assert (adata.obsm["X_pca"] == 1).all()
    assert list(adata.obs)[: len(columns)] == columns
    assert all(name.startswith("gnnimpute_") for name in list(adata.obs)[len(columns) :])
    np.testing.assert_array_equal(adata.layers["counts"].toarray(), before["layer"].toarray())


def test_the_counts_layer_is_a_copy_and_is_never_overwritten(adata):
    pp.prepare(adata, **ALL)
    adata.X.data[:] = 77
    assert not (adata.layers["counts"].data == 77).any()
    adata.layers["counts"] = mine = adata.layers["counts"].astype(np.int64)
    pp.prepare(adata, **ALL)  # X is nonsense now: counts are read from the layer
    assert adata.layers["counts"].dtype == np.int64
    assert (adata.layers["counts"] != mine).nnz == 0


@pytest.mark.parametrize(
    ("change", "warned"),
    [
        (lambda x: x, False),
        (lambda x: x.toarray(), False),
        (np.log1p, False),
        (lambda x: sp.csr_matrix(x.multiply(1 / np.maximum(x.sum(1), 1))), False),
        (lambda x: np.maximum(x.toarray() - 1, 0), True),  # as of ambient RNA
    ],
    ids=["none", "dense", "log", "normalised", "corrected"],
)
def test_counts_that_were_changed_since_are_warned_about(adata, caplog, change, warned):
    caplog.set_level(logging.INFO)
    pp.prepare(adata, **ALL, n_pcs=None)
    assert "Counts are read from adata.X" in caplog.text
    adata.X = change(adata.X)
    caplog.clear()
    pp.prepare(adata, **ALL, n_pcs=None)
    assert "Counts are read from adata.layers['counts']" in caplog.text
    assert ("del adata.layers['counts'], and prepare again" in caplog.text) == warned
    caplog.clear()
    pp.prepare(adata, **ALL, n_pcs=None, layer="counts")  # as was asked for
    assert not [record for record in caplog.records if record.levelno > logging.INFO]


def test_a_second_call_gives_the_same(adata):
    pp.prepare(adata, min_genes=10, min_cells=3, n_pcs=8)
    first = adata.copy()
    pp.prepare(adata, min_genes=10, min_cells=3, n_pcs=8)
    pd.testing.assert_frame_equal(adata.obs, first.obs)
    pd.testing.assert_frame_equal(adata.var, first.var)
    np.testing.assert_array_equal(adata.obsm["gnnimpute_pca"], first.obsm["gnnimpute_pca"])
    for key in (f"{GRAPH}_distances", f"{GRAPH}_connectivities"):
        assert (adata.obsp[key] != first.obsp[key]).nnz == 0
    assert adata.uns[GRAPH] == first.uns[GRAPH]


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1000))
def test_permuting_cells_permutes_the_result(seed):
    rng = np.random.default_rng(seed)
    counts = rng.poisson(rng.gamma(0.4, 2, size=(1, 30)), size=(40, 30)).astype(np.float32)
    counts[:3] *= 40
    order = rng.permutation(40)
    one, other = AnnData(sp.csr_matrix(counts)), AnnData(sp.csr_matrix(counts[order]))
    for adata in (one, other):
        pp.prepare(adata, min_genes=8, min_cells=3, n_pcs=6)
    for name in ("pass", "size_factor", "n_genes", "total_counts"):
        np.testing.assert_allclose(one.obs[f"gnnimpute_{name}"].to_numpy()[order], other.obs[f"gnnimpute_{name}"])
    np.testing.assert_array_equal(one.var["gnnimpute_pass"], other.var["gnnimpute_pass"])
    a, b = one.obsp[f"{GRAPH}_distances"][order][:, order], other.obsp[f"{GRAPH}_distances"]
    np.testing.assert_allclose(a.toarray(), b.toarray(), atol=1e-3)


def test_genes_are_counted_among_the_cells_that_pass(adata):
    """A gene seen in three cells, one of which fails, does not pass."""
    dense = adata.X.toarray()
    dense[:, 10] = 0
    dense[[1, 2, 3], 10] = 1
    dense[3, :3] = 5000  # mostly mitochondrial
    adata.X = sp.csr_matrix(dense)
    pp.prepare(adata, min_genes=1, max_total=None, max_mito_pct=90, min_cells=3)
    assert not adata.obs["gnnimpute_pass"].iloc[3]
    assert adata.var["gnnimpute_n_cells"].iloc[10] == 2
    assert not adata.var["gnnimpute_pass"].iloc[10]


def test_a_cell_with_counts_only_in_genes_that_fail_does_not_pass(adata, caplog):
    dense = adata.X.toarray()
    dense[7, 59] = 4
    adata.X = sp.csr_matrix(dense)
    with caplog.at_level(logging.INFO):
        pp.prepare(adata, **(ALL | {"min_cells": 3}))
    assert not adata.obs["gnnimpute_pass"].iloc[7]
    assert "1 with no counts in the genes that pass" in caplog.text
    assert adata.obs["gnnimpute_size_factor"].iloc[7] == 0


def test_cells_that_fail_change_nothing_for_the_others(adata):
    pp.prepare(adata, min_genes=27, min_cells=1, max_total=None, max_mito_pct=None, n_pcs=8)
    passing = adata.obs["gnnimpute_pass"].to_numpy()
    assert 40 < passing.sum() < 89
    alone = AnnData(adata.X[passing].copy())
    pp.prepare(alone, min_genes=27, min_cells=1, max_total=None, max_mito_pct=None, n_pcs=8)
    np.testing.assert_allclose(adata.obs["gnnimpute_size_factor"][passing], alone.obs["gnnimpute_size_factor"])
    whole = adata.obsp[f"{GRAPH}_distances"][passing][:, passing]
    np.testing.assert_allclose(whole.toarray(), alone.obsp[f"{GRAPH}_distances"].toarray(), atol=1e-4)


def test_filter_drops_what_did_not_pass(adata):
    flagged = adata.copy()
    options = {"min_genes": 27, "min_cells": 20, "max_mito_pct": 90, "n_pcs": 8}
    pp.prepare(flagged, **options)
    adata.raw = adata
    pp.prepare(adata, **options, filter=True)
    cells, genes = flagged.obs["gnnimpute_pass"].to_numpy(), flagged.var["gnnimpute_pass"].to_numpy()
    assert adata.shape == (cells.sum(), genes.sum())
    assert 0 < cells.sum() < 90
    assert 0 < genes.sum() < 60
    assert list(adata.obs_names) == list(flagged.obs_names[cells])
    assert adata.raw.shape == (cells.sum(), 60)
    assert adata.obs["gnnimpute_pass"].all()
    assert (adata.layers["counts"] != flagged.layers["counts"][cells][:, genes]).nnz == 0
    assert (adata.obsp[f"{GRAPH}_distances"] != flagged.obsp[f"{GRAPH}_distances"][cells][:, cells]).nnz == 0


def test_agrees_with_scanpy(adata):
    """The steps one by one, in scanpy's words."""
    pp.prepare(adata, min_genes=27, min_cells=5, max_mito_pct=90, max_total=2000, n_pcs=8)
    by_hand = AnnData(adata.X.copy())
    by_hand.var["mt"] = np.arange(60) < 3
    sc.pp.calculate_qc_metrics(by_hand, qc_vars=["mt"], percent_top=None, inplace=True)
    by_hand = by_hand[(by_hand.obs["pct_counts_mt"] <= 90) & (by_hand.obs["total_counts"] <= 2000)].copy()
    sc.pp.filter_cells(by_hand, min_genes=27)
    sc.pp.filter_genes(by_hand, min_cells=5)
    sc.pp.normalize_total(by_hand)
    sc.pp.log1p(by_hand)
    sc.pp.pca(by_hand, n_comps=8, svd_solver="arpack")
    passing = adata.obs["gnnimpute_pass"].to_numpy()
    assert by_hand.shape == (passing.sum(), adata.var["gnnimpute_pass"].sum())
    np.testing.assert_allclose(adata.obsm["gnnimpute_pca"][passing], by_hand.obsm["X_pca"], atol=1e-4)


def test_the_graph_is_that_of_the_components_and_can_be_read_back(adata):
    pp.prepare(adata, **ALL, n_pcs=8, n_neighbors=4, rng=3)
    passing = adata.obs["gnnimpute_pass"].to_numpy()
    expected = NeighborGraph.from_embedding(adata.obsm["gnnimpute_pca"][passing], n_neighbors=4)
    distances = adata.obsp[f"{GRAPH}_distances"][passing][:, passing]
    found = NeighborGraph.from_sparse(distances, nearest="smallest")
    np.testing.assert_array_equal(np.sort(found.indices, axis=1), np.sort(expected.indices, axis=1))
    assert adata.uns[GRAPH]["params"]["random_state"] == 3


@pytest.mark.filterwarnings("ignore")  # those of the tools are not ours
def test_the_tools_of_scanpy_take_the_graph(adata):
    pp.prepare(adata, **ALL, n_pcs=8)
    sc.tl.leiden(adata, neighbors_key=GRAPH, flavor="igraph", n_iterations=2, directed=False)
    sc.tl.umap(adata, neighbors_key=GRAPH)
    assert np.isfinite(adata.obsm["X_umap"]).all()
    types = np.repeat([0, 1, 2], 30)[adata.obs["gnnimpute_pass"]]
    clusters = adata.obs["leiden"][adata.obs["gnnimpute_pass"]]
    assert pd.crosstab(types, clusters).max(axis=0).sum() > 80  # clusters are pure


def test_survives_a_file(adata, tmp_path):
    pp.prepare(adata, min_genes=10, n_pcs=8, batch_key="donor")
    adata.write_h5ad(tmp_path / "a.h5ad")
    back = ad.read_h5ad(tmp_path / "a.h5ad")
    assert back.uns[GRAPH] == adata.uns[GRAPH]
    pd.testing.assert_frame_equal(back.obs, adata.obs)
    pd.testing.assert_frame_equal(back.var, adata.var)


def test_neighbors_within_batches(adata):
    pp.prepare(adata, **ALL, n_pcs=8, batch_key="donor")
    donor = adata.obs["donor"].to_numpy()
    row, column = adata.obsp[f"{GRAPH}_distances"].nonzero()
    assert (donor[row] == donor[column]).all()
    assert adata.uns[GRAPH]["params"]["batch_key"] == "donor"


def test_without_components_there_is_no_graph_and_an_old_one_goes(adata):
    pp.prepare(adata, **ALL, n_pcs=8)
    pp.prepare(adata, min_genes=27, n_pcs=None)
    assert GRAPH not in adata.uns
    assert not adata.obsp
    assert not adata.obsm
    assert adata.obs["gnnimpute_pass"].sum() < 89


@pytest.mark.parametrize("given", [np.random.default_rng(5), None])
def test_a_generator_is_taken_and_its_seed_written_down(adata, given):
    pp.prepare(adata, **ALL, n_pcs=8, rng=given)
    seed = adata.uns[GRAPH]["params"]["random_state"]
    again = AnnData(adata.X.copy())
    pp.prepare(again, **ALL, n_pcs=8, rng=seed)
    np.testing.assert_array_equal(again.obsm["gnnimpute_pca"], adata.obsm["gnnimpute_pca"])


@pytest.mark.parametrize("form", [sp.csc_matrix, sp.csr_array, np.asarray])
def test_any_matrix_gives_the_same(adata, form):
    other = AnnData(form(adata.X.toarray().astype(np.float64)), obs=adata.obs.copy(), var=adata.var.copy())
    for each in (adata, other):
        pp.prepare(each, min_genes=10, n_pcs=8)
    pd.testing.assert_frame_equal(adata.obs, other.obs)
    np.testing.assert_array_equal(adata.obsm["gnnimpute_pca"], other.obsm["gnnimpute_pca"])
    assert sp.issparse(other.layers["counts"])


def test_a_file_is_read_but_not_filtered(adata, tmp_path):
    adata.write_h5ad(tmp_path / "a.h5ad")
    backed = ad.read_h5ad(tmp_path / "a.h5ad", backed="r")
    pp.prepare(backed, min_genes=10, n_pcs=8)
    pp.prepare(adata, min_genes=10, n_pcs=8)
    np.testing.assert_array_equal(backed.obs["gnnimpute_pass"], adata.obs["gnnimpute_pass"])
    with pytest.raises(ValueError, match="to_memory"):
        pp.prepare(backed, filter=True)
    backed.file.close()


def test_a_view_becomes_an_object_of_its_own_and_its_parent_stays(adata):
    view = adata[10:80]
    with pytest.warns(ad.ImplicitModificationWarning):
        pp.prepare(view, **ALL, n_pcs=8)
    assert view.obs["gnnimpute_pass"].all()
    assert "gnnimpute_pass" not in adata.obs


def test_duplicate_names_do_not_matter(counts):
    adata = AnnData(counts)
    adata.obs_names, adata.var_names = ["c"] * 90, ["g"] * 60
    pp.prepare(adata, **ALL, n_pcs=8)
    assert adata.obs["gnnimpute_pass"].all()


def test_mitochondrial_genes_by_name_or_any_text_column(adata):
    by_column = adata.copy()
    by_name = adata.copy()
    by_name.var_names = by_name.var.pop("symbol")
    by_category = adata.copy()
    by_category.var["symbol"] = by_category.var["symbol"].astype("category")
    for each in (by_column, by_name, by_category):
        pp.prepare(each, **ALL, n_pcs=None)
        assert each.obs["gnnimpute_pct_mito"].max() > 0
        np.testing.assert_array_equal(each.obs["gnnimpute_pct_mito"], by_column.obs["gnnimpute_pct_mito"])


def test_unknown_mitochondrial_genes_are_said(counts, caplog):
    adata = AnnData(counts)
    with caplog.at_level(logging.INFO):
        pp.prepare(adata, min_genes=1, n_pcs=None, max_mito_pct=5)
    assert "No mitochondrial genes are recognised" in caplog.text
    assert "gnnimpute_pct_mito" not in adata.obs


def test_the_log_counts_what_failed_and_why(adata, caplog):
    with caplog.at_level(logging.INFO):
        pp.prepare(adata, min_genes=27, min_cells=20, max_mito_pct=30, n_pcs=None)
    n_few = int((adata.obs["gnnimpute_n_genes"] < 27).sum())
    n_mito = int((adata.obs["gnnimpute_pct_mito"] > 30).sum())
    assert f"{adata.obs['gnnimpute_pass'].sum()} of 90 cells" in caplog.text
    assert f"cells: {n_few} with fewer than 27 genes (min_genes=27)" in caplog.text
    assert f"cells: {n_mito} with more than 30 % of their counts in mitochondrial genes" in caplog.text
    assert f"genes: {(~adata.var['gnnimpute_pass']).sum()} detected in fewer than 20 passing cells" in caplog.text
    assert "nothing is dropped" in caplog.text


def test_genes_by_cells_is_warned_about(caplog):
    genes = ["MT-ND1", *(f"ACT{i}" for i in range(29))]
    cells = [f"AAACCTGAGAAAC{a}{b}T-1" for a in "ACGT" for b in "ACGT"]
    table = AnnData(np.ones((30, 16)), obs=pd.DataFrame(index=genes), var=pd.DataFrame(index=cells))
    pp.prepare(table, **ALL, n_pcs=None)
    assert "adata = adata.T (--orientation genes_by_cells)" in caplog.text
    caplog.clear()
    pp.prepare(table.T, **ALL, n_pcs=None)
    assert not caplog.text


def test_if_no_cell_passes_nothing_is_written(adata):
    before = list(adata.obs)
    with pytest.raises(ValueError, match=r"No cell passes.*90 with fewer than 200 genes.*Loosen min_genes=200"):
        pp.prepare(adata)
    assert list(adata.obs) == before
    assert not adata.layers


def test_counts_are_not_read_after_the_first_change(adata, monkeypatch):
    from dask import array

    def read(block):
        if gone:
            msg = "the disk is gone"
            raise OSError(msg)
        return block

    total = adata.X.sum(1).A1
    adata.X = array.from_array(adata.X, chunks=(30, -1)).map_blocks(read, dtype=np.float32)
    gone, graph = [], _marks._graph
    # The graph comes last: were counts read after it, an error would leave half of the columns.
    monkeypatch.setattr(_marks, "_graph", lambda *args, **options: gone.append(1) or graph(*args, **options))
    pp.prepare(adata, **ALL, n_pcs=5)
    np.testing.assert_allclose(adata.obs["gnnimpute_size_factor"], total / np.median(total[total > 0]))


def test_if_no_gene_passes_the_option_is_named(adata):
    with pytest.raises(ValueError, match=r"No gene is detected in 1000 of the 89 cells.*min_cells=1000"):
        pp.prepare(adata, **(ALL | {"min_cells": 1000}))


def test_all_zero_is_an_error():
    with pytest.raises(ValueError, match=r"No cell passes: of 4 cells, 4 with no counts. Check the matrix"):
        pp.prepare(AnnData(np.zeros((4, 3))), **ALL)


def test_fewer_cells_than_neighbors_and_components(adata, caplog):
    few = adata[:4].copy()
    with caplog.at_level(logging.INFO):
        pp.prepare(few, **ALL)
    assert few.obsm["gnnimpute_pca"].shape == (4, 3)
    assert np.diff(few.obsp[f"{GRAPH}_distances"].indptr).tolist() == [3] * 4
    assert few.uns[GRAPH]["params"]["k"] == 3
    assert "3 neighbors instead of 5" in caplog.text


def test_two_cells_are_enough_and_one_is_not(adata):
    pp.prepare(two := adata[:2].copy(), **ALL)
    assert two.obsp[f"{GRAPH}_distances"].nnz == 2
    with pytest.raises(ValueError, match="Only 1 cell passes"):
        pp.prepare(adata[:1].copy(), **ALL)
    pp.prepare(one := adata[:1].copy(), **ALL, n_pcs=None)
    assert one.obs["gnnimpute_pass"].all()


def test_batches_of_one_cell_are_an_error(adata):
    adata.obs["own"] = adata.obs_names
    with pytest.raises(ValueError, match="every cell is alone in its batch"):
        pp.prepare(adata, **ALL, batch_key="own")


@pytest.mark.parametrize("equal", [False, True], ids=["one gene", "equal cells"])
def test_one_gene_and_equal_cells_give_a_valid_graph(counts, equal, caplog):
    """One gene, normalised, is the same in every cell."""
    matrix = sp.vstack([counts[0]] * 30).tocsr() if equal else counts[:, :1]
    adata = AnnData(matrix)
    pp.prepare(adata, **ALL)
    assert "All cells are equal" in caplog.text
    assert (np.diff(adata.obsp[f"{GRAPH}_distances"].indptr) == 5).all()
    assert (adata.obsp[f"{GRAPH}_connectivities"].data == 1).all()


def test_log_counts_are_refused_and_nothing_is_written(adata):
    adata.X = sp.csr_matrix(np.log1p(adata.X.toarray()))
    with pytest.raises(ValueError, match="log1p"):
        pp.prepare(adata)
    assert not adata.layers


def test_tpm_are_taken_when_allowed(adata):
    adata.X = sp.csr_matrix(adata.X.toarray() * np.linspace(0.5, 3, 60))
    with pytest.raises(ValueError, match="allow_non_counts"):
        pp.prepare(adata, **ALL)
    pp.prepare(adata, **ALL, n_pcs=8, allow_non_counts=True)
    np.testing.assert_allclose(adata.layers["counts"].toarray(), adata.X.toarray(), rtol=1e-6)


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"layer": "nope"}, KeyError), ({"batch_key": "nope"}, KeyError), ({"max_total": "high"}, ValueError),
        ({"min_genes": -1}, ValueError), ({"n_pcs": 0}, ValueError), ({"n_neighbors": 0}, ValueError),
    ],
)  # fmt: skip
def test_options_that_make_no_sense(adata, wrong, error):
    with pytest.raises(error, match=next(iter(wrong)) if error is ValueError else "nope"):
        pp.prepare(adata, **(ALL | wrong))
    assert not adata.layers
