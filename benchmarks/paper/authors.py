"""The public code of the paper's authors, on the masked values that our networks get, beside the paper's numbers.

    git clone https://github.com/Lav-i/GNNImpute
    python benchmarks/paper/authors.py GNNImpute --data FOLDER --layer GCNConv --heads 1

Their model and their training loop, with the settings of their `api.py` (learning rate 1e-3, weight decay 5e-4, hidden
512, latent 50, patience 200), on PBMC with 10 % masked: the same entries, and the same cells to train, validate and
judge on, as in `run.py`. What their `adata2gdata` does is done here, since it calls functions that SciPy and scanpy no
longer have. Nothing of theirs is part of this repository. An epoch of GCNConv takes 5 s on a core, of GATConv with 3
heads three times as long.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from anndata import AnnData
from experiments.data import PBMC
from experiments.labelled import Case, case_of
from experiments.reports import markdown
from experiments.setting import Setting


def tensors(case: Case, kneighbor: Any) -> dict[str, torch.Tensor]:
    """What their training takes: scaled logs of the masked values, and all values of cells that are not judged."""
    train = case.hold_out.train
    total = np.asarray(train.sum(1)).ravel()
    size = total / np.median(total)
    logs = np.log1p((sp.diags(1 / size) @ train).toarray())
    deviation = logs.std(0, ddof=1)
    scaled = ((logs - logs.mean(0)) / np.where(deviation > 0, deviation, 1)).astype(np.float32)
    is_train, is_validation = np.zeros((2, case.graph.n_cells), dtype=bool)
    is_train[case.hold_out.split.train], is_validation[case.hold_out.split.validation] = True, True
    parts = {
        "x": scaled,
        "y": case.hold_out.labels.toarray(),  # test cells, which no loss is taken of, are empty
        "size_factors": size.astype(np.float32)[:, None],
        "adj": kneighbor(AnnData(scaled)).toarray().astype(np.float32),
        "train_mask": is_train,
        "val_mask": is_validation,
    }
    return {name: torch.from_numpy(part) for name, part in parts.items()}


def main() -> None:
    """Train, judge, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("code", type=Path, help="folder of their repository")
    parser.add_argument("--data", type=Path, required=True, help="folder of the data")
    parser.add_argument("--layer", choices=["GATConv", "GCNConv"], default="GATConv", help="their layers (%(default)s)")
    parser.add_argument("--heads", type=int, default=3, help="attention heads (%(default)s)")
    parser.add_argument("--epochs", type=int, default=3000, help="most epochs (%(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    sys.path.insert(0, str(given.code.resolve()))
    from GNNImpute.model import GNNImpute
    from GNNImpute.train import train
    from GNNImpute.utils import kneighbor

    np.random.seed(given.seed)  # noqa: NPY002 -- theirs
    torch.manual_seed(given.seed)
    case = case_of(Setting(out=Path(), data=given.data.resolve()), PBMC, given.seed)
    data = tensors(case, kneighbor)
    model = GNNImpute(data["x"].shape[1], h_dim=512, z_dim=50, layerType=given.layer, heads=given.heads)
    started, here = time.perf_counter(), Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)  # their training saves weights where it is run
        try:
            train(data, model, epochs=given.epochs)
        finally:
            os.chdir(here)
    with torch.no_grad():
        values = model(data["x"], data["adj"], data["size_factors"]).cpu().numpy()
    scores = {name: f"{value:.4f}" for name, value in case.judged(values).items()}
    seconds = f"{time.perf_counter() - started:.0f}"
    print(
        markdown(["network", *scores, "seconds"], [[f"{given.layer}, {given.heads} heads", *scores.values(), seconds]])
    )


if __name__ == "__main__":
    main()
