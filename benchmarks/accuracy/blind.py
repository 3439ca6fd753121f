"""Blind accuracy: the defaults beside what costs nothing, judged by molecules that nobody has seen.

    python benchmarks/accuracy/blind.py FILES... --out results.csv [--seeds 1] [--hide 0.1 0.8] [--config JSON]

`gnnimpute benchmark` with some of its methods and another table: Poisson losses, a line for each file, share and seed,
and the distance of ours from the best of the baselines, cell by cell. README.md in this folder says what is measured.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

from gnnimpute import Config, _benchmark, _results
from gnnimpute._adapters import built_in, chosen
from gnnimpute._judge import Budget, Protocol
from gnnimpute._methods import NAMES
from gnnimpute._paired import CellLosses, label

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

BASELINES = ("no imputation", "gene mean", "neighbour mean", "neighbour and gene mean")
OURS = ("gnnimpute", "gnnimpute, no graph")


def table(results: pd.DataFrame, losses: CellLosses) -> str:
    """Poisson losses in Markdown, and by how much ours are less than that of the best baseline."""
    found = results[results["metric"] == "poisson_loss"]
    found = found.assign(label=[label(*pair) for pair in zip(found["method"], found["estimate"], strict=True)])
    labels = list(dict.fromkeys(found["label"]))
    ours = [name for name in labels if name not in NAMES or name in OURS]
    lines = [["data", "cells x genes", "hidden", "seed", *labels, *(f"{name} less the best baseline" for name in ours)]]
    lines.append(["---"] * len(lines[0]))
    for (data, rate, seed), part in found.groupby(["data", "rate", "seed"], sort=False):
        values = dict(zip(part["label"], part["value"], strict=True))
        best = min((name for name in values if name in BASELINES), key=values.__getitem__, default=None)
        differences = [losses.difference(one, str(best), data=data, rate=rate, seed=seed) for one in ours]
        lines.append([
            data, f"{part['n_cells'].iloc[0]:,} x {part['n_genes'].iloc[0]:,}", f"{rate:g}", str(seed),
            *(f"{values[name]:.5f}" if name in values else "" for name in labels),
            # A difference of deviances is twice that of Poisson losses.
            *("" if one is None else f"{one.value / 2:+.5f} [{one.low / 2:+.5f}, {one.high / 2:+.5f}]"
              for one in differences),
        ])  # fmt: skip
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is not in the file of the results yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path, help="files with raw counts in layers['counts'] or X")
    parser.add_argument("--out", type=Path, required=True, help="CSV to write, or to go on from")
    parser.add_argument("--seeds", type=int, default=1, help="number of seeds, from 0 (default 1)")
    parser.add_argument("--hide", type=float, nargs="+", default=[0.1], help="shares of the molecules (default 0.1)")
    parser.add_argument("--methods", nargs="+", choices=NAMES, default=[*BASELINES, *OURS], metavar="METHOD",
                        help=f"of {'; '.join(NAMES)} (default: {'; '.join([*BASELINES, *OURS])})")  # fmt: skip
    parser.add_argument("--config", type=json.loads, default={}, help='settings to change, as JSON: {"n_heads": 3}')
    parser.add_argument("--threads", type=int, default=int(os.environ.get("OMP_NUM_THREADS", "2")))
    args = parser.parse_args(arguments)
    Config(**args.config)  # a mistake in it is told before anything runs
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    cells = args.out.with_stem(f"{args.out.stem}_cells")
    for _ in _benchmark.run(
        args.files,
        methods=chosen(built_in(args.config), args.methods),
        protocols=[Protocol("thin", rate) for rate in args.hide],
        seeds=range(args.seeds),
        out=args.out,
        cells=cells,
        budget=Budget(time_limit=24 * 3600, threads=args.threads),
    ):
        pass
    print(table(_results.read(args.out), CellLosses(cells)))


if __name__ == "__main__":
    main()
