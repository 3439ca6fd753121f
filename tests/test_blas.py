"""Linear algebra of NumPy has one thread during a fit, and what it had before afterwards."""

from __future__ import annotations

from contextlib import ExitStack

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from threadpoolctl import ThreadpoolController, threadpool_info

from gnnimpute import Config, GNNImputer, NeighborGraph, _imputer
from gnnimpute._blas import one_thread_of_openblas
from gnnimpute._directions import directions


def threads_of_openblas():
    return [library["num_threads"] for library in threadpool_info() if library["internal_api"] == "openblas"]


def test_openblas_has_one_thread_for_a_while():
    with ThreadpoolController().select(internal_api="openblas").limit(limits=2):
        before, elsewhere = threads_of_openblas(), torch.get_num_threads()
        with one_thread_of_openblas():
            assert set(threads_of_openblas()) <= {1}  # elsewhere than on Linux it may be another library
            assert torch.get_num_threads() == elsewhere
        assert threads_of_openblas() == before
        with pytest.raises(ZeroDivisionError), one_thread_of_openblas():
            _ = 1 // 0
        assert threads_of_openblas() == before


def test_the_last_one_out_puts_back_what_the_first_one_found():
    with ThreadpoolController().select(internal_api="openblas").limit(limits=2):
        before = threads_of_openblas()
        first, second = one_thread_of_openblas(), one_thread_of_openblas()
        with ExitStack() as of_first, ExitStack() as of_second:
            of_first.enter_context(first)
            of_second.enter_context(second)
            of_first.close()
            assert set(threads_of_openblas()) <= {1}
        assert threads_of_openblas() == before


def test_a_fit_and_its_components_have_one_thread_of_openblas(monkeypatch):
    seen = []
    qr, train = np.linalg.qr, _imputer.train
    monkeypatch.setattr(np.linalg, "qr", lambda *a, **k: seen.append(threads_of_openblas()) or qr(*a, **k))
    monkeypatch.setattr(_imputer, "train", lambda *a, **k: seen.append(threads_of_openblas()) or train(*a, **k))
    counts = np.random.default_rng(0).poisson(1.0, (40, 30)).astype(np.float32)
    with ThreadpoolController().select(internal_api="openblas").limit(limits=2):
        directions(sp.csr_matrix(counts), 3, rng=np.random.default_rng(0))
        graph = NeighborGraph.from_embedding(counts, n_neighbors=3)
        GNNImputer(Config(n_hidden=4, n_latent=2, n_epochs=1), device="cpu").fit(counts, graph, progress=False)
        before = threads_of_openblas()
    assert len(seen) > 2
    assert {n for threads in seen for n in threads} <= {1}
    assert set(before) <= {2}
