# /// script
# requires-python = ">=3.11,<3.12"
# dependencies = [
#   "magic-impute==3.0.0",
#   "graphtools==1.5.3",
#   "scprep==1.2.3",
#   "anndata==0.11.4",
#   "numpy==1.26.4",
#   "pandas==2.0.3",
#   "scikit-learn==1.3.2",
#   "scipy==1.11.4",
# ]
#
# [tool.gnnimpute.methods]
# "MAGIC" = []
# "MAGIC, normalised" = ["--scale", "normalised"]
# ///
"""MAGIC (van Dijk et al., Cell 2018): smooths cells along a graph of their neighbours, with its defaults.

The authors' tutorials scale each cell to one total and take square roots first; what MAGIC gives is squared again.
`--scale normalised` leaves the square root out.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parent / "shared"))
from peer_adapter import Answer, command, run, totals

if TYPE_CHECKING:
    import argparse

    import anndata


def impute(counts: anndata.AnnData, arguments: argparse.Namespace) -> Answer:
    """Normalise, smooth, and bring each cell back to its total."""
    import magic
    import numpy as np

    total = totals(counts)
    target = float(np.median(total))
    normalised = counts.X.multiply(target / total).tocsr()
    operator = magic.MAGIC(solver="exact", n_jobs=1, random_state=arguments.seed, verbose=0)
    given = operator.fit_transform(normalised.sqrt() if arguments.scale == "sqrt" else normalised, genes="all_genes")
    dense = np.asarray(given.todense() if hasattr(given, "todense") else given)
    mean = np.square(dense) if arguments.scale == "sqrt" else np.maximum(dense, 0)
    chosen = {name: getattr(operator, name) for name in ("knn", "knn_max", "decay", "t", "n_pca", "solver")}
    settings = chosen | {"scale": arguments.scale, "target": target}
    return Answer(mean=(mean * (total / target)).astype(np.float32), version=magic.__version__, settings=settings)


if __name__ == "__main__":
    parser = command(__doc__)
    parser.add_argument("--scale", choices=["sqrt", "normalised"], default="sqrt")
    run(__file__, impute, parser)
