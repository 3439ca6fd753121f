"""Blind comparisons, by the machinery of ``gnnimpute benchmark``."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.data import SOURCES
from experiments.labelled import CONTROL
from experiments.published import METRICS
from experiments.reports import side_by_side, troubles
from experiments.setting import MOST_CELLS, PAPER
from gnnimpute import Config, _benchmark
from gnnimpute._adapters import built_in, chosen, peers
from gnnimpute._exchange import MEAN, reading_answer, write_counts
from gnnimpute._judge import Budget, Protocol
from gnnimpute._methods import DETECTED, PAPER_BUDGET
from gnnimpute._results import read

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    import pandas as pd
    from anndata import AnnData

    from experiments.setting import Setting
    from gnnimpute._peers import Method

FOR_NONZEROS = (DETECTED, *CONTROL)
"""Methods of the package that predict masked non-zeros, to stand beside those of others where nothing else is judged.
All of them at every rate would take hours."""


def methods(setting: Setting) -> list[Method]:
    """Methods of the package and, with a folder of adapters, of others."""
    ours = built_in({} if setting.epochs is None else {"n_epochs": setting.epochs})
    if setting.full and setting.epochs is None:
        published = built_in({name: getattr(Config.paper(), name) for name in PAPER_BUDGET})
        ours = [full if one.name == PAPER else one for one, full in zip(ours, published, strict=True)]
    return chosen(ours + (peers(setting.peers) if setting.peers else []), setting.methods)


def compare(
    setting: Setting,
    path: Path,
    *,
    data: Mapping[str, Path | AnnData],
    protocols: Sequence[str],
    rates: Sequence[float] = (0.1,),
    ours: Collection[str] | None = None,
) -> None:
    """Run all methods on all sets; what is in the file already is not run again.

    Parameters
    ----------
    setting
        Options of the run.
    path
        CSV of ``gnnimpute benchmark``.
    data
        Counts by name.
    protocols, rates
        What is hidden.
    ours
        Which methods of the package to run, unless the run names methods; by default all.
    """
    for name, source in data.items():
        quality = SOURCES[name].quality if name in SOURCES else {}
        some = within_budget(setting, source)
        if ours is not None and not setting.methods:
            some = [method for method in some if method.adapter or method.name in ours]
        rows = _benchmark.run(
            {name: source}, methods=some, retry=setting.retry,
            protocols=[Protocol(kind, rate) for kind in protocols for rate in rates], seeds=setting.seeds(), out=path,
            budget=Budget(time_limit=setting.time_limit, threads=setting.threads), quality=quality,
            cells=cells_of(path),
        )  # fmt: skip
        for _ in rows:
            pass


def cells_of(path: Path) -> Path:
    """CSV of the loss of each cell that belongs to the CSV of a comparison."""
    return path.with_stem(f"{path.stem}_cells")


def wide(path: Path) -> pd.DataFrame:
    """Results of masked non-zeros, one row for each network (method and estimate) and seed."""
    table = read(path)
    table = table[(table["protocol"] == "mask") & (table["status"] == "ok")]
    table = table.assign(network=table["method"].where(table["estimate"] == MEAN,
                                                       table["method"] + " (" + table["estimate"] + ")"))  # fmt: skip
    keys = ["network", "data", "rate", "seed"]
    table = table.pivot_table(index=keys, columns="metric", values="value", sort=False).reset_index()
    return table.reindex(columns=[*keys, *METRICS])  # a metric that no method has is missing


def report(path: Path, *, by: str = "data") -> str:
    """Results of masked non-zeros, methods below each other, and what became of methods that have none.

    Parameters
    ----------
    path
        CSV of a comparison; if there is none, neither is there a text.
    by
        What stands beside each other: ``data`` or ``rate``.
    """
    if not path.exists():
        return ""
    table, parts = wide(path), []
    if by == "rate":
        table = table.sort_values("rate", kind="stable")
        table["data"] = [f"{100 * rate:g} % masked" for rate in table["rate"]]
    if len(table):
        parts.append(side_by_side(table, METRICS))
    if bad := troubles(_troubles(path)):
        parts.append(bad)
    return "\n\n".join(["Blind, masked non-zeros", *parts]) if parts else ""


def _troubles(path: Path) -> list[str]:
    """A line for each method and reason; what is absent is so everywhere."""
    table = read(path)
    table = table[table["protocol"] == "mask"]
    bad, several, lines = table[table["status"] != "ok"], len(table["rate"].unique()) > 1, []
    for (method, status, message), part in bad.groupby(["method", "status", "message"], sort=False):
        places = [f"{row.data} {100 * row.rate:g} %" if several else row.data for row in part.itertuples()]
        where = "" if status == "absent" else f" ({', '.join(dict.fromkeys(places))})"
        lines.append(f"{method}{where}: {status}. {message}".strip())
    return lines


def imputed(setting: Setting, method: Method, adata: AnnData, *, estimate: str = MEAN, seed: int = 0) -> Any:
    """What a method makes of counts, each cell at its total, of shape (n_cells, n_genes); or why it made nothing.

    Parameters
    ----------
    setting
        Options of the run.
    method
        What to run.
    adata
        Counts in `X`, after quality control.
    estimate
        Which estimate, if the method has it.
    seed
        Seed of the method.
    """
    with TemporaryDirectory(prefix="gnnimpute-") as folder:
        source, out = Path(folder) / "in.h5ad", Path(folder) / "out.h5ad"
        write_counts(adata, source)
        outcome = method.run(adata, source, out, seed=seed, time_limit=setting.time_limit, threads=setting.threads)
        if outcome.status != "ok":
            return f"{outcome.status}: {outcome.message}"
        try:
            with reading_answer(out, adata) as answer:
                return np.asarray(answer.estimates.get(estimate, answer.estimates[next(iter(answer.estimates))])[:])
        except ValueError as error:
            return f"failed: {error}"


def within_budget(setting: Setting, source: Path | AnnData) -> list[Method]:
    """Methods without the paper's network where that costs too much."""
    some = methods(setting)
    if setting.full or setting.methods or setting.epochs:
        return some
    import anndata

    adata = anndata.read_h5ad(source, backed="r") if isinstance(source, Path) else source
    return [one for one in some if one.name != PAPER or adata.n_obs <= MOST_CELLS]
