"""The loss of each cell under each method, kept to tell methods apart on the same cells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd
from pandas.api.types import is_numeric_dtype

from gnnimpute._atomic import check_place, in_turn, replacing
from gnnimpute._bootstrap import paired_difference
from gnnimpute._exchange import MEAN

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import ArrayLike

    from gnnimpute._bootstrap import Interval
    from gnnimpute._molecules import MoleculeLoss
    from gnnimpute._results import Run

LOSS: MoleculeLoss = "poisson_deviance"
"""Loss that is kept. The Poisson loss tells methods apart by half as much, in the same way."""

KEY = ["data", "protocol", "rate", "seed", "cell"]


_TEXT = ("data", "protocol", "cell")


def label(method: str, estimate: str) -> str:
    """What an estimate is called in tables."""
    return method if estimate in {"", MEAN} else f"{method} ({estimate})"


class CellLosses:
    """Losses of cells on their held-out molecules: a row for each cell and hold-out, a column for each estimate.

    Parameters
    ----------
    path
        CSV to go on from, if it exists, and to write; `None` keeps nothing.

    Raises
    ------
    ValueError
        If there is such a file and it holds something else.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._table = pd.DataFrame(index=pd.MultiIndex.from_arrays([[]] * len(KEY), names=KEY))
        if path is not None:
            check_place(path)
            self._read()

    def wants(self, run: Run) -> bool:
        """Whether losses of such a run are kept: each cell has one where molecules are hidden."""
        return self._path is not None and run.protocol == "thin"

    def lacks(self, run: Run) -> bool:
        """Whether losses of a run are wanted and not there."""
        columns = [name for name in self._table if name == run.method or name.startswith(f"{run.method} (")]
        return self.wants(run) and not self._of(*run[:4])[columns].notna().any(axis=None)

    def add(self, run: Run, cells: pd.Index, losses: Mapping[str, ArrayLike]) -> None:
        """Take the losses of each estimate of a run, in place of earlier ones, and write the file anew.

        What another process has written to it since stays.
        """
        rows = pd.MultiIndex.from_product([*([part] for part in run[:4]), cells], names=KEY)
        added = pd.DataFrame({label(run.method, name): values for name, values in losses.items()}, index=rows)
        if self._path is None:
            self._table = added.combine_first(self._table)
            return
        with in_turn(self._path):
            self._read()
            self._table = added.combine_first(self._table)
            with replacing(self._path) as beside:
                self._table.to_csv(beside)

    def difference(self, one: str, other: str, *, data: str, rate: float, seed: int | None = None) -> Interval | None:
        """Loss of one estimate less that of another on the same cells, each cell averaged over its seeds.

        Parameters
        ----------
        one, other
            What the estimates are called in tables.
        data, rate
            Data set, and share of the molecules that was hidden.
        seed
            Of this seed alone.

        Returns
        -------
        Mean and 95 % interval over cells; `None` if one of them was not run.
        """
        if not {one, other} <= {*self._table}:
            return None
        losses = (
            self._of(data, "thin", rate, *([] if seed is None else [seed]))[[one, other]]
            .dropna()
            .groupby("cell")
            .mean()
        )
        return paired_difference(losses[one], losses[other]) if len(losses) else None

    def _read(self) -> None:
        """Take what is in the file now; what is known stays where there is none."""
        if self._path is not None and self._path.exists():
            self._table = read(self._path)

    def _of(self, *key: Any) -> pd.DataFrame:
        """Rows of a hold-out, or of all seeds of one."""
        wanted = pd.Series(data=True, index=self._table.index)
        for name, value in zip(KEY, key, strict=False):
            wanted &= self._table.index.get_level_values(name) == value
        return self._table[wanted]


def read(path: Path) -> pd.DataFrame:
    """Losses of an earlier run, by cell and hold-out.

    Raises
    ------
    ValueError
        If the file holds something else.
    """
    texts = dict.fromkeys(_TEXT, str)
    try:  # a data set or a cell may be called NA
        table = pd.read_csv(path, dtype=texts, keep_default_na=False, na_values=[""], float_precision="round_trip")
    except (ValueError, OSError) as error:  # not a table at all; pandas' own errors are ValueErrors
        msg = f"{path} is no CSV of losses of cells ({str(error).strip()}). Name another file with --cells."
        raise ValueError(msg) from None
    if missing := [name for name in KEY if name not in table]:
        msg = f"{path} holds no losses of cells: it lacks {', '.join(missing)}. Name another file with --cells."
        raise ValueError(msg)
    numbers = table.drop(columns=[*_TEXT])
    if len(table) and (wrong := list(numbers.columns[[not is_numeric_dtype(kind) for kind in numbers.dtypes]])):
        msg = f"{path} holds no losses of cells: its column {wrong[0]!r} does not hold numbers. Name another file with "
        msg += "--cells."
        raise ValueError(msg)
    return table.fillna(dict.fromkeys(_TEXT, "")).set_index(KEY)
