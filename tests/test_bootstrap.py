"""Intervals: whole cells are drawn, they cover what they should, and pairs are narrower than singles."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gnnimpute import _bootstrap
from gnnimpute.metrics import ari, bootstrap, mse, paired_difference, pcc


def test_value_and_order(rng: np.random.Generator) -> None:
    losses = rng.gamma(2.0, size=200)
    interval = bootstrap(np.mean, losses)
    assert interval.value == pytest.approx(losses.mean())
    assert interval.low < interval.value < interval.high


def test_like_the_standard_error_of_a_mean(rng: np.random.Generator) -> None:
    losses = rng.normal(5, 2, size=400)
    interval = bootstrap(np.mean, losses, n_resamples=4000)
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * losses.std() / 20, rel=0.06)
    narrow = bootstrap(np.mean, losses, n_resamples=4000, level=0.5)
    assert narrow.high - narrow.low == pytest.approx(2 * 0.674 * losses.std() / 20, rel=0.08)


def test_covers_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    intervals = [bootstrap(np.mean, rng.gamma(2.0, size=60), n_resamples=200, level=0.8, rng=i) for i in range(300)]
    covered = np.mean([interval.low <= 2 <= interval.high for interval in intervals])
    assert 0.72 < covered < 0.86


def test_whole_cells_are_drawn() -> None:
    """Entries of one cell that say the same are one piece of evidence, not a hundred."""
    rng = np.random.default_rng(0)
    of_cells = rng.normal(size=50)
    cells = rng.permutation(np.repeat(np.arange(50), 100))
    errors = of_cells[cells]
    by_cell = bootstrap(np.mean, errors, cells=cells)
    alone = bootstrap(np.mean, of_cells)
    assert by_cell.high - by_cell.low == pytest.approx(alone.high - alone.low, rel=0.2)
    blind_to_cells = bootstrap(np.mean, errors, n_resamples=200)
    assert by_cell.high - by_cell.low > 5 * (blind_to_cells.high - blind_to_cells.low)


@pytest.mark.parametrize("names", [[7, 7, 3, 3, 3, 5], list("bbaaac")])
def test_resamples_hold_all_entries_of_each_cell_drawn(names: list[Any]) -> None:
    cells = np.array(names)
    sizes = dict(zip(*np.unique(cells, return_counts=True), strict=True))
    n_drawn = set()
    for rows in _bootstrap._resamples(cells, 50, 0):
        drawn, times = np.unique(cells[rows], return_counts=True)
        assert sum(t / sizes[cell] for cell, t in zip(drawn, times, strict=True)) == 3
        assert all(len(set(np.bincount(rows, minlength=6)[cells == cell])) == 1 for cell in drawn)
        n_drawn.add(len(drawn))
    assert n_drawn == {1, 2, 3}


def test_metrics_of_several_arrays(rng: np.random.Generator) -> None:
    truth, noise = rng.gamma(1.0, size=(2, 300))
    assert bootstrap(pcc, truth, truth + noise).low > 0.3
    assert bootstrap(mse, truth, truth) == (0, 0, 0)
    labels = np.repeat([0, 1, 2], 100)
    assert bootstrap(ari, labels, labels, n_resamples=20) == (1, 1, 1)


def test_pairs_are_narrower_than_singles(rng: np.random.Generator) -> None:
    of_cells = rng.gamma(2.0, size=300)
    better, worse = of_cells + rng.normal(0, 0.01, 300), of_cells + 0.01 + rng.normal(0, 0.01, 300)
    difference = paired_difference(better, worse)
    assert difference.value == pytest.approx(-0.01, abs=0.002)
    assert difference.high < 0
    assert bootstrap(np.mean, better).high > bootstrap(np.mean, worse).low
    assert paired_difference(worse, better).low > 0


def test_same_seed_same_interval(rng: np.random.Generator) -> None:
    losses = rng.normal(size=40)
    assert bootstrap(np.mean, losses, rng=3) == bootstrap(np.mean, losses, rng=np.random.default_rng(3))
    assert bootstrap(np.mean, losses, rng=3) != bootstrap(np.mean, losses, rng=4)


@pytest.mark.parametrize("cells", [None, [0]])
def test_one_cell_has_no_interval(cells: list[int] | None) -> None:
    value, low, high = bootstrap(np.mean, [2.0], cells=cells)
    assert value == 2
    assert np.isnan([low, high]).all()
    assert np.isnan(bootstrap(np.mean, [1.0, 3.0], cells=[5, 5]).low)


def test_resamples_without_a_value_do_not_count() -> None:
    interval = bootstrap(pcc, [1.0, 2.0, 3.0], [1.0, 2.0, 4.0], n_resamples=200)
    assert np.isfinite(interval).all()
    assert np.isnan(bootstrap(pcc, [1.0, 1.0], [1.0, 2.0], n_resamples=20)).all()


def test_what_cannot_be_resampled() -> None:
    with pytest.raises(ValueError, match="one length, at least 1"):
        bootstrap(np.mean, [])
    with pytest.raises(ValueError, match=r"not \[2, 3\]"):
        bootstrap(np.mean, [1, 2], cells=[0, 1, 1])
    with pytest.raises(ValueError, match="level=95"):
        bootstrap(np.mean, [1, 2], level=95)
    with pytest.raises(ValueError, match=r"\(2,\) and \(3,\)"):
        paired_difference([1, 2], [1, 2, 3])
