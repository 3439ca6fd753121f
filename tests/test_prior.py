"""The prior: its mean between what is expected and the average, and genes that were not counted."""

from __future__ import annotations

import numpy as np

from gnnimpute._estimates import posterior
from gnnimpute._prior import Average, Spread

AVERAGE = Average(np.array([0.25, 0.75], np.float32), np.array([0.5, 0.0], np.float32))


def test_genes_of_which_nothing_is_known_are_as_expected() -> None:
    spread = Spread(np.array([1.0, 2.0], np.float32), np.array([0.5, 0.3], np.float32))
    made = spread.without(np.array([False, True]))
    assert np.isnan(made.dispersion).tolist() == [False, True]
    mean, counts = np.array([[2.0, 3.0]], np.float32), np.array([[5.0, 0.0]], np.float32)
    value = posterior(mean, counts, made.known())
    assert value[0].tolist() == [posterior(mean, counts, spread)[0, 0], 3]
    assert value.dtype == np.float32


def test_the_mean_lies_between_what_is_expected_and_the_average() -> None:
    expected, total = np.array([[2.0, 3.0], [4.0, 0.0]], np.float32), np.array([[8.0], [40.0]])
    mean = AVERAGE.mixed_with(expected, total)
    assert mean.tolist() == [[2, 3], [7, 0]]  # a quarter of 8 molecules is what is expected there
    assert mean.dtype == np.float32
    assert expected.tolist() == [[2, 3], [4, 0]]
    np.testing.assert_array_equal(AVERAGE.of(np.array([0])).mixed_with(expected[:, :1], total), mean[:, :1])


def test_genes_that_are_not_there_have_no_average() -> None:
    made = AVERAGE.without(np.array([True, False]))
    expected = np.array([[2.0, 3.0]], np.float32)
    np.testing.assert_array_equal(made.mixed_with(expected, np.array([[8.0]])), expected)
