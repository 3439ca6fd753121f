"""How many non-zeros of genes that few cells show are 1: nearly all in counts of molecules, few in counts of reads.

    python benchmarks/trust/single.py FILE...

Files as `gnnimpute info` reads them; tables of genes x cells with --orientation genes_by_cells.
"""

from __future__ import annotations

import argparse

import scipy.sparse as sp

import gnnimpute as gi
from gnnimpute._false_signal import single


def main() -> None:
    """Print a line for each file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", metavar="FILE")
    parser.add_argument("--orientation", choices=["cells_by_genes", "genes_by_cells"])
    args = parser.parse_args()
    for file in args.files:
        adata = gi.io.read(file, orientation=args.orientation)
        share, n_genes = single(sp.csr_matrix(adata.layers.get("counts", adata.X)))
        print(f"{file}: {share:.3f} of {n_genes:,} genes")


if __name__ == "__main__":
    main()
