"""One run of `gnnimpute impute`, as a user starts it: the whole process, from reading to the written file.

And the rows that runs are kept in: each with its settings, so that a file of other settings is not gone on with.
"""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

import gnnimpute
from gnnimpute import _child
from gnnimpute._peers import Method, Outcome, last_lines

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

OURS = "gnnimpute impute"
COSTS = ("seconds", "cpu_seconds", "peak_gb")
SETTINGS = "settings"
"""Column of what a row was run with, as JSON, beside what names it."""
VERSION = "version"
"""Column of the code that a row was run with; rows of two versions may stand in one file."""


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


@cache
def version() -> str:
    """Commit of this checkout; without git, the version of the package."""
    ask = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=9"]
    try:
        return subprocess.run(ask, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return gnnimpute.__version__


def stamp(settings: Mapping[str, Any]) -> dict[str, str]:
    """The columns of a row that say how it was made."""
    return {SETTINGS: json.dumps(settings, sort_keys=True), VERSION: version()}


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Rows of a file to go on with; none, if there is no file."""
    return pd.read_csv(path, dtype={VERSION: str, "data": str}).to_dict("records") if path.exists() else []


def check_same_settings(row: Mapping[str, Any], settings: Mapping[str, Any], path: Path) -> None:
    """Refuse to go on with a file of rows that were run with other settings.

    Parameters
    ----------
    row
        A row of the file.
    settings
        What a run is given now.
    path
        The file.

    Raises
    ------
    ValueError
        If a setting differs, or the row does not say.
    """
    text = row.get(SETTINGS)
    before = json.loads(text) if isinstance(text, str) else None  # empty, where an earlier version wrote the row
    if before == settings:
        return
    if before is None:
        said = "rows that do not say what they were run with"
    else:
        names = [name for name in sorted({*before, *settings}) if before.get(name) != settings.get(name)]
        there, here = (", ".join(f"{name} {json.dumps(one.get(name))}" for name in names) for one in (before, settings))
        said = f"rows of {there}, and now it is to be {here}"
    msg = f"{path} has {said}: give the settings that it was begun with, or name another file with --out."
    raise ValueError(msg)
