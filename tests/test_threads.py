from __future__ import annotations

import threading

import pytest
import torch

from gnnimpute._threads import MOST, side_by_side, side_by_side_map

CPU = torch.device("cpu")


@pytest.fixture(params=[1, 2, 3, MOST + 1])
def n_threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def test_each_thread_gives_operators_one_thread_and_all_are_given_back(n_threads):
    with side_by_side(CPU) as threads:
        assert threads.n == min(n_threads, MOST)
        assert torch.get_num_threads() == 1
        assert set(threads.map(lambda _: torch.get_num_threads(), range(20))) == {1}
    assert torch.get_num_threads() == n_threads


def test_they_are_given_back_after_an_error(n_threads):
    with pytest.raises(ZeroDivisionError), side_by_side(CPU) as threads:
        list(threads.map(lambda n: 1 // n, [1, 0]))
    assert torch.get_num_threads() == n_threads


def test_they_are_given_back_when_nobody_wants_the_rest(n_threads):
    parts = side_by_side_map(lambda n: n, range(100), CPU)
    assert next(parts) == 0
    parts.close()
    assert torch.get_num_threads() == n_threads


def test_a_gpu_keeps_the_calling_thread(n_threads):
    here = threading.get_ident()
    with side_by_side(torch.device("meta")) as threads:
        assert set(threads.map(lambda _: threading.get_ident(), range(9))) == {here}
        assert torch.get_num_threads() == n_threads


def test_results_come_in_order_and_few_are_made_ahead(n_threads):
    made = []
    parts = side_by_side_map(lambda n: made.append(n) or n * n, range(200), CPU)
    assert [next(parts) for _ in range(5)] == [0, 1, 4, 9, 16]
    assert len(made) <= 5 + min(n_threads, MOST) + 1
    assert list(parts) == [n * n for n in range(5, 200)]


@pytest.mark.parametrize("n", [2, 4])
def test_they_do_run_side_by_side(n):
    before, meeting = torch.get_num_threads(), threading.Barrier(n)
    torch.set_num_threads(n)
    try:
        assert sorted(side_by_side_map(lambda _: meeting.wait(timeout=20), range(n), CPU)) == list(range(n))
    finally:
        torch.set_num_threads(before)
