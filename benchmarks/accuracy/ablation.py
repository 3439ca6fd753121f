"""What each part of the default is worth, and how much its settings matter: held-out molecules, one change at a time.

    python benchmarks/accuracy/ablation.py FILES... [--seeds 3] [--hide 0.1] [--changes "no graph" "5 -> 10 neighbours"]

A table for each file: Poisson loss of each gene's mean and of the default, then how much of what the default gains over
the gene mean each change loses, in per cent: the mean over seeds with its spread (half the range of the seeds). Changes
of a setting are to half and to twice the default.
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
from gnnimpute import _covarying, _nn, _prior_fit, _validation

ESTIMATES = ("mean", "posterior")
GENE_MEAN = "mean of the gene"
BLOCK = 512  # cells judged at a time
NONE = np.zeros(1)


class Change(NamedTuple):
    """What differs from the default."""

    config: dict[str, Any] = {}  # noqa: RUF012 -- never written to
    n_neighbors: int = 5
    has_graph: bool = True
    has_groups: bool = True
    has_network: bool = True
    has_covarying: bool = True
    has_fano: bool = True
    has_average: bool = True
    has_hints: bool = True


def halved_and_doubled() -> dict[str, Change]:
    """Changes of single settings."""
    default, found = gi.Config(), {}
    for name in ("n_latent", "n_hidden", "n_components", "learning_rate", "self_rate"):
        value = getattr(default, name)
        half = value // 2 if isinstance(value, int) else value / 2
        found |= {f"{name}={changed}": Change({name: changed}) for changed in (half, 2 * value)}
    return found | {f"{k} neighbours": Change(n_neighbors=k) for k in (2, 10, 30)}


CHANGES = {
    "no graph: each cell attends to itself": Change(has_graph=False),
    "no groups of cells": Change(has_groups=False),
    "no genes that covary": Change(has_covarying=False),
    "no Fano factor": Change(has_fano=False),
    "no average of the gene in the prior": Change(has_average=False),
    "the prior by held-out molecules alone": Change(has_hints=False),
    "no network: the linear part and the groups alone": Change({"n_epochs": 1}, has_network=False),
    "no linear part (and no groups), the network reads all genes": Change({"n_components": 0, "reads": "genes"}),
    "the network reads all genes": Change({"reads": "genes"}),
    "plain mean of neighbours (GCN)": Change({"attention": "mean"}),
    "additive attention": Change({"attention": "additive"}),
    "temperature 10": Change({"temperature": 10.0}),
    "temperature 1": Change({"temperature": 1.0}),
    "temperature 1, three heads (the paper's scores)": Change({"temperature": 1.0, "n_heads": 3}),
    "no weight of a cell's own that is learnt (self_rate=0)": Change({"self_rate": 0.0}),
    "a tenth of the molecules hidden in training": Change({"hide_rate": 0.1}),
    "no running average of the weights": Change({"averaging": 0.0}),
    "no dropout of hidden units": Change({"dropout_rate": 0.0}),
    "a fifth of the hidden units dropped": Change({"dropout_rate": 0.2}),
    "steps of 64 cells": Change({"batch_size": 64}),
    "negative binomial": Change({"loss": "negative_binomial"}),
} | halved_and_doubled()


def losses(path: Path, change: Change, *, rate: float, seed: int) -> dict[str, float]:
    """Poisson loss on the hidden molecules of the cells and genes that pass quality control on the rest.

    By estimate, and that of the mean of each gene.
    """
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
        mock.patch.object(_covarying, "MOST", _covarying.MOST if change.has_covarying else 0),
        mock.patch.object(_prior_fit, "FANO_FACTORS", _prior_fit.FANO_FACTORS if change.has_fano else NONE),
        mock.patch.object(_prior_fit, "AVERAGE_WEIGHTS", _prior_fit.AVERAGE_WEIGHTS if change.has_average else NONE),
        mock.patch.object(_prior_fit, "HINTS", _prior_fit.HINTS if change.has_hints else np.array([np.inf])),
    ):
        if change.has_graph:
            imputer = gi.tl.fit(kept, config=config, rng=seed, progress=False)
            distances = kept.obsp["gnnimpute_neighbors_distances"]
            graph = gi.NeighborGraph.from_sparse(distances, nearest="smallest")
        else:
            graph = gi.NeighborGraph(np.arange(len(cells))[:, None])
            imputer = gi.GNNImputer(config).fit(kept.layers["counts"], graph, rng=seed, progress=False)
    found = dict.fromkeys((*ESTIMATES, GENE_MEAN), 0.0)
    seen = kept.layers["counts"]
    total, share = np.asarray(seen.sum(1)), np.asarray(seen.sum(0)) / seen.sum()
    for start in range(0, len(cells), BLOCK):
        rows = np.arange(start, min(start + BLOCK, len(cells)))
        for estimate in found:
            values = total[rows] * share if estimate == GENE_MEAN else imputer.transform(
                seen, graph, cells=rows, estimate=estimate, output="counts"
            )  # fmt: skip
            judged = gi.metrics.score_cells(hold_out, values, cells=cells[rows], genes=genes)
            found[estimate] += float(judged.sum()) / len(cells)
    return found


def row(name: str, lost: dict[str, list[float]]) -> str:
    """A line of the table."""
    cells = [f"{np.mean(w):+.1f} ± {np.ptp(w) / 2:.1f}" for w in lost.values()]
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
        print(f"\n{path.stem}, {args.hide:.0%} hidden, {args.seeds} seeds: % of the gain over the gene mean lost\n")
        print(f"| changed | {' | '.join(ESTIMATES)} |\n|{'---|' * (1 + len(ESTIMATES))}")
        for name, taken in {"the gene mean: the loss": [GENE_MEAN] * 2, "nothing: the loss": ESTIMATES}.items():
            means = " | ".join(f"{np.mean([one[estimate] for one in default]):.5f}" for estimate in taken)
            print(f"| {name} | {means} |", flush=True)
        for name in args.changes:
            found = [losses(path, CHANGES[name], rate=args.hide, seed=seed) for seed in range(args.seeds)]
            lost = {
                estimate: [100 * (a[estimate] - b[estimate]) / (b[GENE_MEAN] - b[estimate])
                           for a, b in zip(found, default, strict=True)]
                for estimate in ESTIMATES
            }  # fmt: skip
            print(row(name, lost), flush=True)


if __name__ == "__main__":
    main()
