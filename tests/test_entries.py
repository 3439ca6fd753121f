"""The paper's metrics against hand-computed values, scikit-learn and SciPy."""

from __future__ import annotations

from collections.abc import Callable

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from scipy import stats
from scipy.spatial.distance import cosine
from sklearn.metrics import mean_absolute_error, mean_squared_error

from gnnimpute._entries import MASKED_METRICS, by_group
from gnnimpute.metrics import cs, mae, mse, pcc

Metric = Callable[..., float]
EVERY_METRIC = [mse, mae, pcc, cs]
every_metric = pytest.mark.parametrize("metric", EVERY_METRIC)
ORACLES: dict[Metric, Metric] = {
    mse: mean_squared_error,
    mae: mean_absolute_error,
    pcc: lambda x, y: float(stats.pearsonr(x, y).statistic),
    cs: lambda x, y: float(1 - cosine(x, y)),
}


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        (mse, (1 + 1 + 4) / 3),
        (mae, (1 + 1 + 2) / 3),
        (pcc, -1 / np.sqrt(2 * 2 / 3)),  # centred: -1 0 1 and 2/3 -1/3 -1/3
        (cs, (2 + 2 + 3) / np.sqrt((1 + 4 + 9) * (4 + 1 + 1))),
    ],
)
def test_by_hand(metric: Metric, expected: float) -> None:
    assert metric([1, 2, 3], [2, 1, 1]) == pytest.approx(expected)


@every_metric
@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 2**32), n=st.integers(3, 500), offset=st.sampled_from([0.0, 1e3]))
def test_like_other_packages(metric: Metric, seed: int, n: int, offset: float) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.gamma(0.5, 3.0, n) + offset
    imputed = truth * rng.uniform(0.5, 1.5, n) + rng.normal(size=n)
    assert metric(truth, imputed) == pytest.approx(ORACLES[metric](truth, imputed), rel=1e-8)


@every_metric
@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 2**32), n_groups=st.integers(1, 8))
def test_within_groups_is_the_mean_over_groups(metric: Metric, seed: int, n_groups: int) -> None:
    rng = np.random.default_rng(seed)
    groups = rng.permutation(np.repeat(np.arange(n_groups) * 7, 9))  # numbers need not be dense
    truth, imputed = rng.gamma(0.5, 3.0, (2, len(groups)))
    each = [ORACLES[metric](truth[groups == group], imputed[groups == group]) for group in np.unique(groups)]
    assert metric(truth, imputed, groups=groups) == pytest.approx(np.mean(each), rel=1e-8)


def test_groups_may_have_names() -> None:
    assert mse([1, 2, 3], [1, 0, 0], groups=["b", "a", "b"]) == pytest.approx((4 + 9 / 2) / 2)


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 2**32))
def test_correlation_ignores_scale_and_shift_and_cosine_ignores_scale(seed: int) -> None:
    truth, imputed = np.random.default_rng(seed).gamma(1.0, 2.0, (2, 40))
    assert pcc(truth, 3 * imputed + 5) == pytest.approx(pcc(truth, imputed))
    assert cs(truth, 3 * imputed) == pytest.approx(cs(truth, imputed))
    assert pcc(truth, -imputed) == pytest.approx(-pcc(truth, imputed))


@every_metric
def test_perfect(metric: Metric) -> None:
    truth = np.array([0.1, 5.0, 2.0, 7.5])
    assert metric(truth, truth) == pytest.approx(0 if metric in (mse, mae) else 1)


@pytest.mark.parametrize("constant", [0.0, 0.1, 1e6])
def test_a_constant_has_no_correlation(constant: float) -> None:
    assert np.isnan(pcc([1.0, 2.0, 4.0], [constant] * 3))
    assert np.isnan(pcc([constant] * 3, [1.0, 2.0, 4.0]))


def test_zeros_have_no_direction() -> None:
    assert np.isnan(cs([1.0, 2.0], [0.0, 0.0]))
    assert cs([1.0, 2.0], [0.1, 0.1]) == pytest.approx(3 / np.sqrt(10))


def test_one_entry() -> None:
    assert mse([3], [1]) == 4
    assert mae([3], [1]) == 2
    assert cs([3], [1]) == 1
    assert np.isnan(pcc([3], [1]))


def test_groups_without_a_value_do_not_count() -> None:
    truth, imputed, groups = [1, 2, 3, 9], [1, 2, 4, 9], [0, 0, 0, 1]
    assert pcc(truth, imputed, groups=groups) == pytest.approx(pcc(truth[:3], imputed[:3]))


@every_metric
@pytest.mark.parametrize(
    ("truth", "imputed", "error"),
    [
        ([], [], "at least one entry"),
        ([1, 2], [1], "One value per masked entry"),
        ([[1, 2]], [[1, 2]], "One value per masked entry"),
        ([1, 2], [1, np.nan], "Entry 1 is 2.0 in truth and nan in the estimate"),
        ([np.inf, 2], [1, 1], "Entry 0 is inf in truth"),
    ],
)
def test_what_cannot_be_scored(metric: Metric, truth: list[float], imputed: list[float], error: str) -> None:
    with pytest.raises(ValueError, match=error):
        metric(truth, imputed)


def test_groups_of_another_length() -> None:
    with pytest.raises(ValueError, match="One value per masked entry"):
        mse([1, 2], [1, 2], groups=[0])


def test_all_at_once_is_each() -> None:
    truth, imputed = np.random.default_rng(0).gamma(1.0, 2.0, (2, 30))
    groups = np.repeat([0, 1, 2], 10)
    table = by_group(truth, imputed, groups)
    assert table.shape == (3, len(MASKED_METRICS))
    for column, metric in zip(table.T, EVERY_METRIC, strict=True):
        assert column.mean() == pytest.approx(metric(truth, imputed, groups=groups))
    assert [metric.__name__ for metric in EVERY_METRIC] == list(MASKED_METRICS)


def test_values_are_taken_in_double_precision() -> None:
    truth = np.full(100_000, 0.1, dtype=np.float32)
    assert mae(truth, np.zeros_like(truth)) == pytest.approx(np.float32(0.1), rel=1e-9)
