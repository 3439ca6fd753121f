"""Tables of a comparison: one row for each method and estimate, one column for each data set."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from gnnimpute._judge import JUDGED_BY
from gnnimpute._paired import LOSS, label

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gnnimpute._paired import CellLosses

OURS = label("gnnimpute", "posterior")
"""What others are compared with, cell by cell."""

HIDDEN = {"thin": "{:.3g} % of the molecules hidden", "mask": "{:.3g} % of each gene's non-zeros hidden"}
"""What a protocol does, in words."""

_TROUBLES = "Not in the tables:"


def averages(results: pd.DataFrame, protocol: str, rate: float, *, metric: str | None = None) -> pd.DataFrame:
    """Average over seeds of one metric, and what became of methods that have none.

    Parameters
    ----------
    results
        Rows of a comparison.
    protocol, rate
        What was hidden.
    metric
        What to average; by default what methods are ranked by.

    Returns
    -------
    A row for each ``data`` and ``label`` (method and estimate), best methods first, with ``value``, ``low``, ``high``,
    ``sd`` (over seeds), ``seconds``, ``n_seeds``, and ``status`` of the seeds that have no value.
    """
    metric = metric or JUDGED_BY[protocol]
    chosen = results[(results["protocol"] == protocol) & (results["rate"] == rate)]
    chosen = chosen[(chosen["metric"] == metric) | (chosen["status"] != "ok")]
    labels = _labels(chosen)
    rows = []
    for (data, name), part in chosen.assign(label=labels).groupby(["data", "label"], sort=False):
        good = part[part["status"] == "ok"]
        rows.append(
            {
                "data": data,
                "label": name,
                **{column: good[column].mean() for column in ("value", "low", "high")},
                "sd": good["value"].std(ddof=1) if len(good) > 1 else np.nan,
                "seconds": good["seconds"].mean(),
                "n_seeds": len(part),
                "status": ", ".join(part.loc[part["status"] != "ok", "status"].unique()),
            }
        )
    columns = ["data", "label", "value", "low", "high", "sd", "seconds", "n_seeds", "status"]
    table = pd.DataFrame(rows, columns=columns)
    # Methods that are better on most data come first: by the ratio to the best of each data set.
    ratio = table["value"] / table.groupby("data")["value"].transform("min")
    order = ratio.groupby(table["label"]).mean().fillna(np.inf)
    return table.assign(order=table["label"].map(order)).sort_values("order", kind="stable").drop(columns="order")


def protocols_of(results: pd.DataFrame) -> list[tuple[str, float]]:
    """Protocols and rates, in the order in which they stand."""
    pairs = results[["protocol", "rate"]].drop_duplicates()
    return [(str(protocol), float(rate)) for protocol, rate in pairs.itertuples(index=False)]


def summary(results: pd.DataFrame, losses: CellLosses | None = None, *, metric: str | None = None) -> str:
    """A table in Markdown for each protocol and rate, and a list of what did not work.

    Parameters
    ----------
    results
        Rows of a comparison.
    losses
        Losses of its cells, for tables of paired differences.
    metric
        What to show; by default what methods are ranked by.
    """
    parts = []
    for protocol, rate in protocols_of(results):
        parts.append(_table(results, protocol, rate, metric or JUDGED_BY[protocol]))
        if protocol == "thin" and losses is not None:
            parts += _differences(averages(results, protocol, rate, metric=LOSS), losses, rate)
    return "\n\n".join([*parts, *filter(None, [_troubles(results)])]) + "\n"


def begins_like_summary(text: str) -> bool:
    """Whether a text may have been made by :func:`summary`; an empty one is in nobody's way."""
    first, _, _ = text.partition("\n")
    ends = [words.partition(" % ")[2] for words in HIDDEN.values()]
    return not text.strip() or first == _TROUBLES or any(f" % {end}: " in first for end in ends)


def title(protocol: str, rate: float) -> str:
    """What was hidden, in words."""
    return HIDDEN[protocol].format(100 * rate)


def _table(results: pd.DataFrame, protocol: str, rate: float, metric: str) -> str:
    table = averages(results, protocol, rate, metric=metric)
    data, labels = list(dict.fromkeys(results["data"])), list(dict.fromkeys(table["label"]))
    best = table.groupby("data")["value"].min()
    cells = {(row.data, row.label): _cell(row, best[row.data]) for row in table.itertuples()}
    seconds = table.groupby("label")["seconds"].mean()
    lines = [["method", *data, "seconds"], ["---"] * (len(data) + 2)]
    for method in labels:
        spent = "" if np.isnan(seconds[method]) else f"{seconds[method]:.0f}"
        lines.append([method, *(cells.get((name, method), "") for name in data), spent])
    head = f"{title(protocol, rate)}: {metric} (lower is better)"
    n_seeds = int(table["n_seeds"].max()) if len(table) else 0
    note = f", mean ± standard deviation of {n_seeds} seeds" if n_seeds > 1 else ""
    return f"{head[0].upper()}{head[1:]}{note}\n\n{_aligned(lines)}"


def _differences(table: pd.DataFrame, losses: CellLosses, rate: float) -> list[str]:
    """By how much our best estimate is better than every other, cell by cell; nothing if it was not run."""
    data, labels = list(dict.fromkeys(table["data"].sort_index())), list(dict.fromkeys(table["label"]))
    lines = [["method", *data], ["---"] * (len(data) + 1)]
    for other in labels:
        found = [losses.difference(OURS, other, data=name, rate=rate) for name in data]
        if other != OURS and any(found):
            lines.append([other, *("{} [{}, {}]".format(*map(_signed, one)) if one else "" for one in found)])
    head = f"{OURS} less each other method, cell by cell: {LOSS}, mean and 95 % interval (below 0: {OURS} is better)"
    return [f"{head}\n\n{_aligned(lines)}"] if len(lines) > 2 else []


def _cell(row: object, best: float) -> str:
    value, sd, status = (getattr(row, name) for name in ("value", "sd", "status"))
    if np.isnan(value):
        return str(status) or "not defined"
    text = _plain(value, 4) + ("" if np.isnan(sd) else f" ± {_plain(sd, 1)}")
    text = f"**{text}**" if value == best else text
    return f"{text} (also {status})" if status else text


def _plain(value: float, n_digits: int) -> str:
    """A number of so many digits that count, or more if it is as large: never as a power of ten."""
    if abs(value) >= 10**n_digits:
        return f"{value:.0f}"
    text: str = np.format_float_positional(value, n_digits, unique=False, fractional=False, trim="-")
    return text


def _signed(value: float) -> str:
    return ("" if value < 0 else "+") + _plain(value, 2)


def _aligned(lines: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    fill = [["-" * width if cell == "---" else cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
            for row in lines]  # fmt: skip
    return "\n".join(f"| {' | '.join(row)} |" for row in fill)


def _labels(rows: pd.DataFrame) -> list[str]:
    return [label(*pair) for pair in zip(rows["method"], rows["estimate"], strict=True)]


def _troubles(results: pd.DataFrame) -> str:
    """What did not work, each trouble once."""
    bad = results[results["status"] != "ok"]
    said = [f"- {row.method}: {row.status}. {row.message}".strip() for row in bad.itertuples()]
    return "\n".join([_TROUBLES, "", *dict.fromkeys(said)]) if said else ""
