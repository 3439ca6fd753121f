"""Test groups that were found in the same counts, or in another part of them, where there are no groups.

    python benchmarks/trust/split.py --data FOLDER

All cells are alike: simulated ones, whose dispersion is known, and sorted B cells (Zheng) of which each gene is dealt
anew, to all cells alike. Depth is the same, since logs of normalised counts differ with it. Cells are cut in two by
k-means of the latent that imputation finds, and each of the 200 genes with the most molecules is tested between them on
the counts.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData
from scipy.stats import mannwhitneyu
from sklearn.cluster import KMeans

import gnnimpute as gi
from gnnimpute._check import most_expressed, normalized

sys.path.insert(0, str(Path(__file__).resolve().parent))
from jobs import read

if TYPE_CHECKING:
    from numpy.typing import NDArray

N_CELLS, N_GENES, N_TESTED = 600, 500, 200


def simulated(size: float, rng: np.random.Generator) -> AnnData:
    """Counts of cells that are alike, negative binomials of a size."""
    mean = np.broadcast_to(rng.lognormal(-1, 1.2, N_GENES), (N_CELLS, N_GENES))
    expression = mean if np.isinf(size) else rng.gamma(size, mean / size)
    return AnnData(sp.csr_matrix(rng.poisson(expression).astype(np.float32)))


def dealt(counts: sp.csr_matrix, rng: np.random.Generator) -> AnnData:
    """The molecules of each gene, dealt to the cells anew, all alike."""
    n_cells, n_molecules = counts.shape[0], np.asarray(counts.sum(axis=0), dtype=np.int64).ravel()
    return AnnData(sp.csr_matrix(rng.multinomial(n_molecules, np.full(n_cells, 1 / n_cells)).T.astype(np.float32)))


def found(adata: AnnData, *, seed: int, config: gi.Config | None) -> NDArray[np.int64]:
    """Two groups of the cells, by what imputation makes of them."""
    there = AnnData(adata.X.copy())
    gi.pp.prepare(there, min_genes=0, min_cells=0, max_mito_pct=None, max_total=None)
    gi.tl.impute(there, config=config, rng=seed, progress=False)
    groups: NDArray[np.int64] = KMeans(2, n_init=5, random_state=0).fit_predict(there.obsm["gnnimpute"])
    return groups


def false(adata: AnnData, groups: NDArray[np.int64]) -> float:
    """Share of genes with p < 0.05 between the groups."""
    genes = most_expressed(adata.X, N_TESTED)
    values = normalized(adata.X)[:, genes].toarray()
    return float((mannwhitneyu(values[groups == 0], values[groups == 1]).pvalue < 0.05).mean())


def shares(adata: AnnData, *, seed: int, size: float | None, config: gi.Config | None = None) -> dict[str, float]:
    """Share of genes that seem to differ, by where the groups were found and tested."""
    rows = {"in the same counts": false(adata, found(adata, seed=seed, config=config))}
    ways: dict[str, Any] = {"in two parts": None}
    if size is not None and np.isfinite(size):
        ways["in two parts, with the dispersion"] = size
    for name, size_of_parts in ways.items():
        first, second = gi.pp.split_counts(adata, inverse_dispersion=size_of_parts, rng=seed)
        rows[name] = false(second, found(first, seed=seed, config=config))
    return rows


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="Folder of the data sets.")
    parser.add_argument("--seeds", type=int, default=5, help="Number of seeds.")
    args = parser.parse_args()
    rows = []
    adata = read(args.data, "PBMC_facs_zheng")
    b_cells = adata[adata.obs["subpop"] == "B cell"]
    for seed in range(args.seeds):
        rng = np.random.default_rng(seed)
        sets: dict[str, tuple[AnnData, float | None]] = {
            "simulated, Poisson": (simulated(np.inf, rng), np.inf),
            "simulated, size 2": (simulated(2.0, rng), 2.0),
            "simulated, size 0.5": (simulated(0.5, rng), 0.5),
            "B cells, genes dealt anew": (dealt(sp.csr_matrix(b_cells.X), rng), None),
        }
        rows += [{"set": name, **shares(one, seed=seed, size=size)} for name, (one, size) in sets.items()]
    table = pd.DataFrame(rows).groupby("set", sort=False).agg(["mean", "std"])
    print(table.to_string(float_format="{:.3f}".format))


if __name__ == "__main__":
    main()
