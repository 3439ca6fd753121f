"""Calibration: uniform and covering what it should for right predictions, and not for wrong ones."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from scipy import stats

from gnnimpute.metrics import coverage, pit

LEVELS = (0.5, 0.8, 0.95)


@pytest.fixture
def predicted(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Counts, and the distributions they were drawn from."""
    mean, size = rng.gamma(0.5, 2.0, size=(400, 50)), rng.gamma(2.0, 2.0, size=(400, 50))
    return rng.poisson(rng.gamma(size, mean / size)), mean, size


def test_of_right_predictions_it_is_uniform(predicted):
    values = pit(*predicted)
    assert values.shape == predicted[0].shape
    assert stats.kstest(values.ravel(), "uniform").pvalue > 0.01
    np.testing.assert_array_equal(values, pit(sp.csr_matrix(predicted[0]), *predicted[1:]))
    assert (values != pit(*predicted, rng=1)).any()


def test_it_lies_within_the_step_of_the_distribution(predicted):
    counts, mean, size = predicted
    values, below = pit(*predicted), stats.nbinom.cdf(counts - 1, size, size / (size + mean))
    assert (below - 1e-9 <= values).all()
    assert (values <= stats.nbinom.cdf(counts, size, size / (size + mean)) + 1e-9).all()


@pytest.mark.parametrize("least", [0, 1])
def test_right_intervals_cover_their_level(predicted, least):
    for level, share in coverage(*predicted, least=least).items():
        assert share == pytest.approx(level, abs=0.015)


def test_intervals_that_end_at_whole_counts_are_scipy_s(predicted):
    counts, mean, size = predicted
    for level, share in coverage(*predicted, randomized=False, least=1).items():
        low, high = stats.nbinom.interval(level, size, size / (size + mean))
        assert share == ((low <= counts) & (counts <= high))[mean >= 1].mean()
        assert share >= level


def test_wrong_intervals_do_not(predicted):
    counts, mean, size = predicted
    sure = coverage(counts, mean, np.full_like(size, np.inf), least=1)
    biased = coverage(counts, 2 * mean, size)
    for level in LEVELS:
        assert sure[level] < level - 0.04
        assert biased[level] < level


def test_nothing_to_judge_is_no_number(predicted):
    assert np.isnan(coverage(*predicted, least=1e9)[0.5])


def test_shapes_must_agree(predicted):
    with pytest.raises(ValueError, match=r"differ in shape: \(400, 50\), \(400, 49\)"):
        coverage(predicted[0], predicted[1][:, 1:], predicted[2])
