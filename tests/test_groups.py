"""Groups that nobody has named: found where there are some, one where there are none."""

from __future__ import annotations

import numpy as np
import pytest

import gnnimpute as gi
from gnnimpute._groups import groups_of


def test_separate_clouds_are_groups_largest_first(rng: np.random.Generator) -> None:
    truth = np.repeat([0, 1, 2], [30, 90, 60])
    points = 20 * rng.normal(size=(3, 5))[truth] + rng.normal(size=(180, 5))
    groups = groups_of(points)
    assert gi.metrics.ari(truth, groups) == 1
    assert list(np.bincount(groups)) == [90, 60, 30]


@pytest.mark.parametrize("points", [np.zeros((50, 4)), np.arange(8.0).reshape(4, 2)], ids=["equal", "few"])
def test_without_groups_there_is_one(points: np.ndarray) -> None:
    assert not groups_of(points).any()


def test_a_cloud_is_one_group(rng: np.random.Generator) -> None:
    assert not groups_of(rng.normal(size=(400, 20))).any()
