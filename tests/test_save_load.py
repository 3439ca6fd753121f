from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch

from gnnimpute import _checkpoint, _describe
from gnnimpute._checkpoint import part, read_tensors, write_tensors
from gnnimpute._config import Config
from gnnimpute._graph import NeighborGraph
from gnnimpute._imputer import GNNImputer

SMALL = Config(n_hidden=8, n_latent=4, n_epochs=2, patience=2)
NAMES = [f"gene{i}" for i in range(60)]


def settings(**changes):
    return Config(**(SMALL.to_dict() | changes))


@pytest.fixture
def graph(counts):
    return NeighborGraph.from_embedding(np.log1p(counts.toarray()), n_neighbors=4)


@pytest.fixture
def fitted(counts, graph):
    return GNNImputer(SMALL).fit(counts, graph, genes=NAMES)


@pytest.mark.parametrize("config", [SMALL, settings(hide="nonzeros", loss="negative_binomial")], ids=["default", "nb"])
def test_save_and_load_give_the_same(counts, graph, tmp_path, config):
    imputer = GNNImputer(config).fit(counts, graph, genes=NAMES)
    imputer.save(tmp_path / "model.safetensors")
    assert list(tmp_path.iterdir()) == [tmp_path / "model.safetensors"]
    loaded = GNNImputer.load(str(tmp_path / "model.safetensors"), device="cpu")
    np.testing.assert_array_equal(loaded.transform(counts, graph), imputer.transform(counts, graph))
    assert (loaded.spread_ is None) == (imputer.spread_ is None)
    if imputer.spread_ is not None:
        np.testing.assert_array_equal(loaded.spread_, imputer.spread_)
        np.testing.assert_array_equal(loaded.average_, imputer.average_)
    assert loaded.config == imputer.config
    assert loaded.genes_.tolist() == NAMES
    assert loaded.history_ == imputer.history_
    assert loaded.best_epoch_ == imputer.best_epoch_
    assert loaded.target_total_ == imputer.target_total_


def test_a_model_knows_the_version_that_fitted_it(fitted, tmp_path, monkeypatch):
    running = fitted.summary()["version"]
    with monkeypatch.context() as patch:
        patch.setattr(_checkpoint, "version", lambda _: "0.0.1")
        fitted.save(tmp_path / "old.safetensors")
    old = GNNImputer.load(tmp_path / "old.safetensors")
    assert old.summary()["version"] == "0.0.1"
    assert _describe.model(tmp_path / "old.safetensors").startswith(
        f"{tmp_path / 'old.safetensors'}: model of gnnimpute 0.0.1\n"
    )
    old.save(tmp_path / "again.safetensors")
    assert GNNImputer.load(tmp_path / "again.safetensors").summary()["version"] == "0.0.1"
    assert fitted.summary()["version"] == running


class Payload:
    def __reduce__(self):
        return pytest.fail, ("code was run",)


def test_loading_never_unpickles(tmp_path):
    (tmp_path / "pickle").write_bytes(pickle.dumps(Payload()))
    torch.save({"network": Payload()}, tmp_path / "torch")
    for name in ("pickle", "torch"):
        with pytest.raises(ValueError, match=f"{name} is not a model of gnnimpute, or it is damaged"):
            GNNImputer.load(tmp_path / name)


def test_another_or_damaged_model_is_refused(fitted, tmp_path):
    path = tmp_path / "model.safetensors"
    fitted.save(path)
    tensors, about = read_tensors(path, what="model")
    network = part(tensors, "network.")
    for wrong_tensors, wrong_about in (
        (tensors, about | {"genes": about["genes"][1:]}),
        (tensors, about | {"config": about["config"] | {"n_hidden": "8"}}),
        (tensors, about | {"config": about["config"] | {"warp": 9}}),
        (tensors, {"words": "of another kind"}),
        (network, about),
        ({name: value for name, value in tensors.items() if not name.startswith("spread.")}, about),
        ({name: value for name, value in tensors.items() if not name.startswith("average.")}, about),
    ):
        write_tensors(path, wrong_tensors, wrong_about)
        with pytest.raises(ValueError, match="safetensors is not a model that this version of gnnimpute can read"):
            GNNImputer.load(path)
    with pytest.raises(FileNotFoundError, match=r"There is no model at .*nothing"):
        GNNImputer.load(tmp_path / "nothing")


def test_a_folder_is_never_overwritten(fitted, tmp_path):
    (tmp_path / "models").mkdir()
    with pytest.raises(IsADirectoryError, match="name a file in it"):
        fitted.save(tmp_path / "models")


@pytest.mark.parametrize("name", ["counts.h5ad", "model", "safetensors"])
def test_files_of_another_kind_are_never_overwritten(fitted, tmp_path, name):
    (tmp_path / name).write_text("counts")
    with pytest.raises(ValueError, match=rf"{name}: the name of a model ends in \.safetensors\."):
        fitted.save(tmp_path / name)
    assert (tmp_path / name).read_text() == "counts"
    fitted.save(tmp_path / "Model.SafeTensors")


def test_others_may_read_a_saved_model_where_the_umask_lets_them(fitted, tmp_path):
    plain = tmp_path / "plain"
    plain.touch()
    fitted.save(tmp_path / "model.safetensors")
    assert (tmp_path / "model.safetensors").stat().st_mode == plain.stat().st_mode
