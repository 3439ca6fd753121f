"""Groups of cells: what they show together puts right what is expected of them."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from scipy import integrate, stats

from gnnimpute import Config, GNNImputer, NeighborGraph, _local_fit
from gnnimpute._infer import embed
from gnnimpute._local import LEVELS, Local
from gnnimpute._local_fit import group_ratio
from gnnimpute._masking import hide
from gnnimpute._prior_fit import DISPERSIONS
from gnnimpute._rows import Rows
from gnnimpute._train import train

N_CELLS, ABSENT = 360, 3


@pytest.fixture(scope="module")
def groups() -> np.ndarray:
    return np.repeat([0, 1], N_CELLS // 2)


@pytest.fixture(scope="module")
def counts(groups: np.ndarray) -> sp.csr_matrix:
    """Two groups of cells; one never shows the first genes, and otherwise cells differ little."""
    rng = np.random.default_rng(0)
    mean = np.tile(rng.gamma(2, 0.6, 60) + 0.2, (N_CELLS, 1))
    mean[:, :ABSENT] = 1.5
    mean[:, 10:40] *= np.where(rng.random(30) < 0.5, 1.6, 0.6) ** groups[:, None]
    mean[groups == 1, :ABSENT] = 0
    return sp.csr_matrix(rng.poisson(mean).astype(np.float32))


@pytest.fixture(scope="module")
def graph(counts: sp.csr_matrix) -> NeighborGraph:
    return NeighborGraph.from_embedding(np.log1p(counts.toarray()), n_neighbors=4)


@pytest.fixture
def imputer(counts: sp.csr_matrix, graph: NeighborGraph) -> GNNImputer:
    return GNNImputer(Config(n_epochs=8)).fit(counts, graph, rng=0, progress=False)


def without_groups(imputer: GNNImputer) -> None:
    for level in imputer.network_.levels:
        level.ratio.fill_(1)


def test_a_gene_that_a_group_never_shows_is_expected_less_there(imputer, counts, graph, groups):
    leaks = []
    for change in (lambda _: None, without_groups):
        change(imputer)
        mean = imputer.transform(counts, graph)
        leaks.append(mean[groups == 1, :ABSENT].mean() / mean[groups == 0, :ABSENT].mean())
    assert leaks[0] < 0.6 * leaks[1]


def test_shares_of_a_cell_still_sum_to_its_total(imputer, counts, graph):
    assert imputer.network_.levels[0].is_used
    total = imputer.transform(counts, graph, output="counts").sum(1)
    np.testing.assert_allclose(total, np.asarray(counts.sum(1)).ravel(), rtol=1e-4)


def test_some_genes_alone_are_the_same(imputer, counts, graph):
    names = [str(g) for g in (7, 0, 31)]
    whole = imputer.transform(counts, graph)[:, [7, 0, 31]]
    np.testing.assert_allclose(imputer.keep(counts, graph).values(genes=names), whole, rtol=1e-4, atol=1e-6)


def test_there_are_no_more_groups_than_cells_can_fill(imputer, counts, graph):
    level, n_groups = imputer.network_.levels[0], min(LEVELS[0], N_CELLS // 60)
    assert len(torch.unique(level.centers, dim=0)) == n_groups < LEVELS[0]
    components = embed(imputer.network_, Rows.of(counts, imputer.network_), graph)[:, imputer.config.n_latent :]
    assert sorted(set(level.groups(components).tolist())) == list(range(n_groups))


def test_few_cells_have_no_groups(counts):
    few = counts[:100]
    near = NeighborGraph.from_embedding(np.log1p(few.toarray()), n_neighbors=4)
    imputer = GNNImputer(Config(n_epochs=2)).fit(few, near, rng=0, progress=False)
    assert not any(level.is_used for level in imputer.network_.levels)


def test_levels_go_from_large_groups_to_small_ones():
    assert all(large < small for large, small in pairwise(LEVELS))


def test_smaller_groups_are_expected_to_show_what_larger_ones_leave(counts, graph, monkeypatch):
    """And all levels hold the molecules of all cells: shares of a cell go on summing to 1."""
    asked = []

    def ratio(expected, seen, weights):
        asked.append((expected.copy(), seen))
        return np.where(np.arange(60) == 0, 0, group_ratio(expected, seen, weights))  # nothing of the first gene

    monkeypatch.setattr(_local_fit, "LEAST_CELLS", 10)
    monkeypatch.setattr(_local_fit, "group_ratio", ratio)
    config, rng = Config(n_epochs=2), np.random.default_rng(0)
    split = hide(counts, config.validation_rate, config, rng=rng)
    train(split, graph, config, rng=rng)
    assert [len(expected) for expected, _ in asked] == [*LEVELS]
    for expected, seen in asked:
        np.testing.assert_allclose(seen.sum(0), split.kept.toarray().sum(0))
        assert expected.sum() == pytest.approx(split.kept.sum(), rel=1e-4)
    of_large, of_small = (expected[:, 0].sum() for expected, _ in asked)
    assert of_small < 1e-4 * of_large


def test_a_component_counts_by_how_far_it_moves_predictions_over_their_noise(imputer):
    linear = imputer.network_.linear
    noise = linear.intercept.clamp(min=1e-12).sqrt()
    moved = (linear.coefficients / noise[:, None]).square().sum(0).sqrt()
    torch.testing.assert_close(imputer.network_.levels[0].unit, moved, rtol=1e-4, atol=0)


def test_a_cell_belongs_to_the_nearest_centre_and_gets_its_factors():
    local = Local(3, 4, 2)
    local.centers.copy_(torch.tensor([[0.0, 0.0], [4.0, 0.0], [0.0, 0.0]]))
    local.unit.copy_(torch.tensor([2.0, 1.0]))
    local.ratio[1] = torch.arange(1, 5.0)
    components = torch.tensor([[0.5, 1.0], [1.5, 1.0]])  # 1 and 3 in units of the first component
    assert local.groups(components).tolist() == [0, 1]
    torch.testing.assert_close(local(components, np.array([2, 0])), torch.tensor([[1.0, 1.0], [3.0, 1.0]]))


@pytest.mark.parametrize(("expected", "seen"), [(0.3, 0), (12.0, 1), (12.0, 40), (200.0, 180)])
def test_ratio_of_a_group_is_the_integral_over_its_prior(expected: float, seen: int) -> None:
    few = np.flatnonzero((DISPERSIONS >= 0.5) & (DISPERSIONS <= 32))
    weights = np.zeros((len(DISPERSIONS), 1))
    weights[few, 0] = np.random.default_rng(0).dirichlet(np.ones(len(few)))

    def moment(power: int) -> float:
        def density(ratio: float) -> float:
            prior = sum(weights[d, 0] * stats.gamma.pdf(ratio, DISPERSIONS[d], scale=1 / DISPERSIONS[d]) for d in few)
            return float(prior * stats.poisson.pmf(seen, expected * ratio) * ratio**power)

        return integrate.quad(density, 0, 60, limit=2000, points=[0.01, 0.1, 1, 5])[0]

    found = group_ratio(np.array([[expected]]), np.array([[seen]]), weights)
    assert found[0, 0] == pytest.approx(moment(1) / moment(0), rel=1e-3)


def test_a_group_that_shows_nothing_of_much_is_believed_and_small_deviations_are_not() -> None:
    weights = np.full((len(DISPERSIONS), 3), 1 / len(DISPERSIONS))
    ratio = group_ratio(np.array([[30.0, 30.0, 0.0]]), np.array([[0.0, 28.0, 0.0]]), weights)[0]
    assert ratio[0] < 0.05
    assert ratio[1] == pytest.approx(1, abs=0.05)
    assert ratio[2] == pytest.approx(1)
