from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from gnnimpute import NeighborGraph, _linear_fit
from gnnimpute._linear import Linear
from gnnimpute._linear_fit import fit_linear
from gnnimpute._masking import hide_molecules
from gnnimpute._rows import Rows


@pytest.fixture(scope="module")
def truth() -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.exp(rng.normal(size=(150, 2)) @ rng.normal(size=(2, 40)) * 0.6 + rng.normal(size=40))


@pytest.fixture(scope="module")
def counts(truth: np.ndarray) -> sp.csr_matrix:
    return sp.csr_matrix(np.random.default_rng(1).poisson(truth).astype(np.float32))


def graph(counts: sp.csr_matrix, k: int = 4) -> NeighborGraph:
    return NeighborGraph.from_embedding(np.log1p(counts.toarray()), n_neighbors=k)


def fitted(
    counts: sp.csr_matrix, graph: NeighborGraph, *, beyond_one: bool = False, n: int = 6, seed: int = 0
) -> Linear:
    linear = Linear(counts.shape[1], n)
    target_total = float(np.median(np.asarray(counts.sum(1))))
    rng = np.random.default_rng(seed)
    fit_linear(linear, counts, graph, target_total=target_total, beyond_one=beyond_one, rng=rng)
    return linear


def predicted(linear: Linear, counts: sp.csr_matrix, graph: NeighborGraph) -> np.ndarray:
    rows = Rows(counts, float(np.median(np.asarray(counts.sum(1))))).gather(slice(None))
    z = linear.components(
        linear.read(rows, torch.from_numpy(Rows(counts, 1.0).log_depth)), torch.from_numpy(graph.indices)
    )
    return linear(z).numpy()


def test_shares_are_closer_to_the_truth_than_gene_means(counts, truth):
    share = predicted(fitted(counts, graph(counts)), counts, graph(counts))
    true = truth / truth.sum(1, keepdims=True)
    mean = np.asarray(counts.sum(0)) / counts.sum()
    assert ((share - true) ** 2).sum() < 0.4 * ((mean - true) ** 2).sum()


def test_the_mean_cell_of_all_counts_is_predicted_to_be_the_mean(truth):
    deep = sp.csr_matrix(np.random.default_rng(4).poisson(3 * truth).astype(np.float32))
    linear, near = fitted(deep, graph(deep)), graph(deep)
    rows = Rows(deep, float(np.median(np.asarray(deep.sum(1))))).gather(slice(None))
    z = linear.components(
        linear.read(rows, torch.from_numpy(Rows(deep, 1.0).log_depth)), torch.from_numpy(near.indices)
    ).numpy()
    molecules = np.asarray(deep.sum(1)).ravel()
    np.testing.assert_allclose(np.average(z, axis=0, weights=molecules), 0, atol=1e-3 * np.abs(z).max())


def test_neighbours_help_shallow_cells(truth):
    counts = sp.csr_matrix(np.random.default_rng(2).poisson(truth / 4).astype(np.float32))
    true = truth / truth.sum(1, keepdims=True)
    near = NeighborGraph.from_embedding(np.log(truth), n_neighbors=8)
    alone = NeighborGraph(np.arange(150)[:, None])
    with_graph, without = (((predicted(fitted(counts, g), counts, g) - true) ** 2).sum() for g in (near, alone))
    assert with_graph < 0.9 * without


def test_values_beyond_one_molecule(counts):
    rng = np.random.default_rng(3)
    kept, hidden = hide_molecules(counts, 1e-9, rng)
    hide = rng.random(kept.nnz) < 0.1
    hidden = sp.csr_matrix((kept.data * hide, kept.indices.copy(), kept.indptr.copy()), kept.shape)
    kept = kept - hidden
    kept.eliminate_zeros()
    hidden.eliminate_zeros()
    beyond = predicted(fitted(kept, graph(kept), beyond_one=True), kept, graph(kept))
    scale = float(np.median(np.asarray(kept.sum(1)))) / np.asarray(kept.sum(1)).ravel()
    entries = hidden.tocoo()
    value = 1 + beyond[entries.row, entries.col] / scale[entries.row]
    n = np.maximum((kept > 0).sum(0), 1)
    mean = np.asarray(kept.sum(0) / n).ravel()[entries.col]
    assert ((value - entries.data) ** 2).mean() < 0.8 * ((mean - entries.data) ** 2).mean()


def test_folds_hold_products_of_how_far_cells_are_from_the_mean_of_all(counts, monkeypatch):
    given, features = [], np.random.default_rng(5).normal(size=(150, 3))
    monkeypatch.setattr(_linear_fit, "ridge", lambda *sums: given.extend(zip(*sums, strict=True)))
    _linear_fit._shares(features, counts, np.zeros((40, 3)))
    hidden, total = counts.toarray(), counts.toarray().sum(1, keepdims=True)
    x = features - (total * features).sum(0) / total.sum()
    y = hidden - total * hidden.sum(0) / total.sum()
    assert len(given) == 3
    for fold, (moments, products) in enumerate(given):
        own = np.arange(150) % 3 == fold
        np.testing.assert_allclose(moments, x[own].T @ (total[own] * x[own]), rtol=1e-5, atol=1e-3)
        np.testing.assert_allclose(products, x[own].T @ y[own], rtol=1e-3, atol=1e-2)


@pytest.mark.parametrize("beyond_one", [False, True])
def test_the_same_seed_gives_the_same_weights(counts, beyond_one):
    a, b, c = (fitted(counts, graph(counts), beyond_one=beyond_one, seed=seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not torch.equal(a["coefficients"], c["coefficients"])


@pytest.mark.parametrize("beyond_one", [False, True])
@pytest.mark.parametrize("shape", [(2, 5), (3, 2), (5, 60)])
def test_small_data(shape, beyond_one):
    counts = sp.csr_matrix(
        np.random.default_rng(4).poisson(2, shape).astype(np.float32) + np.eye(*shape, dtype=np.float32)
    )
    linear = fitted(counts, graph(counts, 1), beyond_one=beyond_one, n=50)
    assert all(buffer.isfinite().all() for buffer in linear.buffers())
