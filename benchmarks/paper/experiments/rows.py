"""Rows of results in a CSV: what stands in it is not computed again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from gnnimpute._atomic import replacing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

CONFIG = "config"
"""Column of the settings that a row was computed with."""


class Rows:
    """Rows of an experiment, and the file that they are kept in.

    Parameters
    ----------
    path
        CSV to go on from, if it exists.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
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
        for row in self._rows[:]:
            if all(row.get(name) == value for name, value in key.items()):
                if str(row.get("status")).startswith("absent"):
                    self._rows.remove(row)
                    break
                if row.get(CONFIG, "") != config:
                    named = ", ".join(map(str, key.values()))
                    msg = f"{self.path} has {named} with other settings: name another folder with --out, or delete it."
                    raise ValueError(msg)
                return
        print(f"  {', '.join(f'{name} {value}' for name, value in key.items())}", flush=True)
        self._rows.append({**key, **compute(), CONFIG: config})
        with replacing(self.path) as beside:
            pd.DataFrame(self._rows).to_csv(beside, index=False)


def read(path: Path) -> pd.DataFrame:
    """Rows of a file; an empty text is a text."""
    table = pd.read_csv(path, float_precision="round_trip")
    texts = table.columns[[not pd.api.types.is_numeric_dtype(column) for _, column in table.items()]]
    table[[*texts]] = table[[*texts]].fillna("")
    return table.assign(**{CONFIG: table[CONFIG].fillna("").astype(str)}) if CONFIG in table else table
