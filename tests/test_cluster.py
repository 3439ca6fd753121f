"""On a cluster of two workers: the numbers of one process, and nothing lost with a worker."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

import anndata
import numpy as np
import pytest
from click.testing import CliRunner

import gnnimpute as gi
from gnnimpute import _blocks, _lazy, _stored_layer
from gnnimpute._blocks import by_cells, each
from gnnimpute._cli_store import _client
from gnnimpute._out_of_core import impute_store
from gnnimpute._stored_layer import Stored
from gnnimpute.cli import main

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from distributed import Client, LocalCluster


pytestmark = [
    pytest.mark.slow,
    # Of Dask and of sockets that it leaves to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
CONFIG = gi.Config(n_hidden=8, n_latent=4, n_epochs=1)


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    from distributed import LocalCluster

    with LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0") as cluster:
        yield cluster


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for module in (_blocks, _lazy, _stored_layer):
        monkeypatch.setattr(module, "BLOCK", 40)
    adata = gi.datasets.splatter(n_genes=60, batch_cells=200, group_prob=[0.5, 0.5], lib_loc=6)
    gi.io.write(adata, tmp_path / "counts.zarr")
    return tmp_path / "counts.zarr"


def run(source: Path, out: Path) -> anndata.AnnData:
    given: dict[str, Any] = {"config": CONFIG, "estimate": "mean", "output": "normalized", "key": "gnnimpute"}
    impute_store(source, out, **given, stored=Stored(), prepare={"min_genes": 5}, fit={"progress": False})
    return anndata.read_zarr(out)


def dying_once(function: Any, mark: Path) -> Any:
    """The function; but the first process that calls it is killed."""

    def once(*args: Any) -> Any:
        try:
            mark.touch(exist_ok=False)
            os.kill(os.getpid(), signal.SIGKILL)
        except FileExistsError:
            return function(*args)

    return once


def test_same_numbers_with_a_worker_killed_in_a_block(
    cluster: LocalCluster, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, before = run(source, tmp_path / "one.zarr"), {worker.pid for worker in cluster.workers.values()}
    monkeypatch.setattr(_stored_layer, "_block", dying_once(_stored_layer._block, tmp_path / "killed"))
    monkeypatch.setattr(_stored_layer, "AT_ONCE", 1)
    with _client(cluster.scheduler_address):
        made = run(source, tmp_path / "two.zarr")
    assert (tmp_path / "killed").exists()
    assert len(before - {worker.pid for worker in cluster.workers.values()}) == 1
    is_equal(made, expected)


def test_the_command_takes_a_scheduler(cluster: LocalCluster, source: Path, tmp_path: Path) -> None:
    from distributed import Client

    gi.io.write(anndata.read_zarr(source), tmp_path / "counts.h5ad")
    tiny = ["--min-genes", "5", "--n-epochs", "1", "--n-hidden", "8", "--n-latent", "4"]

    def impute(out: str, *options: str) -> anndata.AnnData:
        paths = [str(tmp_path / name) for name in ("counts.h5ad", out)]
        done = CliRunner().invoke(main, ["impute", *paths, *tiny, *options])
        assert done.exit_code == 0, done.output
        assert "Sending large graph" not in done.output
        return anndata.read_zarr(paths[1])

    expected = impute("one.zarr", "--out-of-core")
    with Client(cluster.scheduler_address) as watching:
        before = tasks_of(watching)
        made = impute("two.zarr", "--scheduler", cluster.scheduler_address)
        assert all(now > then for now, then in zip(tasks_of(watching), before, strict=True))
    is_equal(made, expected)


def tasks_of(client: Client) -> list[int]:
    """How many tasks each worker has worked on."""
    return [*client.run(lambda dask_worker: dask_worker.state.executed_count).values()]


class Model:
    """Larger than what Dask likes to send, it counts how often that is done."""

    sent = 0

    def __init__(self) -> None:
        self.weights = np.ones(2_000_000)

    def __getstate__(self) -> dict[str, Any]:
        Model.sent += 1
        return self.__dict__


def test_a_model_goes_to_the_workers_once(cluster: LocalCluster, source: Path) -> None:
    def weighed(counts: Any, model: Any) -> float:
        return float(counts.sum() * model.weights[0])

    counts = gi.io.read(source, lazy=True).X
    Model.sent = 0
    with _client(cluster.scheduler_address):
        sums = [*each(by_cells(counts, where="X"), weighed, Model(), window=1)]
    assert len(sums) == 5
    assert sum(sums) == anndata.read_zarr(source).X.sum()
    assert Model.sent <= 2  # of 5 batches: by the client, and by the scheduler, which is in this process too


def is_equal(made: anndata.AnnData, expected: anndata.AnnData) -> None:
    for name in ("gnnimpute_total_counts", "gnnimpute_pass", "gnnimpute_size_factor"):
        np.testing.assert_array_equal(made.obs[name], expected.obs[name])
    np.testing.assert_allclose(np.abs(made.obsm["gnnimpute_pca"]), np.abs(expected.obsm["gnnimpute_pca"]), atol=1e-4)
    np.testing.assert_allclose(made.layers["gnnimpute"], expected.layers["gnnimpute"], rtol=1e-4, atol=1e-5)
