from __future__ import annotations

import signal
import sys
import threading
from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from gnnimpute import _train
from gnnimpute._config import Config
from gnnimpute._counts import totals
from gnnimpute._graph import NeighborGraph
from gnnimpute._loss import Hidden, hidden_loss
from gnnimpute._masking import Split, hide
from gnnimpute._train import train

SMALL = Config(n_hidden=8, n_latent=4, n_epochs=3, patience=3, batch_size=30)


def settings(**changes):
    return Config(**(SMALL.to_dict() | changes))


@pytest.fixture
def graph(counts):
    return NeighborGraph.from_embedding(np.log1p(counts.toarray()), n_neighbors=4)


@pytest.fixture
def split(counts):
    return hide(counts, 0.1, SMALL, rng=np.random.default_rng(1))


def run(split, graph, config=SMALL, *, seed=0, **options):
    return train(split, graph, config, rng=np.random.default_rng(seed), **options)


def weights(state):
    return {name: value.numpy() for name, value in state.network.state_dict().items()}


def assert_same(a, b):
    assert a.history == b.history
    assert a.best_epoch == b.best_epoch
    for name, value in weights(a).items():
        np.testing.assert_array_equal(value, weights(b)[name], err_msg=name)


@pytest.fixture
def steps(monkeypatch):
    """Sizes of the batches that are asked for."""
    sizes = []
    block = NeighborGraph.block
    monkeypatch.setattr(NeighborGraph, "block", lambda graph, seeds: sizes.append(len(seeds)) or block(graph, seeds))
    return sizes


def test_the_loss_falls_below_that_of_the_gene_means(split, graph):
    config = settings(n_epochs=60, patience=60, n_hidden=32, learning_rate=0.01, averaging=0.9)
    trained = run(split, graph, config)
    history = {name: np.array(values) for name, values in trained.history.items()}
    assert history["training"][-5:].mean() < history["training"][:5].mean()
    share = np.asarray(split.kept.sum(0)).ravel() + 0.5
    hidden = Hidden.of(split.held_out, split.kept, config)
    gene_means = torch.tensor(np.log(share / share.sum()), dtype=torch.float32).expand(split.kept.shape)
    assert trained.best_loss < float(hidden_loss(trained.network, gene_means, hidden, config=config)) - 0.05


def test_the_same_seed_gives_the_same_bits_and_another_does_not(split, graph):
    assert_same(run(split, graph), run(split, graph))
    assert run(split, graph).history != run(split, graph, seed=1).history


def test_global_random_states_are_left_alone(split, graph):
    def states():
        _, numbers, *rest = np.random.get_state()  # noqa: NPY002 -- the state that must not change
        return torch.get_rng_state().tolist(), numbers.tolist(), rest

    before = states()
    run(split, graph)
    assert states() == before
    torch.manual_seed(5)
    expected = run(split, graph)
    torch.manual_seed(6)
    assert_same(run(split, graph), expected)


def test_gpus_that_are_not_used_are_not_seeded(split, graph, monkeypatch):
    monkeypatch.setattr(torch.cuda, "manual_seed_all", lambda _: pytest.fail("all GPUs were seeded"))
    run(split, graph)


@pytest.fixture
def epochs_alone(monkeypatch):
    """Patience counts epochs, however few steps they have."""
    monkeypatch.setattr(_train, "LEAST_PATIENCE", 0)


@pytest.mark.usefixtures("epochs_alone")
def test_training_ends_when_the_loss_hardly_falls(split, graph):
    config = settings(n_epochs=40, patience=2, tolerance=0.01, learning_rate=0.01)
    losses = run(split, graph, config).history["validation"]
    assert (
        3 <= len(losses) < len(run(split, graph, settings(**config.to_dict() | {"tolerance": 0})).history["validation"])
    )
    assert min(losses[:-2]) - min(losses) <= 0.01 * min(losses[:-2])
    assert all(min(losses[:n]) - min(losses[: n + 2]) > 0.01 * min(losses[:n]) for n in range(1, len(losses) - 2))


def test_patience_lasts_for_some_steps(split, graph, monkeypatch):
    config = settings(n_epochs=40, patience=1, tolerance=0.1, learning_rate=1e-6, batch_size=30)  # three steps
    assert len(run(split, graph, config).history["validation"]) == 22 + 1  # 64 steps
    monkeypatch.setattr(_train, "LEAST_PATIENCE", 10)
    assert len(run(split, graph, config).history["validation"]) == 4 + 1
    assert len(run(split, graph, settings(**config.to_dict() | {"patience": 6})).history["validation"]) == 6 + 1


def test_losses_below_zero_have_to_fall_by_a_share_of_their_size():
    config = settings(tolerance=0.01)
    assert not _train._is_falling([-1.0, -1.001], 1, config)
    assert _train._is_falling([-1.0, -1.02], 1, config)


def test_a_loss_that_has_come_near_zero_need_not_fall_for_ever():
    config, falls_no_more = settings(tolerance=0.01), [0.3, 1e-3, -2e-3]
    assert not _train._is_falling(falls_no_more, 1, config)
    assert _train._is_falling(falls_no_more[:2], 1, config)
    squared = replace(config, loss="squared_error")
    assert _train._is_falling([1e-3, 9e-4], 1, squared)  # errors have a zero


def test_early_on_the_average_is_over_few_steps(split, graph):
    """After the first step it is ten elevenths of the way to the present weights."""

    def bias(**changes):
        return weights(run(split, graph, settings(n_epochs=1, batch_size=90, **changes)))["out.bias"]

    before = bias(learning_rate=1e-12)
    present, average = (bias(learning_rate=0.1, averaging=decay) for decay in (0, 0.99))
    np.testing.assert_allclose(average - before, 10 / 11 * (present - before), rtol=1e-3, atol=1e-5)


@pytest.mark.usefixtures("epochs_alone")
@pytest.mark.parametrize("rate", [0.01, 0.3], ids=["slow", "too fast"])
def test_the_weights_are_those_of_the_best_epoch(split, graph, rate):
    trained = run(split, graph, settings(n_epochs=40, patience=3, tolerance=0, learning_rate=rate, averaging=0))
    validation = trained.history["validation"]
    assert trained.best_epoch == np.argmin(validation)
    assert trained.best_loss == min(validation)
    assert len(validation) == min(40, trained.best_epoch + 1 + 3)
    until_then = run(
        split, graph, settings(n_epochs=trained.best_epoch + 1, tolerance=0, learning_rate=rate, averaging=0)
    )
    for name, value in weights(until_then).items():
        np.testing.assert_array_equal(value, weights(trained)[name], err_msg=name)
    assert not trained.network.training


def test_what_is_held_out_reaches_no_weight(split, graph, rng):
    other = sp.csr_matrix(rng.poisson(3, split.held_out.shape).astype(np.float32))
    a, b = run(split, graph), run(Split(split.kept, other), graph)
    assert a.history["training"] == b.history["training"]
    assert a.history["validation"] != b.history["validation"]
    first = settings(n_epochs=1)
    a, b = run(split, graph, first), run(Split(split.kept, other), graph, first)
    for name, value in weights(a).items():
        if name != "linear.weight":  # chosen by the held-out part, like the epoch
            np.testing.assert_array_equal(value, weights(b)[name], err_msg=name)


def test_totals_of_cells_count_what_was_held_out(split, graph):
    np.testing.assert_allclose(run(split, graph).total, totals(split.kept) + totals(split.held_out))


@pytest.mark.parametrize(("hide_what", "share"), [("nonzeros", 0.7), ("molecules", 1.0)])
def test_rows_know_the_share_of_nonzeros_that_is_left(split, graph, monkeypatch, hide_what, share):
    shares = []
    monkeypatch.setattr(_train, "replace", lambda rows, **new: shares.append(new["kept_share"]) or replace(rows, **new))
    run(split, graph, settings(hide=hide_what, hide_rate=0.3, n_epochs=1))
    assert shares == [pytest.approx(share)]


def test_groups_know_how_much_was_held_out(split, graph, monkeypatch):
    ratios = []
    monkeypatch.setattr(_train, "fit_local", lambda *_, ratio: ratios.append(ratio))
    monkeypatch.setattr(_train.Validation, "best_share", lambda _: 0.5)  # of the linear part, without which none are
    run(split, graph, settings(validation_rate=0.2, n_epochs=1))
    assert ratios == [pytest.approx(0.2 / 0.8)]


@pytest.mark.parametrize(
    ("batch_size", "expected"),
    [(0, [30, 30, 30]), (1, [2] * 45), (40, [30, 30, 30]), (89, [45, 45]), (90, [90]), (10_000, [90])],
)
def test_batches_cover_the_cells_and_none_is_a_single_one(split, graph, steps, batch_size, expected):
    trained = run(split, graph, settings(batch_size=batch_size, n_epochs=1))
    assert steps == expected
    assert np.isfinite(trained.best_loss)


def test_batches_that_do_not_divide_the_cells_differ_by_one(split, graph, steps):
    run(split, graph, settings(batch_size=28, n_epochs=1))
    assert steps == [23, 23, 22, 22]


def test_two_cells_are_enough(split):
    graph = NeighborGraph(np.array([[0, 1], [1, 0]]))
    trained = run(Split(split.kept[:2], split.held_out[:2]), graph)
    assert len(trained.history["training"]) == 3
    assert all(np.isfinite(value).all() for value in weights(trained).values())


def test_most_cells_may_be_empty(split, graph):
    keep = sp.diags_array((np.arange(90) < 20).astype(np.float32)).tocsr()
    empty = Split(sp.csr_matrix(keep @ split.kept), sp.csr_matrix(keep @ split.held_out))
    trained = run(empty, graph)
    seen = np.median(np.asarray(empty.kept[:20].sum(1)))
    np.testing.assert_allclose(float(trained.network.target_total), seen / (1 - SMALL.validation_rate), rtol=1e-6)


@pytest.fixture
def interrupt(monkeypatch):
    """Press Ctrl-C in the given steps, once for each time that a step is named."""

    def at(*numbers):
        block, calls = NeighborGraph.block, []

        def pressed(graph, seeds):
            calls.append(None)
            for _ in range(numbers.count(len(calls))):
                signal.raise_signal(signal.SIGINT)
            return block(graph, seeds)

        monkeypatch.setattr(NeighborGraph, "block", pressed)

    # A shell starts what runs in the background with Ctrl-C ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield at
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_stops_after_the_epoch_and_keeps_the_best_weights(split, graph, interrupt, caplog):
    expected = run(split, graph, settings(n_epochs=2))
    handler = signal.getsignal(signal.SIGINT)
    interrupt(5)  # in the second of three batches of the second epoch
    assert_same(run(split, graph, settings(n_epochs=20, patience=20)), expected)
    assert "Interrupted after epoch 2" in caplog.text
    assert signal.getsignal(signal.SIGINT) is handler


def test_a_second_ctrl_c_stops_at_once(split, graph, interrupt):
    handler, state = signal.getsignal(signal.SIGINT), torch.get_rng_state()
    interrupt(2, 2)
    with pytest.raises(KeyboardInterrupt):
        run(split, graph)
    assert signal.getsignal(signal.SIGINT) is handler
    assert torch.equal(torch.get_rng_state(), state)


def test_the_users_own_handler_comes_back_and_hears_the_second_ctrl_c(split, graph, interrupt):
    heard = []
    before = signal.signal(signal.SIGINT, lambda *_: heard.append("again"))
    try:
        mine = signal.getsignal(signal.SIGINT)
        interrupt(2, 3)
        assert len(run(split, graph).history["training"]) == 1
        assert heard == ["again"]
        assert signal.getsignal(signal.SIGINT) is mine
    finally:
        signal.signal(signal.SIGINT, before)


def test_training_in_a_thread_leaves_signals_alone(split, graph):
    results, n_threads = [], torch.get_num_threads()

    def work():
        torch.set_num_threads(n_threads)  # each thread has a number of its own, and sums differ with it
        results.append(run(split, graph))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert_same(results[0], run(split, graph))


@pytest.mark.parametrize("n_epochs", [1, 3], ids=["at the end", "later"])
def test_a_loss_that_is_not_finite_is_an_error(split, graph, n_epochs):
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(FloatingPointError, match=r"loss became (nan|inf) in epoch .: lower the learning rate"):
        run(split, graph, settings(learning_rate=1e30, batch_size=1000, averaging=0, n_epochs=n_epochs))
    assert signal.getsignal(signal.SIGINT) is handler


@pytest.mark.parametrize("progress", [None, False])
def test_no_bar_where_there_is_no_terminal(split, graph, capfd, progress):
    run(split, graph, progress=progress)
    assert capfd.readouterr() == ("", "")


def test_the_bar_tells_epochs_and_loss(split, graph, capsys):
    run(split, graph, progress=True)
    said = capsys.readouterr()
    assert said.out == ""
    assert "training: epoch 2 of at most 3 [" in said.err
    assert "training: 3 epochs [" in said.err
    assert "loss=" in said.err
    assert "<" not in said.err  # as of a time that remains, which nobody knows


def test_the_bar_is_shown_on_a_terminal(split, graph, capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    run(split, graph)
    assert "training" in capsys.readouterr().err
