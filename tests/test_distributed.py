"""Two processes train the network that one would."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import anndata
import numpy as np
import pytest
import scipy.sparse as sp
import torch
from click.testing import CliRunner
from torch import nn

import gnnimpute as gi
from gnnimpute import _checkpoint
from gnnimpute._distributed import SharedNorm, Team
from gnnimpute.cli import main

SETTINGS = {"n_hidden": 16, "n_latent": 8, "n_epochs": 5, "batch_size": 40, "learning_rate": 5e-3}
TRAIN = f"""
import sys, numpy as np, gnnimpute as gi
from gnnimpute._distributed import join
rng = np.random.default_rng(0)
kind = rng.integers(3, size=160)
counts = rng.poisson(rng.gamma(1, 2, (3, 50))[kind]).astype("float32")
alone, near = gi.NeighborGraph(np.arange(160)[:, None]), gi.NeighborGraph.from_embedding(counts, n_neighbors=4)
def fit(graph, seed, checkpoint=None, **settings):
    imputer = gi.GNNImputer(gi.Config(**({SETTINGS!r} | settings)), device="cpu")
    imputer.fit(counts, graph, rng=seed, checkpoint=checkpoint)
    weights = np.concatenate([v.double().numpy().ravel() for v in imputer.network_.state_dict().values()])
    history = {{"loss": imputer.history_["validation"], "trained": imputer.history_["training"]}}
    return {{"weights": weights, "values": imputer.transform(counts, graph), **history}}
def main(out):
    arrays = {{}}
    for name, options in {{
        "same": dict(graph=alone, seed=0, dropout_rate=0.0),
        "squared": dict(graph=alone, seed=0, dropout_rate=0.0, loss="squared_error", hide="nonzeros"),
        "usual": dict(graph=near, seed=0),
        "other": dict(graph=near, seed=None),
    }}.items():
        arrays |= {{f"{{name}}_{{key}}": value for key, value in fit(**options).items()}}
    np.savez(out, **arrays)
    return arrays
"""

RESUME = f"""{TRAIN}
import os, shutil, signal, torch
from gnnimpute import _train
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in the background of a shell
rank, epoch, drawn = join().rank, _train._epoch, []
def counted(*args):
    drawn.append(torch.get_rng_state().numpy())
    if rank == 0 and len(drawn) == 3:
        os.kill(os.getpid(), signal.SIGINT)
    return epoch(*args)
same = dict(graph=alone, seed=0, dropout_rate=0.0)
of_one = fit(**same, checkpoint="one" if rank == 0 else "not here")
_train._epoch = counted
fit(**same, checkpoint="two")
if rank == 0:
    shutil.copyfile("two", "half")
of_two = fit(**same, checkpoint="two")
arrays = {{f"{{name}}_{{key}}": made[key] for name, made in (("one", of_one), ("two", of_two)) for key in made}}
np.savez(f"{{rank}}.npz", **arrays, drawn=np.stack(drawn))
"""


def together(tmp_path, *command):
    """Run a command as two processes, with what `torchrun` gives them; how each ended and what it said."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = os.environ | {
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "OMP_NUM_THREADS": "1",
    }
    started = [
        subprocess.Popen(
            [sys.executable, *command],
            env=common | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        said = [process.communicate(timeout=120) for process in started]
    finally:
        for process in started:
            process.kill()
    return [(process.returncode, *texts) for process, texts in zip(started, said, strict=True)]


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    for code, _, error in together(folder, "-c", f"{TRAIN}\nmain(f'{{join().rank}}.npz')"):
        assert not code, error
    return [dict(np.load(folder / f"{rank}.npz")) for rank in range(2)]


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    names: dict[str, Any] = {}
    exec(TRAIN, names)
    return names["main"](tmp_path_factory.mktemp("one") / "alone.npz")


@pytest.mark.parametrize("name", ["same", "squared", "usual", "other"])
def test_all_processes_end_with_the_same_weights(two, name):
    for key in ("weights", "loss", "trained"):
        np.testing.assert_array_equal(two[0][f"{name}_{key}"], two[1][f"{name}_{key}"])


@pytest.mark.parametrize("name", ["same", "squared"])
def test_two_processes_take_the_steps_of_one(one, two, name):
    """Where nothing is drawn for single cells and no neighbour is read twice: but for rounding, the same."""
    # Adam divides by the size of the gradient, also where that is rounding error alone.
    np.testing.assert_allclose(two[0][f"{name}_loss"], one[f"{name}_loss"], rtol=1e-3)
    np.testing.assert_allclose(two[0][f"{name}_trained"], one[f"{name}_trained"], rtol=1e-3)


def test_two_processes_impute_the_values_of_one(one, two):
    # A bias before batch normalisation has no gradient but rounding error, so values are compared, not weights.
    np.testing.assert_allclose(two[0]["same_values"], one["same_values"], rtol=1e-2)


def test_with_dropout_and_neighbours_two_processes_learn_as_much(one, two):
    np.testing.assert_allclose(two[0]["usual_loss"], one["usual_loss"], rtol=0.01)
    assert two[0]["usual_loss"][-1] < two[0]["usual_loss"][0]
    assert (two[0]["usual_weights"] != one["usual_weights"]).any()


@pytest.mark.slow
def test_any_number_of_processes_goes_on_from_a_checkpoint(one, tmp_path):
    """From one process to two, from two (the first was told to stop) to two, and from two to one."""
    names: dict[str, Any] = {}
    exec(TRAIN, names)
    same = {"graph": names["alone"], "seed": 0, "dropout_rate": 0.0}
    names["fit"](**same, checkpoint=tmp_path / "one", n_epochs=3)
    for code, _, error in together(tmp_path, "-c", RESUME):
        assert not code, error
    first, second = (dict(np.load(tmp_path / f"{rank}.npz")) for rank in range(2))
    ended = names["fit"](**same, checkpoint=tmp_path / "half")
    for name in ("loss", "trained"):
        for made in (first[f"one_{name}"], first[f"two_{name}"], ended[name]):
            np.testing.assert_allclose(made, one[f"same_{name}"], rtol=1e-3)
    drawn = first.pop("drawn"), second.pop("drawn")
    for name, values in first.items():
        np.testing.assert_array_equal(second[name], values)
    assert len(drawn[0]) == len(drawn[1]) == SETTINGS["n_epochs"]  # 3, and 2 after the interruption
    assert all((mine != theirs).any() for mine, theirs in zip(*drawn, strict=True))


def test_a_checkpoint_that_the_first_process_does_not_see_is_told(tmp_path):
    path = tmp_path / "run"
    state: Any = SimpleNamespace(team=SimpleNamespace(rank=1, is_first=False, told=lambda _: None))
    _checkpoint.resume(path, state, {})
    path.touch()
    with pytest.raises(FileNotFoundError, match=r"Process 1 sees the checkpoint .*run, but process 0 does not"):
        _checkpoint.resume(path, state, {})


def test_each_process_draws_its_own_and_the_same_again():
    def drawn(rank):
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(5)
            Team(rank, 3).own_dropout()
            return torch.rand(4)

    numbers = [drawn(rank) for rank in range(3)]
    assert torch.equal(numbers[0], torch.rand(4, generator=torch.Generator().manual_seed(5)))
    assert torch.equal(numbers[1], drawn(1))
    assert len({tuple(four.tolist()) for four in numbers}) == 3


@pytest.mark.slow
def test_torchrun_imputes_as_one_process_and_the_first_alone_writes_and_talks(tmp_path):
    adata = gi.datasets.splatter(n_genes=60, batch_cells=160, group_prob=[0.5, 0.5], lib_loc=6)
    adata.obsp["none"] = sp.csr_matrix((160, 160))
    adata.uns["none"] = {"connectivities_key": "none", "distances_key": "none"}
    gi.io.write(adata, tmp_path / "in.h5ad")
    tiny = ["--min-genes", "0", "--n-epochs", "3", "--n-hidden", "8", "--n-latent", "4"]
    # The linear part is the same for any number of processes; dropout and shared neighbours are not.
    tiny += ["--n-components", "0", "--reads", "genes", "--dropout-rate", "0", "--neighbors-key", "none"]
    # Large steps make of rounding up to 2 % of a value: Adam takes as much of a gradient that is next to 0.
    tiny += ["--learning-rate", "0.002"]
    torchrun = ["torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--redirects", "1:3"]
    torchrun += ["--log-dir", "said"]
    impute = ["-m", "gnnimpute", "impute", "in.h5ad", "out.h5ad", "--save-model", "m.safetensors", *tiny]
    done = subprocess.run(
        [sys.executable, "-m", *torchrun, *impute],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert not done.returncode, done.stderr
    assert done.stdout.count("Imputed 160 cells") == 1
    silence = {path.name: path.read_text() for path in tmp_path.glob("said/*/*/1/std*.log")}
    assert silence == {"stdout.log": "", "stderr.log": ""}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.h5ad", "m.safetensors", "out.h5ad", "said"]
    alone = CliRunner().invoke(main, ["impute", str(tmp_path / "in.h5ad"), str(tmp_path / "one.h5ad"), *tiny])
    assert alone.exit_code == 0, alone.output
    made, expected = (anndata.read_h5ad(tmp_path / name) for name in ("out.h5ad", "one.h5ad"))
    losses = (adata.uns["gnnimpute"]["loss"]["validation"] for adata in (made, expected))
    np.testing.assert_allclose(*losses, rtol=1e-3)
    np.testing.assert_allclose(made.layers["gnnimpute"], expected.layers["gnnimpute"], rtol=1e-2)


def test_alone_nothing_changes():
    team = Team()
    network = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    norm = network[1]
    team.shared(network)
    assert network[1] is norm
    assert list(team.share(np.arange(5))) == list(range(5))
    assert team.told("this") == "this"
    team.check(sp.csr_matrix((0, 0)), smallest_batch=0)
    loss = network(torch.ones(4, 3)).sum()
    assert team.backward(network.parameters(), loss, lambda: pytest.fail("not needed")) == loss


def test_parts_of_a_batch_cover_it_and_differ_by_one():
    parts = [Team(rank, 3).share(np.arange(8)) for rank in range(3)]
    assert np.array_equal(np.concatenate(parts), np.arange(8))
    assert sorted(map(len, parts)) == [2, 3, 3]


def test_batches_must_be_large_enough_for_all():
    with pytest.raises(ValueError, match="3 processes share batches of 5 cells: start fewer"):
        Team(0, 3).check(sp.csr_matrix((5, 2)), smallest_batch=5)


def test_the_shared_norm_is_pytorchs_when_it_does_not_train():
    ours, theirs = SharedNorm(3).eval(), nn.BatchNorm1d(3).eval()
    ours.running_mean.fill_(2)
    theirs.load_state_dict(ours.state_dict())
    x = torch.arange(12.0).view(4, 3)
    assert torch.equal(ours(x), theirs(x))
