"""What is trained on: all cells, or a random sample with a graph of its own."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from anndata import AnnData

import gnnimpute as gi
from gnnimpute._fit import fitted
from gnnimpute._graph import NeighborGraph
from gnnimpute._modelled import Modelled, modelled
from gnnimpute._sample import training_part


@pytest.fixture(scope="module")
def chosen() -> Modelled:
    adata = gi.datasets.splatter(n_genes=40, batch_cells=[50, 40], lib_loc=6)
    gi.pp.prepare(adata, min_genes=5, min_cells=10, batch_key="batch")
    return modelled(
        adata, layer=None, neighbors_key=None, use_rep=None, batch_key=None, n_neighbors=5, allow_non_counts=False,
        device=None,
    )  # fmt: skip


def test_all_cells_take_no_randomness(chosen: Modelled, rng: np.random.Generator) -> None:
    counts, graph = training_part(chosen, 1000, rng)
    assert (counts != chosen.counts[chosen.cells][:, chosen.genes]).nnz == 0
    assert callable(graph)
    np.testing.assert_array_equal(graph(counts).indices, chosen.blind(counts).indices)
    assert rng.random() == np.random.default_rng(0).random()


def test_of_many_cells_a_sample(chosen: Modelled, rng: np.random.Generator) -> None:
    counts, recipe = training_part(chosen, 30, rng)
    assert counts.shape == (30, len(chosen.genes))
    whole = chosen.counts[chosen.cells][:, chosen.genes].toarray().tolist()
    taken = [whole.index(row) for row in counts.toarray().tolist()]
    assert sorted(set(taken)) == taken
    graph = recipe(counts)
    batch = (chosen.cells[np.array(taken)] >= 50).astype(int)
    assert (batch[graph.indices] == batch[:, None]).all()


def test_of_a_graph_that_was_given_cells_come_with_their_neighbours(chosen: Modelled, rng: np.random.Generator) -> None:
    counts, graph = training_part(chosen._replace(blind=None), 30, rng)
    assert isinstance(graph, NeighborGraph)
    assert counts.shape[0] == graph.n_cells <= 30
    complete = (np.diff(np.sort(graph.indices, axis=1)) > 0).all(axis=1)
    assert complete.sum() >= 30 // chosen.graph.indices.shape[1]


def test_among() -> None:
    graph = NeighborGraph(np.array([[0, 1, 2], [1, 3, 0], [2, 0, 1], [3, 1, 2]]))
    np.testing.assert_array_equal(graph.among(np.array([1, 3])).indices, [[0, 1, 0], [1, 0, 1]])
    np.testing.assert_array_equal(graph.among(np.arange(4)).indices, graph.indices)


def test_a_model_of_a_sample_imputes_all(chosen: Modelled) -> None:
    adata = AnnData(chosen.counts)
    config = gi.Config(n_hidden=8, n_latent=4, n_epochs=1, most_cells=40)
    imputer = fitted(chosen, adata, config, device="cpu", rng=0, progress=False)
    values = imputer.transform(chosen.counts[chosen.cells][:, chosen.genes], chosen.graph)
    assert values.shape == (len(chosen.cells), len(chosen.genes))
    assert np.isfinite(values).all()
    assert sp.issparse(chosen.counts)
