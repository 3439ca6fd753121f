"""Time and memory of `gnnimpute impute` beside other methods: same data, same cores, whole process, read to written.

    python benchmarks/speed/compare.py counts.h5ad --out results/speed.csv
    python benchmarks/speed/compare.py a.h5ad b.h5ad --methods MAGIC,scVI,DCA --peers FOLDER --repeats 5 --out speed.csv

Methods take turns, so that whatever else the machine does meets them alike. Each is given the same file: raw counts of
the cells and genes that pass quality control. The same command goes on where it was interrupted; with other options it
needs another file. Options of `gnnimpute impute` may follow after `--`.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from measure import COSTS, OURS, check_same_settings, impute, read_rows, stamp

import gnnimpute as gi
from gnnimpute import _adapters
from gnnimpute._atomic import replacing
from gnnimpute._exchange import write_counts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from anndata import AnnData

    from gnnimpute._peers import Method, Outcome

PEERS = Path(__file__).parents[1] / "peers"
KEY = ["data", "threads", "method", "repeat"]
"""Columns that name a row."""


def passing(path: Path) -> AnnData:
    """Raw counts in `X` of what passes quality control."""
    adata = gi.io.read(path)
    gi.pp.prepare(adata, n_pcs=None, filter=True)
    adata.X = adata.layers["counts"]
    return adata


def settings_of(path: Path, name: str, methods: list[Method], given: argparse.Namespace) -> dict[str, object]:
    """What a run is given beside what names its row: options after `--` are for ours alone."""
    arguments = {method.name: method.arguments for method in methods}
    return {"data": str(path), "options": [*(given.options if name == OURS else arguments[name])]}


def check(rows: list[dict], methods: list[Method], given: argparse.Namespace) -> None:
    """Refuse, before anything runs, rows of the same names that were run with other settings, and files of one name."""
    stems = [path.stem for path in given.files]
    if twice := {stem for stem in stems if stems.count(stem) > 1}:
        msg = f"Two files are called {min(twice)!r}, and rows of results with them: rename one."
        raise ValueError(msg)
    names = {OURS, *(method.name for method in methods)}
    for path in given.files:
        for row in rows:
            if (row["data"], row["threads"]) == (path.stem, given.threads) and row["method"] in names:
                check_same_settings(row, settings_of(path, row["method"], methods, given), given.out)


def runs(path: Path, methods: list[Method], given: argparse.Namespace, done: set[tuple]) -> Iterator[dict]:
    """Every run that is not done, as a row."""
    limits = {"threads": given.threads, "time_limit": given.time_limit}
    with tempfile.TemporaryDirectory() as folder:
        source, out, adata = Path(folder) / "in.h5ad", Path(folder) / "out.h5ad", passing(path)
        write_counts(adata, source)
        for repeat in range(given.repeats):
            ours = partial(impute, source, out, [*given.options, "--seed", str(repeat)], **limits)
            turns: dict[str, Callable[[], Outcome]] = {OURS: ours}
            turns |= {m.name: partial(m.run, adata, source, out, seed=repeat, **limits) for m in methods}
            for name, run in turns.items():
                key = (path.stem, given.threads, name, repeat)
                if key not in done:
                    outcome = run()
                    out.unlink(missing_ok=True)
                    size = {"n_cells": adata.n_obs, "n_genes": adata.n_vars}
                    how = stamp(settings_of(path, name, methods, given))
                    yield dict(zip(KEY, key, strict=True)) | size | outcome._asdict() | how


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """Medians of each method, and how many times ours they are; no number, if no run of ours went well."""
    groups = rows[rows["status"] == "ok"].groupby(["data", "threads", "method"], sort=False)
    table = groups[list(COSTS)].median()
    table["runs"] = groups.size()
    ours = table[table.index.get_level_values("method") == OURS].droplevel("method")
    ours = ours.reindex(table.index.droplevel("method"))
    for cost in COSTS:
        table[f"{cost} / ours"] = table[cost].to_numpy() / ours[cost].to_numpy()
    return table


def main() -> None:
    """Run what is missing, write after every run, and print medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--methods", default="MAGIC,scVI,DCA", help="of --peers, with commas (default MAGIC,scVI,DCA)")
    parser.add_argument("--peers", type=Path, default=PEERS, help="folder of adapters (default: benchmarks/peers)")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--time-limit", type=float, default=7200, help="seconds for a run (default 7200)")
    parser.add_argument("--out", type=Path, required=True, help="CSV of all runs")
    given, options = parser.parse_known_args()
    given.options = [option for option in options if option != "--"]
    found = _adapters.peers(given.peers)
    methods = _adapters.chosen(found, _adapters.split_names([given.methods], found)) if given.methods else []
    rows = read_rows(given.out)
    check(rows, methods, given)
    for path in given.files:
        for row in runs(path, methods, given, {tuple(row[name] for name in KEY) for row in rows}):
            rows.append(row)
            said = f"{row['seconds']:.0f} s" if row["status"] == "ok" else f"{row['status']}: {row['message']}"
            print(f"{row['data']}, {row['method']}: {said}", file=sys.stderr, flush=True)
            with replacing(given.out) as beside:
                pd.DataFrame(rows).to_csv(beside, index=False)
    print(summary(pd.DataFrame(rows)).to_string(float_format="%.2f"))


if __name__ == "__main__":
    main()
