"""What a comparison goes on from: earlier results are taken if they are of the same counts, limits and arguments."""

from __future__ import annotations

import hashlib
import inspect
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from gnnimpute import pp
from gnnimpute._quality import Limits
from gnnimpute._results import settings_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import scipy.sparse as sp

    from gnnimpute._peers import Method
    from gnnimpute._results import Row

_AT_ONCE = 2**20  # numbers that are copied at a time


def checksum(counts: sp.csr_matrix) -> str:
    """What tells counts from others: the same for the same numbers, however they are stored.

    Parameters
    ----------
    counts
        As :func:`gnnimpute._counts.check_counts` makes them: whole, indices sorted, no zeros.
    """
    found = hashlib.blake2b(repr(tuple(map(int, counts.shape))).encode(), digest_size=16)
    for part in (counts.indptr, counts.indices, counts.data):
        for start in range(0, len(part), _AT_ONCE):
            found.update(part[start : start + _AT_ONCE].astype("<i8").tobytes())
    return found.hexdigest()


def check_same_counts(origin: Mapping[str, Any], rows: list[Row], out: Path | None) -> None:
    """Refuse to put results of different counts side by side, whichever method they are of.

    Parameters
    ----------
    origin
        ``layer`` that was asked for, and the checksum of its ``counts``.
    rows
        Results of a data set of this name. Those of earlier versions do not say; an absent method has none.
    out
        The file that they are in.
    """
    for row in rows:
        before = settings_of(row)
        if row["status"] == "absent" or before.get("counts", origin["counts"]) == origin["counts"]:
            continue
        there, here = (f"--layer {of['layer']}" if of.get("layer") else "no --layer" for of in (before, origin))
        how = "the data have changed since" if there == here else f"{there} then, {here} now"
        msg = f"{out} has results of other counts called {row['data']!r} ({how}): name another file with --out."
        raise ValueError(msg)


def check_same_size(shape: tuple[int, int], rows: list[Row], out: Path | None) -> None:
    """Refuse to put results of different cells and genes side by side."""
    for row in rows:
        if row["n_cells"] and (row["n_cells"], row["n_genes"]) != shape:
            there, here = f"{row['n_cells']} cells x {row['n_genes']} genes", " x ".join(map(str, shape))
            msg = f"{out} has results of other data called {row['data']!r}: {there} there, {here} here."
            msg += " Name another file with --out."
            raise ValueError(msg)


def is_done(rows: list[Row], method: Method, *, quality: Mapping[str, Any], retry: bool, out: Path | None) -> bool:
    """Whether a run need not be done again."""
    if not rows or rows[0]["status"] == "absent" or (retry and rows[0]["status"] != "ok"):
        return False
    settings = settings_of(rows[0])
    # Results of earlier versions do not say.
    limits = [_all_limits(each) for each in (settings.get("quality", quality), quality)]
    if other := [name for name in limits[0] if limits[0][name] != limits[1][name]]:
        there, here = (", ".join(f"{name}={each[name]}" for name in other) for each in limits)
        msg = f"{out} has results of {rows[0]['data']!r} after quality control with {there}, and now it is to be {here}"
        msg += ": name another file with --out."
        raise ValueError(msg)
    if (before := settings.get("arguments", [])) != (now := list(method.arguments)):
        msg = (
            f"{out} has results of {method.name!r} run with {' '.join(before) or 'its defaults'}, and now it is to run "
            f"with {' '.join(now) or 'its defaults'}: name another file with --out."
        )
        raise ValueError(msg)
    return True


def _all_limits(quality: Mapping[str, Any]) -> dict[str, Any]:
    """Limits of quality control, also those that are left at their defaults."""
    asked = inspect.signature(pp.prepare).parameters
    return {limit.name: quality.get(limit.name, asked[limit.name].default) for limit in fields(Limits)}
