"""Scores of hold-outs: from what a method made of the part that it saw, to numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from gnnimpute import metrics
from gnnimpute._holdout import unseal
from gnnimpute.metrics import HoldOut, LabelledHoldOut, ari, nmi, score, score_cells, split_cells

if TYPE_CHECKING:
    from collections.abc import Callable

MOLECULES = {"poisson_loss", "poisson_deviance", "mse", "log1p_cp10k_mse"}
MASKED = {"mse", "mae", "pcc", "cs"}


def values(scores: dict[str, metrics.Interval]) -> dict[str, float]:
    return {name: interval.value for name, interval in scores.items()}


@pytest.fixture
def thinned(counts: sp.csr_matrix) -> HoldOut:
    return HoldOut.thin(counts, 0.2, rng=0)


@pytest.fixture
def masked(counts: sp.csr_matrix) -> HoldOut:
    return HoldOut.mask(counts, 0.2, rng=0)


@pytest.fixture
def guess(counts: sp.csr_matrix, rng: np.random.Generator) -> np.ndarray:
    return 0.8 * counts.toarray() + rng.gamma(1.0, 0.3, size=counts.shape)


def test_molecules_are_scored_on_their_scale(thinned: HoldOut, guess: np.ndarray) -> None:
    hidden, _ = unseal(thinned)
    expected = guess * 0.2 / 0.8
    scores = values(score(thinned, guess))
    assert scores == pytest.approx(
        {
            "poisson_loss": metrics.poisson_loss(hidden, expected),
            "poisson_deviance": metrics.poisson_deviance(hidden, expected),
            "mse": metrics.molecule_mse(hidden, expected),
            "log1p_cp10k_mse": metrics.log1p_cp10k_mse(hidden, expected),
        }
    )
    assert set(scores) == MOLECULES


def test_coverage_is_that_of_the_held_out_molecules(thinned: HoldOut, masked: HoldOut, guess: np.ndarray) -> None:
    hidden, _ = unseal(thinned)
    mean, size, (cells, genes) = guess / 4, np.full_like(guess, 2.0), ([5, 2], [7, 1, 30])
    assert metrics.score_coverage(thinned, mean, size) == metrics.coverage(hidden, mean, size)
    part = (hidden[cells][:, genes], mean[cells][:, genes], size[cells][:, genes])
    chosen = {"levels": (0.6,), "least": 0.1, "rng": 3}
    expected = metrics.coverage(*part, **chosen)
    assert metrics.score_coverage(thinned, *part[1:], cells=cells, genes=genes, **chosen) == expected
    with pytest.raises(ValueError, match=r"intervals are of molecules. Use HoldOut.thin"):
        metrics.score_coverage(masked, mean, size)


def test_masked_values_are_scored_on_the_scale_of_the_paper(
    masked: HoldOut, guess: np.ndarray, counts: sp.csr_matrix
) -> None:
    total = np.asarray(counts.sum(axis=1)).ravel()
    factor = np.median(total) / total
    cell, gene = np.nonzero(counts.toarray() * (masked.train.toarray() == 0))
    truth, imputed = counts.toarray()[cell, gene] * factor[cell], guess[cell, gene] * factor[cell]
    for by, groups in {"entry": None, "cell": cell, "gene": gene}.items():
        scores = values(score(masked, guess, by=by))  # type: ignore[arg-type]
        assert set(scores) == MASKED
        for name, value in scores.items():
            assert value == pytest.approx(getattr(metrics, name)(truth, imputed, groups=groups), rel=1e-5)


def test_labelled_scores_are_of_test_cells(counts: sp.csr_matrix, guess: np.ndarray) -> None:
    split = split_cells(counts.shape[0], rng=0)
    hold_out = LabelledHoldOut.mask(counts, 0.2, split=split, rng=0)
    everywhere = score(hold_out, guess)
    assert everywhere == score(hold_out, guess[split.test], cells=split.test)
    spoilt = guess.copy()
    spoilt[np.concatenate([split.train, split.validation])] = 1e6
    assert everywhere == score(hold_out, spoilt)


@pytest.mark.parametrize("kind", ["thinned", "masked"])
def test_some_cells_and_genes(kind: str, guess: np.ndarray, request: pytest.FixtureRequest) -> None:
    hold_out = request.getfixturevalue(kind)
    cells, genes = np.arange(80, 2, -7), np.array([9, 0, 33, 20, 21, 2])
    hidden, factor = unseal(hold_out)
    part = score(hold_out, guess[np.ix_(cells, genes)], cells=cells, genes=genes, n_resamples=0)
    expected = (guess * factor[:, None])[np.ix_(cells, genes)]
    truth = hidden.toarray()[np.ix_(cells, genes)]
    shown = truth > 0 if kind == "masked" else np.ones_like(truth, dtype=bool)
    assert part["mse"].value == pytest.approx(((truth - expected)[shown] ** 2).mean())
    flags = np.isin(np.arange(90), cells), np.isin(np.arange(60), genes)
    assert values(score(hold_out, guess[np.ix_(*flags)], cells=flags[0], genes=flags[1])) == pytest.approx(values(part))


def test_losses_of_cells_go_with_the_score(thinned: HoldOut, guess: np.ndarray) -> None:
    losses = score_cells(thinned, guess)
    assert losses.mean() == pytest.approx(score(thinned, guess)["poisson_loss"].value)
    blocks = [np.arange(0, 50), np.arange(50, 90)]
    np.testing.assert_allclose(np.concatenate([score_cells(thinned, guess[c], cells=c) for c in blocks]), losses)
    assert score_cells(thinned, guess, loss="mse").mean() == pytest.approx(score(thinned, guess)["mse"].value)


def test_the_better_of_two_methods_is_found(thinned: HoldOut) -> None:
    train = thinned.train.toarray()
    share = train.sum(axis=0) / train.sum()
    gene_mean = train.sum(axis=1, keepdims=True) * share
    types = np.repeat(np.arange(3), 30)
    type_mean = np.stack([train[types == t].mean(axis=0) for t in types]) + 0.01
    difference = metrics.paired_difference(score_cells(thinned, type_mean), score_cells(thinned, gene_mean))
    assert difference.high < 0
    assert score(thinned, thinned.train)["poisson_loss"].value > score(thinned, gene_mean)["poisson_loss"].value


@pytest.mark.parametrize("by", ["entry", "cell", "gene"])
@pytest.mark.parametrize("kind", ["thinned", "masked"])
def test_intervals_hold_the_value(kind: str, by: Any, guess: np.ndarray, request: pytest.FixtureRequest) -> None:
    hold_out = request.getfixturevalue(kind)
    scores = score(hold_out, guess, by=by)
    assert all(interval.low < interval.value < interval.high for interval in scores.values())
    assert scores == score(hold_out, guess, by=by, rng=np.random.default_rng(0))
    assert scores != score(hold_out, guess, by=by, rng=1)
    without = score(hold_out, guess, by=by, n_resamples=0)
    assert values(without) == values(scores)
    assert all(np.isnan([interval.low, interval.high]).all() for interval in without.values())


def test_intervals_of_masked_values_draw_cells_not_entries(masked: HoldOut, guess: np.ndarray) -> None:
    truth, factor = unseal(masked)
    cell = np.repeat(np.arange(90), np.diff(truth.indptr))
    imputed = (guess * factor[:, None])[cell, truth.indices]
    expected = metrics.bootstrap(metrics.mse, truth.data, imputed, cells=cell, n_resamples=200, rng=0)
    assert score(masked, guess)["mse"] == pytest.approx(expected)


def test_estimates_may_be_sparse_and_nothing_is_changed(masked: HoldOut, guess: np.ndarray) -> None:
    before, (hidden, _) = guess.copy(), unseal(masked)
    copy = hidden.copy()
    assert values(score(masked, sp.csr_matrix(guess))) == pytest.approx(values(score(masked, guess)))
    np.testing.assert_array_equal(guess, before)
    assert (hidden != copy).nnz == 0


def test_a_constant_guess_has_no_correlation(masked: HoldOut) -> None:
    hold_out = HoldOut.mask(masked.train, 0.3, rng=0, scale=np.ones(90))
    assert np.isnan(score(hold_out, np.ones((90, 60)))["pcc"]).all()
    assert np.isnan(score(hold_out, np.zeros((90, 60)))["cs"]).all()


def test_nothing_masked() -> None:
    hold_out = HoldOut.mask(np.eye(4), 0.5, rng=0)  # each gene has a single non-zero
    with pytest.raises(ValueError, match="Nothing is masked in these 4 cells and 4 genes"):
        score(hold_out, np.ones((4, 4)))


def test_what_cannot_be_scored(thinned: HoldOut, masked: HoldOut, guess: np.ndarray) -> None:
    spoilt = guess.copy()
    spoilt[2, 3] = np.nan
    with pytest.raises(ValueError, match=r"90 cells x 60 genes, but the estimate has the shape \(60, 90\)"):
        score(thinned, guess.T)
    with pytest.raises(ValueError, match=r"3 cells x 60 genes, but the estimate has the shape \(90, 60\)"):
        score_cells(thinned, guess, cells=[1, 2, 3])
    with pytest.raises(ValueError, match=r"holds nan \(cell 2, gene 3\)"):
        score(masked, spoilt[:3], cells=[0, 1, 2])
    with pytest.raises(ValueError, match="by='spot': choose one of 'entry', 'cell', 'gene'"):
        score(masked, guess, by="spot")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="use `score"):
        score_cells(masked, guess)


def test_groupings() -> None:
    labels, clusters = ["a", "a", "b", "b"], [1, 1, 1, 0]
    # 6 pairs: 1 together in both, 2 within labels, 3 within clusters; 2 * 3 / 6 = 1 expected.
    assert ari(labels, clusters) == pytest.approx((1 - 1) / ((2 + 3) / 2 - 1))
    p = np.array([2 / 4, 1 / 4, 1 / 4])
    shared = np.sum(p * np.log(p / (np.array([1 / 2, 1 / 2, 1 / 2]) * np.array([3 / 4, 3 / 4, 1 / 4]))))
    entropies = np.log(2), -(3 / 4 * np.log(3 / 4) + 1 / 4 * np.log(1 / 4))
    assert nmi(labels, clusters) == pytest.approx(shared / np.mean(entropies))


def test_groupings_like_scikit_learn(rng: np.random.Generator) -> None:
    labels, clusters = rng.integers(4, size=(2, 100))
    clusters[:60] = labels[:60]
    assert ari(labels, clusters) == adjusted_rand_score(labels, clusters)
    assert nmi(labels, clusters) == normalized_mutual_info_score(labels, clusters)
    assert ari(labels, (labels + 1) % 4) == nmi(labels, labels) == 1
    with pytest.raises(ValueError, match="labels are of 100 cells, but clusters of 5"):
        ari(labels, clusters[:5])


@pytest.mark.parametrize("index", [ari, nmi])
def test_cells_without_a_group_are_named(index: Callable[..., float]) -> None:
    with pytest.raises(ValueError, match="clusters must be the group of each cell, but is None"):
        index(["a", "b"], None)
    with pytest.raises(ValueError, match="labels has no group for 1 cells, first for number 1"):
        index(pd.Series(["a", None]), [0, 1])
    with pytest.raises(ValueError, match="labels has no group for 1 cells, first for number 1"):
        index(["a", np.nan], ["x", "y"])
    for missing in (np.nan, pd.NA):
        with pytest.raises(ValueError, match="clusters has no group for 1 cells, first for number 0"):
            index(["a", "b"], pd.Series([missing, "x"], dtype="object"))


def test_public_names() -> None:
    assert list(metrics.__all__) == sorted(metrics.__all__)
    assert all(getattr(metrics, name).__doc__ for name in metrics.__all__)
