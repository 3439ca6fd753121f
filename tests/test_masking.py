"""Hiding molecules and non-zeros: nothing is lost, nothing is made up, and the right share is hidden."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import hypothesis.strategies as st
import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis.extra import numpy as hnp
from scipy import stats

from gnnimpute._masking import hide_molecules, hide_nonzeros, hide_nonzeros_by_gene

Hide = Callable[[sp.csr_matrix, float, np.random.Generator], tuple[sp.csr_matrix, sp.csr_matrix]]
EVERY_WAY = [hide_molecules, hide_nonzeros, hide_nonzeros_by_gene]
every_way = pytest.mark.parametrize("hide", EVERY_WAY)

shapes = st.tuples(st.integers(1, 12), st.integers(1, 9))
whole = shapes.flatmap(
    lambda shape: hnp.arrays(np.int64, shape, elements=st.one_of(st.just(0), st.integers(0, 3), st.integers(0, 2**20)))
)
fractional = shapes.flatmap(
    lambda shape: hnp.arrays(np.float32, shape, elements=st.one_of(st.just(0), st.floats(0, 2**20, width=32)))
)
rates = st.floats(0.001, 0.999)
seeds = st.integers(0, 2**32)


def check_parts(hide: Hide, counts: sp.csr_matrix, rate: float, seed: int) -> tuple[sp.csr_matrix, sp.csr_matrix]:
    before = counts.copy()
    kept, hidden = hide(counts, rate, np.random.default_rng(seed))
    for part in (kept, hidden):
        assert part.format == "csr"
        assert part.shape == counts.shape
        assert part.dtype == counts.dtype
        assert (part.data > 0).all()
        assert part.has_canonical_format
    np.testing.assert_array_equal((kept + hidden).toarray(), counts.toarray())
    np.testing.assert_array_equal(counts.data, before.data)
    np.testing.assert_array_equal(counts.indices, before.indices)
    assert not any(np.shares_memory(part.data, counts.data) for part in (kept, hidden))
    return kept, hidden


@every_way
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32, np.int64])
@settings(deadline=None, max_examples=40)
@given(counts=whole, rate=rates, seed=seeds)
def test_parts_sum_to_the_whole(hide: Hide, dtype: type, counts: np.ndarray, rate: float, seed: int) -> None:
    check_parts(hide, sp.csr_matrix(counts.astype(dtype)), rate, seed)


@every_way
@settings(deadline=None, max_examples=40)
@given(values=fractional, rate=rates, seed=seeds)
def test_values_that_are_not_whole_sum_to_the_whole_too(hide: Hide, values: np.ndarray, rate: float, seed: int) -> None:
    check_parts(hide, sp.csr_matrix(values), rate, seed)


@pytest.mark.parametrize("hide", [hide_nonzeros, hide_nonzeros_by_gene])
@settings(deadline=None, max_examples=40)
@given(counts=whole, rate=rates, seed=seeds)
def test_nonzeros_are_hidden_whole(hide: Hide, counts: np.ndarray, rate: float, seed: int) -> None:
    kept, hidden = check_parts(hide, sp.csr_matrix(counts.astype(np.float32)), rate, seed)
    assert kept.multiply(hidden).nnz == 0


@settings(deadline=None, max_examples=40)
@given(counts=whole, rate=rates, seed=seeds)
def test_molecules_are_whole(counts: np.ndarray, rate: float, seed: int) -> None:
    kept, hidden = check_parts(hide_molecules, sp.csr_matrix(counts.astype(np.float32)), rate, seed)
    assert np.array_equal(kept.data, np.rint(kept.data))
    assert np.array_equal(hidden.data, np.rint(hidden.data))


@settings(deadline=None, max_examples=40)
@given(counts=whole, rate=rates, seed=seeds, spare=st.integers(0, 4))
def test_each_gene_loses_its_share(counts: np.ndarray, rate: float, seed: int, spare: int) -> None:
    matrix = sp.csr_matrix(counts.astype(np.float32))
    _, hidden = check_parts(partial(hide_nonzeros_by_gene, spare=spare), matrix, rate, seed)
    n_nonzeros = matrix.getnnz(axis=0)
    np.testing.assert_array_equal(hidden.getnnz(axis=0), [int(n * rate) if n > spare else 0 for n in n_nonzeros])


def test_genes_with_three_nonzeros_are_left_alone() -> None:
    counts = sp.csr_matrix(np.triu(np.ones((6, 6), dtype=np.float32)))  # gene j has j + 1 non-zeros
    _, hidden = hide_nonzeros_by_gene(counts, 0.5, np.random.default_rng(0))
    assert hidden.getnnz(axis=0).tolist() == [0, 0, 0, 2, 2, 3]


@every_way
def test_same_seed_same_parts(hide: Hide, counts: sp.csr_matrix) -> None:
    first, again, other = (hide(counts, 0.3, np.random.default_rng(seed))[1] for seed in (1, 1, 2))
    assert (first != again).nnz == 0
    assert (first != other).nnz > 0


@every_way
def test_nothing_to_hide(hide: Hide) -> None:
    kept, hidden = hide(sp.csr_matrix((3, 4), dtype=np.float32), 0.5, np.random.default_rng(0))
    assert kept.nnz == hidden.nnz == 0
    assert kept.shape == hidden.shape == (3, 4)


@every_way
def test_explicit_zeros_do_not_count(hide: Hide) -> None:
    counts = sp.csr_matrix((np.array([0, 2, 0, 1, 1, 5], np.float32), ([0, 1, 2, 3, 4, 5], [0] * 6)), shape=(6, 1))
    assert counts.nnz == 6
    check_parts(hide, counts, 0.5, 0)


def test_repeated_entries_are_one_nonzero() -> None:
    column = np.zeros(8, np.int32)
    counts = sp.csr_matrix((np.ones(8, np.float32), column, np.arange(0, 9, 2)), shape=(4, 1))
    kept, hidden = hide_nonzeros_by_gene(counts, 0.5, np.random.default_rng(0))
    assert sorted(kept.toarray().ravel() + 10 * hidden.toarray().ravel()) == [2, 2, 20, 20]


@pytest.mark.parametrize("rate", [0.13, 0.5])
@pytest.mark.parametrize("count", [1, 2, 8, 9, 63, 64, 500])
def test_molecules_are_hidden_binomially(count: int, rate: float) -> None:
    n = 40_000
    _, hidden = hide_molecules(
        sp.csr_matrix(np.full((n, 1), count, dtype=np.float32)), rate, np.random.default_rng(count)
    )
    drawn = hidden.toarray().ravel()
    expected = stats.binom(count, rate)
    assert abs(drawn.mean() - expected.mean()) < 5 * expected.std() / np.sqrt(n)
    assert drawn.var() == pytest.approx(expected.var(), rel=0.05)
    assert (drawn == 0).mean() == pytest.approx(expected.pmf(0), abs=0.02)


@pytest.mark.parametrize("rate", [0.13, 0.5])
def test_what_is_not_whole_is_hidden_at_the_rate_of_a_molecule(rate: float) -> None:
    _, hidden = hide_molecules(sp.csr_matrix(np.full((200, 100), 2.5)), rate, np.random.default_rng(0))
    assert (hidden.toarray() % 1 > 0).mean() == pytest.approx(rate, abs=0.02)


def test_thinned_parts_of_poisson_counts_are_independent() -> None:
    counts = sp.csr_matrix(np.random.default_rng(0).poisson(3.0, size=(60_000, 1)).astype(np.float32))
    kept, hidden = hide_molecules(counts, 0.3, np.random.default_rng(1))
    assert abs(np.corrcoef(kept.toarray().ravel(), hidden.toarray().ravel())[0, 1]) < 5 / np.sqrt(60_000)


def test_nonzeros_are_hidden_at_their_rate_whatever_their_size() -> None:
    counts = sp.csr_matrix(np.tile([1, 100], (20_000, 1)).astype(np.float32))
    _, hidden = hide_nonzeros(counts, 0.2, np.random.default_rng(0))
    np.testing.assert_allclose(hidden.getnnz(axis=0) / 20_000, 0.2, atol=0.015)


def test_which_nonzeros_of_a_gene_are_hidden_is_even_over_cells() -> None:
    counts = sp.csr_matrix(np.ones((10, 40), dtype=np.float32))
    rng = np.random.default_rng(0)
    times = sum(hide_nonzeros_by_gene(counts, 0.3, rng)[1].getnnz(axis=1) for _ in range(50))
    np.testing.assert_allclose(times / (50 * 40), 0.3, atol=0.05)
