from __future__ import annotations

from importlib.metadata import version

import numpy as np
import pytest
import scanpy as sc
import scipy.sparse as sp
from anndata import AnnData
from hypothesis import given
from hypothesis import strategies as st
from packaging.version import Version

from gnnimpute._connectivities import connectivities, neighbor_distances, scanpy_graph, spread_graph
from gnnimpute._graph import NeighborGraph


def graph_of(embedding, k, batches=None):
    indices = NeighborGraph.from_embedding(embedding, n_neighbors=k, batches=batches).indices
    distances = neighbor_distances(embedding, indices)
    return indices, distances, connectivities(distances, k=indices.shape[1] - 1)


@pytest.mark.filterwarnings("ignore")  # those of UMAP's imports are not ours
@pytest.mark.parametrize("k", [2, 5, 14])
def test_equal_to_scanpy(rng, k):
    if Version(version("umap-learn")) < Version("0.5.12"):
        pytest.skip("earlier UMAP, which scanpy asks, gives few neighbours other weights")
    points = rng.normal(size=(300, 8)).astype(np.float32)
    adata = AnnData(points)
    sc.pp.neighbors(adata, n_neighbors=k + 1, use_rep="X")
    _, distances, weights = graph_of(points, k)
    np.testing.assert_allclose(distances.toarray(), adata.obsp["distances"].toarray(), atol=1e-5)
    np.testing.assert_allclose(weights.toarray(), adata.obsp["connectivities"].toarray(), atol=1e-3)


@given(seed=st.integers(0, 1000), n=st.integers(2, 30), k=st.integers(1, 8), grid=st.integers(1, 3))
def test_weights_are_symmetric_between_0_and_1_and_the_nearest_cell_has_1(seed, n, k, grid):
    points = np.random.default_rng(seed).integers(0, grid, size=(n, 2)).astype(np.float32)  # many duplicates
    indices, distances, weights = graph_of(points, k)
    dense = weights.toarray()
    assert np.isfinite(dense).all()
    assert (dense >= 0).all()
    assert (dense <= 1).all()
    np.testing.assert_array_equal(dense, dense.T)
    np.testing.assert_array_equal(np.diff(distances.indptr), indices.shape[1] - 1)
    assert (dense[np.arange(n), indices[:, 1]] == 1).all()


def test_batches_with_fewer_cells_have_fewer_neighbors(rng):
    points = rng.normal(size=(13, 3)).astype(np.float32)
    batches = np.r_[np.zeros(10, int), [1, 1, 2]]
    _, distances, weights = graph_of(points, 4, batches)
    assert np.diff(distances.indptr).tolist() == [4] * 10 + [1, 1, 0]
    assert np.isfinite(weights.data).all()
    assert weights[10, 11] == 1
    assert weights[:10, 10:].nnz == weights[12].nnz == 0


def test_cells_that_fail_have_empty_rows_and_columns(rng):
    points = rng.normal(size=(20, 3)).astype(np.float32)
    indices, distances, weights = graph_of(points, 3)
    cells = np.ones(25, dtype=bool)
    cells[[0, 3, 4, 11, 24]] = False
    wide, wide_weights = scanpy_graph(points, indices, cells=cells)
    assert wide.shape == wide_weights.shape == (25, 25)
    np.testing.assert_array_equal(wide[cells][:, cells].toarray(), distances.toarray())
    np.testing.assert_array_equal(wide_weights[cells][:, cells].toarray(), weights.toarray())
    assert wide[~cells].nnz == wide[:, ~cells].nnz == 0
    assert wide.has_sorted_indices


def test_a_graph_of_some_cells_is_spread_among_all():
    graph = spread_graph(sp.csr_matrix(np.array([[0.25, 0.75], [0, 1]], np.float32)), np.array([1, 3]), 4)
    np.testing.assert_array_equal(graph.toarray(), [[0] * 4, [0, 0.25, 0, 0.75], [0] * 4, [0, 0, 0, 1]])
    assert graph.has_canonical_format
