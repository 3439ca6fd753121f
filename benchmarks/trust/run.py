"""Tests for false signals on data whose truth is known, for any method: one file in, one file out.

    python benchmarks/trust/run.py --data FOLDER --out trust.csv
    python benchmarks/trust/run.py --data FOLDER --out trust.csv --peers benchmarks/peers --methods "MAGIC,gnnimpute"
    python benchmarks/trust/run.py --out benchmarks/trust/results.csv --page docs/trust.md      the table alone

What the CSV holds already is not done again; a method that fails is a row, too.
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parent))
from jobs import JOBS

from gnnimpute import _adapters
from gnnimpute._atomic import replacing
from gnnimpute._exchange import reading_answer, write_counts

if TYPE_CHECKING:
    import anndata
    from numpy.typing import NDArray

    from gnnimpute._peers import Method

METHODS = "gnnimpute, no imputation, gene mean, neighbour and gene mean"


class FailedError(Exception):
    """A method did not give an answer; the text says why."""


def ask(method: Method, adata: anndata.AnnData, *, seed: int, limit: float) -> dict[str, NDArray[np.float32]]:
    """Expected counts of each estimate of a method that runs in a process of its own."""
    with TemporaryDirectory(prefix="gnnimpute-") as folder:
        source, out = Path(folder, "in.h5ad"), Path(folder, "out.h5ad")
        write_counts(adata, source)
        outcome = method.run(adata, source, out, seed=seed, time_limit=limit)
        if outcome.status != "ok":
            msg = f"{outcome.status}: {outcome.message}"
            raise FailedError(msg)
        with reading_answer(out, adata) as answer:
            return {
                name: np.asarray(values[0 : adata.n_obs], dtype=np.float32) for name, values in answer.estimates.items()
            }


def rows_of(method: Method, job: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    """What one method does in one test."""
    common = {"method": method.name, "test": job, "seed": options.seed}
    try:
        given = partial(ask, method, limit=options.time_limit)
        found = list(JOBS[job](options.data, given, options.seed))
    except (FailedError, ValueError) as error:
        return [common | {"message": str(error)}]
    verdicts = {True: "passed", False: "FAILED", None: ""}
    return [
        common
        | {
            "estimate": one.estimate,
            "measure": one.measure,
            "value": one.value,
            "status": verdicts[one.passed if np.isfinite(one.value) else None],
        }
        for one in found
    ]


def table(results: pd.DataFrame) -> str:
    """Markdown: measures in rows, methods in columns."""
    good = results[results["measure"].notna()].copy()
    mean = good["estimate"].isin(["mean"])
    good["label"] = good["method"].where(mean, good["method"] + ", " + good["estimate"].astype(str))
    marks = {"passed": " ●", "FAILED": " ▲"}
    good["text"] = [
        "-" if np.isnan(value) else f"{value:.3g}{marks.get(status, '')}"
        for value, status in zip(good["value"], good["status"], strict=True)
    ]
    labels = list(dict.fromkeys(good["label"]))
    lines = [["measure", *labels], ["---"] * (len(labels) + 1)]
    for measure in dict.fromkeys(good["measure"]):
        part = good[good["measure"] == measure].groupby("label")["text"].first()
        lines.append([measure, *(part.get(label, "") for label in labels)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def with_table(page: str, lines: str) -> str:
    """A page with its table of measures replaced."""
    start = page.index("| measure |")
    return page[:start] + lines + page[page.index("\n\n", start) :]


def main() -> None:
    """Run what the results lack, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of the special data sets; nothing is run without")
    parser.add_argument("--out", type=Path, required=True, help="CSV of the results; what is there is not done again")
    parser.add_argument("--methods", default=METHODS, help=f"names with commas between (default {METHODS})")
    parser.add_argument("--peers", type=Path, help="folder of adapters: benchmarks/peers")
    parser.add_argument("--tests", nargs="+", choices=JOBS, default=list(JOBS), metavar="TEST", help=", ".join(JOBS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--time-limit", type=float, default=1200, help="seconds for each run of a method")
    parser.add_argument("--page", type=Path, help="Markdown page whose table is to be replaced: docs/trust.md")
    options = parser.parse_args()
    known = _adapters.built_in() + (_adapters.peers(options.peers) if options.peers else [])
    methods = _adapters.chosen(known, _adapters.split_names([options.methods], known))
    results = pd.read_csv(options.out) if options.out.exists() else pd.DataFrame(columns=["method", "test", "seed"])
    for job in options.tests if options.data else ():
        for method in methods:
            done = results[["method", "test", "seed"]].astype(str) == [method.name, job, str(options.seed)]
            if len(results) and done.all(axis=1).any():
                continue
            print(f"{job}: {method.name}", file=sys.stderr, flush=True)
            results = pd.concat([results, pd.DataFrame(rows_of(method, job, options))], ignore_index=True)
            with replacing(options.out) as beside:
                results.to_csv(beside, index=False)
    shown = table(results[results["seed"] == options.seed])
    print(shown)
    if options.page:
        with replacing(options.page) as beside:
            beside.write_text(with_table(options.page.read_text(encoding="utf-8"), shown), encoding="utf-8")


if __name__ == "__main__":
    main()
