"""One run of `gnnimpute impute`, as a user starts it: the whole process, from reading to the written file."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import numpy as np

from gnnimpute import _child
from gnnimpute._peers import Method, Outcome, last_lines

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

OURS = "gnnimpute impute"
COSTS = ("seconds", "cpu_seconds", "peak_gb")


def impute(source: Path, out: Path, options: Sequence[str] = (), *, threads: int, time_limit: float = 1e9) -> Outcome:
    """Run the command and say what it cost: wall and processor seconds, and peak memory in GB."""
    command = [sys.executable, "-P", "-m", "gnnimpute", "impute", str(source), str(out), "--quiet", "--overwrite"]
    environment = Method(OURS).variables(threads=threads)
    ended = _child.run([*command, *options], time_limit=time_limit, environment=environment)
    if ended.code is None:
        return Outcome("timed out", f"not done after {time_limit:g} s", ended.seconds)
    if ended.code:
        return Outcome("failed", last_lines(ended.stderr))
    return Outcome("ok", "", ended.seconds, ended.peak_gb, ended.cpu_seconds)


def exponent(x: Sequence[float], y: Sequence[float]) -> float:
    """Slope of log y over log x by least squares; nan for a single point."""
    if len(set(x)) < 2:
        return float("nan")
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])
