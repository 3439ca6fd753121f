"""Uncertainty: equal to the distributions that define it, and to what a simulation of them shows."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from scipy import stats

from gnnimpute._estimates import posterior
from gnnimpute._uncertainty import LARGEST, MANY, Expression, expected_log1p, quantile, redetection

no_deadline = settings(deadline=None)


def one(value: float) -> np.ndarray:
    return np.array([[value]])


@no_deadline
@given(mean=st.floats(1e-3, 100), count=st.integers(0, 50), dispersion=st.floats(0.05, 1e3), q=st.floats(0.01, 0.99))
def test_quantiles_are_those_of_the_gamma_distribution(mean: float, count: int, dispersion: float, q: float) -> None:
    value = quantile(one(mean), one(count), np.array([dispersion]), q=q)[0, 0]
    gamma = stats.gamma(dispersion + count, scale=1 / (dispersion / mean + 1))
    assert value == pytest.approx(gamma.ppf(q), rel=1e-6)
    assert gamma.mean() == pytest.approx(posterior(one(mean), one(count), np.array([dispersion]))[0, 0])


@no_deadline
@given(mean=st.floats(1e-3, 50), count=st.integers(0, 50), dispersion=st.floats(0.05, 1e3), exposure=st.floats(0.1, 5))
def test_redetection_is_what_the_negative_binomial_leaves(
    mean: float, count: int, dispersion: float, exposure: float
) -> None:
    expression = Expression(one(mean), one(count), np.array([dispersion]), one(1), 1.0)
    expected, size = (part[0, 0] for part in expression.further(exposure))
    further = stats.nbinom(size, size / (size + expected))
    assert further.mean() == pytest.approx(expected)
    assert expression.redetection(exposure)[0, 0] == pytest.approx(1 - further.pmf(0), rel=1e-6)


@no_deadline
@given(mean=st.floats(1e-4, 300), ratio=st.floats(0.1, 1e3), scale=st.floats(1, 1e3))
def test_the_expected_log_is_the_sum_over_counts(mean: float, ratio: float, scale: float) -> None:
    # A posterior's size is at least its mean over the exposure.
    size = ratio * mean
    further = stats.nbinom(size, size / (size + mean))
    counts = np.arange(further.isf(1e-9) + 1)
    expected = (further.pmf(counts) * np.log1p(scale * counts)).sum()
    found = expected_log1p(one(mean), one(size), one(scale))[0, 0]
    assert found == pytest.approx(expected, rel=1e-5 if mean <= MANY else 1e-3, abs=1e-6)


def test_the_expected_log_of_many_genes_at_once(rng: np.random.Generator) -> None:
    mean = rng.gamma(0.3, 3, size=(7, 50))
    mean[0, 0], mean[1, 1] = 0, 400
    size, scale = mean + rng.gamma(1, size=mean.shape), rng.uniform(1, 50, size=(7, 1))
    whole = expected_log1p(mean, size, scale)
    assert whole[0, 0] == 0
    for cell, gene in np.ndindex(7, 50):
        alone = expected_log1p(*(one(part[cell, gene]) for part in (mean, size)), scale[[cell]])
        assert whole[cell, gene] == pytest.approx(alone[0, 0], rel=1e-5, abs=1e-6)
    assert np.isfinite(expected_log1p(mean, np.full_like(mean, np.inf), scale)).all()


def test_simulated_cells_with_a_zero_are_detected_again_as_often_as_it_says(rng: np.random.Generator) -> None:
    mean, dispersion, n = 1.5, 0.7, 200_000
    expression = rng.gamma(dispersion, mean / dispersion, size=n)
    first, second = rng.poisson(expression), rng.poisson(expression)
    for count in (0, 2):
        share = (second[first == count] > 0).mean()
        assert redetection(one(mean), one(count), np.array([dispersion]))[0, 0] == pytest.approx(share, abs=0.01)
    low, high = (quantile(one(mean), one(0), np.array([dispersion]), q=q)[0, 0] for q in (0.1, 0.9))
    inside = (low < expression[first == 0]) & (expression[first == 0] < high)
    assert inside.mean() == pytest.approx(0.8, abs=0.01)


def test_without_dispersion_nothing_is_uncertain_but_chance() -> None:
    mean, counts = np.array([[0.5, 30.0]]), np.array([[0.0, 4.0]])
    for dispersion in (np.full(2, np.inf), np.full(2, LARGEST)):
        np.testing.assert_allclose(quantile(mean, counts, dispersion, q=0.9), mean, rtol=2e-3)
        np.testing.assert_allclose(redetection(mean, counts, dispersion), 1 - np.exp(-mean), rtol=1e-4)


def test_nothing_expected_is_nothing_for_sure() -> None:
    dispersion = np.array([2.0])
    assert quantile(one(0), one(0), dispersion, q=0.99)[0, 0] == 0
    assert redetection(one(0), one(0), dispersion)[0, 0] == 0


def test_scales_of_the_interval_agree() -> None:
    expression = Expression(np.array([[2.0, 3.0]]), np.array([[0.0, 5.0]]), np.array([1.0, 8.0]), one(1.0), 4.0)
    at_depth = np.array(expression.interval(0.9, "counts"))
    normalized = np.array(expression.interval(0.9, "normalized"))
    np.testing.assert_allclose(normalized, at_depth * 4)
    np.testing.assert_allclose(expression.interval(0.9, "log1p"), np.log1p(normalized))
    assert (np.array(expression.interval(0.5, "counts"))[0] > at_depth[0]).all()
