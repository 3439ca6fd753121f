from __future__ import annotations

import logging

import numpy as np
import pandas as pd
import pytest
import scanpy as sc
import scipy.sparse as sp
from anndata import AnnData

from gnnimpute import Config, pp, tl
from gnnimpute._graph import NeighborGraph
from gnnimpute._modelled import modelled

PREPARE = {"min_genes": 0, "max_mito_pct": None, "max_total": None, "n_pcs": 5}
DEFAULTS = {
    "layer": None,
    "neighbors_key": None,
    "use_rep": None,
    "batch_key": None,
    "n_neighbors": 5,
    "allow_non_counts": False,
    "device": None,
}


def resolve(adata, **options):
    return modelled(adata, **(DEFAULTS | options))


def neighbor_sets(graph):
    return [set(row) for row in graph.indices]


@pytest.fixture
def adata(counts, rng):
    adata = AnnData(counts.copy())
    adata.obs_names = [f"cell{i}" for i in range(90)]
    adata.obs["donor"] = pd.Categorical(["a", "b"] * 45)
    adata.obsm["X_rep"] = rng.normal(size=(90, 3)).astype(np.float32)
    return adata


@pytest.fixture
def prepared(adata):
    adata.X = sp.csr_matrix(adata.X.multiply(np.arange(90)[:, None] != 4))
    pp.prepare(adata, **PREPARE)
    return adata


def test_what_passes_is_modelled_on_the_prepared_graph(prepared):
    prepared.var.loc["7", "gnnimpute_pass"] = False
    chosen = resolve(prepared)
    assert chosen.cells.tolist() == [i for i in range(90) if i != 4]
    assert chosen.genes.tolist() == [i for i in range(60) if i != 7]
    assert chosen.counts.shape == (90, 60)
    distances = prepared.obsp["gnnimpute_neighbors_distances"][chosen.cells][:, chosen.cells]
    for cell, neighbors in enumerate(neighbor_sets(chosen.graph)):
        assert neighbors == {cell, *distances[cell].indices}
    assert chosen.source == {"layer": "counts", "neighbors_key": "gnnimpute_neighbors", "use_rep": ""}


def test_the_layer_that_prepare_was_given_is_modelled(adata):
    adata.layers["other"] = 2 * adata.X
    pp.prepare(adata, **PREPARE, layer="other")
    assert resolve(adata).source["layer"] == "counts"  # the copy
    del adata.layers["counts"]
    chosen = resolve(adata)
    assert chosen.source["layer"] == "other"
    assert (chosen.counts != adata.layers["other"]).nnz == 0
    assert resolve(adata, layer="X").source["layer"] == "X"
    del adata.layers["other"]
    with pytest.raises(KeyError, match=r"adata.layers has no 'other'"):
        resolve(adata)


@pytest.mark.parametrize("batch_key", [None, "donor"])
def test_the_blind_recipe_makes_the_prepared_graph_again(adata, batch_key):
    pp.prepare(adata, **PREPARE, batch_key=batch_key, n_neighbors=4, rng=3)
    chosen = resolve(adata)
    again = chosen.blind(chosen.counts[chosen.cells][:, chosen.genes])
    assert neighbor_sets(again) == neighbor_sets(chosen.graph)
    fewer = chosen.counts.copy()
    fewer.data = np.floor(fewer.data / 2)
    fewer.eliminate_zeros()
    assert neighbor_sets(chosen.blind(fewer)) != neighbor_sets(chosen.graph)


def test_neighbors_that_were_asked_for_are_no_hub(adata, caplog):
    """Of one large batch among many small ones."""
    adata.obs["donor"] = np.where(np.arange(90) < 40, "large", [f"small{i // 2}" for i in range(90)])
    pp.prepare(adata, **PREPARE, batch_key="donor", n_neighbors=36)
    assert (resolve(adata).graph.indices[0] != 0).sum() == 36
    assert "the nearest" not in caplog.text


def test_batches_of_the_graph_are_needed_by_a_fit_alone(adata, caplog):
    pp.prepare(adata, **PREPARE, batch_key="donor")
    imputer = tl.fit(adata, config=Config(n_hidden=8, n_latent=2, n_epochs=1))
    tl.impute(adata, imputer=imputer)
    expected = adata.layers["gnnimpute"].copy()
    adata.obs.loc["cell3", "donor"] = None
    with pytest.raises(ValueError, match=r"'donor'.* is missing for 1 cells"):
        tl.fit(adata)
    with caplog.at_level(logging.INFO, logger="gnnimpute"):
        tl.impute(adata, imputer=imputer)
        tl.explain(adata, "cell1", adata.var_names[0], imputer=imputer)
    np.testing.assert_array_equal(adata.layers["gnnimpute"], expected)
    assert "taken as given" not in caplog.text  # nothing is held out of a model that is there
    del adata.obs["donor"]
    tl.impute(adata, imputer=imputer)


def test_the_blind_recipe_survives_a_file(adata, tmp_path):
    pp.prepare(adata, **PREPARE, batch_key="donor")
    adata.write_h5ad(tmp_path / "a.h5ad")
    read = sc.read_h5ad(tmp_path / "a.h5ad")
    a, b = resolve(adata), resolve(read)
    assert neighbor_sets(a.blind(a.counts)) == neighbor_sets(b.blind(b.counts))


@pytest.mark.parametrize("kept", ["distances", "connectivities"])
def test_a_graph_of_scanpy_is_taken(adata, kept, caplog):
    sc.pp.neighbors(adata, use_rep="X_rep", n_neighbors=5, key_added="mine")
    sc.pp.neighbors(adata, use_rep="X_rep", n_neighbors=7)
    del adata.obsp[{"distances": "mine_connectivities", "connectivities": "mine_distances"}[kept]]
    with caplog.at_level(logging.INFO):
        chosen = resolve(adata, neighbors_key="mine")
    assert chosen.blind is None
    assert "The graph is taken as given" in caplog.text
    for cell, neighbors in enumerate(neighbor_sets(chosen.graph)):
        assert neighbors == {cell, *adata.obsp[f"mine_{kept}"][cell].indices}
    assert resolve(adata, neighbors_key="neighbors").graph.indices.shape == (90, 7)


def test_a_bare_graph_needs_no_description(adata):
    adata.obsp["mine_connectivities"] = sp.eye_array(90, k=1).tocsr() + sp.eye_array(90, k=-1).tocsr()
    chosen = resolve(adata, neighbors_key="mine")
    assert neighbor_sets(chosen.graph)[5] == {4, 5, 6}
    assert neighbor_sets(chosen.graph)[0] == {0, 1}


@pytest.mark.parametrize("kind", ["array", "table"])
def test_an_embedding_is_searched_within_batches_if_asked(adata, kind):
    points = adata.obsm["X_rep"]
    if kind == "table":
        adata.obsm["X_rep"] = pd.DataFrame(points, index=adata.obs_names)
    free = resolve(adata, use_rep="X_rep", n_neighbors=3)
    np.testing.assert_array_equal(free.graph.indices, NeighborGraph.from_embedding(points, n_neighbors=3).indices)
    assert free.source["use_rep"] == "X_rep"
    assert free.blind is None
    within = resolve(adata, use_rep="X_rep", n_neighbors=3, batch_key="donor").graph.indices
    assert (within % 2 == np.arange(90)[:, None] % 2).all()


def test_cells_that_do_not_pass_are_nobodys_neighbors(prepared):
    prepared.obs.loc["cell9", "gnnimpute_pass"] = False
    chosen = resolve(prepared, use_rep="X_rep")
    assert len(chosen.cells) == chosen.graph.n_cells == 88
    expected = NeighborGraph.from_embedding(prepared.obsm["X_rep"][chosen.cells], n_neighbors=5)
    np.testing.assert_array_equal(chosen.graph.indices, expected.indices)


def test_fewer_cells_than_neighbors(adata):
    assert resolve(adata[:4].copy(), use_rep="X_rep").graph.indices.shape == (4, 4)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (
            {},
            (KeyError, r"uns has no 'gnnimpute_neighbors': call gi.pp.prepare\(adata\) first, or pass neighbors_key="),
        ),
        ({"layer": "spliced", "use_rep": "X_rep"}, (KeyError, "adata.layers has no 'spliced'")),
        ({"use_rep": "X_reps"}, (KeyError, r"adata.obsm has no 'X_reps'. Did you mean 'X_rep'\?")),
        ({"use_rep": "X_rep", "batch_key": "Donor"}, (KeyError, r"adata.obs has no 'Donor'. Did you mean 'donor'\?")),
        ({"use_rep": "X_rep", "neighbors_key": "neighbors"}, (ValueError, "give one of them, both say what the graph")),
        ({"neighbors_key": "neighbor"}, (KeyError, "neighbors_key='neighbor' names no graph.* There are none")),
    ],
)
def test_a_key_that_is_not_there_suggests_what_is(adata, options, problem):
    error, said = problem
    with pytest.raises(error, match=said):
        resolve(adata, **options)


def test_a_graph_that_is_there_is_suggested(adata):
    sc.pp.neighbors(adata, use_rep="X_rep")
    with pytest.raises(KeyError, match="pass neighbors_key='neighbors'"):
        resolve(adata)
    with pytest.raises(KeyError, match=r"'neighbor_connectivities' nor 'neighbor_distances'.*mean 'neighbors'\?"):
        resolve(adata, neighbors_key="neighbor")


def test_an_embedding_with_holes_names_the_cell(adata):
    adata.obsm["X_rep"][[8, 20], 1] = np.nan
    with pytest.raises(ValueError, match=r"adata.obsm\['X_rep'\] is not finite for 2 cells, first for 'cell8'"):
        resolve(adata, use_rep="X_rep")


def test_batches_without_an_embedding_are_refused(prepared):
    with pytest.raises(ValueError, match=r"batch_key='donor' needs use_rep, or belongs to gi.pp.prepare"):
        resolve(prepared, batch_key="donor")


@pytest.mark.parametrize("axis", ["obs", "var"])
def test_nothing_that_passes_is_an_error(prepared, axis):
    getattr(prepared, axis)["gnnimpute_pass"] = False
    with pytest.raises(ValueError, match=rf"adata.{axis}\['gnnimpute_pass'\] is False everywhere"):
        resolve(prepared)
