"""The neighbour graph: each cell first, then its nearest others, whatever tool found them."""

from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace
from typing import NamedTuple

import anndata as ad
import hypothesis.strategies as st
import numpy as np
import pytest
import scanpy as sc
import scipy.sparse as sp
import torch
from hypothesis import given, settings
from hypothesis.extra import numpy as hnp
from sklearn.neighbors import NearestNeighbors

from gnnimpute import NeighborGraph, _nearest


def brute_force(points: np.ndarray, k: int) -> np.ndarray:
    distance = np.linalg.norm(points[:, None] - points[None], axis=2)
    np.fill_diagonal(distance, -1)
    return np.argsort(distance, axis=1)[:, : k + 1]


def check(graph: NeighborGraph, n_cells: int, k: int) -> None:
    """Self first, then k others, all different."""
    assert graph.indices.shape == (n_cells, k + 1)
    assert graph.indices.dtype == np.int64
    np.testing.assert_array_equal(graph.indices[:, 0], np.arange(n_cells))
    assert all(len(set(row)) == k + 1 for row in graph.indices.tolist())


@pytest.fixture
def points(rng: np.random.Generator) -> np.ndarray:
    return rng.normal(size=(80, 6))


@pytest.mark.parametrize("k", [1, 5, 20, 79])
def test_neighbors_are_the_nearest_cells(points: np.ndarray, k: int) -> None:
    graph = NeighborGraph.from_embedding(points, n_neighbors=k)
    check(graph, 80, k)
    np.testing.assert_array_equal(graph.indices, brute_force(points, k))


def test_the_embedding_may_be_a_list_or_float32_and_stays_as_it_is(points: np.ndarray) -> None:
    before = points.copy()
    expected = NeighborGraph.from_embedding(points, n_neighbors=5).indices
    for same in (points.tolist(), points.astype(np.float32), np.asfortranarray(points)):
        np.testing.assert_array_equal(NeighborGraph.from_embedding(same, n_neighbors=5).indices, expected)
    np.testing.assert_array_equal(points, before)


@settings(max_examples=50, deadline=None)
@given(
    embedding=hnp.arrays(np.float32, st.tuples(st.integers(1, 15), st.integers(1, 2)), elements=st.integers(0, 2)),
    k=st.integers(1, 20),
)
def test_identical_cells_are_each_others_neighbors(embedding: np.ndarray, k: int) -> None:
    """Coordinates of few values, so that many cells are alike: still each cell once, and none nearer is left out."""
    n = len(embedding)
    graph = NeighborGraph.from_embedding(embedding, n_neighbors=k)
    check(graph, n, min(k, n - 1))
    distance = np.linalg.norm(embedding[:, None] - embedding[None], axis=2)
    for i, row in enumerate(graph.indices):
        others = np.setdiff1d(np.arange(n), row)
        assert not others.size or distance[i, row].max() <= distance[i, others].min()


def test_fewer_cells_than_neighbors(points: np.ndarray) -> None:
    check(NeighborGraph.from_embedding(points[:4], n_neighbors=5), 4, 3)
    check(NeighborGraph.from_embedding(points[:1], n_neighbors=5), 1, 0)


def test_neighbors_within_batches(points: np.ndarray) -> None:
    batches = np.array(["b", "a", "b", "c"])[np.arange(80) % 4]
    graph = NeighborGraph.from_embedding(points, n_neighbors=5, batches=batches)
    check(graph, 80, 5)
    assert (batches[graph.indices] == batches[:, None]).all()
    for name in "abc":
        cells = np.flatnonzero(batches == name)
        np.testing.assert_array_equal(graph.indices[cells], cells[brute_force(points[cells], 5)])


def test_one_batch_is_no_batch(points: np.ndarray) -> None:
    np.testing.assert_array_equal(
        NeighborGraph.from_embedding(points, n_neighbors=5, batches=np.zeros(80)).indices,
        NeighborGraph.from_embedding(points, n_neighbors=5).indices,
    )


def test_cells_of_a_small_batch_repeat_themselves(points: np.ndarray) -> None:
    batches = np.array([0] * 77 + [1] * 2 + [2])
    graph = NeighborGraph.from_embedding(points, n_neighbors=4, batches=batches)
    check(NeighborGraph.from_embedding(points[:77], n_neighbors=4), 77, 4)
    assert graph.indices[77].tolist() == [77, 78, 77, 77, 77]
    assert graph.indices[78].tolist() == [78, 77, 78, 78, 78]
    assert graph.indices[79].tolist() == [79] * 5


def test_as_many_batches_as_cells(points: np.ndarray) -> None:
    graph = NeighborGraph.from_embedding(points, n_neighbors=5, batches=np.arange(80))
    np.testing.assert_array_equal(graph.indices, np.arange(80)[:, None])


@pytest.mark.parametrize("at_once", [1, 80 * 7, None])
def test_exact_neighbors_are_those_of_scikit_learn(points: np.ndarray, at_once: int | None) -> None:
    far_away = (points + 100).astype(np.float32)
    oracle = NearestNeighbors(n_neighbors=6, algorithm="brute").fit(far_away).kneighbors(return_distance=False)
    np.testing.assert_array_equal(_nearest.exact(far_away, 6, at_once=at_once), oracle)


def test_products_among_identical_cells(rng: np.random.Generator) -> None:
    points = np.repeat(rng.normal(size=(10, 4)), 30, axis=0).astype(np.float32)
    found = _nearest.exact(points, 5)
    assert (found != np.arange(300)[:, None]).all()
    np.testing.assert_array_equal(found // 30, np.repeat(np.arange(10), 30)[:, None].repeat(5, 1))


def test_a_device_that_is_quick_at_products_searches_many_cells(
    points: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    class Quick(NamedTuple):
        type: str = "cuda"

    def exact(points: np.ndarray, k: int, *device: Quick) -> np.ndarray:
        asked.extend((len(points), place) for place in device if place.type != "cpu")
        return _nearest.exact(points, k)

    monkeypatch.setattr("gnnimpute._graph.device_named", lambda name: Quick() if name is None else torch.device(name))
    monkeypatch.setattr("gnnimpute._graph.exact", exact)
    graph = NeighborGraph.from_embedding(points, n_neighbors=5, batches=np.arange(80) >= 30, exact_below=50)
    assert asked == [(50, Quick())]
    monkeypatch.setattr("gnnimpute._graph._GPU_FROM", 30)  # of so many a CPU is still exact, but takes longer
    NeighborGraph.from_embedding(points, n_neighbors=5, batches=np.arange(80) >= 30)
    assert asked[1:] == [(30, Quick()), (50, Quick())]
    monkeypatch.undo()
    few = NeighborGraph.from_embedding(points, n_neighbors=5, batches=np.arange(80) >= 30)
    np.testing.assert_array_equal(graph.indices, few.indices)


@pytest.mark.slow
def test_approximate_neighbors_are_nearly_all_and_the_same_again(
    rng: np.random.Generator, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    points = rng.normal(size=(1500, 8)) + rng.normal(scale=4, size=(6, 8))[rng.integers(6, size=1500)]
    exact = NeighborGraph.from_embedding(points, n_neighbors=5)
    found, again, other = (
        NeighborGraph.from_embedding(points, n_neighbors=5, exact_below=100, rng=np.random.default_rng(seed))
        for seed in (1, 1, 2)
    )
    check(found, 1500, 5)
    np.testing.assert_array_equal(found.indices, again.indices)
    for graph in (found, other):
        hits = (graph.indices[:, 1:, None] == exact.indices[:, None, 1:]).any(2)
        assert hits.mean() > 0.9
        told = f"Neighbors of 1500 cells are approximate: {100 * _nearest.recall(points, graph.indices[:, 1:]):.1f} %"
        assert told in caplog.text
        share = hits[np.unique(np.linspace(0, 1499, 500).astype(int))].mean()
        assert _nearest.recall(points, graph.indices[:, 1:]) == pytest.approx(share, abs=1e-6)


def test_a_small_recall_is_warned_of(
    rng: np.random.Generator, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_nearest, "recall", lambda *_: 0.89)
    monkeypatch.setattr("pynndescent.NNDescent", lambda *_, **__: SimpleNamespace(neighbor_graph=(found, None)))
    found = np.arange(50)[:, None] + np.arange(4) - np.arange(50)[:, None] // 47 * 4
    _nearest.approximate(rng.normal(size=(50, 2)).astype(np.float32), 3, rng)
    assert caplog.record_tuples == [
        ("gnnimpute._nearest", 30, "Neighbors of 50 cells are approximate: 89.0 % are among the nearest")
    ]


def test_recall_is_the_share_of_the_nearest(rng: np.random.Generator) -> None:
    points = rng.normal(size=(300, 4)).astype(np.float32) + 100
    true = brute_force(points, 6)
    assert _nearest.recall(points, true[:, 1:6]) == 1
    assert _nearest.recall(points, np.column_stack([true[:, 1:4], true[:, [6, 6]]])) == pytest.approx(0.6)
    tiny = np.float32(1e-7) * points
    assert _nearest.recall(tiny, true[:, 1:6]) == 1
    assert _nearest.recall(tiny, rng.integers(300, size=(300, 5))) < 0.1
    same = np.repeat(points[:10], 30, axis=0)  # any of the identical cells is as near
    own = np.repeat(np.arange(10) * 30, 30)
    assert _nearest.recall(same, own[:, None] + (np.arange(300)[:, None] + np.arange(1, 6)) % 30) == 1


@pytest.mark.slow
def test_approximate_within_batches(rng: np.random.Generator) -> None:
    points = rng.normal(size=(350, 4))
    batches = np.array([0] * 200 + [1] * 150)
    graph = NeighborGraph.from_embedding(points, n_neighbors=5, batches=batches, exact_below=160)
    check(graph, 350, 5)
    assert (batches[graph.indices] == batches[:, None]).all()
    np.testing.assert_array_equal(graph.indices[200:], 200 + brute_force(points[200:], 5))  # few cells: exact


@pytest.mark.slow
def test_approximate_neighbors_of_identical_cells(rng: np.random.Generator) -> None:
    points = np.repeat(rng.normal(size=(10, 4)), 30, axis=0)
    graph = NeighborGraph.from_embedding(points, n_neighbors=5, exact_below=100)
    check(graph, 300, 5)


@pytest.mark.parametrize(
    ("embedding", "text"),
    [
        (np.zeros(5), r"cells x dimensions and finite, but it is \(5,\)"),
        (np.zeros((2, 2, 2)), r"it is \(2, 2, 2\)"),
        ([[0.0, 1.0], [np.nan, 1.0], [0.0, np.inf]], r"it is \(3, 2\) and cell 1 is not finite"),
        (np.zeros((0, 4)), r"it is \(0, 4\)"),
    ],
)
def test_embeddings_that_are_none(embedding: np.ndarray, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        NeighborGraph.from_embedding(embedding, n_neighbors=2)


@pytest.mark.parametrize("n_neighbors", [0, -1])
def test_no_neighbors(points: np.ndarray, n_neighbors: int) -> None:
    with pytest.raises(ValueError, match=f"n_neighbors={n_neighbors}: a cell needs at least one"):
        NeighborGraph.from_embedding(points, n_neighbors=n_neighbors)
    with pytest.raises(ValueError, match=f"n_neighbors={n_neighbors}: a cell needs at least one"):
        NeighborGraph.from_sparse(sp.eye(4), nearest="largest", n_neighbors=n_neighbors)


@pytest.mark.parametrize("n", [79, 81])
def test_batches_of_other_cells(points: np.ndarray, n: int) -> None:
    with pytest.raises(ValueError, match=f"80 cells, but `batches` has {n}"):
        NeighborGraph.from_embedding(points, n_neighbors=5, batches=np.zeros(n))


@pytest.mark.parametrize("n_neighbors", [6, 4])
@pytest.mark.parametrize("connectivities", ["umap", "gauss"])
def test_what_scanpy_found(points: np.ndarray, n_neighbors: int, connectivities: str) -> None:
    adata = ad.AnnData(points)
    sc.pp.neighbors(adata, n_neighbors=6, use_rep="X", method=connectivities)  # counts the cell itself
    distances = adata.obsp["distances"]
    graph = NeighborGraph.from_sparse(distances, nearest="smallest", n_neighbors=n_neighbors)
    k = min(n_neighbors, 5)
    check(graph, 80, k)
    np.testing.assert_array_equal(graph.indices, brute_force(points, k))

    weights = adata.obsp["connectivities"]
    graph = NeighborGraph.from_sparse(weights, nearest="largest", n_neighbors=n_neighbors)
    dense = weights.toarray()
    for i, row in enumerate(graph.indices):
        here = row[row != i]
        assert len(here) == min(n_neighbors, np.count_nonzero(dense[i]))
        assert all(dense[i, j] >= dense[i, later] > 0 for j, later in pairwise(here))
        assert dense[i, here].sum() == pytest.approx(np.sort(dense[i])[-len(here) :].sum(), rel=1e-6)


@pytest.mark.parametrize("container", [sp.csr_matrix, sp.csc_matrix, sp.coo_matrix, sp.csr_array, sp.coo_array])
def test_the_diagonal_is_ignored(container: type, rng: np.random.Generator) -> None:
    distances = rng.random((7, 7)) + 1
    without = distances.copy()
    np.fill_diagonal(without, 0)
    expected = NeighborGraph.from_sparse(sp.csr_matrix(without), nearest="smallest", n_neighbors=3)
    check(expected, 7, 3)
    for diagonal in (0.1, 9):  # as the nearest of all, and as the farthest
        np.fill_diagonal(distances, diagonal)
        graph = NeighborGraph.from_sparse(container(distances), nearest="smallest", n_neighbors=3)
        np.testing.assert_array_equal(graph.indices, expected.indices)


def test_cells_at_distance_zero_are_neighbors() -> None:
    row, col, distance = [0, 0, 1, 1, 2, 2], [1, 2, 0, 2, 0, 1], [0.0, 2.0, 0.0, 3.0, 2.0, 3.0]
    matrix = sp.csr_matrix((distance, (row, col)), shape=(3, 3))
    assert matrix.nnz == 6
    graph = NeighborGraph.from_sparse(matrix, nearest="smallest", n_neighbors=1)
    assert graph.indices.tolist() == [[0, 1], [1, 0], [2, 0]]
    assert matrix.nnz == 6


def test_cells_with_fewer_neighbors_repeat_themselves() -> None:
    matrix = sp.csr_matrix(np.array([[0, 3, 1, 2], [5, 0, 0, 0], [0, 0, 0, 0], [1, 0, 4, 0]]))
    assert NeighborGraph.from_sparse(matrix, nearest="smallest").indices.tolist() == [
        [0, 2, 3, 1],
        [1, 0, 1, 1],
        [2, 2, 2, 2],
        [3, 0, 2, 3],
    ]
    assert NeighborGraph.from_sparse(matrix, nearest="largest", n_neighbors=2).indices.tolist() == [
        [0, 1, 3],
        [1, 0, 1],
        [2, 2, 2],
        [3, 2, 0],
    ]


def test_of_hubs_the_nearest_are_taken(caplog: pytest.LogCaptureFixture, rng: np.random.Generator) -> None:
    """A cell that has many neighbours would cost all others the memory of as many."""
    n = 400
    ring = sp.csr_matrix((np.ones(n), (np.arange(n), (np.arange(n) + 1) % n)), shape=(n, n))
    distances = ring.tolil()
    distances[7] = far = 2 + rng.permutation(n)
    graph = NeighborGraph.from_sparse(distances, nearest="smallest")
    assert graph.indices.shape == (n, 33)
    assert set(graph.indices[7, 1:]) == set(np.setdiff1d(np.argsort(far), 7, assume_unique=True)[:32])
    assert graph.neighbors_of(7).shape == (32,)
    assert graph.neighbors_of(5).tolist() == [6]
    said = "1 of 400 cells have more than 32 neighbours in this graph, up to 399: the nearest 32 of each are used."
    assert [record.getMessage() for record in caplog.records] == [said]
    assert NeighborGraph.from_sparse(distances, nearest="smallest", n_neighbors=50).indices.shape == (n, 51)
    assert NeighborGraph.from_sparse(sp.csr_matrix(1 - np.eye(90)), nearest="smallest").indices.shape == (90, 90)


def test_equal_distances_are_taken_in_the_order_of_the_cells() -> None:
    matrix = sp.csr_matrix(1 - np.eye(5))
    graph = NeighborGraph.from_sparse(matrix[:, ::-1][:, ::-1], nearest="largest", n_neighbors=2)
    assert graph.indices.tolist() == [[0, 1, 2], [1, 0, 2], [2, 0, 1], [3, 0, 1], [4, 0, 1]]


def test_entries_that_are_stored_twice_are_one_neighbor() -> None:
    matrix = sp.coo_matrix(([1.0, 1.0, 3.0, 1.0, 1.0], ([0, 0, 0, 1, 2], [1, 1, 2, 0, 0])), shape=(3, 3))
    graph = NeighborGraph.from_sparse(matrix, nearest="smallest", n_neighbors=2)
    assert sorted(graph.indices[0].tolist()) == [0, 1, 2]
    assert matrix.nnz == 5


def test_no_edges() -> None:
    graph = NeighborGraph.from_sparse(sp.csr_matrix((3, 3)), nearest="smallest")
    np.testing.assert_array_equal(graph.indices, np.arange(3)[:, None])


def test_a_matrix_of_cells_and_genes_is_no_graph() -> None:
    with pytest.raises(ValueError, match="cells x cells, but this matrix is 3 x 5"):
        NeighborGraph.from_sparse(sp.csr_matrix((3, 5)), nearest="largest")


@pytest.mark.parametrize(
    ("indices", "text"),
    [
        (np.arange(3), r"must be cells x neighbours, but its shape is \(3,\)"),
        (np.zeros((0, 2)), r"its shape is \(0, 2\)"),
        (np.zeros((2, 0)), r"its shape is \(2, 0\)"),
        ([[0, 1], [0, 1]], "Column 0 of `indices` must be the cell itself, but row 1 starts with 0"),
        ([[0, 1], [1, 2]], r"Row 1 of `indices` is \[1, 2\], but cells are numbered 0 to 1"),
        ([[0, -1], [1, 0]], r"Row 0 of `indices` is \[0, -1\]"),
    ],
)
def test_indices_that_are_no_graph(indices: np.ndarray, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        NeighborGraph(indices)  # type: ignore[arg-type]


@st.composite
def graphs_and_seeds(draw: st.DrawFn) -> tuple[NeighborGraph, np.ndarray]:
    n, k = draw(st.integers(1, 20)), draw(st.integers(0, 4))
    others = draw(hnp.arrays(np.int64, (n, k), elements=st.integers(0, n - 1)))
    seeds = draw(st.lists(st.integers(0, n - 1), min_size=1, max_size=n))
    return NeighborGraph(np.hstack([np.arange(n)[:, None], others])), np.asarray(seeds)


@settings(max_examples=100, deadline=None)
@given(graphs_and_seeds())
def test_a_block_leads_back_to_the_neighbors_of_the_neighbors(case: tuple[NeighborGraph, np.ndarray]) -> None:
    graph, seeds = case
    block = graph.block(seeds)
    first, centre = block.cells[block.first], block.cells[block.first][:, 0]
    np.testing.assert_array_equal(first, graph.indices[centre])
    np.testing.assert_array_equal(centre[block.second], graph.indices[seeds])
    assert set(block.cells) == set(graph.indices[graph.indices[seeds]].ravel())
    assert len(block.cells) == len(set(block.cells))
    assert set(centre) == set(graph.indices[seeds].ravel())


@pytest.mark.parametrize("kind", [bool, np.uint8])
def test_matrices_of_any_kind_of_number(kind: type) -> None:
    row = sp.csr_matrix((np.array([3, 1, 0], kind), np.array([1, 2, 3]), np.array([0, 3, 3, 3, 3])), shape=(4, 4))
    assert NeighborGraph.from_sparse(row, nearest="largest").indices[0].tolist() == [0, 1, 2, 3]
