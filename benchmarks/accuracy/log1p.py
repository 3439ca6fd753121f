"""The error of Open Problems, and the estimate that answers what it asks for.

    python benchmarks/accuracy/log1p.py FILES... [--hide 0.1] [--seed 0]

Open Problems compares log1p of counts per 10,000 of the held-out molecules with that of an estimate. The log of an
expectation is too large for that, most of all where few molecules are held out: asked for is the expected log at that
depth, `GNNImputer.further_log1p`. Printed are the errors of both, the second also as it is, without the metric's own
scaling of every estimate to 10,000. `gnnimpute benchmark` has the same metric for all methods.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from anndata import AnnData

import gnnimpute as gi

BLOCK = 512  # cells judged at a time


def errors(path: Path, *, rate: float, seed: int) -> tuple[int, float, float, float]:
    """Number of cells, and the mean error of each."""
    adata = gi.io.read(path)
    counts = sp.csr_matrix(adata.layers.get("counts", adata.X))
    hold_out = gi.metrics.HoldOut.thin(counts, rate, rng=seed)
    kept = AnnData(hold_out.train, obs=adata.obs[[]].copy(), var=adata.var[[]].copy())
    gi.pp.prepare(kept, filter=True, rng=seed)
    cells, genes = adata.obs_names.get_indexer(kept.obs_names), adata.var_names.get_indexer(kept.var_names)
    imputer = gi.tl.fit(kept, rng=seed, progress=False)
    data = (kept.layers["counts"], gi.NeighborGraph.from_sparse(kept.obsp["gnnimpute_neighbors_distances"],
                                                                nearest="smallest"))  # fmt: skip
    held_out, sums = (counts - hold_out.train).tocsr()[cells][:, genes], np.zeros(3)
    for start in range(0, len(cells), BLOCK):
        rows = np.arange(start, min(start + BLOCK, len(cells)))
        log = imputer.further_log1p(*data, exposure=rate / (1 - rate), cells=rows).astype(np.float64)
        posterior = imputer.transform(*data, estimate="posterior", output="counts", cells=rows)
        truth = held_out[rows].toarray()
        seen = np.log1p(truth * (1e4 / np.maximum(truth.sum(1, keepdims=True), 1)))
        sums += len(rows) * np.array([
            gi.metrics.log1p_cp10k_mse(truth, posterior),
            gi.metrics.log1p_cp10k_mse(truth, np.expm1(log)),
            np.square(seen - log).mean(),
        ])  # fmt: skip
    return (len(cells), *(sums / len(cells)))


def main() -> None:
    """Print a row for each file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path, help="files with raw counts in layers['counts'] or X")
    parser.add_argument("--hide", type=float, default=0.1, help="share of the molecules (default 0.1)")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    print("| data | cells | posterior | expected log | expected log, as it is |\n|---|---|---|---|---|")
    for path in args.files:
        n_cells, *found = errors(path, rate=args.hide, seed=args.seed)
        print(f"| {path.stem} | {n_cells:,} | {' | '.join(f'{error:.4f}' for error in found)} |", flush=True)


if __name__ == "__main__":
    main()
