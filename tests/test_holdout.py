"""Hold-outs: what a method sees, what it cannot see, and how the paper splits."""

from __future__ import annotations

import copy
import inspect
import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anndata
import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given, settings

import gnnimpute
from gnnimpute import Config, GNNImputer, NeighborGraph
from gnnimpute._counts import check_counts
from gnnimpute._holdout import unseal
from gnnimpute.metrics import CellSplit, HoldOut, LabelledHoldOut, split_cells

if TYPE_CHECKING:
    from collections.abc import Callable


def normalised(counts: sp.csr_matrix) -> sp.csr_matrix:
    total = np.asarray(counts.sum(axis=1)).ravel()
    return sp.csr_matrix(sp.diags(np.median(total) / total) @ counts).astype(np.float32)


@pytest.fixture(params=["thin", "mask", "labelled"])
def hold_out(request: pytest.FixtureRequest, counts: sp.csr_matrix) -> HoldOut | LabelledHoldOut:
    if request.param == "labelled":
        return LabelledHoldOut.mask(normalised(counts), 0.2, split=split_cells(counts.shape[0], rng=0), rng=0)
    return getattr(HoldOut, request.param)(counts, 0.2, rng=0)


# What is hidden


def test_thinned_parts_sum_to_the_counts(counts: sp.csr_matrix) -> None:
    hold_out = HoldOut.thin(counts, 0.2, rng=0)
    hidden, factor = unseal(hold_out)
    assert (hold_out.train + hidden != counts).nnz == 0
    assert hidden.sum() == pytest.approx(0.2 * counts.sum(), rel=0.1)
    np.testing.assert_allclose(factor, 0.25)
    assert (hold_out.kind, hold_out.rate, hold_out.protocol) == ("molecules", 0.2, "blind")


def test_masked_values_are_on_the_scale_of_the_median_total(counts: sp.csr_matrix) -> None:
    hold_out = HoldOut.mask(counts, 0.2, rng=0)
    hidden, factor = unseal(hold_out)
    total = np.asarray(counts.sum(axis=1)).ravel()
    np.testing.assert_allclose(factor, np.median(total) / total)
    np.testing.assert_allclose((hold_out.train + sp.diags(1 / factor) @ hidden).toarray(), counts.toarray(), rtol=1e-6)
    n_nonzeros = counts.getnnz(axis=0)
    np.testing.assert_array_equal(hidden.getnnz(axis=0), np.where(n_nonzeros > 3, (n_nonzeros * 0.2).astype(int), 0))
    assert (hold_out.kind, hold_out.protocol) == ("nonzeros", "blind")


def test_masked_values_on_a_scale_of_ones_own(counts: sp.csr_matrix) -> None:
    hold_out = HoldOut.mask(counts, 0.2, rng=0, scale=np.ones(counts.shape[0]))
    hidden, _ = unseal(hold_out)
    assert (hold_out.train + hidden != counts).nnz == 0


def test_masking_normalised_values_needs_no_factor(counts: sp.csr_matrix) -> None:
    _, factor = unseal(HoldOut.mask(normalised(counts), 0.2, rng=0))
    np.testing.assert_allclose(factor, 1, rtol=1e-5)


def test_cells_without_counts() -> None:
    counts = sp.csr_matrix(np.vstack([np.full((9, 4), 2.0), np.zeros((1, 4))]))
    for hold_out in (HoldOut.thin(counts, 0.5, rng=0), HoldOut.mask(counts, 0.5, rng=0)):
        hidden, factor = unseal(hold_out)
        assert np.isfinite(factor).all()
        assert hold_out.train[9].nnz == hidden[9].nnz == 0
    empty, factor = unseal(HoldOut.mask(np.zeros((3, 2)), 0.5, rng=0))
    assert empty.nnz == 0
    assert (factor == 1).all()


def test_labels_hold_nothing_of_test_cells(counts: sp.csr_matrix) -> None:
    values, split = normalised(counts), split_cells(counts.shape[0], rng=0)
    hold_out = LabelledHoldOut.mask(values, 0.2, split=split, rng=0)
    hidden, factor = unseal(hold_out)
    labelled = np.concatenate([split.train, split.validation])
    assert hold_out.labels[split.test].nnz == 0
    assert (hold_out.labels[labelled] != values[labelled]).nnz == 0
    assert hidden[labelled].nnz == 0
    assert hidden[split.test].nnz > 0
    np.testing.assert_allclose((hold_out.train + hidden)[split.test].toarray(), values[split.test].toarray())
    assert (factor == 1).all()
    assert hold_out.protocol == "labelled"


def test_every_cell_is_masked_in_the_labelled_protocol(counts: sp.csr_matrix) -> None:
    hold_out = LabelledHoldOut.mask(counts, 0.2, split=split_cells(counts.shape[0], rng=0), rng=0)
    n_nonzeros = counts.getnnz(axis=0)
    expected = np.where(n_nonzeros > 3, (n_nonzeros * 0.2).astype(int), 0)
    np.testing.assert_array_equal(n_nonzeros - hold_out.train.getnnz(axis=0), expected)


@pytest.mark.parametrize("make", [HoldOut.thin, HoldOut.mask])
def test_same_seed_same_hold_out(make: Callable[..., HoldOut], counts: sp.csr_matrix) -> None:
    before = counts.copy()
    first, again = make(counts, 0.2, rng=1), make(counts.toarray(), 0.2, rng=np.random.default_rng(1))
    assert (first.train != again.train).nnz == 0
    assert (first.train != make(counts, 0.2, rng=2).train).nnz > 0
    assert (counts != before).nnz == 0
    assert not np.shares_memory(first.train.data, counts.data)


@pytest.mark.parametrize("rate", [0, 1, -0.1, 10, np.nan])
def test_rates_that_hide_nothing_or_all(rate: float, counts: sp.csr_matrix) -> None:
    with pytest.raises(ValueError, match="above 0 and below 1"):
        HoldOut.thin(counts, rate, rng=0)
    with pytest.raises(ValueError, match="above 0 and below 1"):
        HoldOut.mask(counts, rate, rng=0)


def test_molecules_must_be_whole() -> None:
    with pytest.raises(ValueError, match="cell number 0, gene number 1"):
        HoldOut.thin(np.array([[1, 2.5], [3, 4]]), 0.1, rng=0)
    for value in (np.nan, np.inf, -1):
        with pytest.raises(ValueError, match="the matrix to hold out from is"):
            HoldOut.mask(np.array([[1, value], [3, 4]]), 0.1, rng=0)


@pytest.mark.parametrize("scale", [np.ones(3), np.full(90, np.nan)])
def test_a_scale_for_each_cell(scale: np.ndarray, counts: sp.csr_matrix) -> None:
    with pytest.raises(ValueError, match="a number for each of 90 cells"):
        HoldOut.mask(counts, 0.2, rng=0, scale=scale)


# Splits


@settings(deadline=None, max_examples=60)
@given(
    n_cells=st.integers(30, 3000), train_fraction=st.sampled_from([0.8, 0.6, 0.4, 0.2, 0.1]), seed=st.integers(0, 99)
)
def test_every_cell_is_in_one_part(n_cells: int, train_fraction: float, seed: int) -> None:
    split = split_cells(n_cells, train_fraction=train_fraction, rng=seed)
    np.testing.assert_array_equal(np.sort(np.concatenate(split)), np.arange(n_cells))
    assert len(split.train) == pytest.approx(n_cells * train_fraction, abs=1)
    assert 0 <= len(split.validation) - len(split.test) <= 1
    assert all((np.diff(part) > 0).all() for part in split)


def test_the_split_of_the_paper() -> None:
    assert [len(part) for part in split_cells(2843, rng=0)] == [1706, 569, 568]


@pytest.mark.parametrize(("train_fraction", "sizes"), [(0.8, [8, 1, 1]), (0.1, [1, 5, 4])])
def test_labelled_shares(train_fraction: float, sizes: list[int]) -> None:
    assert [len(part) for part in split_cells(10, train_fraction=train_fraction, rng=0)] == sizes


def test_splits_are_random_and_repeatable() -> None:
    first, again, other = (split_cells(50, rng=seed).test for seed in (0, 0, 1))
    assert first.tolist() == again.tolist() != other.tolist()


@pytest.mark.parametrize(("n_cells", "train_fraction"), [(0, 0.6), (2, 0.6), (100, 1.0), (100, 0.0), (100, 1.5)])
def test_no_part_is_empty(n_cells: int, train_fraction: float) -> None:
    with pytest.raises(ValueError, match="leave a part empty"):
        split_cells(n_cells, train_fraction=train_fraction, rng=0)


@pytest.mark.parametrize("cells", [[[0], [1], [2]], [[0, 1], [2, 3], [3]], [[0, 1], [2], [4]]])
def test_a_split_names_every_cell_once(cells: list[list[int]]) -> None:
    with pytest.raises(ValueError, match="must name each of 4 cells once"):
        LabelledHoldOut.mask(np.ones((4, 5)), 0.5, split=CellSplit(*map(np.array, cells)), rng=0)


# The truth stays sealed

CONVERSIONS: dict[str, Callable[[Any], object]] = {
    "np.asarray": np.asarray,
    "np.array": np.array,
    "np.asarray of numbers": lambda truth: np.asarray(truth, dtype=np.float32),
    "np.add": lambda truth: truth + np.ones(3),
    "np.sum": np.sum,
    "np.stack": lambda truth: np.stack([truth]),
    "list": list,
    "len": len,
    "float": float,
    "bool": bool,
    "index": lambda truth: truth[0],
    "row slice": lambda truth: truth[0:2],
    "toarray": lambda truth: truth.toarray(),
    "csr_matrix": sp.csr_matrix,
    "csr_array": sp.csr_array,
    "torch.as_tensor": torch.as_tensor,
    "torch.tensor": torch.tensor,
    "DataFrame": pd.DataFrame,
    "AnnData": anndata.AnnData,
    "layer": lambda truth: anndata.AnnData(np.ones((90, 60)), layers={"counts": truth}),
    "pickle": pickle.dumps,
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "check_counts": lambda truth: check_counts(truth, where="truth"),
}


@pytest.mark.parametrize("convert", CONVERSIONS.values(), ids=CONVERSIONS.keys())
def test_nothing_makes_an_array_of_the_truth(
    convert: Callable[[Any], object], hold_out: HoldOut | LabelledHoldOut
) -> None:
    with pytest.raises((TypeError, ValueError, AttributeError)):
        convert(hold_out.truth)


@pytest.mark.parametrize("convert", [np.asarray, list, len, check_counts])
def test_the_refusal_says_what_to_do(convert: Callable[..., object], hold_out: HoldOut) -> None:
    settings = {"where": "counts"} if convert is check_counts else {}
    with pytest.raises(TypeError, match=r"give `\.train` to a method"):
        convert(hold_out.truth, **settings)


def test_no_model_learns_from_the_truth(hold_out: HoldOut | LabelledHoldOut) -> None:
    graph = NeighborGraph(np.arange(90)[:, None])
    imputer = GNNImputer(Config(n_epochs=1, n_hidden=2, n_latent=2))
    with pytest.raises(TypeError, match="The truth of a hold-out cannot be read"):
        imputer.fit(hold_out.truth, graph)  # type: ignore[arg-type]
    with pytest.raises((TypeError, ValueError)):
        imputer.fit(hold_out, graph)  # type: ignore[arg-type]
    imputer.fit(hold_out.train, graph)


def test_nothing_public_holds_the_truth(hold_out: HoldOut | LabelledHoldOut) -> None:
    hidden, _ = unseal(hold_out)
    shown = [name for name in dir(hold_out.truth) if not name.startswith("_")]
    assert not shown
    assert not hasattr(hold_out.truth, "__dict__")
    if hold_out.kind == "nonzeros":
        assert hold_out.train.multiply(hidden > 0).nnz == 0
    assert "truth of a hold-out" in repr(hold_out)
    assert str(hidden.data[0]) not in repr(hold_out.truth)


def test_a_hold_out_cannot_be_changed(hold_out: HoldOut | LabelledHoldOut) -> None:
    with pytest.raises(AttributeError):
        hold_out.truth = hold_out.train  # type: ignore[misc, assignment]


def test_blind_and_labelled_are_two_types(hold_out: HoldOut | LabelledHoldOut) -> None:
    assert isinstance(hold_out, HoldOut) != isinstance(hold_out, LabelledHoldOut)
    assert hasattr(hold_out, "labels") == (hold_out.protocol == "labelled")


def test_only_scores_open_the_truth() -> None:
    folder = Path(inspect.getfile(gnnimpute)).parent
    opening = {path.stem for path in folder.rglob("*.py") if "unseal" in path.read_text(encoding="utf-8")}
    assert opening == {"_holdout", "_tally", "metrics"}  # the last two are scores
