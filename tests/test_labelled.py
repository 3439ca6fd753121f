"""The paper's protocol trains on what it knows, and on nothing that it is judged by."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp

from gnnimpute import Config, NeighborGraph, _values, metrics
from gnnimpute._labelled import impute_labelled

SMALL = Config(
    n_hidden=8, n_latent=4, n_epochs=3, patience=3, batch_size=30, hide="nonzeros", hide_rate=0.2, loss="squared_error"
)


@pytest.fixture
def normalized(counts: sp.csr_matrix) -> sp.csr_matrix:
    total = np.asarray(counts.sum(1)).ravel()
    return sp.csr_matrix(sp.diags(np.median(total) / np.maximum(total, 1)) @ counts).astype(np.float32)


@pytest.fixture
def hold_out(normalized: sp.csr_matrix) -> metrics.LabelledHoldOut:
    return metrics.LabelledHoldOut.mask(normalized, 0.2, split=metrics.split_cells(normalized.shape[0], rng=0), rng=0)


@pytest.fixture
def graph(hold_out: metrics.LabelledHoldOut) -> NeighborGraph:
    return NeighborGraph.from_embedding(np.log1p(hold_out.train.toarray()), n_neighbors=4)


def test_values_are_at_least_one_molecule_on_the_scale_of_the_cell(hold_out, graph):
    values = impute_labelled(hold_out, graph, config=SMALL).values
    assert values.shape == hold_out.train.shape
    for cell, row in enumerate(hold_out.train):
        assert values[cell].min() >= row.data.min() * (1 - 1e-5)


def test_values_are_expected_ones(hold_out, graph, monkeypatch):
    """As the paper has them, by squared error alone."""
    monkeypatch.setattr(_values, "likely_count", lambda _: pytest.fail("a likely count was asked for"))
    config = Config(**(SMALL.to_dict() | {"n_components": 2}))
    assert np.isfinite(impute_labelled(hold_out, graph, config=config).values).all()


def test_learning_beats_the_least_possible_value(hold_out, graph):
    config = Config(**(SMALL.to_dict() | {"n_epochs": 60, "patience": 60, "learning_rate": 0.01}))
    imputed = impute_labelled(hold_out, graph, config=config)
    least = np.array([row.data.min() for row in hold_out.train])[:, None] * np.ones(hold_out.train.shape[1])
    ours, other = (metrics.score(hold_out, values, n_resamples=0) for values in (imputed.values, least))
    assert ours["mse"].value < 0.8 * other["mse"].value
    assert ours["pcc"].value > 0.3


def test_what_is_masked_of_a_cell_does_not_lower_the_rest(hold_out, graph):
    """Values were normalised before they were masked, so their sum is no scale."""
    config = replace(SMALL, n_epochs=20, patience=20, learning_rate=0.01)
    cell = hold_out.split.test[0]
    less = sp.csr_matrix(hold_out.train, copy=True)
    row = less.data[slice(*less.indptr[cell : cell + 2])]
    row[np.arange(len(row)) % 4 > 0] = 0
    less.eliminate_zeros()
    least = less[cell].data.min()
    before, after = (
        impute_labelled(replace(hold_out, train=train), graph, config=config).values[cell].mean() - least
        for train in (hold_out.train, less)
    )
    assert 0.75 < after / before < 1.33


def with_other_masked_values(
    normalized: sp.csr_matrix, hold_out: metrics.LabelledHoldOut, cells: np.ndarray
) -> metrics.LabelledHoldOut:
    """The same entries masked, but of these cells all of them are 1000."""
    changed = sp.csr_matrix(normalized, copy=True)
    for cell in cells:
        row = slice(*changed.indptr[cell : cell + 2])
        masked = ~np.isin(changed.indices[row], hold_out.train[cell].indices)
        changed.data[row] = np.where(masked, 1000, changed.data[row])
    return metrics.LabelledHoldOut.mask(changed, 0.2, split=hold_out.split, rng=0)


def test_masked_values_of_test_cells_change_nothing(normalized, hold_out, graph):
    other = with_other_masked_values(normalized, hold_out, hold_out.split.test)
    assert (other.train != hold_out.train).nnz == 0
    np.testing.assert_array_equal(
        impute_labelled(other, graph, config=SMALL).values, impute_labelled(hold_out, graph, config=SMALL).values
    )


def test_masked_values_of_training_cells_are_learnt_from(normalized, hold_out, graph):
    other = with_other_masked_values(normalized, hold_out, hold_out.split.train)
    assert not np.array_equal(
        impute_labelled(other, graph, config=SMALL).values, impute_labelled(hold_out, graph, config=SMALL).values
    )


@pytest.mark.parametrize(("prefix", "part"), [("", "validation"), ("training_", "train")])
def test_curves_are_the_metrics_of_the_cells(normalized, hold_out, graph, prefix, part):
    config = replace(SMALL, n_components=0, reads="genes")  # its share is chosen after the last epoch
    imputed = impute_labelled(hold_out, graph, config=config, curves=True)
    names = [prefix + name for name in ("mse", "mae", "pcc", "cs")]
    assert all(len(imputed.history[name]) == 3 for name in ("training", "validation", *names))
    masked = (normalized - hold_out.train).tocoo()
    here = np.isin(masked.row, getattr(hold_out.split, part))
    truth, guess = masked.data[here], imputed.values[masked.row[here], masked.col[here]]
    for name in names:
        value = getattr(metrics, name.removeprefix("training_"))(truth, guess)
        assert imputed.history[name][imputed.best_epoch] == pytest.approx(value, rel=1e-4)


def test_the_validation_loss_is_the_squared_error_of_masked_values(counts, graph):
    """Also of cells whose values are all whole, though they are scaled: what a molecule is, is not 1 there."""
    twice = sp.csr_matrix(2 * counts).astype(np.float32)
    hold_out = metrics.LabelledHoldOut.mask(twice, 0.2, split=metrics.split_cells(twice.shape[0], rng=0), rng=0)
    config = replace(SMALL, n_components=0, reads="genes")
    history = impute_labelled(hold_out, graph, config=config, curves=True).history
    np.testing.assert_allclose(history["validation"], history["mse"], rtol=1e-4)


def test_the_same_seed_gives_the_same_bits(hold_out, graph):
    first, second = (impute_labelled(hold_out, graph, config=SMALL, rng=3).values for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_a_blind_hold_out_is_refused(counts, graph):
    blind = metrics.HoldOut.mask(counts, 0.2, rng=0)
    with pytest.raises(TypeError, match="is a HoldOut: the paper's protocol needs LabelledHoldOut"):
        impute_labelled(blind, graph, config=SMALL)


def test_hidden_molecules_have_no_labels(hold_out, graph):
    with pytest.raises(ValueError, match="use Config\\(hide='nonzeros'\\)"):
        impute_labelled(hold_out, graph, config=Config())
