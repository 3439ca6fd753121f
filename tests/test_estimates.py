"""Estimates: inverse of each other, between what they combine, and equal to the integrals that define them."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import assume, given, settings
from scipy import integrate, stats

from gnnimpute._estimates import (
    DISPERSIONS,
    detected,
    dispersion_weights,
    fit_dispersion,
    group_ratio,
    mean_of_detected,
    posterior,
)

means = st.floats(1e-5, 1e4)
no_deadline = settings(deadline=None)


@no_deadline
@given(mean=means)
def test_mean_and_detected_are_inverse(mean: float) -> None:
    assert mean_of_detected(detected(np.array([mean])))[0] == pytest.approx(mean, rel=1e-6, abs=1e-11)
    single = mean_of_detected(detected(np.array([mean], np.float32)))
    assert single.dtype == np.float32
    # A float32 near 1 knows what is beyond 1 to 1.2e-7.
    assert single[0] == pytest.approx(mean, rel=1e-5, abs=5e-7)


@no_deadline
@given(value=st.floats(1.001, 1e4))
def test_detected_and_mean_are_inverse(value: float) -> None:
    assert detected(mean_of_detected(np.array([value])))[0] == pytest.approx(value, rel=1e-9)


@no_deadline
@given(mean=st.floats(0, 1e5))
def test_detected_is_at_least_one_and_at_least_the_mean(mean: float) -> None:
    value = detected(np.array([mean], np.float32))
    assert value.dtype == np.float32
    assert max(1, mean * (1 - 1e-6)) <= value[0] <= 1.000001 + mean


def test_limits() -> None:
    np.testing.assert_allclose(detected(np.array([0.0, 1e-9, 50.0])), [1, 1, 50], rtol=1e-6)
    np.testing.assert_allclose(mean_of_detected(np.array([0.0, 0.7, 1.0, 50.0, 1e4])), [0, 0, 0, 50, 1e4], atol=1e-6)
    assert mean_of_detected(np.array([1.0 + 1e-7], np.float32))[0] >= 0


def test_detected_is_the_mean_of_counts_that_are_not_zero(rng: np.random.Generator) -> None:
    mean = np.array([0.05, 0.7, 3.0])
    counts = rng.poisson(mean, size=(400_000, 3))
    expected = counts.sum(0) / (counts > 0).sum(0)
    np.testing.assert_allclose(detected(mean), expected, rtol=0.01)


def test_estimates_leave_their_input_alone() -> None:
    mean = np.array([0.0, 2.0], np.float32)
    detected(mean)
    mean_of_detected(mean)
    posterior(mean, mean, np.ones(2, np.float32))
    assert mean.tolist() == [0, 2]


@no_deadline
@given(mean=st.floats(0, 1e4), count=st.integers(0, 10_000), dispersion=st.floats(1e-3, 1e6))
def test_posterior_lies_between_mean_and_count(mean: float, count: int, dispersion: float) -> None:
    value = posterior(np.array([mean]), np.array([float(count)]), np.array([dispersion]))[0]
    low, high = sorted((mean, count))
    assert low * (1 - 1e-9) <= value <= high * (1 + 1e-9)


@no_deadline
@given(mean=st.floats(1e-2, 100), count=st.integers(0, 100), dispersion=st.floats(1e-2, 1e3))
def test_posterior_rises_with_the_count_and_falls_back_to_the_mean(mean: float, count: int, dispersion: float) -> None:
    here, more = (posterior(np.array([mean]), np.array([c]), np.array([dispersion]))[0] for c in (count, count + 1.0))
    assert more > here
    assume(abs(count - mean) > 1e-3)
    surer = posterior(np.array([mean]), np.array([float(count)]), np.array([2 * dispersion]))[0]
    assert abs(surer - mean) < abs(here - mean)


@pytest.mark.parametrize("mean", [0.05, 1.0, 6.0])
@pytest.mark.parametrize("count", [0, 1, 9])
@pytest.mark.parametrize("dispersion", [0.5, 4.0])
def test_posterior_is_the_integral_over_the_expression(mean: float, count: int, dispersion: float) -> None:
    prior = stats.gamma(dispersion, scale=mean / dispersion)

    def joint(x: float) -> float:
        return float(prior.pdf(x) * stats.poisson.pmf(count, x))

    # x = t^4: the density of a small dispersion is endless at 0, but not after this.
    top = 60.0**0.25
    weight, _ = integrate.quad(lambda t: joint(t**4) * 4 * t**3, 0, top, limit=500, epsabs=0)
    moment, _ = integrate.quad(lambda t: t**4 * joint(t**4) * 4 * t**3, 0, top, limit=500, epsabs=0)
    value = posterior(np.array([mean]), np.array([float(count)]), np.array([dispersion]))[0]
    assert value == pytest.approx(moment / weight, rel=1e-4)


def test_posterior_without_dispersion_is_the_mean() -> None:
    mean = np.array([[0.0, 0.5, 3.0]], np.float32)
    counts = np.array([[4.0, 0.0, 9.0]], np.float32)
    value = posterior(mean, counts, np.full(3, np.inf, np.float32))
    np.testing.assert_array_equal(value, mean)
    assert value.dtype == np.float32


def simulated(
    rng: np.random.Generator, dispersion: np.ndarray, *, n_cells: int = 1500, rate: float = 0.1
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Expected counts, counts seen and counts held out of genes with these dispersions."""
    mean = rng.gamma(2.0, 1.5, size=(n_cells, len(dispersion)))
    finite = np.where(np.isfinite(dispersion), dispersion, 1)
    expression = np.where(np.isfinite(dispersion), rng.gamma(finite, mean / finite), mean)
    parts = (mean * (1 - rate), rng.poisson(expression * (1 - rate)), rng.poisson(expression * rate))
    return tuple(part.astype(np.float32) for part in parts)  # type: ignore[return-value]


def test_dispersions_that_were_simulated_come_back(rng: np.random.Generator) -> None:
    truth = np.repeat([0.1, 0.5, 2.0, 8.0, np.inf], 8)
    fitted = fit_dispersion([simulated(rng, truth)], len(truth), ratio=1 / 9)
    assert fitted.shape == truth.shape
    assert fitted.dtype == np.float32
    groups = np.median(fitted.reshape(5, 8), axis=1)
    np.testing.assert_allclose(np.log2(groups[:4]), np.log2(truth[::8][:4]), atol=1.5)
    assert groups[4] > 30
    assert (np.diff(groups) > 0).all()


def test_counts_that_differ_by_chance_alone_have_no_dispersion(rng: np.random.Generator) -> None:
    mean, seen, held_out = simulated(rng, np.full(20, np.inf))
    fitted = fit_dispersion([(mean, seen, held_out)], 20, ratio=1 / 9)
    assert np.median(fitted) > 50
    shrunk = posterior(mean, seen, fitted)
    assert np.abs(shrunk - mean).mean() < 0.1 * np.abs(seen - mean).mean()


def test_posterior_of_the_fitted_dispersion_predicts_better_than_its_ends(rng: np.random.Generator) -> None:
    truth = np.full(20, 1.0)
    fitted = fit_dispersion([simulated(rng, truth)], 20, ratio=1 / 9)
    mean, seen, held_out = simulated(rng, truth)

    def loss(dispersion: np.ndarray) -> float:
        expected = np.maximum(posterior(mean, seen, dispersion) / 9, 1e-6)
        return float((expected - held_out * np.log(expected)).sum())

    assert loss(fitted) < min(loss(np.full(20, 1e-3)), loss(np.full(20, np.inf)))


def test_blocks_of_cells_are_all_cells(rng: np.random.Generator) -> None:
    whole = simulated(rng, np.full(6, 2.0))
    parts = zip(*(np.array_split(part, 4) for part in whole), strict=True)
    np.testing.assert_allclose(
        fit_dispersion(parts, 6, ratio=1 / 9), fit_dispersion([whole], 6, ratio=1 / 9), rtol=1e-3
    )


def test_a_gene_with_few_molecules_borrows_from_the_others(rng: np.random.Generator) -> None:
    mean, seen, held_out = simulated(rng, np.full(20, 0.5))
    seen[:, 0], held_out[:, 0], mean[:, 0] = 0, 0, 1e-4
    fitted = fit_dispersion([(mean, seen, held_out)], 20, ratio=1 / 9)
    assert fitted[0] == pytest.approx(np.median(fitted[1:]), rel=1)


@pytest.mark.parametrize("value", [0.0, 1e-8])
def test_nothing_seen_at_all(value: float) -> None:
    zero = np.zeros((5, 3), np.float32)
    fitted = fit_dispersion([(zero + np.float32(value), zero, zero)], 3, ratio=0.1)
    assert (fitted > 0).all()
    assert not np.isnan(fitted).any()


def test_dispersions_that_are_tried_end_with_none() -> None:
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
