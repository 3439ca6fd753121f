from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch

from gnnimpute import _train
from gnnimpute._checkpoint import read_tensors, write_tensors
from gnnimpute._config import Config
from gnnimpute._graph import NeighborGraph
from gnnimpute._imputer import GNNImputer

SMALL = Config(n_hidden=8, n_latent=4, n_epochs=4, patience=4, batch_size=30)


def settings(**changes):
    return Config(**(SMALL.to_dict() | changes))


@pytest.fixture
def graph(counts):
    return NeighborGraph.from_embedding(np.log1p(counts.toarray()), n_neighbors=4)


@pytest.fixture
def fit(counts, graph):
    def fit(config=SMALL, *, counts=counts, graph=graph, **options):
        return GNNImputer(config).fit(counts, graph, **options)

    return fit


@pytest.fixture
def impute(counts, graph):
    return lambda imputer: imputer.transform(counts, graph)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run.safetensors"


def interrupted(path, fit, monkeypatch, *, after):
    """Train until the computer goes down in an epoch."""
    epoch, calls = _train._epoch, []

    def power_cut(*args):
        calls.append(None)
        if len(calls) > after:
            raise SystemExit
        return epoch(*args)

    monkeypatch.setattr(_train, "_epoch", power_cut)
    with pytest.raises(SystemExit):
        fit(checkpoint=path)
    monkeypatch.setattr(_train, "_epoch", epoch)


@pytest.mark.parametrize("after", [1, 3])
def test_interrupted_and_resumed_equals_uninterrupted_to_the_bit(fit, path, impute, monkeypatch, after):
    whole = fit()
    interrupted(path, fit, monkeypatch, after=after)
    resumed = fit(checkpoint=str(path))
    assert resumed.history_ == whole.history_
    assert resumed.best_epoch_ == whole.best_epoch_
    np.testing.assert_array_equal(resumed.spread_, whole.spread_)
    np.testing.assert_array_equal(resumed.average_, whole.average_)
    np.testing.assert_array_equal(impute(resumed), impute(whole))
    for name, value in whole.network_.state_dict().items():
        assert torch.equal(value, resumed.network_.state_dict()[name]), name


def test_more_epochs_are_welcome(fit, path, impute):
    fit(settings(n_epochs=2, patience=2), checkpoint=path)
    more = fit(checkpoint=path)
    assert more.history_ == fit().history_
    np.testing.assert_array_equal(impute(more), impute(fit()))


def test_a_finished_run_is_not_trained_again(fit, path, monkeypatch):
    done = fit(checkpoint=path)
    monkeypatch.setattr("gnnimpute._train._epoch", lambda *_: pytest.fail("trained again"))
    assert fit(checkpoint=path).history_ == done.history_


def test_only_the_named_file_is_written(fit, path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fit()
    assert not list(tmp_path.iterdir())
    fit(checkpoint=path)
    assert list(tmp_path.iterdir()) == [path]


def other_run(name, counts, graph):
    return {
        "setting": {"config": settings(learning_rate=0.02)},
        "settings": {"config": settings(n_hidden=9, loss="negative_binomial")},
        "seed": {"rng": 1},
        "cells": {"counts": counts[::-1]},
        "genes": {"counts": counts[:, 1:]},
        "graph": {"graph": NeighborGraph(graph.indices[:, :3])},
    }[name]


@pytest.mark.parametrize(
    ("other", "different"),
    [
        ("setting", "learning_rate"),
        ("settings", "n_hidden, loss"),
        ("seed", "counts or seed"),
        ("cells", "counts or seed"),
        ("genes", "number of cells and genes, counts or seed"),
        ("graph", "graph"),
    ],
)
def test_another_run_is_refused_and_told_why(fit, path, request, other, different):
    fit(checkpoint=path)
    before = path.read_bytes()
    options = other_run(other, request.getfixturevalue("counts"), request.getfixturevalue("graph"))
    with pytest.raises(ValueError, match=rf"run.safetensors belongs to another run \(different: {different}\)"):
        fit(checkpoint=path, **options)
    assert path.read_bytes() == before


def test_a_model_is_no_checkpoint(fit, path):
    fit().save(path)
    with pytest.raises(ValueError, match="saved model, not a checkpoint"):
        fit(checkpoint=path)


def test_a_checkpoint_is_no_model(fit, path):
    fit(checkpoint=path)
    with pytest.raises(ValueError, match=r"not a saved model but a checkpoint: .*fit\(checkpoint=\)"):
        GNNImputer.load(path)


class Payload:
    def __reduce__(self):
        return pytest.fail, ("code was run",)


@pytest.mark.parametrize(
    "content",
    [b"", b"\0" * 100, b"epoch,loss\n1,2\n", pickle.dumps(Payload())],
    ids=["empty", "zeros", "text", "pickle"],
)
def test_what_is_no_checkpoint_is_refused_and_kept(fit, path, content):
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"run\.safetensors is not a checkpoint of gnnimpute, or it is damaged"):
        fit(checkpoint=path)
    assert path.read_bytes() == content


@pytest.mark.parametrize("part", [0.01, 0.5, 0.99])
def test_a_file_that_was_cut_short_is_refused(fit, path, part):
    fit(checkpoint=path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(part * len(whole))])
    with pytest.raises(ValueError, match="damaged"):
        fit(checkpoint=path)


def test_a_place_that_cannot_be_written_is_told_before_training(fit, tmp_path, monkeypatch):
    monkeypatch.setattr("gnnimpute._train._epoch", lambda *_: pytest.fail("trained in vain"))
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*missing"):
        fit(checkpoint=tmp_path / "missing" / "run")
    with pytest.raises(IsADirectoryError, match="is a folder: name a file in it"):
        fit(checkpoint=tmp_path)
    assert not list(tmp_path.iterdir())


def test_tensors_and_description_come_back(path):
    shared = torch.arange(6.0).view(2, 3)
    about = {"words": "Größe, μ", "numbers": [1, 2.5, float("inf")], "none": None}
    write_tensors(path, {"a": shared, "view of a": shared.T, "empty": torch.zeros(0)}, about)
    tensors, read = read_tensors(path, what="model")
    assert read == about
    assert torch.equal(tensors["a"], shared)
    assert torch.equal(tensors["view of a"], shared.T)
    assert tensors["empty"].shape == (0,)


def test_reading_a_model_draws_no_random_numbers(fit, path):
    fit().save(path)
    state = torch.get_rng_state()
    GNNImputer.load(path)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_file_that_is_not_there_is_named(path):
    with pytest.raises(FileNotFoundError, match=r"There is no model at .*run.safetensors"):
        read_tensors(path, what="model")


def test_the_state_of_any_generator_is_kept(counts, path):
    graph = NeighborGraph.from_embedding(counts.toarray(), n_neighbors=4)
    made = [
        GNNImputer(settings()).fit(counts, graph, rng=np.random.Generator(np.random.MT19937(0)), checkpoint=at)
        for at in (None, path, path)
    ]
    for other in made[1:]:
        assert other.history_ == made[0].history_
