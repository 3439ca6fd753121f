# /// script
# requires-python = ">=3.11,<3.12"
# dependencies = [
#   "scikit-learn==1.3.2",
#   "anndata==0.11.4",
#   "numpy==1.26.4",
#   "pandas==2.0.3",
#   "scipy==1.11.4",
# ]
#
# [tool.gnnimpute]
# sources = ["knn_smooth.py"]  # of commit 87132e68a7a85f787743e5124eb5b4cb6e2ce48c, version 2.1
# install = """git clone https://github.com/yanailab/knn-smoothing && \
#   python benchmarks/peers/install.py knn_smoothing --sources knn-smoothing"""
#
# [tool.gnnimpute.methods]
# "kNN-smoothing" = []
# ///
"""kNN-smoothing 2 (Wagner, Yan and Yanai, bioRxiv 217737), version 2.1: adds up the counts of the nearest cells.

A sum is over 32 cells as in the authors' example; 10 principal components and a dither of 0.03 are their defaults.
Each sum is brought back to the cell's own total.
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
    """Add up counts along their neighbours, and bring each cell back to its total."""
    import numpy as np
    from knn_smooth import knn_smoothing

    settings = {
        "k": min(32, counts.n_obs),
        "d": min(10, counts.n_vars, counts.n_obs - 1),
        "dither": 0.03,
    }
    sums = knn_smoothing(counts.X.toarray().T, **settings, seed=arguments.seed).T
    mean = sums * (totals(counts) / sums.sum(axis=1, keepdims=True, dtype=np.float64)).astype(np.float32)
    return Answer(mean=mean, version="2.1", settings=settings)


if __name__ == "__main__":
    run(__file__, impute, command(__doc__))
