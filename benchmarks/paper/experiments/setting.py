"""What all experiments of one run share: where data are, where results go, and what networks may cost."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gnnimpute import Config
from gnnimpute._labelled import LABELLED
from gnnimpute._methods import PAPER_BUDGET

if TYPE_CHECKING:
    from pathlib import Path

OURS, PAPER = "gnnimpute", "gnnimpute, paper"

SHORT = Config.paper(**PAPER_BUDGET)
"""The paper's network with a budget for two cores, the same for every number of heads: the authors' learning rate
instead of 1e-4, steps of an eighth of the cells instead of all, and few epochs instead of 3000."""

MOST_CELLS = 5000
"""Data with more cells are left out with this budget, and in blind comparisons."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """Options of a run."""

    out: Path
    """Folder of the results."""
    data: Path | None = None
    """Folder of the data; what is not in it is downloaded, or simulated."""
    n_seeds: int | None = None
    """Number of seeds; by default that of each experiment."""
    epochs: int | None = None
    """Most epochs of every network; by default those of its settings."""
    peers: Path | None = None
    """Folder of adapters of other methods."""
    methods: tuple[str, ...] | None = None
    """Names of the methods in blind comparisons; by default all, and of ours in `dropout` and `splatter` few."""
    threads: int = 2
    jobs: int = 1
    """Labelled networks that are trained side by side, in processes of their own, where an experiment has several."""
    time_limit: float = 600
    """Seconds of each method in blind comparisons."""
    sim_cells: int | None = None
    """Cells of simulated sets; by default fewer than the paper's 4000."""
    sim_genes: int = 20_000
    full: bool = False
    """Train and simulate as published."""
    retry: bool = False
    """Do again what failed or timed out."""

    def seeds(self, default: int = 1) -> range:
        """Seeds of an experiment."""
        return range(default if self.n_seeds is None else self.n_seeds)

    def networks(self) -> dict[str, Config]:
        """Our network and the paper's."""
        return {OURS: self._limited(LABELLED), PAPER: self.paper()}

    def ours(self) -> Config:
        """The default of the package."""
        return self._limited(Config())

    def paper(self, **changes: object) -> Config:
        """The paper's network.

        Parameters
        ----------
        **changes
            Settings that are to differ.
        """
        return self._limited(replace(Config.paper() if self.full else SHORT, **changes))

    def _limited(self, config: Config) -> Config:
        return config if self.epochs is None else replace(config, n_epochs=self.epochs)
