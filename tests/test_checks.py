"""Tests of the tests: each sees the signal that it is for, in estimates whose faults are known."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import anndata
import numpy as np
import pytest
import scipy.sparse as sp

import gnnimpute as gi
from gnnimpute import _checks
from gnnimpute import _false_signal as fs
from gnnimpute._check import at_most, beyond_chance, most_expressed, normalized
from gnnimpute._check_null import dealt

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

N, GENES = 240, 50
GROUPS = np.repeat([0, 1], N // 2)


class Fake:
    """An imputer whose answer is known: of shape (n_cells, n_genes), each cell as if it had so many molecules."""

    def __init__(self, values: NDArray[np.float64], names: Sequence[str], target_total: float) -> None:
        self._values, self.genes_, self.target_total_ = values.astype(np.float32), np.array(names), target_total

    def transform(self, *_: Any, genes: Sequence[str] | None = None, out: Any = None, **__: Any) -> Any:
        values = self._values if genes is None else self._values[:, [list(self.genes_).index(name) for name in genes]]
        if out is None:
            return values
        out[0 : len(values)] = values
        return out


@pytest.fixture(scope="module")
def truth() -> NDArray[np.float64]:
    """Expression with genes that one group lacks, and differences within groups that ten genes share."""
    rng = np.random.default_rng(0)
    rate = rng.gamma(3.0, 1.0, size=(2, GENES))[GROUPS]
    rate[:, :10] *= np.exp(0.2 * rng.normal(size=(N, 1)))
    rate[:120, 40:44] = 0
    rate[:, 44:] *= np.exp(0.3 * rng.normal(size=(N, GENES - 44)))
    return rate * 20


def trial(truth: NDArray[np.float64], estimate: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> Any:
    counts = np.random.default_rng(1).poisson(truth).astype(np.float32)
    kept = anndata.AnnData(sp.csr_matrix(counts))
    total = truth.sum(axis=1, keepdims=True)
    target = float(np.median(counts.sum(axis=1)))
    fake = Fake(estimate(truth * target / total), list(kept.var_names), target)
    found = SimpleNamespace(kept=kept, imputer=fake, graph=None, estimate="mean", cells=np.arange(N), seed=0)
    found.values = lambda genes: fake.transform(genes=genes)
    return found


def lacking(truth: NDArray[np.float64]) -> NDArray[np.float64]:
    """The same, and one group lacks more genes."""
    return np.where((GROUPS[:, None] == 0) & (np.arange(GENES) >= 30) & (np.arange(GENES) < 44), 0, truth)


def group_mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.vstack([values[group == GROUPS].mean(axis=0) for group in (0, 1)])[GROUPS]


def pushed_together(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """All genes move with one factor."""
    return group_mean(values) * np.exp(0.2 * np.random.default_rng(5).normal(size=(N, 1)))


def run(test: Callable[..., Any], one: Any, *rest: Any, groups: NDArray[np.int64] = GROUPS) -> dict[str, str]:
    found = test(one, groups, *rest)
    return {check.name: check.status for check in (found if isinstance(found, list) else [found])}


def test_the_truth_passes(truth: NDArray[np.float64], rng: np.random.Generator) -> None:
    one = trial(truth, lambda values: values)
    assert run(_checks.zeros, trial(lacking(truth), lambda values: values)) == {"zeros": "pass"}
    assert run(_checks.smoothed, one, rng) == {"variance": "pass", "correlation": "pass"}


def test_smoothing_and_invented_correlations_fail(truth: NDArray[np.float64], rng: np.random.Generator) -> None:
    assert run(_checks.smoothed, trial(truth, group_mean), rng)["variance"] == "fail"
    together = trial(truth, pushed_together)
    assert run(_checks.smoothed, together, rng)["correlation"] == "fail"
    assert run(_checks.split, together, rng) == {"split": "fail"}
    assert run(_checks.zeros, trial(lacking(truth), lambda values: values + 5)) == {"zeros": "fail"}


def test_independent_genes_split_evenly(truth: NDArray[np.float64], rng: np.random.Generator) -> None:
    noise = np.random.default_rng(7).gamma(5.0, size=truth.shape)
    check = _checks.split(trial(truth, lambda _: np.repeat(noise, 20, axis=1)[:, :GENES] * 0 + noise), GROUPS, rng)
    assert check.value < 0.2
    assert check.status == "unknown"  # so far are 50 independent genes from uniform by chance


def test_what_chance_does_is_no_failure() -> None:
    assert beyond_chance(0.12, 0.03, 0.1) == "fail"
    assert beyond_chance(0.102, 0.03, 0.1) == "pass"
    assert beyond_chance(0.15, 0.12, 0.1) == "unknown"
    assert beyond_chance(0.2, 0.12, 0.1) == "fail"
    assert beyond_chance(np.nan, 0.1, 0.1) == "unknown"


def test_noise_of_many_small_groups_is_no_gain(rng: np.random.Generator) -> None:
    rate = rng.lognormal(0, 1.0, 300)
    counts = sp.csr_matrix(rng.poisson(rate, size=(160, 300)).astype(np.float32))
    imputer = SimpleNamespace(config=gi.Config(n_hidden=8, n_latent=2, n_epochs=3), device="cpu")
    one = SimpleNamespace(kept=anndata.AnnData(counts), imputer=imputer, estimate="mean", seed=0)
    assert dealt(one, np.arange(160) % 16, rng)[0].status == "pass"


def test_seeds(truth: NDArray[np.float64]) -> None:
    one = trial(truth, lambda values: values)
    other = trial(truth, lambda _: np.random.default_rng(8).gamma(1.0, size=truth.shape))
    assert _checks.seeds_agree([one, one]).status == "pass"
    assert _checks.seeds_agree([one, other]).status == "fail"
    assert _checks.seeds_agree([one]).status == "unknown"


def test_where_nothing_can_be_said_nothing_is(rng: np.random.Generator) -> None:
    flat = trial(np.full((N, GENES), 2.0), lambda values: values)
    nothing = np.zeros(N, dtype=np.int64)
    assert {check.status for check in _checks.smoothed(flat, nothing, rng)} == {"unknown"}
    assert _checks.zeros(flat, nothing).status == "unknown"


def test_few_genes_that_a_group_never_shows_say_nothing(truth: NDArray[np.float64]) -> None:
    found = _checks.zeros(trial(truth, lambda values: values), GROUPS)
    assert found.status == "unknown"
    assert found.said == "only 4 such genes: too few to tell"


def test_cells_without_a_group_change_nothing_for_the_others(truth: NDArray[np.float64]) -> None:
    rate = lacking(truth)
    one = trial(rate, lambda values: values)
    some, groups = GROUPS >= 0, GROUPS.copy()
    some[::4], groups[::4] = False, -1
    alone = SimpleNamespace(kept=one.kept[some].copy(), imputer=None, graph=None, estimate="mean", seed=0)
    alone.imputer = Fake(one.values(list(one.imputer.genes_))[some], one.imputer.genes_, one.imputer.target_total_)
    alone.values = lambda genes: alone.imputer.transform(genes=genes)
    for test in (_checks.zeros, _checks.smoothed, _checks.split):
        rest = [[] if test is _checks.zeros else [np.random.default_rng(3)] for _ in range(2)]
        found = test(one, groups, *rest[0])
        expected = test(alone, GROUPS[some], *rest[1])
        # What is most expressed is that of all cells.
        for each, other in zip(*(x if isinstance(x, list) else [x] for x in (found, expected)), strict=True):
            assert each.status == other.status
            assert each.value == pytest.approx(other.value, rel=0.05)


def test_variance_is_kept_where_the_deepest_cells_alone_have_a_group(
    truth: NDArray[np.float64], rng: np.random.Generator
) -> None:
    depth = np.where(np.arange(N) % 2, 4.0, 1.0)[:, None]
    one = trial(truth * depth, lambda values: values)
    found = _checks.smoothed(one, np.where(depth[:, 0] > 1, GROUPS, -1), rng)[0]
    assert found.value == pytest.approx(1, abs=0.15)


def test_few_cells_with_a_group_say_nothing(truth: NDArray[np.float64], rng: np.random.Generator) -> None:
    one, groups = trial(truth, lambda values: values), np.full(N, -1)
    groups[3] = 0
    assert [run(test, one, *rest, groups=groups) for test, rest in (
        (_checks.split, [rng]), (_checks.zeros, []), (_checks.smoothed, [rng]),
    )] == [{"split": "unknown"}, {"zeros": "unknown"}, {"variance": "unknown", "correlation": "unknown"}]  # fmt: skip


def test_shuffled_genes_have_nothing_to_find(truth: NDArray[np.float64], rng: np.random.Generator) -> None:
    config = gi.Config(n_hidden=8, n_latent=2, n_epochs=3)
    kept = anndata.AnnData(sp.csr_matrix(rng.poisson(truth).astype(np.float32)))
    imputer = SimpleNamespace(config=config, device="cpu")
    found = dealt(SimpleNamespace(kept=kept, imputer=imputer, estimate="mean", seed=0), GROUPS, rng)
    assert [check.name for check in found] == ["null_gain", "null_correlation"]
    assert found[0].status == "pass"
    assert np.isfinite(found[1].value)


def test_what_has_seen_the_hidden_molecules_fails(
    truth: NDArray[np.float64], rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole: list[sp.csr_matrix] = []
    deal = fs.dealt_within
    monkeypatch.setattr(fs, "dealt_within", lambda *given: whole.append(deal(*given)) or whole[-1])

    def transform(_: object, counts: sp.csr_matrix, *__: object, out: Any = None, **___: object) -> Any:
        values = 0.9 * whole[0].toarray() + 0.05
        if out is not None:
            out[0 : counts.shape[0]] = values
        return values

    monkeypatch.setattr(gi.GNNImputer, "transform", transform)
    kept = anndata.AnnData(sp.csr_matrix(rng.poisson(truth).astype(np.float32)))
    imputer = SimpleNamespace(config=gi.Config(n_hidden=8, n_latent=2, n_epochs=1), device="cpu")
    found = dealt(SimpleNamespace(kept=kept, imputer=imputer, estimate="mean", seed=0), GROUPS, rng)
    assert found[0].status == "fail"


def test_helpers(counts: sp.csr_matrix) -> None:
    assert [at_most(value, 1.0) for value in (0.5, 2.0, np.nan)] == ["pass", "fail", "unknown"]
    totals = normalized(counts).sum(axis=1).A1
    np.testing.assert_allclose(totals, np.median(counts.sum(axis=1).A1))
    sums = counts.sum(axis=0).A1
    assert sums[most_expressed(counts, 3)].min() >= np.sort(sums)[-3]


@pytest.mark.parametrize(("copies", "status"), [(0, "pass"), (1, "fail")])
def test_reads_are_told_from_molecules(copies: int, status: str) -> None:
    rng = np.random.default_rng(0)
    counts = rng.poisson(rng.lognormal(-3, 2, 2000), size=(400, 2000))
    reads = counts + rng.poisson(copies * counts)  # of each molecule 1 + Poisson(1)
    check = _checks.molecules(sp.csr_matrix(reads.astype(np.float32)))
    assert check.status == status
    assert check.said.endswith("genes that few cells show are 1")


def test_of_genes_that_all_cells_show_it_cannot_be_told() -> None:
    counts = np.random.default_rng(0).poisson(5, size=(400, 2000))
    check = _checks.molecules(sp.csr_matrix(counts.astype(np.float32)))
    assert check.status == "unknown"
    assert check.said == "only 0 genes that few cells show: too few to tell"
