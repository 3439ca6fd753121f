"""Threads of the linear algebra of NumPy and SciPy."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from threadpoolctl import ThreadpoolController

if TYPE_CHECKING:
    from collections.abc import Iterator


class _OneThread:
    """One thread for all that are inside; whoever leaves last puts back what the first one found."""

    def __init__(self) -> None:
        self._lock, self._inside = threading.Lock(), 0

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """One thread for the linear algebra of NumPy and SciPy, where it is OpenBLAS that does it; put back at the end.

        Its threads and PyTorch's are two sets, each as many as there are cores. Both wait for work on the core that the
        other set needs, and our matrices are too narrow for several threads to pay.
        """
        with self._lock:
            if not self._inside:
                self._limit = ThreadpoolController().select(internal_api="openblas").limit(limits=1)
            self._inside += 1
        try:
            yield
        finally:
            with self._lock:
                self._inside -= 1
                if not self._inside:
                    self._limit.restore_original_limits()


one_thread_of_openblas = _OneThread()
