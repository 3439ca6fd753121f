"""The prior: what was simulated comes back, and the posterior of it predicts best."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from gnnimpute import _prior_fit
from gnnimpute._estimates import posterior
from gnnimpute._masking import hide_molecules
from gnnimpute._prior import Average, Spread
from gnnimpute._prior_fit import (
    AVERAGE_WEIGHTS,
    DISPERSIONS,
    FANO_FACTORS,
    HINTS,
    _evidence,
    _weights,
    dispersion_weights,
    fit_prior,
)


def simulated(
    rng: np.random.Generator, dispersion: np.ndarray, *, fano: float = 0.0, n_cells: int = 1500, rate: float = 0.1
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Expected counts, counts seen and counts held out of genes with these dispersions, and one Fano factor."""
    mean = rng.gamma(2.0, 1.5, size=(n_cells, len(dispersion)))
    inverse = 1 / dispersion + fano / mean
    shape = 1 / np.where(inverse > 0, inverse, 1)
    expression = np.where(inverse > 0, rng.gamma(shape, mean / shape), mean)
    parts = (mean * (1 - rate), rng.poisson(expression * (1 - rate)), rng.poisson(expression * rate))
    return tuple(part.astype(np.float32) for part in parts)  # type: ignore[return-value]


def fit(blocks: list[tuple[np.ndarray, ...]], *, ratio: float = 1 / 9) -> tuple[Spread, Average]:
    """Prior by expected counts, counts seen and counts held out."""
    rng, seen = np.random.default_rng(1), sum(block[1].sum(0) for block in blocks)
    halves = [hide_molecules(sp.csr_matrix(block[1]), 0.5, rng)[0].toarray() for block in blocks]
    parts = [(mean, seen, half, held_out) for (mean, seen, held_out), half in zip(blocks, halves, strict=True)]
    return fit_prior(parts, (seen / max(seen.sum(), 1)).astype(np.float32), ratio=ratio)


def loss(spread: Spread, mean: np.ndarray, seen: np.ndarray, held_out: np.ndarray) -> float:
    """Poisson loss of the ninth as many molecules that were held out."""
    expected = np.maximum(posterior(mean, seen, spread) / 9, 1e-6)
    return float((expected - held_out * np.log(expected)).sum())


def test_dispersions_that_were_simulated_come_back(rng: np.random.Generator) -> None:
    truth = np.repeat([0.1, 0.5, 2.0, 8.0, np.inf], 8)
    (fitted, fano), _ = fit([simulated(rng, truth)])
    # Where cells differ by much more than chance, a Fano factor makes no difference, and may be anything.
    assert np.median(fano[24:32]) < 0.2
    assert np.median(fano[32:]) < 0.01
    assert fitted.shape == truth.shape
    assert fitted.dtype == np.float32
    groups = np.median(fitted.reshape(5, 8), axis=1)
    np.testing.assert_allclose(np.log2(groups[:4]), np.log2(truth[::8][:4]), atol=1.5)
    assert groups[4] > 30
    assert (np.diff(groups) > 0).all()


@pytest.mark.parametrize("fano", [0.1, 0.5, 1.5])
def test_fano_factors_that_were_simulated_come_back(rng: np.random.Generator, fano: float) -> None:
    for dispersion in (np.inf, 4.0):
        fitted = fit([simulated(rng, np.full(60, dispersion), fano=fano)])[0]
        assert np.median(fitted.fano) == pytest.approx(fano, rel=0.4)
        assert fitted.fano.dtype == np.float32
        assert (np.median(fitted.dispersion) > 10) == np.isinf(dispersion)


def test_few_molecules_that_differ_by_chance_have_no_fano_factor(rng: np.random.Generator) -> None:
    mean = rng.gamma(1.0, 0.05, size=(400, 300)).astype(np.float32)
    seen, held_out = (rng.poisson(mean * part).astype(np.float32) for part in (1, 0.05))
    assert np.median(fit([(mean, seen, held_out)], ratio=0.05)[0].fano) < 0.01  # .015 after 50 rounds


def test_counts_that_differ_by_chance_alone_have_no_spread(rng: np.random.Generator) -> None:
    mean, seen, held_out = simulated(rng, np.full(20, np.inf))
    fitted = fit([(mean, seen, held_out)])[0]
    assert np.median(fitted.dispersion) > 50
    assert np.median(fitted.fano) < 0.02
    shrunk = posterior(mean, seen, fitted)
    assert np.abs(shrunk - mean).mean() < 0.1 * np.abs(seen - mean).mean()


@pytest.mark.parametrize("fano", [0.0, 0.5])
def test_posterior_of_the_fitted_spread_predicts_better_than_others(rng: np.random.Generator, fano: float) -> None:
    truth = np.full(20, np.inf if fano else 1.0)
    fitted = fit([simulated(rng, truth, fano=fano)])[0]
    data = simulated(rng, truth, fano=fano)
    others = [
        Spread(np.full(20, np.inf), np.zeros(20)),
        Spread(np.full(20, 1e-3), np.zeros(20)),
        Spread(fitted.dispersion, fitted.fano + 0.5),
    ]
    if fano:
        others += [Spread(np.full(20, dispersion), np.zeros(20)) for dispersion in DISPERSIONS]
    assert loss(fitted, *data) < min(loss(other, *data) for other in others)


def test_evidence_is_the_poisson_likelihood_of_the_posterior(rng: np.random.Generator) -> None:
    mean, seen, held_out = simulated(rng, np.full(2, 1.0), fano=0.5, n_cells=40)
    grid = [(d, f) for d in DISPERSIONS for f in FANO_FACTORS]
    likelihood = []
    for scale, fano in grid:
        expected = posterior(mean, seen, Spread(np.full(2, scale / (1 + fano)), np.full(2, fano))) / 9
        likelihood.append((held_out * np.log(expected) - expected).sum(0))
    least = FANO_FACTORS / (1 + FANO_FACTORS)
    found = _evidence(mean, seen, held_out, ratio=1 / 9, scales=DISPERSIONS, least=least)
    constant = (held_out * np.log(1 / 9)).sum(0)  # the same of all candidates
    np.testing.assert_allclose(found, likelihood - constant, rtol=1e-4, atol=1e-2)


def test_held_out_molecules_are_evidence_and_halves_are_hints(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By what is expected, and by the average: candidates mix both, and hints are of pairs of dispersions."""
    given: list[np.ndarray] = []
    monkeypatch.setattr(_prior_fit, "_weights", lambda *logs, **how: given.extend(logs) or _weights(*logs, **how))
    mean, read, held_out = simulated(rng, np.full(5, 1.0), n_cells=200)
    half, share = np.floor(read / 2), read.sum(0) / read.sum()
    fit_prior([(mean, read, half, held_out)], share, ratio=0.25)
    average = read.sum(1, keepdims=True) * share
    candidates: dict[str, Any] = {"ratio": 0.25, "scales": DISPERSIONS, "least": FANO_FACTORS / (1 + FANO_FACTORS)}
    expected = [_evidence(mean + w * (average - mean), read, held_out, **candidates) for w in AVERAGE_WEIGHTS.tolist()]
    hints: dict[str, Any] = {"ratio": 1, "scales": HINTS, "least": np.zeros(1)}
    around = [_evidence(m / 2, half, read - half, **hints) for m in (mean, average)]
    np.testing.assert_allclose(given[0], np.concatenate(expected), rtol=1e-4, atol=1e-2)
    np.testing.assert_allclose(given[1], (around[0][:, None] + around[1]).reshape(-1, 5), rtol=1e-4, atol=1e-2)


def test_blocks_of_cells_are_all_cells(rng: np.random.Generator) -> None:
    whole = simulated(rng, np.full(6, 2.0))
    whole = (*whole[:2], np.floor(whole[1] / 2), whole[2])
    share = whole[1].sum(0) / whole[1].sum()
    parts = zip(*(np.array_split(part, 4) for part in whole), strict=True)
    for some, every in zip(fit_prior(parts, share, ratio=1 / 9), fit_prior([whole], share, ratio=1 / 9), strict=True):
        np.testing.assert_allclose(some, every, rtol=1e-3)


def test_a_gene_with_few_molecules_borrows_from_the_others(rng: np.random.Generator) -> None:
    mean, seen, held_out = simulated(rng, np.full(20, 0.5), fano=0.5)
    seen[:, 0], held_out[:, 0], mean[:, 0] = 0, 0, 1e-4
    for fitted in fit([(mean, seen, held_out)])[0]:
        assert fitted[0] == pytest.approx(np.median(fitted[1:]), rel=1)


@pytest.mark.parametrize("value", [0.0, 1e-8])
def test_nothing_seen_at_all(value: float) -> None:
    zero = np.zeros((5, 3), np.float32)
    fitted, average = fit([(zero + np.float32(value), zero, zero)], ratio=0.1)
    assert (fitted.dispersion > 0).all()
    assert not np.isnan(fitted).any()
    assert np.isfinite(average).all()


def test_candidates_end_with_none() -> None:
    assert FANO_FACTORS[0] == 0
    assert (np.diff(FANO_FACTORS) > 0).all()
    assert (np.diff(DISPERSIONS) > 0).all()
    assert DISPERSIONS[0] > 0
    assert np.isinf(DISPERSIONS[-1])
    assert np.isinf(HINTS[-1])
    assert AVERAGE_WEIGHTS[0] == 0


def test_weights_of_dispersions_sum_to_one_and_find_the_true_one() -> None:
    rng = np.random.default_rng(0)
    mean = np.full((4000, 2), 5.0, np.float32)
    x = np.stack([rng.gamma(0.5, 2, 4000), np.ones(4000)], 1)  # dispersion 0.5, and none
    blocks = [(mean, rng.poisson(mean * x).astype(np.float32), rng.poisson(0.2 * mean * x).astype(np.float32))]
    weights = dispersion_weights(blocks, 2, ratio=0.2)
    np.testing.assert_allclose(weights.sum(0), 1)
    best = DISPERSIONS[weights.argmax(0)]
    assert 0.25 <= best[0] <= 1
    assert best[1] >= 32


def test_the_average_has_a_say_where_what_is_expected_is_noise(rng: np.random.Generator) -> None:
    share = rng.dirichlet(np.ones(80)).astype(np.float32)
    average = np.tile(800 * share, (300, 1))
    parts = [rng.poisson(average * part).astype(np.float32) for part in (0.9, 0.1)]
    for noise, least, most in ((0.0, 0, 0.35), (0.5, 0.45, 0.5)):
        expected = 0.9 * average * np.exp(noise * rng.normal(size=average.shape) - noise**2 / 2)
        _, (shares, weight) = fit([(expected.astype(np.float32), *parts)])
        assert least < np.median(weight) + 1e-6 <= most + 1e-5
        np.testing.assert_allclose(shares, parts[0].sum(0) / parts[0].sum(), rtol=1e-5)
    groups = np.where(np.arange(300)[:, None] < 150, rng.permuted(average, axis=1), average)
    expected = 0.9 * np.broadcast_to(np.where(np.arange(300)[:, None] < 150, groups[0], average), average.shape)
    parts = [rng.poisson(expected * part).astype(np.float32) for part in (1, 1 / 9)]
    assert np.median(fit([(expected.astype(np.float32), *parts)])[1].weight) < 0.05  # cells that are not all alike


def without_hints(monkeypatch: pytest.MonkeyPatch, data: tuple[np.ndarray, ...], **options: float) -> Spread:
    with monkeypatch.context() as patch:
        patch.setattr(_prior_fit, "HINTS", np.array([np.inf]))
        return fit([data], **options)[0]


def test_molecules_that_were_read_tell_genes_apart(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    truth = np.repeat([0.5, np.inf], 300)
    mean = np.full((100, 600), 2.0, np.float32)
    x = np.where(np.isinf(truth), 1, rng.gamma(0.5, 2.0, size=mean.shape))
    seen, held_out = (rng.poisson(mean * x * part).astype(np.float32) for part in (1, 0.02))  # four of each gene
    fits = fit([(mean, seen, held_out)], ratio=0.02)[0], without_hints(monkeypatch, (mean, seen, held_out), ratio=0.02)
    wrong = [np.mean((fitted.dispersion < 4) != np.isfinite(truth)) for fitted in fits]
    assert wrong[0] < 0.02
    assert wrong[1] > 0.1


def test_what_has_seen_the_molecules_is_not_believed_for_it(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def leaking() -> tuple[np.ndarray, ...]:
        """What is expected is half-way to what was read."""
        mean, seen, held_out = simulated(rng, np.full(40, 1.0), n_cells=400)
        return (mean + seen) / 2, seen, held_out

    data, new = leaking(), leaking()
    fitted = fit([data])[0]
    half = rng.binomial(data[1].astype(int), 0.5).astype(np.float32)
    believed = fit([(data[0] / 2, half, data[1] - half)], ratio=1)[0]
    assert np.median(believed.dispersion) > 2 * np.median(fitted.dispersion)
    assert loss(fitted, *new) < loss(believed, *new)
    assert loss(fitted, *new) == pytest.approx(loss(without_hints(monkeypatch, data), *new), rel=1e-3)


def test_weights_are_those_of_the_sum_over_all_pairs() -> None:
    """Expectation maximisation, written out."""
    rng = np.random.default_rng(0)
    evidence, hints = rng.normal(size=(3, 40)), rng.normal(size=(2, 40))
    joint = np.full((3, 2), 1 / 6)
    for _ in range(20):
        each = joint[:, :, None] * np.exp(evidence)[:, None] * np.exp(hints)
        joint = (each / each.sum((0, 1))).mean(2)
    each = joint[:, :, None] * np.exp(evidence)[:, None] * np.exp(hints)
    expected = each.sum(1) / each.sum((0, 1))
    np.testing.assert_allclose(_weights(evidence, hints, n_rounds=20), expected)
    single = _weights(evidence, hints, n_rounds=20, dtype=np.float32)
    np.testing.assert_allclose(single, expected, rtol=1e-4)
    far = _weights(1e7 * evidence, -1e7 * hints, n_rounds=20, dtype=np.float32)  # of very many molecules
    np.testing.assert_allclose(far.sum(0), 1)
    assert (far.argmax(0) == evidence.argmax(0)).all()
