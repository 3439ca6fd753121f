"""Errors summed for cells and genes: the sums of the public losses, and the distance that nobody can see."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

import gnnimpute as gi
from gnnimpute._tally import Tally


def whole(hold_out: gi.metrics.HoldOut, values: np.ndarray, weight: np.ndarray) -> Tally:
    tally = Tally(hold_out, cells=np.arange(len(values)), genes=np.arange(values.shape[1]), weight=weight)
    for start in range(0, len(values), 40):
        tally[start : start + 40] = values[start : start + 40]
    return tally


def test_deviance_is_that_of_the_metrics(counts: sp.csr_matrix, rng: np.random.Generator) -> None:
    hold_out = gi.metrics.HoldOut.thin(counts, 0.2, rng=0)
    values = rng.gamma(1.0, size=counts.shape)
    tally = whole(hold_out, values, np.ones(counts.shape[1]))
    by_cell = gi.metrics.score_cells(hold_out, values, loss="poisson_deviance")
    np.testing.assert_allclose(tally.deviance[0], by_cell * counts.shape[1])
    np.testing.assert_allclose(tally.deviance[1].sum(), tally.deviance[0].sum())
    np.testing.assert_allclose(tally.distance[1].sum(), tally.distance[0].sum())


def test_cells_and_genes_may_be_some(counts: sp.csr_matrix, rng: np.random.Generator) -> None:
    hold_out = gi.metrics.HoldOut.thin(counts, 0.2, rng=0)
    values, cells, genes = rng.gamma(1.0, size=counts.shape), np.array([3, 8, 50]), np.array([1, 4])
    some = Tally(hold_out, cells=cells, genes=genes, weight=np.ones(2))
    some[0:3] = values[cells][:, genes]
    alone = values[np.ix_(cells, genes)]
    expected = gi.metrics.score_cells(hold_out, alone, loss="poisson_deviance", cells=cells, genes=genes)
    np.testing.assert_allclose(some.deviance[0], 2 * expected)


@pytest.mark.parametrize("error", [0.0, 0.5])
def test_distance_is_that_from_the_expectation(rng: np.random.Generator, error: float) -> None:
    rate = rng.gamma(2.0, 2.0, size=(400, 300))
    hold_out = gi.metrics.HoldOut.thin(sp.csr_matrix(rng.poisson(rate).astype(float)), 0.5, rng=0)
    wrong = rate * 0.5 + error  # half of the molecules are seen
    tally = whole(hold_out, wrong, np.ones(300))
    assert tally.distance[0].sum() / rate.size == pytest.approx(error**2, abs=0.02)
