"""Intervals of a fitted imputer: around its posterior, in the order asked for, and right about new molecules."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from gnnimpute import Config, GNNImputer, NeighborGraph, metrics
from gnnimpute._uncertainty import expected_log1p

NAMES = [f"gene{i}" for i in range(60)]


@pytest.fixture(scope="module")
def data() -> tuple[sp.csr_matrix, NeighborGraph]:
    rng = np.random.default_rng(0)
    rate = rng.gamma(0.5, 2.0, size=(3, 60))[np.repeat([0, 1, 2], 60)]
    counts = sp.csr_matrix(rng.poisson(rng.gamma(2.0, rate / 2)).astype(np.float32))
    return counts, NeighborGraph.from_embedding(np.log1p(counts.toarray()), n_neighbors=4)


@pytest.fixture(scope="module")
def fitted(data: tuple[sp.csr_matrix, NeighborGraph]) -> GNNImputer:
    return GNNImputer(Config(n_hidden=16, n_latent=4, n_epochs=20)).fit(*data, genes=NAMES)


def test_the_posterior_lies_inside(fitted, data):
    value = fitted.transform(*data, estimate="posterior")
    lower, upper = fitted.interval(*data, level=0.95)
    assert lower.dtype == upper.dtype == np.float32
    assert (lower <= value).all()
    assert (value <= upper).all()
    narrow = fitted.interval(*data, level=0.5)
    assert (narrow[1] - narrow[0] <= upper - lower).all()


def test_genes_and_cells_are_those_asked_for(fitted, data):
    whole, again = fitted.interval(*data), fitted.redetection(*data)
    part = fitted.interval(*data, genes=["gene7", "gene0"], cells=[80, 2])
    for one, other in zip(whole, part, strict=True):
        np.testing.assert_allclose(other, one[[80, 2]][:, [7, 0]], rtol=1e-5)
    out = np.empty((2, 1), np.float32)
    assert fitted.redetection(*data, genes=["gene3"], cells=[5, 4], out=out) is out
    np.testing.assert_allclose(out, again[[5, 4], 3:4], rtol=1e-5)
    mean, size = fitted.further(*data, cells=[9])
    np.testing.assert_allclose(mean, fitted.transform(*data, estimate="posterior", output="counts", cells=[9]), 1e-5)
    own = data[0][9].toarray()
    given = fitted.covarying_.given(fitted.transform(*data, output="counts", cells=[9]), own)
    spread, prior = fitted.spread_, fitted.average_.mixed_with(given, own.sum(1, keepdims=True))[0]
    shape = 1 / (1 / spread.dispersion + spread.fano / prior)
    np.testing.assert_allclose(size[0], shape + data[0][9].toarray()[0], rtol=1e-5)


def test_the_expected_log_is_that_of_the_further_library(fitted, data):
    mean, size = fitted.further(*data, exposure=0.5)
    total = np.asarray(data[0].sum(1))
    expected = expected_log1p(mean, size, 1e3 / (0.5 * total))
    found = fitted.further_log1p(*data, exposure=0.5, total=1e3)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    # The mean of a log is less than the log of the mean, and the closer to it the deeper the library.
    log_of_mean = np.log1p(mean / 0.5 / total * 1e3)
    assert (found < log_of_mean).all()
    deep = fitted.further_log1p(*data, exposure=50, total=1e3)
    assert (log_of_mean - deep).mean() < 0.5 * (log_of_mean - found).mean()


def test_a_zero_is_the_likelier_a_dropout_the_deeper_the_other_library(fitted, data):
    shallow, deep = (fitted.redetection(*data, exposure=e) for e in (0.5, 5))
    assert (shallow >= 0).all()
    assert (shallow < deep).all()
    assert (deep <= 1).all()


def test_intervals_hold_the_molecules_that_nobody_has_seen(data):
    hold_out = metrics.HoldOut.thin(data[0], 0.5, rng=1)
    graph = NeighborGraph.from_embedding(np.log1p(hold_out.train.toarray()), n_neighbors=4)
    imputer = GNNImputer(Config(n_hidden=16, n_latent=4)).fit(hold_out.train, graph)
    mean, size = imputer.further(hold_out.train, graph, exposure=1)
    held_out = data[0] - hold_out.train
    for least in (0, 1):
        for level, share in metrics.coverage(held_out, mean, size, least=least).items():
            assert share == pytest.approx(level, abs=0.04)
    poisson = metrics.coverage(held_out, mean, np.full_like(size, np.inf), least=1)
    assert poisson[0.8] < 0.74  # without a dispersion they would be too narrow: the test could fail


@pytest.mark.parametrize("level", [0, 1, -0.5, 90, np.nan])
def test_a_level_is_a_probability(fitted, data, level):
    with pytest.raises(ValueError, match=r"level=.*above 0 and below 1"):
        fitted.interval(*data, level=level)


@pytest.mark.parametrize("method", ["redetection", "further", "further_log1p"])
def test_an_exposure_is_positive(fitted, data, method):
    with pytest.raises(ValueError, match=r"exposure=0: give the depth"):
        getattr(fitted, method)(*data, exposure=0)


@pytest.mark.parametrize("method", ["interval", "redetection", "further", "further_log1p"])
def test_what_cannot_say_refuses(data, method):
    with pytest.raises(ValueError, match="not fitted yet"):
        getattr(GNNImputer(), method)(*data)
    imputer = GNNImputer(Config(hide="nonzeros", n_hidden=8, n_latent=4, n_epochs=1)).fit(*data)
    with pytest.raises(ValueError, match=r"Config\(hide='molecules'\)"):
        getattr(imputer, method)(*data)
