"""How time and memory of `gnnimpute impute` grow with cells, genes, neighbours and heads.

    python benchmarks/speed/scaling.py --out results/scaling.csv --figure results/scaling.png
    python benchmarks/speed/scaling.py --data kang.h5ad --cells 1000,3000,10000,30000,100000 --out scaling.csv
    python benchmarks/speed/scaling.py --ending .zarr --cells 10000,30000,100000,300000,1000000 --genes "" \
        --neighbors "" --heads "" --out large.csv --scratch FOLDER -- --dtype float16      out of core

Cells are a random subset of those of --data while it has enough, and simulated above (Splatter, about as many zeros).
Genes are the most frequent ones. The number of epochs is fixed, since where a training stops is chance; the whole
process is measured. What a run costs with next to no cells, start-up and imports, is taken off before the exponent is
fitted. The same command goes on where it was interrupted; with other settings it needs another file. Options of
`gnnimpute impute` may follow after `--`.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData
from measure import COSTS, check_same_settings, exponent, impute, read_rows, stamp

import gnnimpute as gi
from gnnimpute._atomic import replacing
from gnnimpute._cli_simulate import complete
from gnnimpute._simulated import write_simulated

AXES = ("cells", "genes", "neighbors", "heads")
START = "start"
BEYOND_START = 0.1
"""Share of the start that each run must cost beyond it, or no exponent is fitted."""
SIMULATED = {"lib_loc": 7.6, "lib_scale": 0.4, "group_prob": [0.4, 0.3, 0.2, 0.1], "de_prob": 0.2}
"""About 2000 molecules of a cell."""


@cache
def read(path: Path) -> AnnData:
    """Real counts, of what passes quality control."""
    adata = gi.io.read(path)
    gi.pp.prepare(adata, n_pcs=None, filter=True)
    adata.X = adata.layers["counts"]
    return adata


def place(point: dict, data: Path | None, path: Path) -> tuple[str, float]:
    """Write counts of so many cells and genes to a file or store; where they are from, and their share of zeros."""
    n_cells, n_genes = point["cells"], point["genes"]
    if data is not None and (real := read(data)).n_obs >= n_cells and real.n_vars >= n_genes:
        cells = np.sort(np.random.default_rng(0).permutation(real.n_obs)[:n_cells])
        often = np.argsort(-np.asarray((real.X > 0).sum(0)).ravel(), kind="stable")[:n_genes]
        origin, adata = "real", real[cells][:, np.sort(often)]
        adata = AnnData(sp.csr_matrix(adata.X, dtype=np.float32), obs=adata.obs[[]].copy(), var=adata.var[[]].copy())
        n_values = adata.X.nnz
    elif path.suffix == ".zarr":  # a few cells at a time
        settings = complete({"n_genes": n_genes, "batch_cells": n_cells, "dropout_type": "none", **SIMULATED})
        return "simulated", 1 - write_simulated(path, settings, 0)[1][0] / (n_cells * n_genes)
    else:
        origin = "simulated"
        adata = gi.datasets.splatter(n_genes=n_genes, batch_cells=n_cells, dropout_type="none", **SIMULATED)
        adata, n_values = AnnData(adata.X, obs=adata.obs[[]].copy(), var=adata.var[[]].copy()), adata.X.nnz
    gi.io.write(adata, path)
    return origin, 1 - n_values / (n_cells * n_genes)


def points(given: argparse.Namespace) -> list[dict[str, int | str]]:
    """What is run: a small start, and along each axis all values at the default of the others."""
    base = {"cells": given.base_cells, "genes": given.base_genes, "neighbors": 5, "heads": 1}
    found: list[dict[str, int | str]] = [base | {"axis": START, "cells": 100, "genes": 100}]
    for axis in AXES:
        found += [base | {"axis": axis, axis: value} for value in getattr(given, axis)]
    return found


def settings_of(given: argparse.Namespace) -> dict[str, object]:
    """What all runs of a file have in common; limits and folders change none of their numbers."""
    data = None if given.data is None else str(given.data)
    common = {name: getattr(given, name) for name in ("epochs", "threads", "ending", "options")}
    return common | {"data": data}


def measured(point: dict, given: argparse.Namespace) -> dict:
    """The row of a run."""
    epochs = ["--n-epochs", str(given.epochs), "--patience", str(given.epochs), "--min-genes", "0", "--min-cells", "0"]
    shape = ["--n-neighbors", str(point["neighbors"]), "--n-heads", str(point["heads"])]
    large = ["--out-of-core"] if given.ending == ".zarr" else []
    with tempfile.TemporaryDirectory(dir=given.scratch) as folder:
        source, out = Path(folder) / f"in{given.ending}", Path(folder) / f"out{given.ending}"
        origin, zeros = place(point, given.data, source)
        limits = {"threads": given.threads, "time_limit": given.time_limit}
        outcome = impute(source, out, [*epochs, *shape, *large, *given.options], **limits)
    how = {"origin": origin, "zeros": zeros, "epochs": given.epochs}
    return point | how | outcome._asdict() | stamp(settings_of(given))


def exponents(rows: pd.DataFrame) -> pd.DataFrame:
    """Growth of each cost along each axis, beyond that of the start: over the values from a tenth of the largest on."""
    good = rows[rows["status"] == "ok"]
    start = good[good["axis"] == START]
    found = []
    for axis in AXES:
        part = good[good["axis"] == axis]
        part = part[part[axis] >= part[axis].max() / 10]
        row: dict[str, object] = {"axis": axis, "from": part[axis].min(), "to": part[axis].max()}
        for cost in COSTS:
            least = start[cost].min() if len(start) else 0.0
            beyond = part[cost] - least
            told = (beyond > BEYOND_START * least).all()  # else it is the noise of the start
            row[cost] = exponent(part[axis].to_list(), beyond.to_list()) if told else np.nan
        found.append(row)
    return pd.DataFrame(found)


def draw(rows: pd.DataFrame, path: Path) -> None:
    """Processor time and memory along each axis, with the fitted exponents."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

    fitted = exponents(rows).set_index("axis")
    drawn = [axis for axis in AXES if (rows["axis"] == axis).sum() > 1]
    figure = Figure(figsize=(3.2 * len(drawn), 5.6), layout="constrained")
    panels = figure.subplots(2, len(drawn), squeeze=False, sharey="row")
    names = {"cpu_seconds": "processor time (s)", "peak_gb": "peak memory (GB)"}
    for column, axis in enumerate(drawn):
        part = rows[(rows["axis"] == axis) & (rows["status"] == "ok")].sort_values(axis)
        for row, (cost, label) in enumerate(names.items()):
            ax = panels[row, column]
            ax.loglog(part[axis], part[cost], color="0.6", zorder=1)
            for origin, face in (("real", "C0"), ("simulated", "white")):
                some = part[part["origin"] == origin]
                if len(some):
                    ax.plot(some[axis], some[cost], "o", color="C0", markerfacecolor=face, label=origin)
            for start in rows.loc[rows["axis"] == START, cost]:
                ax.axhline(start, color="0.6", linestyle=":", label="next to no data")
            found = fitted.loc[axis, cost]
            title = "not more than start-up" if np.isnan(found) else f"exponent {found:.2f}"
            ax.set_title(title, fontsize="medium")
            ax.set_xlabel(axis)
            ax.set_xticks(part[axis], [f"{value:,.0f}" for value in part[axis]], rotation=45)
            ax.xaxis.set_minor_locator(NullLocator())
            ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            ax.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
            ax.yaxis.set_minor_locator(NullLocator())
            ax.set_ylim(rows[cost].min() / 2, rows[cost].max() * 2)
            if not column:
                ax.set_ylabel(label)
    panels[0, 0].legend(frameon=False)
    with replacing(path) as beside:
        figure.savefig(beside, dpi=150, format=path.suffix[1:])


def numbers(text: str) -> list[int]:
    """Whole numbers with commas between them."""
    return [int(part) for part in text.split(",") if part]


def main() -> None:
    """Run what is missing, write after every run, then draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="real counts; without them all are simulated")
    parser.add_argument("--cells", type=numbers, default=[1000, 3000, 10_000, 30_000, 100_000])
    parser.add_argument("--genes", type=numbers, default=[500, 1000, 2000, 5000, 10_000])
    parser.add_argument("--neighbors", type=numbers, default=[2, 5, 10, 20, 50])
    parser.add_argument("--heads", type=numbers, default=[1, 2, 4, 8])
    parser.add_argument("--base-cells", type=int, default=3000, help="cells where another axis grows (default 3000)")
    parser.add_argument("--base-genes", type=int, default=5000, help="genes where another axis grows (default 5000)")
    parser.add_argument("--epochs", type=int, default=3, help="epochs of every run (default 3)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--time-limit", type=float, default=36_000, help="seconds for a run (default 36,000)")
    parser.add_argument("--ending", default=".h5ad", choices=[".h5ad", ".zarr"],
                        help="of data and result; .zarr is never in memory as a whole (default .h5ad)")  # fmt: skip
    parser.add_argument("--scratch", type=Path, help="folder for the data (default: that of the system)")
    parser.add_argument("--out", type=Path, required=True, help="CSV of all runs")
    parser.add_argument("--figure", type=Path, help="figure to draw (.png, .pdf, .svg)")
    given, options = parser.parse_known_args()
    given.options = [option for option in options if option != "--"]
    rows = read_rows(given.out)
    for row in rows:  # all of them: one line is fitted through what is in the file
        check_same_settings(row, settings_of(given), given.out)
    for point in points(given):
        if any(all(row[name] == value for name, value in point.items()) for row in rows):
            continue
        rows.append(row := measured(point, given))
        print(row, file=sys.stderr, flush=True)
        with replacing(given.out) as beside:
            pd.DataFrame(rows).to_csv(beside, index=False)
    table = pd.DataFrame(rows)
    print(exponents(table).to_string(index=False, float_format="%.2f"))
    if given.figure is not None:
        draw(table, given.figure)


if __name__ == "__main__":
    main()
