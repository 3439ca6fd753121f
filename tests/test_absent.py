"""A model on counts that lack some of its genes says of the others what it says where all are there."""

from __future__ import annotations

import copy

import anndata
import numpy as np
import pytest
import scipy.sparse as sp
import torch

import gnnimpute as gi
from gnnimpute._absent import best_guess, reader
from gnnimpute._prior import Spread

N_CELLS, N_GENES = 400, 200
GENES = np.array([f"gene{g}" for g in range(N_GENES)])


@pytest.fixture(scope="module")
def counts():
    """Cells of three types, the genes in order of what they express."""
    rng = np.random.default_rng(0)
    programs = np.sort(rng.gamma(0.7, 3.0, N_GENES))[::-1] * rng.gamma(8.0, 1 / 8, (3, N_GENES))
    depth = rng.lognormal(0, 0.3, (N_CELLS, 1))
    return sp.csr_matrix(rng.poisson(programs[rng.integers(3, size=N_CELLS)] * depth).astype(np.float32))


@pytest.fixture(scope="module")
def graph(counts):
    return gi.NeighborGraph.from_embedding(np.log1p(counts.toarray()), n_neighbors=5)


@pytest.fixture(scope="module", params=["molecules", "nonzeros", "paper"])
def imputer(request, counts, graph):
    config = {
        "molecules": gi.Config(n_epochs=10),
        "nonzeros": gi.Config.detected(n_epochs=10),
        "paper": gi.Config.paper(n_epochs=10, n_hidden=32, learning_rate=1e-2),
    }[request.param]
    return gi.GNNImputer(config).fit(counts, graph, genes=GENES)


def off(found, expected):
    """Mean relative difference, signed."""
    return float(found.mean() / expected.mean() - 1)


@pytest.mark.parametrize("absent", [slice(0, 5), slice(0, N_GENES, 4)], ids=["the highest", "a quarter"])
@pytest.mark.parametrize("output", ["counts", "normalized"])
def test_depth_is_that_of_all_genes(imputer, counts, graph, absent, output):
    there = np.setdiff1d(np.arange(N_GENES), np.arange(N_GENES)[absent])
    share = counts[:, there].sum() / counts.sum()
    assert share < 0.9  # so much lower would depths be
    asked = {"output": output, "genes": GENES[there]}
    for estimate in ("mean", "detected", *(["posterior"] if imputer.spread_ is not None else [])):
        whole = imputer.transform(counts, graph, estimate=estimate, **asked)
        found = imputer.transform(counts[:, there], graph, names=GENES[there], estimate=estimate, **asked)
        assert abs(off(found, whole)) < 0.04
        assert np.corrcoef(found.ravel(), whole.ravel())[0, 1] > 0.98


@pytest.mark.parametrize(
    "config", [gi.Config(n_epochs=10), gi.Config(n_epochs=10, reads="genes")], ids=lambda c: c.reads
)
def test_genes_that_are_there_tell_of_those_that_are_not(counts, graph, config):
    imputer = gi.GNNImputer(config).fit(counts, graph, genes=GENES)
    there = np.random.default_rng(0).permutation(N_GENES)[: N_GENES // 4]
    some = counts[:, there]
    whole, found = (
        imputer.transform(c, graph, names=GENES[names], genes=GENES[20:])
        for c, names in ((counts, slice(None)), (some, there))
    )
    deviation = [(np.log1p(values) - np.log1p(whole).mean(0)).ravel() for values in (whole, found)]
    assert np.corrcoef(*deviation)[0, 1] > 0.9
    expected = imputer.transform(some, graph, names=GENES[there], genes=GENES[there], output="counts")
    np.testing.assert_allclose(expected.sum(1), some.sum(1).A1, rtol=1e-4)


def test_the_best_guess_is_the_regression_on_what_is_there():
    rng = np.random.default_rng(0)
    loadings, noise, read = rng.normal(size=(12, 3)), rng.gamma(2.0, size=12), rng.normal(size=(12, 4))
    away = np.arange(12) % 3 == 0
    covariance = loadings @ loadings.T + np.diag(noise)
    expected = np.zeros((12, 4))
    expected[~away] = np.linalg.solve(covariance[np.ix_(~away, ~away)], covariance[np.ix_(~away, away)] @ read[away])
    given = {"read": read, "away": away, "loadings": loadings, "noise": noise}
    found = best_guess(**{name: torch.from_numpy(array) for name, array in given.items()})
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-12)


def test_a_model_that_lacks_nothing_is_itself(imputer):
    assert reader(imputer, None) is imputer
    assert reader(imputer, GENES[::-1]) is imputer
    assert imputer.network_.seen == 1


def test_the_model_is_left_as_it_was(imputer, counts, graph):
    before = imputer.transform(counts, graph)
    imputer.transform(counts[:, 20:], graph, names=GENES[20:])
    np.testing.assert_array_equal(imputer.transform(counts, graph), before)


@pytest.mark.parametrize("imputer", ["molecules"], indirect=True)
def test_what_was_not_counted_has_no_posterior_and_no_interval(imputer, counts, graph):
    imputer = copy.copy(imputer)  # these cells differ by chance alone: let them differ
    imputer.spread_ = Spread(np.full(N_GENES, 4, np.float32), np.full(N_GENES, 0.1, np.float32))
    imputer.average_ = imputer.average_._replace(weight=np.full(N_GENES, 0.3, np.float32))
    there = slice(5, None)
    rows = {"counts": counts[:, there], "graph": graph, "names": GENES[there]}
    mean, posterior = (imputer.transform(**rows, estimate=estimate) for estimate in ("mean", "posterior"))
    np.testing.assert_allclose(posterior[:, :5], mean[:, :5], rtol=1e-6)
    assert not np.allclose(posterior[:, there], mean[:, there], rtol=1e-3)
    lower, upper = imputer.interval(**rows, output="counts")
    assert np.isnan(lower[:, :5]).all()
    assert np.isnan(imputer.redetection(**rows)[:, :5]).all()
    whole = imputer.interval(counts, graph, output="counts")
    for end, expected in zip((lower, upper), whole, strict=True):
        assert abs(off(end[:, there], expected[:, there])) < 0.03


def test_values_on_demand_and_of_dask_arrays_are_those_in_memory(imputer, counts, graph):
    da = pytest.importorskip("dask.array")
    there = slice(5, None)
    expected = imputer.transform(counts[:, there], graph, names=GENES[there], output="counts")
    kept = imputer.keep(counts[:, there], graph, names=GENES[there]).values(output="counts")
    np.testing.assert_allclose(kept, expected, rtol=1e-3, atol=1e-4)

    adata = anndata.AnnData(counts[:, there].copy())
    adata.var_names = GENES[there]
    cell, rank = np.indices(graph.indices[:, 1:].shape)
    distances = sp.csr_matrix((rank.ravel() + 1.0, (cell.ravel(), graph.indices[:, 1:].ravel())), (N_CELLS, N_CELLS))
    adata.obsp["distances"], adata.uns["near"] = distances, {"distances_key": "distances"}
    lazy = adata.copy()
    lazy.X = da.from_array(lazy.X, chunks=(150, -1))
    for one in (adata, lazy):
        gi.tl.impute(one, imputer=imputer, neighbors_key="near", output="counts")
        np.testing.assert_allclose(np.asarray(one.layers["gnnimpute"]), expected[:, there], rtol=1e-3, atol=1e-4)


def test_a_value_that_is_not_there_is_not_explained(counts, graph):
    imputer = gi.GNNImputer(gi.Config(n_epochs=1)).fit(counts, graph, genes=GENES)
    adata = anndata.AnnData(counts[:, 5:].copy())
    adata.var_names = GENES[5:]
    gi.pp.prepare(adata, min_genes=1)
    found = gi.tl.explain(adata, "3", "gene7", imputer=imputer)
    assert found.lower >= 0
    mixed = found.linear.share * found.linear.value + (1 - found.linear.share) * found.linear.network
    np.testing.assert_allclose(mixed * found.linear.group, found.mean, rtol=1e-4)
    with pytest.raises(KeyError, match="'gene2' is one of the model, but not of these counts"):
        gi.tl.explain(adata, "3", "gene2", imputer=imputer)
