"""Do intervals hold what they should? Coverage of held-out molecules by their predicted distributions, blind.

    python benchmarks/accuracy/intervals.py FILES... [--hide 0.1 0.5 0.8] [--seeds 1]

A share of the molecules of each file is taken out before anything else. What the rest predicts of them is negative
binomial (`GNNImputer.further`); the table says which share of the held-out counts lies in its central intervals.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import anndata
import numpy as np
import scipy.sparse as sp

import gnnimpute as gi

LEVELS = (0.5, 0.8, 0.95)
BLOCK = 256  # cells judged at a time


def coverages(path: Path, *, rate: float, seed: int) -> dict[str, dict[float, float]]:
    """Shares of held-out counts in intervals: of all entries, and of those where a molecule or more is expected."""
    adata = anndata.read_h5ad(path)
    counts = sp.csr_matrix(adata.layers.get("counts", adata.X))
    hold_out = gi.metrics.HoldOut.thin(counts, rate, rng=seed)
    adata = anndata.AnnData(hold_out.train, obs=adata.obs[[]].copy(), var=adata.var[[]].copy())
    gi.pp.prepare(adata, rng=seed)
    imputer = gi.tl.fit(adata, rng=seed)
    cells, genes = (np.flatnonzero(frame["gnnimpute_pass"]) for frame in (adata.obs, adata.var))
    kept = hold_out.train[cells][:, genes]
    graph = gi.NeighborGraph.from_sparse(
        adata.obsp["gnnimpute_neighbors_distances"][cells][:, cells], nearest="smallest"
    )
    judged = {"all": {}, "1 or more, randomised": {"least": 1.0}, "1 or more": {"least": 1.0, "randomized": False}}
    sums = {name: dict.fromkeys(LEVELS, 0.0) for name in judged}
    entries = dict.fromkeys(judged, 0)
    for start in range(0, len(cells), BLOCK):
        rows = np.arange(start, min(start + BLOCK, len(cells)))
        mean, size = imputer.further(kept, graph, cells=rows, exposure=rate / (1 - rate))
        for name, how in judged.items():
            n = int((mean >= how.get("least", 0)).sum())
            entries[name] += n
            chosen = {"cells": cells[rows], "genes": genes, "levels": LEVELS, "rng": start}
            for level, share in gi.metrics.score_coverage(hold_out, mean, size, **chosen, **how).items():
                sums[name][level] += n * share if n else 0.0
    return {name: {level: total / entries[name] for level, total in part.items()} for name, part in sums.items()}


def main() -> None:
    """Print a row for each file, seed and share."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path, help="h5ad files with counts in layers['counts'] or X")
    parser.add_argument("--hide", nargs="+", type=float, default=[0.1, 0.5, 0.8], help="shares that are hidden")
    parser.add_argument("--seeds", type=int, default=1, help="number of seeds, from 0 (default 1)")
    args = parser.parse_args()
    print(f"| data | seed | hidden | expected held-out count | {' | '.join(f'{level:.0%}' for level in LEVELS)} |")
    print(f"|{'---|' * (4 + len(LEVELS))}")
    for path in args.files:
        for seed in range(args.seeds):
            for rate in args.hide:
                for name, shares in coverages(path, rate=rate, seed=seed).items():
                    values = " | ".join(f"{share:.1%}" for share in shares.values())
                    print(f"| {path.stem} | {seed} | {rate:.0%} | {name} | {values} |", flush=True)


if __name__ == "__main__":
    main()
