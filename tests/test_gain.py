"""Gains: shares of errors that are gone, with intervals over cells, and none where there is nothing to win."""

from __future__ import annotations

import numpy as np
import pytest

from gnnimpute._gain import Errors, gain, quarters


def errors(deviance: np.ndarray, distance: np.ndarray | None = None) -> Errors:
    return Errors(deviance, deviance if distance is None else distance)


def test_gain_is_the_share_that_is_gone(rng: np.random.Generator) -> None:
    theirs = rng.gamma(5.0, size=200)
    found = gain(errors(0.8 * theirs), errors(theirs), of=np.arange(200))
    assert found.predicted.value == pytest.approx(0.2)
    assert found.predicted.low == pytest.approx(0.2)  # every cell gains the same
    assert found.won.value == pytest.approx(0.2)
    assert found.n == 200


def test_where_nothing_can_be_won_there_is_no_share(rng: np.random.Generator) -> None:
    noise = rng.normal(size=200)
    found = gain(errors(np.ones(200), noise), errors(np.ones(200), noise - noise.mean()), of=np.arange(200))
    assert found.predicted.value == 0
    assert np.isnan(found.won.value)


def test_seeds_of_a_cell_are_one_cell(rng: np.random.Generator) -> None:
    mine, theirs = rng.gamma(5.0, size=60), rng.gamma(6.0, size=60)
    once = gain(errors(mine), errors(theirs), of=np.arange(60))
    twice = gain(errors(np.tile(mine, 3)), errors(np.tile(theirs, 3)), of=np.tile(np.arange(60), 3))
    assert twice.n == 60
    assert twice.predicted == pytest.approx(once.predicted)  # no surer than with one seed


def test_a_part_is_looked_at_alone() -> None:
    part = np.array([True, True, False])
    found = gain(errors(np.array([1.0, 1, 9])), errors(np.array([2.0, 2, 1])), of=np.arange(3), part=part)
    assert found.predicted.value == 0.5
    assert gain(errors(np.ones(3)), errors(np.ones(3)), of=np.arange(3), part=~np.ones(3, bool)).n == 0


def test_quarters_hold_as_many_each() -> None:
    part, edges = quarters(np.arange(100))
    assert list(np.bincount(part)) == [25, 25, 25, 25]
    assert list(edges) == [24.75, 49.5, 74.25]
