"""Tables and figures of the experiments, from their CSVs: nothing is computed anew.

python benchmarks/paper/tables.py results/paper                              summary.md and all figures
python benchmarks/paper/tables.py results/paper --page docs/reproduction.md  and the tables of that page
python benchmarks/paper/tables.py results/paper --page docs/research.md      and the comparison by held-out molecules
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from experiments import EXPERIMENTS, error, finish
from experiments.rows import VERSION, read

from gnnimpute._atomic import replacing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from experiments.reports import Report

SUMMARY = "summary.md"


def of(name: str, folder: Path) -> Report:
    """Draw the figure of an experiment; its line and tables."""
    return finish(name, folder)


def write(folder: Path, left_out: Mapping[str, str]) -> None:
    """Write all lines and tables to one file.

    Parameters
    ----------
    folder
        Where the CSVs are.
    left_out
        Why experiments were not run.
    """
    parts = ["# The paper's experiments, ours beside the published"]
    for name, experiment in EXPERIMENTS.items():
        if (folder / f"{name}.csv").exists():
            report = _report(name, folder)
            parts.append(f"## {name}: {experiment.TITLE}\n\n{report.line}\n\n![]({name}.png)\n\n{report.tables}")
        elif name in left_out:
            parts.append(f"## {name}: {experiment.TITLE}\n\nNot run. {left_out[name]}")
    if molecules := error.molecules(folder):
        parts.append(f"## Blind, held-out molecules\n\n{molecules}")
    with replacing(folder / SUMMARY) as beside:
        beside.write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def fill(page: Path, folder: Path) -> list[str]:
    """Put tables between ``<!-- NAME -->`` and ``<!-- /NAME -->`` of a page; names of what was found there.

    ``molecules`` is the blind comparison by held-out molecules.

    Parameters
    ----------
    page
        A page in Markdown.
    folder
        Where the CSVs are.
    """
    made = {}
    for name in EXPERIMENTS:
        if (folder / f"{name}.csv").exists():
            report = _report(name, folder)
            made[name] = f"{report.line}\n\n{report.tables}"
    made["molecules"] = error.molecules(folder)
    text, filled = page.read_text(encoding="utf-8"), []
    for name in filter(made.get, made):
        place = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
        if place.search(text):
            text = place.sub(lambda found, name=name: f"{found[1]}{made[name]}\n{found[2]}", text)
            filled.append(name)
    with replacing(page) as beside:
        beside.write_text(text, encoding="utf-8")
    return filled


def _report(name: str, folder: Path) -> Report:
    """What an experiment found; below, which code made its rows, of those that say so."""
    path = folder / f"{name}.csv"
    report, table = EXPERIMENTS[name].report(path), read(path)
    versions = [text for text in table[VERSION].unique() if text] if VERSION in table else []
    return report._replace(tables=f"{report.tables}\n\nCode: {', '.join(versions)}.") if versions else report


def main() -> None:
    """Draw and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder of the CSVs")
    parser.add_argument("--page", type=Path, help="page whose tables are to be filled")
    args = parser.parse_args()
    found = [name for name in EXPERIMENTS if (args.folder / f"{name}.csv").exists()]
    if not found:
        sys.exit(f"{args.folder} has no results: python benchmarks/paper/run.py --out {args.folder}")
    for name in found:
        finish(name, args.folder)
    write(args.folder, {})
    if args.page:
        print(f"{args.page}: {', '.join(fill(args.page, args.folder))}")


if __name__ == "__main__":
    main()
