"""Spread: what was simulated comes back, and the posterior of it predicts best."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import integrate, stats

from gnnimpute._estimates import posterior
from gnnimpute._spread import DISPERSIONS, FANO_FACTORS, Spread, _evidence, dispersion_weights, fit_spread, group_ratio


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


def test_dispersions_that_were_simulated_come_back(rng: np.random.Generator) -> None:
    truth = np.repeat([0.1, 0.5, 2.0, 8.0, np.inf], 8)
    fitted, fano = fit_spread([simulated(rng, truth)], len(truth), ratio=1 / 9)
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
        fitted = fit_spread([simulated(rng, np.full(60, dispersion), fano=fano)], 60, ratio=1 / 9)
        assert np.median(fitted.fano) == pytest.approx(fano, rel=0.4)
        assert fitted.fano.dtype == np.float32
        assert (np.median(fitted.dispersion) > 10) == np.isinf(dispersion)


def test_few_molecules_that_differ_by_chance_have_no_fano_factor(rng: np.random.Generator) -> None:
    mean = rng.gamma(1.0, 0.05, size=(400, 300)).astype(np.float32)
    seen, held_out = (rng.poisson(mean * part).astype(np.float32) for part in (1, 0.05))
    assert np.median(fit_spread([(mean, seen, held_out)], 300, ratio=0.05).fano) < 0.01  # .015 after 50 rounds


def test_counts_that_differ_by_chance_alone_have_no_spread(rng: np.random.Generator) -> None:
    mean, seen, held_out = simulated(rng, np.full(20, np.inf))
    fitted = fit_spread([(mean, seen, held_out)], 20, ratio=1 / 9)
    assert np.median(fitted.dispersion) > 50
    assert np.median(fitted.fano) < 0.02
    shrunk = posterior(mean, seen, fitted)
    assert np.abs(shrunk - mean).mean() < 0.1 * np.abs(seen - mean).mean()


@pytest.mark.parametrize("fano", [0.0, 0.5])
def test_posterior_of_the_fitted_spread_predicts_better_than_others(rng: np.random.Generator, fano: float) -> None:
    truth = np.full(20, np.inf if fano else 1.0)
    fitted = fit_spread([simulated(rng, truth, fano=fano)], 20, ratio=1 / 9)
    mean, seen, held_out = simulated(rng, truth, fano=fano)

    def loss(spread: Spread) -> float:
        expected = np.maximum(posterior(mean, seen, spread) / 9, 1e-6)
        return float((expected - held_out * np.log(expected)).sum())

    others = [
        Spread(np.full(20, np.inf), np.zeros(20)),
        Spread(np.full(20, 1e-3), np.zeros(20)),
        Spread(fitted.dispersion, fitted.fano + 0.5),
    ]
    if fano:
        others += [Spread(np.full(20, dispersion), np.zeros(20)) for dispersion in DISPERSIONS]
    assert loss(fitted) < min(map(loss, others))


def test_evidence_is_the_poisson_likelihood_of_the_posterior(rng: np.random.Generator) -> None:
    mean, seen, held_out = simulated(rng, np.full(2, 1.0), fano=0.5, n_cells=40)
    grid = [(d, f) for d in DISPERSIONS for f in FANO_FACTORS]
    likelihood = []
    for scale, fano in grid:
        expected = posterior(mean, seen, Spread(np.full(2, scale / (1 + fano)), np.full(2, fano))) / 9
        likelihood.append((held_out * np.log(expected) - expected).sum(0))
    found = _evidence(
        [(mean, seen, held_out)], 2, ratio=1 / 9, scales=DISPERSIONS, least=FANO_FACTORS / (1 + FANO_FACTORS)
    )
    np.testing.assert_allclose(found, likelihood, rtol=1e-4, atol=1e-2)


def test_blocks_of_cells_are_all_cells(rng: np.random.Generator) -> None:
    whole = simulated(rng, np.full(6, 2.0))
    parts = zip(*(np.array_split(part, 4) for part in whole), strict=True)
    np.testing.assert_allclose(fit_spread(parts, 6, ratio=1 / 9), fit_spread([whole], 6, ratio=1 / 9), rtol=1e-3)


def test_a_gene_with_few_molecules_borrows_from_the_others(rng: np.random.Generator) -> None:
    mean, seen, held_out = simulated(rng, np.full(20, 0.5), fano=0.5)
    seen[:, 0], held_out[:, 0], mean[:, 0] = 0, 0, 1e-4
    for fitted in fit_spread([(mean, seen, held_out)], 20, ratio=1 / 9):
        assert fitted[0] == pytest.approx(np.median(fitted[1:]), rel=1)


@pytest.mark.parametrize("value", [0.0, 1e-8])
def test_nothing_seen_at_all(value: float) -> None:
    zero = np.zeros((5, 3), np.float32)
    fitted = fit_spread([(zero + np.float32(value), zero, zero)], 3, ratio=0.1)
    assert (fitted.dispersion > 0).all()
    assert not np.isnan(fitted).any()


def test_genes_of_which_nothing_is_known_are_as_expected() -> None:
    spread = Spread(np.array([1.0, 2.0], np.float32), np.array([0.5, 0.3], np.float32))
    made = spread.without(np.array([False, True]))
    assert np.isnan(made.dispersion).tolist() == [False, True]
    mean, counts = np.array([[2.0, 3.0]], np.float32), np.array([[5.0, 0.0]], np.float32)
    value = posterior(mean, counts, made.known())
    assert value[0].tolist() == [posterior(mean, counts, spread)[0, 0], 3]
    assert value.dtype == np.float32


def test_candidates_end_with_none() -> None:
    assert FANO_FACTORS[0] == 0
    assert (np.diff(FANO_FACTORS) > 0).all()
    assert (np.diff(DISPERSIONS) > 0).all()
    assert DISPERSIONS[0] > 0
    assert np.isinf(DISPERSIONS[-1])


@pytest.mark.parametrize(("expected", "seen"), [(0.3, 0), (12.0, 1), (12.0, 40), (200.0, 180)])
def test_ratio_of_a_group_is_the_integral_over_its_prior(expected: float, seen: int) -> None:
    few = np.flatnonzero((DISPERSIONS >= 0.5) & (DISPERSIONS <= 32))
    weights = np.zeros((len(DISPERSIONS), 1))
    weights[few, 0] = np.random.default_rng(0).dirichlet(np.ones(len(few)))

    def moment(power: int) -> float:
        def density(ratio: float) -> float:
            prior = sum(weights[d, 0] * stats.gamma.pdf(ratio, DISPERSIONS[d], scale=1 / DISPERSIONS[d]) for d in few)
            return float(prior * stats.poisson.pmf(seen, expected * ratio) * ratio**power)

        return integrate.quad(density, 0, 60, limit=2000, points=[0.01, 0.1, 1, 5])[0]

    found = group_ratio(np.array([[expected]]), np.array([[seen]]), weights)
    assert found[0, 0] == pytest.approx(moment(1) / moment(0), rel=1e-3)


def test_a_group_that_shows_nothing_of_much_is_believed_and_small_deviations_are_not() -> None:
    weights = np.full((len(DISPERSIONS), 3), 1 / len(DISPERSIONS))
    ratio = group_ratio(np.array([[30.0, 30.0, 0.0]]), np.array([[0.0, 28.0, 0.0]]), weights)[0]
    assert ratio[0] < 0.05
    assert ratio[1] == pytest.approx(1, abs=0.05)
    assert ratio[2] == pytest.approx(1)


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
