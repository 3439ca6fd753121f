"""On a cluster of two workers: the numbers of one process, and nothing lost with a worker."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

import anndata
import numpy as np
import pytest

import gnnimpute as gi
from gnnimpute import _blocks, _lazy, _stored_layer
from gnnimpute._cli_store import _client
from gnnimpute._out_of_core import impute_store
from gnnimpute._stored_layer import Stored

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from distributed import LocalCluster

pytestmark = [
    pytest.mark.slow,
    # Of Dask and of sockets that it leaves to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore:Sending large graph"),
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


def test_same_numbers_with_a_worker_killed(
    cluster: LocalCluster, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = run(source, tmp_path / "one.zarr")
    append, killed = _stored_layer.DenseWriter.append, []

    def and_kill(self: Any, rows: Any) -> None:
        append(self, rows)
        if not killed:
            worker = next(iter(cluster.workers.values()))
            killed.append(worker.pid)
            os.kill(worker.pid, signal.SIGKILL)

    monkeypatch.setattr(_stored_layer.DenseWriter, "append", and_kill)
    monkeypatch.setattr(_stored_layer, "AT_ONCE", 1)
    with _client(cluster.scheduler_address):
        made = run(source, tmp_path / "two.zarr")
    assert killed
    for name in ("gnnimpute_total_counts", "gnnimpute_pass", "gnnimpute_size_factor"):
        np.testing.assert_array_equal(made.obs[name], expected.obs[name])
    np.testing.assert_allclose(np.abs(made.obsm["gnnimpute_pca"]), np.abs(expected.obsm["gnnimpute_pca"]), atol=1e-4)
    np.testing.assert_allclose(made.layers["gnnimpute"], expected.layers["gnnimpute"], rtol=1e-4, atol=1e-5)
