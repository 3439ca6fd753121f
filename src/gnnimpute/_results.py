"""The results of a comparison: one row a number, in a CSV that a later run goes on from."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd

from gnnimpute._atomic import check_place, in_turn, replacing

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

Row = dict[str, Any]

KEY = ("data", "protocol", "rate", "seed", "method")
"""What names one run of one method."""

_TEXT = ("data", "protocol", "method", "estimate", "metric", "version", "settings", "status", "message")

COLUMNS = (
    *KEY,
    *("estimate", "metric", "value", "low", "high", "seconds", "peak_gb"),
    *("version", "settings", "status", "message", "n_cells", "n_genes"),
)


class Run(NamedTuple):
    """One method on one hold-out of one data set."""

    data: str
    protocol: str
    rate: float
    seed: int
    method: str


class Results:
    """Rows of all runs, and the file that they are kept in.

    Parameters
    ----------
    path
        CSV to go on from, if it exists, and to write; `None` writes none.

    Raises
    ------
    ValueError
        If there is such a file and it holds something else.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._runs: dict[Run, list[Row]] = {}
        if path is not None:
            check_place(path)
            self._read()

    def of(self, run: Run) -> list[Row]:
        """Rows of a run; none if it is still to do."""
        return self._runs.get(run, [])

    def about(self, data: str) -> list[Row]:
        """Rows of all runs on a data set."""
        return [row for run, rows in self._runs.items() if run.data == data for row in rows]

    def add(self, run: Run, rows: Sequence[Row]) -> None:
        """Take the rows of a run, in place of earlier ones, and write the file anew.

        What another process has written to it since stays.
        """
        added = {run: [dict(zip(KEY, run, strict=True)) | row for row in rows]}
        if self._path is None:
            self._runs |= added
            return
        with in_turn(self._path):
            self._read()
            self._runs |= added
            with replacing(self._path) as beside:
                self.table().to_csv(beside, index=False)

    def _read(self) -> None:
        """Take what is in the file now; what is known stays where there is none."""
        if self._path is None or not self._path.exists():
            return
        self._runs = {}
        for row in read(self._path).to_dict("records"):
            self._runs.setdefault(Run(*(row[name] for name in KEY)), []).append(row)

    def table(self) -> pd.DataFrame:
        """All rows."""
        return pd.DataFrame([row for rows in self._runs.values() for row in rows], columns=list(COLUMNS))


def read(path: Path) -> pd.DataFrame:
    """Results of an earlier run.

    Raises
    ------
    ValueError
        If the file holds something else.
    """
    try:
        table = pd.read_csv(
            path,
            dtype=dict.fromkeys(_TEXT, str),
            keep_default_na=False,
            na_values=_numbers_only(),
            float_precision="round_trip",
        )
    except (ValueError, OSError) as error:  # not a table at all; pandas' own errors are ValueErrors
        msg = f"{path} is no CSV of results ({str(error).strip()}). Name another file with --out."
        raise ValueError(msg) from None
    if missing := [name for name in COLUMNS if name not in table]:
        found = ", ".join(map(str, table.columns[:8]))
        msg = (
            f"{path} is no CSV of results: it lacks {', '.join(missing[:3])} (it has {found}). Name another with --out."
        )
        raise ValueError(msg)
    for name in COLUMNS:
        if name not in _TEXT and len(table) and not pd.api.types.is_numeric_dtype(table[name]):
            msg = f"{path} is no CSV of results: its column {name!r} does not hold numbers. Name another with --out."
            raise ValueError(msg)
    return table[list(COLUMNS)]


def settings_of(row: Row) -> dict[str, Any]:
    """Settings of a run, as they were recorded."""
    try:
        settings = json.loads(row["settings"] or "{}")
    except ValueError:
        return {}
    return settings if isinstance(settings, dict) else {"settings": settings}


def _numbers_only() -> dict[str, list[str]]:
    """What stands for a number that is not there; in a text it means nothing."""
    return {name: ["", "nan", "NaN"] for name in COLUMNS if name not in _TEXT}
