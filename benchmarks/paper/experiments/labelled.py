"""The paper's protocol: mask, split the cells, train, judge the masked values of test cells."""

from __future__ import annotations

import json
import time
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

import gnnimpute as gi
from experiments.data import neighbors, values_of
from experiments.published import METRICS
from experiments.rows import CONFIG, Work
from gnnimpute._labelled import impute_labelled
from gnnimpute._methods import CONTROLS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import pandas as pd
    import scipy.sparse as sp

    from experiments.setting import Setting
    from gnnimpute._labelled import Labelled

CONTROL = ("mean of non-zeros", "neighbour mean of non-zeros")
"""Controls to show beside networks: they know no labels."""


class Case(NamedTuple):
    """What a network gets, and what judges it."""

    hold_out: gi.metrics.LabelledHoldOut
    graph: gi.NeighborGraph
    seed: int

    @classmethod
    def make(cls, values: sp.csr_matrix, *, rate: float = 0.1, train_fraction: float = 0.6, seed: int) -> Case:
        """Split the cells and mask; the graph is made of what is left.

        Parameters
        ----------
        values
            Normalised values, of shape (n_cells, n_genes).
        rate
            Share of each gene's non-zeros to mask.
        train_fraction
            Share of the cells that have labels.
        seed
            Seed of everything.
        """
        split = gi.metrics.split_cells(values.shape[0], train_fraction=train_fraction, rng=seed)
        hold_out = gi.metrics.LabelledHoldOut.mask(values, rate, split=split, rng=seed)
        return cls(hold_out, neighbors(hold_out.train, seed), seed)

    def train(self, config: gi.Config, *, curves: bool = False) -> Labelled:
        """Train a network; one that Ctrl-C ended before its time is no result."""
        made = impute_labelled(self.hold_out, self.graph, config=config, rng=self.seed, curves=curves)
        if made.interrupted:
            raise KeyboardInterrupt
        return made

    def imputed(self, config: gi.Config) -> np.ndarray:
        """What a network makes of all cells."""
        return self.train(config)[0]

    def judged(self, values: Any) -> dict[str, float]:
        """MSE, MAE, PCC and CS."""
        scores = gi.metrics.score(self.hold_out, values, n_resamples=0)
        return {name: scores[name].value for name in METRICS}

    def row(self, config: gi.Config) -> dict[str, Any]:
        """Numbers of a network."""
        started = time.perf_counter()
        made = self.train(config)
        return self.judged(made.values) | about(made, time.perf_counter() - started)


kept_values = lru_cache(maxsize=1)(values_of)
"""Of a data set; the last one is kept, for the next network."""


@lru_cache(maxsize=1)
def case_of(setting: Setting, data: str, seed: int, **how: float) -> Case:
    """The case of a data set, `how` as in :meth:`Case.make`; the last one is kept, for the next network."""
    return Case.make(kept_values(setting, data).normalized, seed=seed, **how)


def works(
    setting: Setting, key: dict[str, Any], networks: dict[str, gi.Config], controls: Iterable[str] = (), **how: float
) -> Iterator[Work]:
    """Rows of networks and controls on one case, whose data set and seed are in the key."""
    of_case = (setting, key["data"], key["seed"])
    for name, config in networks.items():
        yield Work(key | {"network": name}, partial(_judged_network, *of_case, config, **how), text(config))
    for name in controls:
        yield Work(key | {"network": name}, partial(_judged_control, *of_case, name, **how), "")


def _judged_network(setting: Setting, data: str, seed: int, config: gi.Config, **how: float) -> dict[str, Any]:
    return case_of(setting, data, seed, **how).row(config)


def _judged_control(setting: Setting, data: str, seed: int, name: str, **how: float) -> dict[str, float]:
    case = case_of(setting, data, seed, **how)
    return case.judged(control(case, name))


def control(case: Case, name: str) -> np.ndarray:
    """What a control makes of the masked values alone, of shape (n_cells, n_genes)."""
    made = CONTROLS[name](case.hold_out.train, case.seed)
    starts = range(0, case.graph.n_cells, 512)
    return np.concatenate([made.rows(slice(start, start + 512)).astype(np.float32) for start in starts])


def about(made: Labelled, seconds: float) -> dict[str, Any]:
    """How a training went."""
    epochs = len(made.history["validation"])
    return {"seconds": round(seconds, 1), "epochs": epochs, "best_epoch": made.best_epoch + 1,
            "n_parameters": made.n_parameters}  # fmt: skip


def text(config: gi.Config) -> str:
    """Settings in a column of a table."""
    return json.dumps(config.to_dict())


def budgets(table: pd.DataFrame, *, column: str = "network") -> str:
    """A sentence on how long each network was trained; empty if all were alike.

    Parameters
    ----------
    table
        Rows of an experiment, of networks and others.
    column
        Where the names are.
    """
    configs = {row[column]: json.loads(row[CONFIG]) for _, row in table.iterrows() if row[CONFIG].startswith("{")}
    said = {}
    for name, config in configs.items():
        said[name] = f"up to {config['n_epochs']} epochs"
        if config["patience"] < config["n_epochs"]:
            said[name] += f", stopped after {config['patience']} without a better one"
    if len({*said.values()}) < 2:
        return ""
    return f"Networks have different budgets: {'; '.join(f'`{name}` {epochs}' for name, epochs in said.items())}."
