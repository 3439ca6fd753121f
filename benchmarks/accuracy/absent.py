"""A saved model on counts that lack some of its genes: the others are to be imputed as if all were there.

    python benchmarks/accuracy/absent.py FILES...

A model is fitted to all genes; then it imputes the same cells without the most expressed genes, or without genes drawn
at random. For what is left, at the depth of the cells: the share of the molecules, how far all values and those of
single cells are from what the model says with all genes there, and the correlation of log1p.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import gnnimpute as gi

if TYPE_CHECKING:
    from collections.abc import Iterator

    import scipy.sparse as sp
    from numpy.typing import NDArray

HIGHEST = 50
SHARES = (0.5, 0.9)
"""Of the genes, that are missing."""


def absent(counts: sp.csr_matrix) -> Iterator[tuple[str, NDArray[np.int64]]]:
    """Which genes are missing."""
    n_genes = counts.shape[1]
    yield f"{HIGHEST} highest", np.argsort(-np.asarray(counts.sum(0)).ravel())[:HIGHEST]
    order = np.random.default_rng(0).permutation(n_genes)
    for share in SHARES:
        yield f"{share:.0%} at random", order[: round(share * n_genes)]


def rows(path: Path) -> Iterator[list[str]]:
    """Lines of the table for a file."""
    adata = gi.io.read(path)
    gi.pp.prepare(adata, filter=True)
    imputer = gi.tl.fit(adata, progress=False)
    counts, names = adata.layers["counts"], adata.var_names.to_numpy(str)
    graph = gi.NeighborGraph.from_sparse(adata.obsp["gnnimpute_neighbors_distances"], nearest="smallest")
    for missing, genes in absent(counts):
        there = np.setdiff1d(np.arange(len(names)), genes)
        share = counts[:, there].sum() / counts.sum()
        for estimate in ("mean", "posterior"):
            asked = {"estimate": estimate, "output": "counts", "genes": names[there]}
            whole = imputer.transform(counts, graph, **asked)
            found = imputer.transform(counts[:, there], graph, names=names[there], **asked)
            cells = found.sum(1) / whole.sum(1) - 1
            alike = np.corrcoef(np.log1p(found).ravel(), np.log1p(whole).ravel())[0, 1]
            off = found.sum() / whole.sum() - 1
            yield [path.stem, missing, f"{share:.0%}", estimate, f"{off:+.1%}", f"{cells.std():.1%}", f"{alike:.3f}"]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path, help="files with raw counts in layers['counts'] or X")
    print("| data | missing | molecules left | estimate | all values | cells, sd | correlation |\n" + "|---" * 7 + "|")
    for path in parser.parse_args().files:
        for row in rows(path):
            print(f"| {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
