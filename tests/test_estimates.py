"""Estimates: inverse of each other, between what they combine, and equal to the integrals that define them."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import assume, given, settings
from scipy import integrate, stats

from gnnimpute._estimates import detected, likely_count, mean_of_detected, posterior
from gnnimpute._prior import Spread

means = st.floats(1e-5, 1e4)
fano_factors = st.one_of(st.just(0.0), st.floats(1e-3, 3))
no_deadline = settings(deadline=None)


def one_posterior(mean: float, count: float, dispersion: float, fano: float) -> float:
    spread = Spread(np.array([dispersion]), np.array([fano]))
    return float(posterior(np.array([mean]), np.array([float(count)]), spread)[0])


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


@pytest.mark.parametrize("expected", [1, 1.1, 1.24, 1.26, 1.4, 1.49])
def test_likely_count_is_least_in_error_by_square_and_absolute_value_of_counts_of_one_and_two(expected: float) -> None:
    candidates = np.linspace(1, 2, 10_001)
    error = [
        share * ((candidates - count) ** 2 + abs(candidates - count))
        for count, share in ((1, 2 - expected), (2, expected - 1))
    ]
    best = candidates[np.argmin(sum(error))]
    assert likely_count(np.array([expected]))[0] == pytest.approx(best, abs=1e-4)


@pytest.mark.parametrize("mean", [0.05, 0.3, 0.7])
def test_likely_count_has_less_error_of_both_kinds_than_the_expected_one(rng: np.random.Generator, mean: float) -> None:
    counts = rng.poisson(mean, size=400_000)
    counts = counts[counts > 0]
    expected = abs(counts - detected(np.array([mean])))
    likely = abs(counts - likely_count(detected(np.array([mean]))))
    assert np.mean(likely) < 0.97 * np.mean(expected)
    assert np.mean(likely**2 + likely) < np.mean(expected**2 + expected)


@no_deadline
@given(value=st.floats(1, 1e5), more=st.floats(0, 1))
def test_likely_count_is_one_at_least_keeps_what_is_large_and_never_falls(value: float, more: float) -> None:
    lower, upper = likely_count(np.array([value, value + more], np.float32))
    assert lower.dtype == np.float32
    assert 1 <= lower <= min(np.float32(value), upper)
    assert lower == np.float32(value) if value >= 1.5 else lower >= value - 0.25 - 1e-6


def test_estimates_leave_their_input_alone() -> None:
    mean = np.array([0.0, 2.0], np.float32)
    detected(mean)
    likely_count(mean)
    mean_of_detected(mean)
    posterior(mean, mean, Spread(np.ones(2, np.float32), np.ones(2, np.float32)))
    assert mean.tolist() == [0, 2]


@no_deadline
@given(mean=st.floats(0, 1e4), count=st.integers(0, 10_000), dispersion=st.floats(1e-3, 1e6), fano=fano_factors)
def test_posterior_lies_between_mean_and_count(mean: float, count: int, dispersion: float, fano: float) -> None:
    value = one_posterior(mean, count, dispersion, fano)
    low, high = sorted((mean, count))
    assert low * (1 - 1e-9) <= value <= high * (1 + 1e-9)


@no_deadline
@given(mean=st.floats(1e-2, 100), count=st.integers(0, 100), dispersion=st.floats(1e-2, 1e3), fano=fano_factors)
def test_posterior_rises_with_the_count_and_falls_back_to_the_mean(
    mean: float, count: int, dispersion: float, fano: float
) -> None:
    here, more = (one_posterior(mean, c, dispersion, fano) for c in (count, count + 1))
    assert more > here
    assume(abs(count - mean) > 1e-3)
    surer = one_posterior(mean, count, 2 * dispersion, fano / 2)
    assert abs(surer - mean) < abs(here - mean)


@pytest.mark.parametrize("mean", [0.05, 1.0, 6.0])
@pytest.mark.parametrize("count", [0, 1, 9])
@pytest.mark.parametrize(("dispersion", "fano"), [(0.5, 0.0), (4.0, 0.0), (np.inf, 1.0), (4.0, 0.2)])
def test_posterior_is_the_integral_over_the_expression(mean: float, count: int, dispersion: float, fano: float) -> None:
    variance = fano * mean + mean**2 / dispersion
    prior = stats.gamma(mean**2 / variance, scale=variance / mean)

    def joint(x: float) -> float:
        return float(prior.pdf(x) * stats.poisson.pmf(count, x))

    # x = t^4: the density of a small dispersion is endless at 0, but not after this.
    top = 60.0**0.25
    weight, _ = integrate.quad(lambda t: joint(t**4) * 4 * t**3, 0, top, limit=500, epsabs=0)
    moment, _ = integrate.quad(lambda t: t**4 * joint(t**4) * 4 * t**3, 0, top, limit=500, epsabs=0)
    assert one_posterior(mean, count, dispersion, fano) == pytest.approx(moment / weight, rel=1e-4)


def test_posterior_without_spread_is_the_mean() -> None:
    mean = np.array([[0.0, 0.5, 3.0]], np.float32)
    counts = np.array([[4.0, 0.0, 9.0]], np.float32)
    value = posterior(mean, counts, Spread(np.full(3, np.inf, np.float32), np.zeros(3, np.float32)))
    np.testing.assert_array_equal(value, mean)
    assert value.dtype == np.float32
