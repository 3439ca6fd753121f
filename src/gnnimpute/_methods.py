"""Methods that come with the package, each a command: ``python -m gnnimpute._methods NAME IN OUT --seed S``."""

from __future__ import annotations

import argparse
import json
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gnnimpute import _controls
from gnnimpute._config import Config
from gnnimpute._exchange import MEAN, About, fill_by_rows, write_answer
from gnnimpute._quality import WITHOUT_LIMITS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from anndata import AnnData

    from gnnimpute._config import Estimate
    from gnnimpute._controls import Control
    from gnnimpute._exchange import Fill

GENE_MEAN = "gene mean"
"""The control that figures measure others by."""
DETECTED = "gnnimpute, detected"
PAPER = "gnnimpute, paper"
PAPER_BUDGET: dict[str, Any] = {"n_epochs": 10, "patience": 10, "learning_rate": 1e-3, "batch_size": 0}
"""Training of the paper's network that ends on a laptop: mini-batches, and the learning rate of the authors' code. The
paper's own takes up to 3000 steps over all cells at a tenth of that rate: hours without a GPU."""

CONTROLS: dict[str, Callable[..., Control]] = {
    "no imputation": _controls.no_imputation,
    GENE_MEAN: _controls.gene_mean,
    "mean of non-zeros": _controls.nonzero_mean,
    "PCA": _controls.pca,
    "neighbour mean": _controls.neighbor_mean,
    "neighbour and gene mean": _controls.neighbor_and_gene_mean,
    "neighbour mean of non-zeros": _controls.neighbor_nonzero_mean,
}
OURS = ("gnnimpute", DETECTED, "gnnimpute, no graph", PAPER)
NAMES = (*OURS, *CONTROLS)


class Made(NamedTuple):
    """What a method made of counts."""

    estimates: dict[str, Fill]
    settings: dict[str, Any]
    note: str = ""


def impute(name: str, adata: AnnData, *, seed: int, changes: Mapping[str, Any] | None = None) -> Made:
    """Run a method on raw counts in `X`; what takes memory is made when it is written.

    Parameters
    ----------
    name
        One of `NAMES`.
    adata
        Cells and genes that passed quality control.
    seed
        Seed of whatever is random.
    changes
        Settings of our networks that are not those of `Config`, and of the paper's network not those of `PAPER_BUDGET`.
    """
    if name in CONTROLS:
        control = CONTROLS[name](adata.X, seed)
        return Made({MEAN: partial(fill_by_rows, control.rows)}, control.settings)
    changes = dict(changes or {})
    if name == PAPER:
        config = Config.paper(**(PAPER_BUDGET | changes))
        note = "a shorter training than the paper's: see the settings"
        return _ours(adata, config, ("mean", "detected"), seed)._replace(note=note)
    if name == DETECTED:
        return _ours(adata, Config.detected(**changes), ("detected",), seed)
    if name == "gnnimpute":
        return _ours(adata, Config(**changes), ("mean", "posterior"), seed)
    return _without_graph(adata, Config(**changes), seed)


def _ours(adata: AnnData, config: Config, estimates: Sequence[Estimate], seed: int) -> Made:
    """Each estimate from one training, as a user gets it."""
    import gnnimpute as gi

    gi.pp.prepare(adata, **vars(WITHOUT_LIMITS), rng=seed)
    imputer = gi.tl.fit(adata, config=config, rng=seed, progress=False)
    taken: dict[str, Any] = {"imputer": imputer, "output": "counts", "rng": seed, "progress": False}
    fills: dict[str, Fill] = {
        estimate: partial(_fill, partial(gi.tl.impute, adata, estimate=estimate, **taken)) for estimate in estimates
    }
    return Made(fills, config.to_dict() | {"best_epoch": imputer.best_epoch_})


def _without_graph(adata: AnnData, config: Config, seed: int) -> Made:
    """Ablation: the same network, where each cell attends to itself alone."""
    import gnnimpute as gi

    alone = gi.NeighborGraph(np.arange(adata.n_obs)[:, None])
    imputer = gi.GNNImputer(config).fit(adata.X, alone, rng=seed, progress=False)
    write = partial(imputer.transform, adata.X, alone, output="counts")
    return Made({MEAN: partial(_fill, write)}, config.to_dict() | {"best_epoch": imputer.best_epoch_})


def _fill(write: Callable[..., object], array: Any) -> None:
    write(out=array)


def main(arguments: Sequence[str] | None = None) -> None:
    """Read counts, run one method, write its estimates."""
    import anndata

    parser = argparse.ArgumentParser(prog="python -m gnnimpute._methods", description=main.__doc__)
    parser.add_argument("name", choices=NAMES, metavar="NAME", help=f"one of: {'; '.join(NAMES)}")
    parser.add_argument("source", type=Path, metavar="IN.h5ad", help="raw counts in X, after quality control")
    parser.add_argument("out", type=Path, metavar="OUT.h5ad", help="file to write")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--config", type=json.loads, help="settings of our networks to change, as JSON")
    chosen = parser.parse_args(arguments)
    adata = anndata.read_h5ad(chosen.source)
    made = impute(chosen.name, adata, seed=chosen.seed, changes=chosen.config)
    about = About(version("gnnimpute"), json.dumps(made.settings | {"seed": chosen.seed}), made.note)
    write_answer(chosen.out, adata, estimates=made.estimates, about=about)


if __name__ == "__main__":
    main()
