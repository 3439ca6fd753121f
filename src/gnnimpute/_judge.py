"""One hold-out of one data set: every method gets what is left of it, and is judged by what is not."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from gnnimpute import metrics
from gnnimpute._blind import visible
from gnnimpute._exchange import About, reading_answer, write_counts
from gnnimpute._marks import say_passed
from gnnimpute._paired import LOSS
from gnnimpute._results import settings_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import pandas as pd
    import scipy.sparse as sp
    from anndata import AnnData
    from numpy.typing import NDArray

    from gnnimpute._peers import Method
    from gnnimpute._results import Row

Scores = dict[str, dict[str, metrics.Interval]]
"""Metrics of each estimate."""

JUDGED_BY = {"thin": "poisson_deviance", "mask": "mse"}
"""Metric that methods are ranked by under each protocol; lower is better."""


class Protocol(NamedTuple):
    """What is hidden, before quality control and everything else."""

    kind: Literal["thin", "mask"]
    """``thin``: each molecule, with this probability. ``mask``: this share of each gene's non-zeros."""
    rate: float

    def __str__(self) -> str:
        return f"{self.kind} {self.rate:g}"

    def hide(self, counts: sp.csr_matrix, seed: int) -> metrics.HoldOut:
        """The hold-out of a seed."""
        make = metrics.HoldOut.thin if self.kind == "thin" else metrics.HoldOut.mask
        return make(counts, self.rate, rng=seed)


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What a method may use."""

    time_limit: float = 1200.0
    """Seconds after which it is killed."""
    threads: int = 2
    """Threads that it is told to use."""


@dataclass(frozen=True, eq=False)
class Case:
    """What every method gets, and what judges it."""

    adata: AnnData
    """Names, and in `X` the counts that are not hidden, of the cells and genes that pass quality control on these."""
    hold_out: metrics.HoldOut
    cells: NDArray[np.int64]
    """Positions of the cells of `adata` in `hold_out`."""
    genes: NDArray[np.int64]
    """Positions of the genes of `adata` in `hold_out`."""
    protocol: Protocol
    seed: int
    quality: Mapping[str, Any]
    """Limits of quality control that differ from the defaults."""

    @classmethod
    def make(cls, adata: AnnData, protocol: Protocol, *, seed: int, quality: Mapping[str, Any] | None = None) -> Case:
        """Hide first, then do everything else with what is left.

        Parameters
        ----------
        adata
            Names, and raw counts in `X`.
        protocol
            What is hidden.
        seed
            Seed of the hiding.
        quality
            Limits of :func:`gnnimpute.pp.prepare` that differ from its defaults.

        Raises
        ------
        ValueError
            If these are no counts, or nothing passes quality control.
        """
        from anndata import AnnData

        hold_out = protocol.hide(adata.X, seed)
        quality = dict(quality or {})
        kept, cells, genes, passed = visible(adata, hold_out.train, quality=quality, n_pcs=None)
        say_passed(passed, "the others are left out")
        plain = AnnData(kept.X, obs=kept.obs[[]].copy(), var=kept.var[[]].copy())
        return cls(plain, hold_out, cells, genes, protocol, seed, quality)

    def rows(
        self,
        method: Method,
        folder: Path,
        *,
        budget: Budget,
        tick: Callable[[], None] = lambda: None,
        keep: Callable[[pd.Index, dict[str, NDArray[np.float64]]], None] | None = None,
    ) -> list[Row]:
        """Run a method and judge it: a row for each estimate and metric, or one that says what went wrong.

        Parameters
        ----------
        method
            What to run.
        folder
            Where it may write; it is left as it was.
        budget
            Time and threads that it may use.
        tick
            Called a few times a second while it runs.
        keep
            Given names of cells, and their losses under each estimate; molecules must be hidden, not non-zeros.
        """
        source, out = folder / "in.h5ad", folder / "out.h5ad"
        about, scores = About(), Scores()
        write_counts(self.adata, source)
        try:
            outcome = method.run(
                self.adata, source, out, seed=self.seed, time_limit=budget.time_limit, threads=budget.threads, tick=tick
            )
            if outcome.status == "ok":
                about, scores = self._scored(out)
                if keep is not None:
                    keep(self.adata.obs_names, self._cell_losses(out))
        except ValueError as error:  # a result that cannot be judged
            outcome = outcome._replace(status="failed", message=str(error))
        finally:
            for path in (source, out):
                path.unlink(missing_ok=True)
        asked = {"arguments": list(method.arguments), "threads": budget.threads, "quality": self.quality}
        settings = settings_of({"settings": about.settings}) | asked
        common = {
            "seconds": outcome.seconds,
            "peak_gb": outcome.peak_gb,
            "version": about.version,
            "settings": json.dumps(settings),
            "status": outcome.status,
            "message": outcome.message or about.note,
            "n_cells": len(self.cells),
            "n_genes": len(self.genes),
        }
        return [common | row for row in _numbers(scores)]

    def _cell_losses(self, out: Path) -> dict[str, NDArray[np.float64]]:
        with reading_answer(out, self.adata) as answer:
            return {
                name: metrics.score_cells(self.hold_out, values, loss=LOSS, cells=self.cells, genes=self.genes)
                for name, values in answer.estimates.items()
            }

    def _scored(self, out: Path) -> tuple[About, Scores]:
        with reading_answer(out, self.adata) as answer:
            scores = {
                name: metrics.score(self.hold_out, values, cells=self.cells, genes=self.genes, rng=self.seed)
                for name, values in answer.estimates.items()
            }
        return answer.about, scores


def failed(error: Exception, method: Method) -> list[Row]:
    """The row of a method that was not run, because there is nothing to run it on."""
    common = {"settings": json.dumps({"arguments": list(method.arguments)}), "status": "failed", "message": str(error)}
    numbers = {"seconds": float("nan"), "peak_gb": float("nan"), "n_cells": 0, "n_genes": 0}
    return [common | numbers | {"version": ""} | row for row in _numbers({})]


def told(rows: list[Row], protocol: Protocol) -> str:
    """How a run went, in a line."""
    first = rows[0]
    if first["status"] == "absent":
        return f"absent. To install it: {first['message'] or 'see its adapter'}"
    spent = f"{first['seconds']:.1f} s" + ("" if np.isnan(first["peak_gb"]) else f", {first['peak_gb']:.1f} GB")
    if first["status"] != "ok":
        return f"{first['status']}: {first['message']}" + ("" if np.isnan(first["seconds"]) else f" ({spent})")
    metric = JUDGED_BY[protocol.kind]
    values = {row["estimate"]: row["value"] for row in rows if row["metric"] == metric}
    names = "; ".join(f"{name} {value:.4g}" if len(values) > 1 else f"{value:.4g}" for name, value in values.items())
    return f"{metric} {names} ({spent})"


def _numbers(scores: Scores) -> list[Row]:
    """Estimate, metric, value and interval; a run without scores has one row without."""
    nothing = {"estimate": "", "metric": "", **metrics.Interval(*[float("nan")] * 3)._asdict()}
    return [
        {"estimate": estimate, "metric": metric, **interval._asdict()}
        for estimate, by_metric in scores.items()
        for metric, interval in by_metric.items()
    ] or [nothing]
