# /// script
# requires-python = ">=3.11,<3.12"
# dependencies = [
#   "scvi-tools==1.4.2",
#   "torch==2.13.0",
#   "anndata==0.12.19",
# ]
#
# [tool.gnnimpute.methods]
# "scVI" = []
# "scVI, default" = ["--budget", "default"]
# ///
"""scVI (Lopez et al., Nature Methods 2018): a variational autoencoder of counts, with the defaults of scvi-tools.

Its own number of epochs is 400 for up to 20,000 cells, stopped by nothing: `--budget default`. The budget here is
2000 steps of 128 cells, at least 20 and at most 400 epochs, and ends before when a tenth of the epochs has passed
without a better validation ELBO. The best ELBO and its epoch are recorded, to tell whether the budget was enough.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parent / "shared"))
from peer_adapter import THREADS, Answer, command, run, totals

if TYPE_CHECKING:
    import argparse

    import anndata

BATCH = 128
TRAIN_SHARE = 0.9
STEPS = 2000
DRAWS = 10


def budget(n_cells: int) -> dict[str, Any]:
    """Length of training: a number of steps in whole epochs, or less where the validation ELBO stops improving."""
    epochs = min(max(math.ceil(STEPS / math.ceil(n_cells * TRAIN_SHARE / BATCH)), 20), 400)
    patience = max(5, epochs // 10)
    return {"max_epochs": epochs, "early_stopping": True, "early_stopping_patience": patience}


def impute(counts: anndata.AnnData, arguments: argparse.Namespace) -> Answer:
    """Train, and average the expected shares of genes over draws from the posterior."""
    import numpy as np
    import scvi
    import torch

    torch.set_num_threads(THREADS)
    scvi.settings.seed = arguments.seed
    scvi.model.SCVI.setup_anndata(counts)
    model = scvi.model.SCVI(counts)
    length = budget(counts.n_obs) if arguments.budget == "stated" else {}
    # The share of training cells is the default: where it is given, a last batch of one cell, which fails, is kept.
    settings = {"batch_size": BATCH, "accelerator": "cpu", **length}
    model.train(**settings, enable_progress_bar=False)
    share = np.zeros(counts.shape, dtype=np.float32)
    for _ in range(DRAWS):  # all at once would hold all draws of all cells in memory
        share += model.get_normalized_expression(library_size=1, return_numpy=True) / DRAWS
    trained = {"train_size": TRAIN_SHARE, "budget": arguments.budget, "draws": DRAWS}
    trained["epochs"] = len(model.history["elbo_train"])
    if "elbo_validation" in model.history:
        elbo = model.history["elbo_validation"].to_numpy().astype(float).ravel()
        trained |= {"best_validation_elbo": float(elbo.min()), "best_epoch": int(elbo.argmin()) + 1}
    mean = share * totals(counts).astype(np.float32)
    return Answer(mean=mean, version=scvi.__version__, settings=settings | trained)


if __name__ == "__main__":
    parser = command(__doc__)
    parser.add_argument("--budget", choices=["stated", "default"], default="stated")
    run(__file__, impute, parser)
