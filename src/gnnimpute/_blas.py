"""Threads of the linear algebra of NumPy and SciPy."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from threadpoolctl import ThreadpoolController

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def one_thread_of_openblas() -> Iterator[None]:
    """One thread for the linear algebra of NumPy and SciPy, where it is OpenBLAS that does it; put back at the end.

    Its threads and PyTorch's are two sets, each as many as there are cores. Both wait for work on the core that the
    other set needs, and our matrices are too narrow for several threads to pay.
    """
    with ThreadpoolController().select(internal_api="openblas").limit(limits=1):
        yield
