"""Numbers for invented and lost signals: right where the truth is known."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from gnnimpute import _false_signal as fs

N, GENES = 600, 40
GROUPS = np.repeat([0, 1], N // 2)


@pytest.fixture(scope="module")
def rate() -> np.ndarray:
    """Expression with a group difference and a factor within groups that a half of the genes share."""
    rng = np.random.default_rng(0)
    factor = rng.normal(size=(N, 1)) * np.repeat([0.5, 0.0], GENES // 2)
    return np.exp(factor + rng.normal(0, 0.3, size=(2, GENES))[GROUPS]) * 20


@pytest.fixture(scope="module")
def counts(rate: np.ndarray) -> sp.csr_matrix:
    return sp.csr_matrix(np.random.default_rng(1).poisson(rate).astype(np.float32))


def two_fold(counts: sp.csr_matrix, *, target: float = 1000.0) -> fs.Truth:
    return fs.two_fold(counts, GROUPS, genes=np.arange(GENES), target=target, rng=np.random.default_rng(0))


def test_dealing_leaves_each_gene_of_a_group_and_nothing_else(counts: sp.csr_matrix) -> None:
    dealt = fs.dealt_within(counts, GROUPS, np.random.default_rng(0))
    for group in (0, 1):
        before, after = (m[group == GROUPS].sum(axis=0).A1 for m in (counts, dealt))
        np.testing.assert_array_equal(before, after)
    before, after = two_fold(counts), two_fold(dealt)
    assert before.clear.sum() > GENES / 2
    assert after.clear.sum() <= 2


def test_a_million_molecules_a_cell_are_dealt_without_looking_at_each(rate: np.ndarray) -> None:
    deep = sp.csr_matrix(np.round(rate * 50_000).astype(np.float32))
    deep[3] = 0
    groups = np.random.default_rng(0).permutation(N) % 7
    groups[3] = 7  # by itself, and without molecules
    dealt = fs.dealt_within(deep, groups, np.random.default_rng(0))
    assert dealt.sum(dtype=np.float64) > 1e10
    for group in range(8):
        before, after = (m[group == groups].sum(axis=0, dtype=np.float64).A1 for m in (deep, dealt))
        np.testing.assert_allclose(after, before, rtol=1e-6)
    share = dealt.sum(axis=1, dtype=np.float64).A1 / deep.sum(axis=1, dtype=np.float64).A1.clip(1)
    np.testing.assert_allclose(np.delete(share, 3), 1, rtol=1e-3)


def test_group_means_are_shares_times_totals(counts: sp.csr_matrix) -> None:
    means = fs.group_means(counts, GROUPS)
    np.testing.assert_allclose(means.sum(axis=1), counts.sum(axis=1).A1)
    share = counts[:300].sum(axis=0).A1 + counts.mean(axis=0).A1
    share /= share.sum()
    np.testing.assert_allclose(means[5], share * counts[5].sum(), rtol=1e-5)


def test_two_halves_give_the_truth_without_its_noise(rate: np.ndarray, counts: sp.csr_matrix) -> None:
    share = rate / rate.sum(axis=1, keepdims=True)
    target = np.median(counts.sum(axis=1).A1)
    true = share * target
    found = two_fold(counts, target=target)
    assert fs.variance_kept(true, GROUPS, found) == pytest.approx(1, abs=0.1)
    assert found.correlation == pytest.approx(fs.correlation_within(true[:, found.clear], GROUPS), abs=0.05)
    assert fs.variance_kept(0.5 * true, GROUPS, found) == pytest.approx(0.25, abs=0.03)
    deeper = two_fold(counts, target=3 * target)
    assert fs.variance_kept(3 * true, GROUPS, deeper) == pytest.approx(fs.variance_kept(true, GROUPS, found))


def test_cells_without_differences_have_no_clear_genes() -> None:
    counts = sp.csr_matrix(np.random.default_rng(0).poisson(3.0, size=(N, GENES)).astype(np.float32))
    assert two_fold(counts).clear.sum() <= 2


def test_p_values_of_independent_genes_are_uniform(rng: np.random.Generator) -> None:
    p = fs.split_p_values(rng.poisson(1.0, size=(200, 400)), n_splits=10, rng=rng)
    assert p.shape == (10, 400)
    assert fs.from_uniform(p) < 0.03
    assert np.median([fs.from_uniform(split) for split in p]) < 0.08
    together = fs.split_p_values(rng.normal(size=(200, 1)) + 0.1 * rng.normal(size=(200, 400)), n_splits=10, rng=rng)
    assert np.median([fs.from_uniform(split) for split in together]) > 0.2  # genes that move together


def test_p_values_are_those_of_scipy(rng: np.random.Generator) -> None:
    from scipy.stats import mannwhitneyu

    values = rng.poisson(1.0, size=(60, 5))
    chosen = np.random.default_rng(3).permutation(60)[:30]
    (p,) = fs.split_p_values(values, n_splits=1, rng=np.random.default_rng(3))
    others = np.setdiff1d(np.arange(60), chosen)
    expected = mannwhitneyu(values[chosen], values[others], method="asymptotic", use_continuity=False).pvalue
    np.testing.assert_allclose(p, expected)


def test_distance_from_uniform() -> None:
    assert fs.from_uniform((np.arange(100) + 0.5) / 100) == pytest.approx(0.005)
    assert fs.from_uniform(np.zeros(10)) == 1


def test_leaks_are_shares_of_the_group_that_shows_the_gene() -> None:
    counts = np.full((4, 3), 50.0)
    counts[:2, 0], counts[2:, 1] = 0, 0
    imputed = np.array([[0.2, 2.0, 3.0], [4.0, 0.0, 3.0]])
    ratio, pairs = fs.leaks(sp.csr_matrix(counts), imputed, groups=np.array([0, 0, 1, 1]))
    assert pairs == [(0, 0), (1, 1)]
    np.testing.assert_allclose(ratio, [0.05, 0.0])
    few, _ = fs.leaks(sp.csr_matrix(counts / 50), imputed, groups=np.array([0, 0, 1, 1]))
    assert not len(few)  # that none was seen of two says nothing


def test_agreement_is_a_correlation_over_cells(rng: np.random.Generator) -> None:
    one = rng.normal(size=(50, 4))
    assert fs.agreement(one, 3 * one + 7) == pytest.approx(1)
    assert fs.agreement(one, -one) == pytest.approx(-1)
    assert np.isnan(fs.agreement(one, np.ones((50, 4))))
