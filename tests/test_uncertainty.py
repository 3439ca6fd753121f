"""Uncertainty: equal to the distributions that define it, and to what a simulation of them shows."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from scipy import stats
from scipy.special import betaln

from gnnimpute._counts import LARGEST as MOST_MOLECULES
from gnnimpute._estimates import posterior
from gnnimpute._prior import Spread
from gnnimpute._uncertainty import LARGEST, Expression, expected_log1p, quantile, redetection

no_deadline = settings(deadline=None)


def one(value: float) -> np.ndarray:
    return np.array([[value]])


def spread(dispersion: float, fano: float = 0) -> Spread:
    return Spread(np.array([dispersion]), np.array([fano]))


dispersions, fano_factors = st.floats(0.05, 1e3), st.one_of(st.just(0.0), st.floats(1e-3, 3))


@no_deadline
@given(mean=st.floats(0.01, 100), count=st.integers(0, 50), dispersion=dispersions, fano=fano_factors,
       q=st.floats(0.01, 0.99))  # fmt: skip
def test_quantiles_are_those_of_the_gamma_distribution(
    mean: float, count: int, dispersion: float, fano: float, q: float
) -> None:
    value = quantile(one(mean), one(count), spread(dispersion, fano), q=q)[0, 0]
    shape = mean**2 / (fano * mean + mean**2 / dispersion)  # of the prior: squared mean over variance
    gamma = stats.gamma(shape + count, scale=1 / (shape / mean + 1))
    assert value == pytest.approx(gamma.ppf(q), rel=1e-6 if shape > 0.05 else 1e-5, abs=1e-30)
    assert gamma.mean() == pytest.approx(posterior(one(mean), one(count), spread(dispersion, fano))[0, 0])


@pytest.mark.parametrize("q", [0.005, 0.05, 0.5, 0.95])
@pytest.mark.parametrize("count", [1e5, 9.9e6, 1.1e7, 5e7, 1e9, MOST_MOLECULES])
def test_quantiles_of_the_largest_counts_are_as_narrow_as_they_should_be(count: float, q: float) -> None:
    value = quantile(one(count), one(count), spread(10), q=q)[0, 0]
    gamma = stats.gamma(10 + count, scale=1 / (10 / count + 1))
    assert abs(value - gamma.ppf(q)) < 1e-4 * gamma.std()


@no_deadline
@given(mean=st.floats(1e-3, 50), count=st.integers(0, 50), dispersion=dispersions, fano=fano_factors,
       exposure=st.floats(0.1, 5))  # fmt: skip
def test_redetection_is_what_the_negative_binomial_leaves(
    mean: float, count: int, dispersion: float, fano: float, exposure: float
) -> None:
    expression = Expression(one(mean), one(count), spread(dispersion, fano), one(1), 1.0)
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
    assert found == pytest.approx(expected, rel=1e-5, abs=1e-6)


def summed_log1p(mean: float, size: float, scale: float) -> float:
    """Sum over counts, the many large ones by Gauss' rule in pieces that the probability hardly changes in."""
    few = np.arange(2000)
    ends = np.geomspace(few[-1] + 0.5, 1e10, 4000)
    nodes, weights = np.polynomial.legendre.leggauss(8)
    half = np.diff(ends)[:, None] / 2
    many = ends[:-1, None] + half * (1 + nodes)
    log = -np.log(many + size) - betaln(size, many + 1) - size * np.log1p(mean / size) - many * np.log1p(size / mean)
    beyond = (np.exp(log) * np.log1p(scale * many) * half) @ weights
    return float((stats.nbinom.pmf(few, size, size / (size + mean)) * np.log1p(scale * few)).sum() + beyond.sum())


@pytest.mark.parametrize("scale", [0.01, 1.0, 30.0, 1e3])
@pytest.mark.parametrize("size", [0.05, 0.2, 1.0, 10.0, 1e3, 1e5, 1e7])
def test_the_expected_log_of_rare_frequent_and_uneven_counts(size: float, scale: float) -> None:
    mean = np.array([np.concatenate([10.0 ** np.arange(-6, 6), [50, 70, 200]])])
    expected = [summed_log1p(each, size, scale) for each in mean[0]]
    together = expected_log1p(mean, np.full_like(mean, size), one(scale))[0]
    alone = [expected_log1p(one(each), one(size), one(scale))[0, 0] for each in mean[0]]
    np.testing.assert_allclose(together, expected, rtol=0, atol=2e-5)
    np.testing.assert_allclose(alone, expected, rtol=0, atol=2e-5)
    assert (together > 0).all()


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


def test_the_expected_log_of_a_gene_that_was_not_counted_is_unknown() -> None:
    mean, counts = np.full((2, 2), 3.0), np.zeros((2, 2))
    spread_of = Spread(np.array([2.0, np.nan]), np.array([0.1, 0.0]))
    found = Expression(mean, counts, spread_of, np.full((2, 1), 1e3), 1e3).further_log1p(1.0, 1e4)
    np.testing.assert_array_equal(np.isnan(found), [[False, True]] * 2)


@pytest.mark.parametrize(("dispersion", "fano"), [(0.7, 0.0), (np.inf, 2.0), (2.0, 1.0)])
def test_simulated_cells_with_a_zero_are_detected_again_as_often_as_it_says(
    rng: np.random.Generator, dispersion: float, fano: float
) -> None:
    mean, n = 1.5, 200_000
    shape = 1 / (1 / dispersion + fano / mean)
    expression = rng.gamma(shape, mean / shape, size=n)
    assert expression.var() == pytest.approx(fano * mean + mean**2 / dispersion, rel=0.05)
    first, second = rng.poisson(expression), rng.poisson(expression)
    for count in (0, 2):
        share = (second[first == count] > 0).mean()
        assert redetection(one(mean), one(count), spread(dispersion, fano))[0, 0] == pytest.approx(share, abs=0.01)
    low, high = (quantile(one(mean), one(0), spread(dispersion, fano), q=q)[0, 0] for q in (0.1, 0.9))
    inside = (low < expression[first == 0]) & (expression[first == 0] < high)
    assert inside.mean() == pytest.approx(0.8, abs=0.01)


def test_without_dispersion_nothing_is_uncertain_but_chance() -> None:
    mean, counts = np.array([[0.5, 30.0]]), np.array([[0.0, 4.0]])
    for by_chance in (Spread(np.full(2, largest), np.zeros(2)) for largest in (np.inf, LARGEST)):
        np.testing.assert_allclose(quantile(mean, counts, by_chance, q=0.9), mean, rtol=2e-3)
        np.testing.assert_allclose(redetection(mean, counts, by_chance), 1 - np.exp(-mean), rtol=1e-4)


def test_nothing_expected_is_nothing_for_sure() -> None:
    for some in (spread(2), spread(np.inf), spread(2, 1), spread(np.inf, 0.1)):
        assert quantile(one(0), one(0), some, q=0.99)[0, 0] == 0
        assert redetection(one(0), one(0), some)[0, 0] == 0


OF_TWO = Spread(np.array([1.0, 8.0]), np.array([0.0, 0.5]))


def test_scales_of_the_interval_agree() -> None:
    expression = Expression(np.array([[2.0, 3.0]]), np.array([[0.0, 5.0]]), OF_TWO, one(1.0), 4.0)
    at_depth = np.array(expression.interval(0.9, "counts"))
    normalized = np.array(expression.interval(0.9, "normalized"))
    np.testing.assert_allclose(normalized, at_depth * 4)
    np.testing.assert_allclose(expression.interval(0.9, "log1p"), np.log1p(normalized))
    assert (np.array(expression.interval(0.5, "counts"))[0] > at_depth[0]).all()
