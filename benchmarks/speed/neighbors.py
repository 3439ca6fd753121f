"""From how many cells on an approximate search of the nearest cells is quicker than an exact one.

    python benchmarks/speed/neighbors.py --threads 2

Each search is a process of its own, as in a run of the command, since NN-descent is compiled once a process. Points are
like principal components: groups with variance of their own in 50 dimensions. Methods take turns; medians. The share of
the true neighbours that the approximate search finds is printed beside its times.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from statistics import median

import numpy as np

from gnnimpute import _child
from gnnimpute._nearest import approximate, exact
from gnnimpute._peers import Method, last_lines

N_NEIGHBORS, N_DIMENSIONS, N_GROUPS = 5, 50, 12
METHODS = ("none", "exact", "approximate")


def points(n_cells: int) -> np.ndarray:
    """An embedding of groups of cells, of shape (n_cells, N_DIMENSIONS)."""
    rng = np.random.default_rng(0)
    centres = rng.normal(scale=3, size=(N_GROUPS, N_DIMENSIONS))
    return (rng.normal(size=(n_cells, N_DIMENSIONS)) + centres[rng.integers(N_GROUPS, size=n_cells)]).astype(np.float32)


def search(method: str, n_cells: int, path: Path) -> None:
    """Seek the neighbours of all cells and write them; `none` does all but that."""
    embedding = points(n_cells)
    if method == "exact":
        np.save(path, exact(embedding, N_NEIGHBORS))
    elif method == "approximate":
        np.save(path, approximate(embedding, N_NEIGHBORS, np.random.default_rng(0)))
    else:
        import torch  # noqa: F401 - which every run has loaded


def measured(method: str, n_cells: int, path: Path, *, threads: int) -> tuple[float, float]:
    """Seconds and processor seconds of a process that searches."""
    command = [sys.executable, __file__, "--search", method, "--cells", str(n_cells), "--out", str(path)]
    ended = _child.run(command, time_limit=1e9, environment=Method(method).variables(threads=threads))
    if ended.code:
        sys.exit(last_lines(ended.stderr))
    return ended.seconds, ended.cpu_seconds


def main() -> None:
    """Read the command line and measure, or search as one of the processes that are measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", default="25000,50000,100000,150000")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--search", choices=METHODS, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.search:
        search(given.search, int(given.cells), given.out)
        return
    print(
        "| cells | exact: seconds | processor seconds | approximate: seconds | processor seconds | neighbours found |"
    )
    print("|---|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        paths = {method: Path(folder) / f"{method}.npy" for method in METHODS}
        for n_cells in map(int, given.cells.split(",")):
            runs = [
                {method: measured(method, n_cells, paths[method], threads=given.threads) for method in METHODS}
                for _ in range(given.repeats)
            ]
            # What a process costs that searches nothing is not the search's.
            cost = {
                method: [median(run[method][clock] - run["none"][clock] for run in runs) for clock in range(2)]
                for method in METHODS
            }
            true, found = np.load(paths["exact"]), np.load(paths["approximate"])
            recall = (found[:, :, None] == true[:, None]).any(2).mean()
            times = " | ".join(f"{seconds:.1f}" for method in METHODS[1:] for seconds in cost[method])
            print(f"| {n_cells:,} | {times} | {recall:.0%} |", flush=True)


if __name__ == "__main__":
    main()
