"""Rows of results in a CSV: what stands in it is not computed again."""

from __future__ import annotations

import subprocess
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd

import gnnimpute
from gnnimpute._atomic import replacing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

CONFIG = "config"
"""Column of the settings that a row was computed with."""
VERSION = "version"
"""Column of the code that a row was computed with; it names no row, and rows of earlier files lack it."""


@cache
def version() -> str:
    """Commit of this checkout; without git, the version of the package.

    A package that was installed from a checkout has the version that it was installed with, whatever came after.
    """
    ask = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=9"]
    try:
        return subprocess.run(ask, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return gnnimpute.__version__


class Work(NamedTuple):
    """A row that is to be computed."""

    key: Mapping[str, Any]
    """What names it."""
    compute: Callable[[], Mapping[str, Any]]
    """Makes its numbers, in this process or another one."""
    config: str
    """Settings that it is computed with."""


class Rows:
    """Rows of an experiment, and the file that they are kept in.

    Parameters
    ----------
    path
        CSV to go on from, if it exists.
    retry
        Compute again what failed or timed out.
    """

    def __init__(self, path: Path, *, retry: bool = False) -> None:
        self.path, self.retry = path, retry
        self._rows: list[dict[str, Any]] = read(path).to_dict("records") if path.exists() else []

    def once(self, key: Mapping[str, Any], compute: Callable[[], Mapping[str, Any]], *, config: str = "") -> None:
        """Compute a row and write the file anew, unless it has the row; a method that was absent is tried again.

        Parameters
        ----------
        key
            What names the row.
        compute
            Makes its numbers.
        config
            Settings that it is computed with.

        Raises
        ------
        ValueError
            If the file has the row with other settings.
        """
        if self.lacks(key, config):
            _say(key)
            self._add(key, compute(), config)

    def lacks(self, key: Mapping[str, Any], config: str) -> bool:
        """Whether a row is still to be computed; parameters and errors of :meth:`once`."""
        for row in self._rows[:]:
            if all(row.get(name) == value for name, value in key.items()):
                status = str(row.get("status", "ok"))
                if status.startswith("absent") or (self.retry and status not in {"", "ok"}):
                    self._rows.remove(row)
                    return True
                if row.get(CONFIG, "") != config:
                    named = ", ".join(map(str, key.values()))
                    msg = f"{self.path} has {named} with other settings: name another folder with --out, or delete it."
                    raise ValueError(msg)
                return False
        return True

    def each(self, work: Iterable[Work], *, jobs: int = 1) -> None:
        """Compute all rows that are missing, some of them side by side, in processes of their own."""
        missing = [one for one in work if self.lacks(one.key, one.config)]
        if jobs == 1 or not missing:
            for one in missing:
                self.once(one.key, one.compute, config=one.config)
            return
        with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
            started = {pool.submit(one.compute): one for one in missing}
            before, errors = len(self._rows), []
            for done in as_completed(started):
                if error := done.exception():
                    errors.append(error)
                    continue
                one = started[done]
                _say(one.key)
                self._add(one.key, done.result(), one.config)
        names = [one.key for one in missing]  # whichever was ready first
        self._rows[before:] = sorted(self._rows[before:], key=lambda row: names.index({n: row[n] for n in names[0]}))
        self._write()
        if errors:  # what went well is kept
            raise errors[0]

    def _add(self, key: Mapping[str, Any], numbers: Mapping[str, Any], config: str) -> None:
        self._rows.append({**key, **numbers, CONFIG: config, VERSION: version()})
        self._write()

    def _write(self) -> None:
        with replacing(self.path) as beside:
            pd.DataFrame(self._rows).to_csv(beside, index=False)


def _say(key: Mapping[str, Any]) -> None:
    print(f"  {', '.join(f'{name} {value}' for name, value in key.items())}", flush=True)


def read(path: Path) -> pd.DataFrame:
    """Rows of a file; an empty text is a text."""
    table = pd.read_csv(path, float_precision="round_trip", dtype={VERSION: str})
    texts = table.columns[[not pd.api.types.is_numeric_dtype(column) for _, column in table.items()]]
    table[[*texts]] = table[[*texts]].fillna("")
    return table.assign(**{CONFIG: table[CONFIG].fillna("").astype(str)}) if CONFIG in table else table
