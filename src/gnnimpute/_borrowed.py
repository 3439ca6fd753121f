"""What training borrows from the process, random state and Ctrl-C, and gives back as it was."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np


_GENERATORS = threading.RLock()
"""Who has PyTorch's global generators: they are one set for all threads."""


@contextmanager
def torch_randomness(rng: np.random.Generator, device: torch.device | str) -> Iterator[None]:
    """Let PyTorch draw from `rng` inside, and leave its global generators as they were; one thread after the other."""
    cuda = [torch.device(device)] if torch.device(device).type == "cuda" else []
    seed = int(rng.integers(2**31))
    with _GENERATORS, torch.random.fork_rng(devices=cuda):
        torch.default_generator.manual_seed(seed)  # `torch.manual_seed` would reach GPUs that are not put back
        for gpu in cuda:
            with torch.cuda.device(gpu):
                torch.cuda.manual_seed(seed)
        yield


@contextmanager
def interruptible() -> Iterator[threading.Event]:
    """Turn the first Ctrl-C into a flag, the second into what it always was; handlers are put back at the end.

    Where Ctrl-C is ignored, as in what a shell runs in the background, it stays so.
    """
    event = threading.Event()
    ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    if ignored or threading.current_thread() is not threading.main_thread():
        yield event
        return
    before = signal.getsignal(signal.SIGINT) or signal.default_int_handler

    def stop(*_: object) -> None:
        event.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, stop)
    try:
        yield event
    finally:
        signal.signal(signal.SIGINT, before)
