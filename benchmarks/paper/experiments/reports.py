"""What an experiment says: one line, and tables in Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from experiments.published import LOWER_IS_BETTER, NAMES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import pandas as pd


class Report(NamedTuple):
    """What an experiment found."""

    line: str
    """Ours beside the published number."""
    tables: str


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table, columns aligned."""
    lines = [list(head), *map(list, rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, ["-" * max(width, 3) for width in widths])
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in lines
    )


def troubles(lines: Iterable[str]) -> str:
    """A list of what is in no table, each line once; empty if there is nothing."""
    said = [f"- {line}" for line in dict.fromkeys(lines)]
    return "\n".join(["Not in the tables:", "", *said]) if said else ""


def number(values: Iterable[float]) -> str:
    """Mean, and standard deviation if there are more."""
    some = np.asarray(list(values), dtype=float)
    some = some[np.isfinite(some)]
    if not some.size:
        return ""
    return f"{some.mean():.4f}" + (f" ± {some.std(ddof=1):.4f}" if some.size > 1 else "")


def averaged(
    table: pd.DataFrame,
    by: Sequence[str],
    metrics: Sequence[str],
    *,
    published: Iterable[tuple[Sequence[str], Mapping[str, float]]] = (),
    heads: Mapping[str, str] | None = None,
) -> str:
    """A table of metrics, averaged over seeds, and published ones below.

    Parameters
    ----------
    table
        Rows of an experiment.
    by
        Columns that name a row of the table.
    metrics
        Columns of numbers.
    published
        Names and numbers of further rows.
    heads
        Heads of columns that are not their names.
    """
    rows = []
    for key, part in table.groupby([*by], sort=False):
        texts = [f"{value:g}" if isinstance(value, float) else str(value) for value in key]
        rows.append([*texts, *(number(part[metric]) for metric in metrics), str(len(part))])
    for names, numbers in published:
        rows.append([*names, *(f"{numbers[metric]:.4f}" if metric in numbers else "" for metric in metrics), ""])
    head = [(heads or {}).get(name, name) for name in by]
    return markdown([*head, *(NAMES.get(metric, metric) for metric in metrics), "seeds"], rows)


def side_by_side(table: pd.DataFrame, metrics: Sequence[str]) -> str:
    """A table for each metric, networks below each other and data sets beside each other; the best mean is bold.

    Parameters
    ----------
    table
        Rows of an experiment, with ``data`` and ``network``.
    metrics
        Columns of numbers; networks stand in the order of their mean rank by the first one.
    """
    data = list(dict.fromkeys(table["data"]))
    means = {m: table.pivot_table(m, "network", "data", dropna=False, sort=False) for m in metrics}
    ranks = means[metrics[0]].rank().mean(axis=1)
    parts = []
    for metric, mean in means.items():
        best = mean.min() if metric in LOWER_IS_BETTER else mean.max()
        rows: list[list[str]] = []
        for network in ranks.sort_values(kind="stable").index:
            row = [network]
            for name in data:
                cell = number(table.loc[(table["network"] == network) & (table["data"] == name), metric])
                row.append(f"**{cell}**" if mean.loc[network, name] == best[name] else cell)
            rows.append(row)
        parts.append(markdown([NAMES.get(metric, metric), *data], rows))
    return "\n\n".join(parts)


def beside(ours: Mapping[str, Iterable[float]], published: Mapping[str, float]) -> str:
    """Metrics of ours, each with the published one."""
    return "; ".join(
        f"{NAMES[metric]} {number(ours[metric])} (published {value:.4f})" for metric, value in published.items()
    )
