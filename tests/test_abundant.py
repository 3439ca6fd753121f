"""Genes with many molecules predict each other's hidden non-zeros: the regression, and what a fit makes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from gnnimpute import Config, GNNImputer, NeighborGraph, _abundant, _posterior_fit, metrics
from gnnimpute._abundant import N_FOLDS, N_PARTS, Part, fit_abundant
from gnnimpute._covarying import Covarying
from gnnimpute._infer import embed
from gnnimpute._ridge import PENALTIES

if TYPE_CHECKING:
    from gnnimpute._rows import Rows

N_CELLS, N_SEEN = 300, 12


def simulated(rng: np.random.Generator, strength: float, n_cells: int = N_CELLS) -> tuple[np.ndarray, np.ndarray]:
    """What is expected of each gene, and counts: a factor that no one knows is in half of the genes, a little."""
    expected = rng.lognormal(1, 0.5, size=(n_cells, 1)) * rng.lognormal(1, 0.5, size=(1, N_SEEN))
    factor = np.exp(strength * rng.normal(size=(n_cells, 1)) * (np.arange(N_SEEN) < N_SEEN // 2))
    return expected.astype(np.float32), rng.poisson(expected * factor).astype(np.float32)


def split(expected: np.ndarray, counts: np.ndarray, rng: np.random.Generator) -> list[Part]:
    part = rng.integers(N_PARTS, size=counts.shape)
    return [Part.of(expected, np.where(part != p, counts, 0), np.where(part == p, counts, 0)) for p in range(N_PARTS)]


def dense(parts: list[Part], pairs: np.ndarray, gene: int) -> np.ndarray:
    """The equation, one gene: rows of all cells and parts, and the penalty that predicts other cells best."""
    x, y, fold = [], [], []
    for told, missed, means in parts:
        for cell in np.flatnonzero(means[:, gene]):
            others, mean = np.where(np.arange(len(pairs)) == gene, 0, told[cell]).astype(float), means[cell, gene]
            root, size = np.sqrt(1 + mean), mean / (1 + mean)
            x.append(root * size * others)
            y.append(root * (missed[cell, gene] - size * pairs[gene] @ others))
            fold.append(cell % N_FOLDS)
    x, y, fold = np.array(x), np.array(y), np.array(fold)
    unit = (x**2).sum(0).max()

    def solved(rows: np.ndarray, penalty: float) -> np.ndarray:
        return np.linalg.solve(x[rows].T @ x[rows] + penalty * unit * np.eye(x.shape[1]), x[rows].T @ y[rows])

    errors = [
        sum(((y - x @ solved(fold != f, penalty))[fold == f] ** 2).sum() for f in range(N_FOLDS))
        for penalty in PENALTIES
    ]
    if min(errors) >= (y**2).sum():
        return np.zeros(x.shape[1])
    return solved(fold >= 0, PENALTIES[int(np.argmin(errors))])


@pytest.mark.parametrize("strength", [0.0, 0.3])
def test_weights_are_those_of_the_equation(rng: np.random.Generator, strength: float) -> None:
    parts = split(*simulated(rng, strength), rng)
    pairs = 0.05 * rng.normal(size=(N_SEEN, N_SEEN)) * (1 - np.eye(N_SEEN))
    weights = fit_abundant(parts, pairs)
    np.testing.assert_allclose(weights, [dense(parts, pairs, g) for g in range(N_SEEN)], rtol=1e-3, atol=1e-5)
    assert not weights.diagonal().any()
    assert weights.any()


@given(seed=st.integers(0, 2**32 - 1))
def test_a_part_tells_of_what_was_left_and_misses_what_was_hidden(seed: int) -> None:
    rng = np.random.default_rng(seed)
    expected, counts = simulated(rng, 0.3, n_cells=9)
    hidden = rng.random(counts.shape) < 0.3
    part = Part.of(expected, np.where(hidden, 0, counts), np.where(hidden, counts, 0))
    surprise = (counts - expected) / (1 + expected)
    np.testing.assert_allclose(part.told, np.where(~hidden & (counts > 0), surprise, 0), rtol=1e-5)
    np.testing.assert_allclose(part.missed, np.where(hidden & (counts > 0), surprise, 0), rtol=1e-5)
    np.testing.assert_allclose(part.mean, np.where(hidden & (counts > 0), expected, 0), rtol=1e-5)


def test_what_many_know_a_little_of_is_found(rng: np.random.Generator) -> None:
    """In cells that were not fitted on, errors of genes that share a factor fall; the others are left alone."""
    expected, counts = simulated(rng, 0.3, n_cells=3000)
    weights = fit_abundant(split(expected[:1500], counts[:1500], rng), np.zeros((N_SEEN, N_SEEN)))
    covarying = Covarying.none(N_SEEN).plus(np.arange(N_SEEN), weights)
    value = covarying.given(expected[1500:], counts[1500:])
    before, after = (((counts[1500:] - mean) ** 2).sum(0) for mean in (expected[1500:], value))
    half = N_SEEN // 2
    assert (after[:half] < 0.8 * before[:half]).all()
    assert (after[half:] < 1.01 * before[half:]).all()


def test_what_pairs_know_is_not_learnt_again(rng: np.random.Generator) -> None:
    parts = split(*simulated(rng, 0.3), rng)
    once = fit_abundant(parts, np.zeros((N_SEEN, N_SEEN)))
    again = fit_abundant(parts, once)
    assert np.abs(again).sum() < 0.3 * np.abs(once).sum()


def test_genes_are_fitted_a_few_at_a_time_and_alike(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    parts, pairs = split(*simulated(rng, 0.3), rng), np.zeros((N_SEEN, N_SEEN))
    whole = fit_abundant(parts, pairs)
    monkeypatch.setattr(_abundant, "_AT_ONCE", 5)
    np.testing.assert_allclose(fit_abundant(parts, pairs), whole, rtol=1e-6, atol=1e-9)


def test_values_may_be_as_large_as_they_like(rng: np.random.Generator) -> None:
    """As those of TPM of a few genes: no count is so large that its weight is none."""
    expected, counts = simulated(rng, 0.3)
    large = (expected * np.float32(1e9), counts * np.float32(1e9))
    weights = fit_abundant(split(*large, rng), np.zeros((N_SEEN, N_SEEN)))
    assert np.isfinite(weights).all()
    assert weights.any()


@pytest.mark.parametrize("n_genes", [0, 1])
def test_too_few_genes_to_say_anything(n_genes: int) -> None:
    nothing = np.zeros((6, n_genes))
    parts = [Part.of(nothing + 1, nothing + 2, nothing)] * N_PARTS
    weights = fit_abundant(parts, np.zeros((n_genes, n_genes)))
    assert weights.shape == (n_genes, n_genes)
    assert not weights.any()


def test_weights_are_added_where_the_genes_are() -> None:
    before = Covarying(sp.csr_matrix(np.array([[0, 0, 1], [0, 0, 0], [2, 0, 0]], dtype=np.float32)))
    after = before.plus(np.array([0, 2]), np.array([[0, 0.5], [-2, 0]]))
    np.testing.assert_allclose(after.weights.toarray(), [[0, 0, 1.5], [0, 0, 0], [0, 0, 0]])
    assert after.weights.dtype == np.float32
    np.testing.assert_array_equal(before.weights.toarray(), [[0, 0, 1], [0, 0, 0], [2, 0, 0]])


CONFIG = Config.detected(n_hidden=8, n_latent=4, n_epochs=3, n_components=2)


@pytest.fixture(scope="module")
def counts() -> sp.csr_matrix:
    return sp.csr_matrix(simulated(np.random.default_rng(0), 0.5, n_cells=600)[1])


@pytest.fixture(scope="module")
def graph() -> NeighborGraph:
    return NeighborGraph.from_embedding(np.random.default_rng(1).normal(size=(600, 4)), n_neighbors=4)


def test_a_network_is_asked_about_what_it_has_not_read(
    counts: sp.csr_matrix, graph: NeighborGraph, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts: list[Part] = []
    read: list[Rows] = []
    original = _posterior_fit.fit_abundant
    monkeypatch.setattr(_posterior_fit, "fit_abundant", lambda p, w: parts.extend(p) or original(p, w))
    monkeypatch.setattr(
        _posterior_fit, "embed", lambda network, rows, graph: read.append(rows) or embed(network, rows, graph)
    )
    GNNImputer(CONFIG, device="cpu").fit(counts, graph, progress=False)
    hidden = np.array([part.mean > 0 for part in parts])
    there = counts.toarray() > 0
    np.testing.assert_array_equal(hidden.sum(0), there)  # each non-zero once
    for part, rows, missing in zip(parts, read, hidden, strict=True):
        np.testing.assert_array_equal(rows.counts.toarray() > 0, there & ~missing)
        assert rows.total.mean() == pytest.approx(counts.sum(1).mean(), rel=0.05)  # as deep as if all were there
        assert not part.told[missing].any()


def test_hidden_non_zeros_are_predicted_better(
    counts: sp.csr_matrix, graph: NeighborGraph, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold_out = metrics.HoldOut.mask(counts, 0.1, rng=1)

    def error() -> float:
        imputer = GNNImputer(CONFIG, device="cpu").fit(hold_out.train, graph, progress=False)
        values = imputer.transform(hold_out.train, graph, estimate="detected", output="counts")
        return metrics.score(hold_out, values)["mse"].value

    given = error()
    monkeypatch.setattr(_posterior_fit, "fit_abundant", lambda _, pairs: np.zeros_like(pairs))
    assert given < 0.97 * error()


def test_only_networks_of_non_zeros_with_a_line_have_them(
    counts: sp.csr_matrix, graph: NeighborGraph, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(
        _posterior_fit, "fit_abundant", lambda _, pairs: asked.append(len(pairs)) or np.zeros_like(pairs)
    )
    for config in (Config(n_hidden=8, n_latent=4, n_epochs=1), Config.detected(n_hidden=8, n_epochs=1, n_components=0)):
        GNNImputer(config, device="cpu").fit(counts, graph, progress=False)
    assert not asked
    GNNImputer(CONFIG, device="cpu").fit(counts, graph, progress=False)
    assert asked == [N_SEEN]
