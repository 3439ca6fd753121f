"""Genes that share molecules: reads that fit two genes and were counted for both.

    python benchmarks/accuracy/twins.py IN.h5ad OUT.h5ad [--correlation 0.8]

A molecule that is hidden from one of such twins is still there in the other, so that a method which predicts each gene
from all others is told what it is asked. OUT is IN without the later gene of each pair whose counts, as shares of the
cell, correlate by more than `--correlation` across cells: `gnnimpute benchmark OUT.h5ad` then compares methods without
that leak.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import scipy.sparse as sp

import gnnimpute as gi

LEAST_MEAN = 0.5
"""Molecules that a gene has in a cell, on average; below, a correlation is chance and few molecules depend on it."""


def twins(counts: sp.csr_matrix, correlation: float) -> np.ndarray:
    """Positions of pairs of genes, of shape (n_pairs, 2), the first before the second.

    Parameters
    ----------
    counts
        Molecule counts, of shape (n_cells, n_genes).
    correlation
        Pearson correlation of their shares of the cell, above which two genes are twins.
    """
    total = np.asarray(counts.sum(1)).ravel()
    seen = np.flatnonzero(np.asarray(counts.mean(0)).ravel() >= LEAST_MEAN)
    shares = counts[:, seen].toarray() / np.maximum(total, 1)[:, None]
    pairs = np.argwhere(np.triu(np.nan_to_num(np.corrcoef(shares.T)), 1) > correlation)
    return seen[pairs]


def main() -> None:
    """Write the data without twins, and print them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, metavar="IN.h5ad")
    parser.add_argument("out", type=Path, metavar="OUT.h5ad")
    parser.add_argument("--correlation", type=float, default=0.8)
    args = parser.parse_args()
    adata = gi.io.read(args.source)
    counts = sp.csr_matrix(adata.layers.get("counts", adata.X))
    pairs = twins(counts, args.correlation)
    for first, second in pairs:
        equal = (counts[:, first] != counts[:, second]).nnz
        print(
            f"{adata.var_names[first]}  {adata.var_names[second]}  equal in {1 - equal / adata.n_obs:.0%} of the cells"
        )
    gi.io.write(adata[:, np.setdiff1d(np.arange(adata.n_vars), pairs[:, 1])].copy(), args.out, key=None)
    print(f"{len(pairs)} pairs; {len(np.unique(pairs[:, 1]))} of {adata.n_vars:,} genes left out")


if __name__ == "__main__":
    main()
