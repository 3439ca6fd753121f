"""What each part of the default is worth, and how much its settings matter: held-out molecules, one change at a time.

    python benchmarks/accuracy/ablation.py FILES... [--seeds 3] [--hide 0.1] [--changes "no graph" "5 -> 10 neighbours"]

A table for each file: Poisson loss of the default, then by how many per cent each change makes it worse, the mean over
seeds with its spread (half the range of the seeds). Changes of a setting are to half and to twice the default.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
import scipy.sparse as sp
from anndata import AnnData

import gnnimpute as gi
from gnnimpute import _nn, _validation

ESTIMATES = ("mean", "posterior")
BLOCK = 512  # cells judged at a time


class Change(NamedTuple):
    """What differs from the default."""

    config: dict[str, Any] = {}  # noqa: RUF012 -- never written to
    n_neighbors: int = 5
    has_graph: bool = True
    has_groups: bool = True
    has_network: bool = True


def halved_and_doubled() -> dict[str, Change]:
    """Changes of single settings."""
    default, found = gi.Config(), {}
    for name in ("n_latent", "n_hidden", "n_components", "learning_rate"):
        value = getattr(default, name)
        half = value // 2 if isinstance(value, int) else value / 2
        found |= {f"{name}={changed}": Change({name: changed}) for changed in (half, 2 * value)}
    return found | {f"{k} neighbours": Change(n_neighbors=k) for k in (2, 10, 30)}


CHANGES = {
    "no graph: each cell attends to itself": Change(has_graph=False),
    "no groups of cells": Change(has_groups=False),
    "no network: the linear part and the groups alone": Change({"n_epochs": 1}, has_network=False),
    "no linear part (and no groups), the network reads all genes": Change({"n_components": 0, "reads": "genes"}),
    "the network reads all genes": Change({"reads": "genes"}),
    "plain mean of neighbours (GCN)": Change({"attention": "mean"}),
    "additive attention": Change({"attention": "additive"}),
    "temperature 10": Change({"temperature": 10.0}),
    "temperature 1": Change({"temperature": 1.0}),
    "temperature 1, three heads (the paper's scores)": Change({"temperature": 1.0, "n_heads": 3}),
    "a tenth of the molecules hidden in training": Change({"hide_rate": 0.1}),
    "no running average of the weights": Change({"averaging": 0.0}),
    "no dropout of hidden units": Change({"dropout_rate": 0.0}),
    "a fifth of the hidden units dropped": Change({"dropout_rate": 0.2}),
    "steps of 64 cells": Change({"batch_size": 64}),
    "negative binomial": Change({"loss": "negative_binomial"}),
} | halved_and_doubled()


def losses(path: Path, change: Change, *, rate: float, seed: int) -> dict[str, float]:
    """Poisson loss on the hidden molecules of the cells and genes that pass quality control on the rest."""
    adata = gi.io.read(path)
    counts = sp.csr_matrix(adata.layers.get("counts", adata.X))
    hold_out = gi.metrics.HoldOut.thin(counts, rate, rng=seed)
    kept = AnnData(hold_out.train, obs=adata.obs[[]].copy(), var=adata.var[[]].copy())
    gi.pp.prepare(kept, n_neighbors=change.n_neighbors, rng=seed)
    cells, genes = (np.flatnonzero(frame["gnnimpute_pass"]) for frame in (kept.obs, kept.var))
    kept = kept[cells, genes].copy()
    config = gi.Config(**change.config)
    with (
        mock.patch.object(_nn, "LEVELS", _nn.LEVELS if change.has_groups else ()),
        mock.patch.object(_validation, "SHARES", _validation.SHARES if change.has_network else (1.0,)),
    ):
        if change.has_graph:
            imputer = gi.tl.fit(kept, config=config, rng=seed, progress=False)
            distances = kept.obsp["gnnimpute_neighbors_distances"]
            graph = gi.NeighborGraph.from_sparse(distances, nearest="smallest")
        else:
            graph = gi.NeighborGraph(np.arange(len(cells))[:, None])
            imputer = gi.GNNImputer(config).fit(kept.layers["counts"], graph, rng=seed, progress=False)
    found = dict.fromkeys(ESTIMATES, 0.0)
    for start in range(0, len(cells), BLOCK):
        rows = np.arange(start, min(start + BLOCK, len(cells)))
        for estimate in ESTIMATES:
            values = imputer.transform(kept.layers["counts"], graph, cells=rows, estimate=estimate, output="counts")
            judged = gi.metrics.score_cells(hold_out, values, cells=cells[rows], genes=genes)
            found[estimate] += float(judged.sum()) / len(cells)
    return found


def row(name: str, worse: dict[str, list[float]]) -> str:
    """A line of the table."""
    cells = [f"{np.mean(w):+.2f} ± {np.ptp(w) / 2:.2f}" for w in worse.values()]
    return f"| {name} | {' | '.join(cells)} |"


def main() -> None:
    """Print the tables, a row as soon as it is known."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path, help="files with raw counts in layers['counts'] or X")
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds, from 0 (default 3)")
    parser.add_argument("--hide", type=float, default=0.1, help="share of the molecules (default 0.1)")
    parser.add_argument("--changes", nargs="+", choices=CHANGES, default=list(CHANGES), metavar="CHANGE",
                        help=f"of: {'; '.join(CHANGES)}")  # fmt: skip
    args = parser.parse_args()
    for path in args.files:
        default = [losses(path, Change(), rate=args.hide, seed=seed) for seed in range(args.seeds)]
        means = " | ".join(f"{np.mean([one[estimate] for one in default]):.5f}" for estimate in ESTIMATES)
        print(f"\n{path.stem}, {args.hide:.0%} hidden, {args.seeds} seeds: % worse than the default\n")
        print(
            f"| changed | {' | '.join(ESTIMATES)} |\n|{'---|' * (1 + len(ESTIMATES))}\n| nothing: the loss | {means} |"
        )
        for name in args.changes:
            found = [losses(path, CHANGES[name], rate=args.hide, seed=seed) for seed in range(args.seeds)]
            worse = {
                estimate: [
                    100 * (a[estimate] - b[estimate]) / abs(b[estimate]) for a, b in zip(found, default, strict=True)
                ]
                for estimate in ESTIMATES
            }
            print(row(name, worse), flush=True)


if __name__ == "__main__":
    main()
