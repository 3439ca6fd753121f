"""The experiments of the paper. Each has `compute` (fills a CSV), `draw` and `report` (from the CSV alone)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from experiments import attention, clusters, curves, error, headline, markers, splatter
from experiments.shares import Dropout, Labels

if TYPE_CHECKING:
    from pathlib import Path

    from experiments.reports import Report

EXPERIMENTS: dict[str, Any] = {
    "headline": headline,
    "curves": curves,
    "dropout": Dropout,
    "labels": Labels,
    "attention": attention,
    "clusters": clusters,
    "markers": markers,
    "splatter": splatter,
    "error": error,
}


def finish(name: str, out: Path) -> Report:
    """Draw the figure of an experiment and say what it found, from its CSV."""
    experiment, path = EXPERIMENTS[name], out / f"{name}.csv"
    experiment.draw(path, path.with_suffix(".png"))
    return experiment.report(path)
