"""Which of several processes this one is, as `torchrun` says it in the environment."""

from __future__ import annotations

import os
from typing import NamedTuple


class Place(NamedTuple):
    """Where this process stands among those that were started together."""

    rank: int = 0
    """Its number; 0 writes and talks."""
    n_processes: int = 1
    local_rank: int = 0
    """Its number among those of this machine: which GPU is its own."""

    @property
    def is_first(self) -> bool:
        """Whether this process writes and talks; the others only help."""
        return self.rank == 0


def place() -> Place:
    """Place of this process; without all that `torchrun` sets, it is alone."""
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
    given = [os.environ.get(name, "") for name in names]
    if not all(value.isdigit() for value in given) or not {"MASTER_ADDR", "MASTER_PORT"} <= os.environ.keys():
        return Place()
    rank, n_processes, local_rank = map(int, given)
    return Place(rank, n_processes, local_rank) if n_processes > 1 else Place()
