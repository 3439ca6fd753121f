"""What training borrows from the process comes back as it was."""

from __future__ import annotations

import signal
import threading

import numpy as np
import pytest
import torch

from gnnimpute._borrowed import interruptible, torch_randomness


@pytest.fixture(autouse=True)
def _ctrl_c():
    # A shell starts what runs in the background with Ctrl-C ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def drawn(seed: int) -> torch.Tensor:
    with torch_randomness(np.random.default_rng(seed), "cpu"):
        return torch.rand(3)


def test_numbers_come_from_the_generator_and_not_from_pytorch():
    first = drawn(0)
    torch.rand(1)
    assert torch.equal(drawn(0), first)
    assert not torch.equal(drawn(1), first)


def test_threads_draw_one_after_the_other():
    expected, found, inside = drawn(0), [], threading.Event()

    def other():
        inside.wait()
        found.append(drawn(0))

    thread = threading.Thread(target=other)
    thread.start()
    with torch_randomness(np.random.default_rng(1), "cpu"):
        first = torch.rand(3)
        inside.set()
        thread.join(0.3)  # it has begun by now, and waits
        second = torch.rand(3)
    thread.join()
    with torch_randomness(np.random.default_rng(1), "cpu"):
        assert torch.equal(torch.rand(6), torch.cat([first, second]))
    assert torch.equal(found[0], expected)


def test_pytorchs_own_state_comes_back_also_after_an_error():
    state = torch.get_rng_state()
    with pytest.raises(RuntimeError, match="must match"), torch_randomness(np.random.default_rng(0), "cpu"):
        _ = torch.rand(2) + torch.rand(3)
    assert torch.equal(torch.get_rng_state(), state)


def test_the_first_ctrl_c_is_a_flag_and_the_second_interrupts():
    with interruptible() as interrupted:
        assert not interrupted.is_set()
        signal.raise_signal(signal.SIGINT)
        assert interrupted.is_set()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_the_handler_comes_back():
    with interruptible():
        assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_where_ctrl_c_is_ignored_it_stays_so():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with interruptible() as interrupted:
        signal.raise_signal(signal.SIGINT)
        assert not interrupted.is_set()
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_threads_cannot_handle_signals_and_do_not_try():
    flags = []

    def work() -> None:
        with interruptible() as interrupted:
            flags.append(interrupted.is_set())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert flags == [False]
