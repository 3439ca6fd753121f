"""Threads of this process: parts of a computation side by side, each operator in a thread of its own."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

T = TypeVar("T")
R = TypeVar("R")

MOST = 8
"""Most threads: each holds a block of values."""


@dataclass(frozen=True)
class Threads:
    """Threads that compute side by side; by default the calling one alone."""

    n: int = 1
    pool: ThreadPoolExecutor | None = None

    def map(self, function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        """What the function makes of each item, in order, and of a few more items meanwhile."""
        if self.pool is None:
            yield from map(function, items)
            return
        coming: deque[Future[R]] = deque()
        for item in items:
            coming.append(self.pool.submit(function, item))
            if len(coming) > self.n:
                yield coming.popleft().result()
        while coming:
            yield coming.popleft().result()


@contextmanager
def side_by_side(device: torch.device) -> Iterator[Threads]:
    """As many threads as PyTorch has for an operator, each operator in one of them; a GPU needs none.

    PyTorch's own threads meet at the end of every operator. Where they sleep between operators, as they should beside
    other programs, it takes longer to wake them than most operators take.
    """
    n = torch.get_num_threads()
    if n == 1 or device.type != "cpu":
        yield Threads()
        return
    torch.set_num_threads(1)  # before the threads are there: each takes it over when it starts
    try:
        with ThreadPoolExecutor(min(n, MOST)) as pool:
            yield Threads(min(n, MOST), pool)
    finally:
        torch.set_num_threads(n)


def side_by_side_map(function: Callable[[T], R], items: Iterable[T], device: torch.device) -> Generator[R]:
    """What the function makes of each item, in order, :func:`side_by_side`."""
    with side_by_side(device) as threads:
        yield from threads.map(function, items)
