"""Fixtures shared by all tests."""

from __future__ import annotations

import os

# Files of tests run side by side, a process each: before a numerical library is loaded.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import signal
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from gnnimpute import NeighborGraph

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder of the real data sets; a test that needs it is skipped where it is absent."""
    folder = Path(os.environ.get("GNNIMPUTE_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"the real data sets are not at {folder}; set GNNIMPUTE_DATA to their folder")
    return folder


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def counts(rng: np.random.Generator) -> sp.csr_matrix:
    """Counts of 90 cells in three types and 60 genes, sparse, no empty cell."""
    types = rng.gamma(0.5, 2.0, size=(3, 60))
    rate = types[np.repeat([0, 1, 2], 30)] * rng.lognormal(0, 0.3, size=(90, 1))
    counts = rng.poisson(rate).astype(np.float32)
    counts[:, 0] += 1
    return sp.csr_matrix(counts)


@pytest.fixture
def graph(rng: np.random.Generator) -> NeighborGraph:
    """Cells with up to five neighbours: those with fewer repeat themselves."""
    graph = NeighborGraph.from_embedding(rng.normal(size=(90, 4)), n_neighbors=5)
    fewer = np.arange(6)[None] > rng.integers(2, 6, size=(90, 1))
    return NeighborGraph(np.where(fewer, graph.indices[:, :1], graph.indices))


@pytest.fixture
def no_signal_ignored() -> Iterator[None]:
    """Signals do what they do in a terminal, also where tests run in the background of a shell, or under `nohup`."""
    defaults = {"SIGINT": signal.default_int_handler, "SIGTERM": signal.SIG_DFL, "SIGHUP": signal.SIG_DFL}
    numbers = {getattr(signal, name): handler for name, handler in defaults.items() if hasattr(signal, name)}
    before = {number: signal.signal(number, handler) for number, handler in numbers.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)
