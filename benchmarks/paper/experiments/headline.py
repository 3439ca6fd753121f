"""PBMC with 10 % masked, five seeds: the number that the paper is known by."""

from __future__ import annotations

from functools import cache, partial
from typing import TYPE_CHECKING

from experiments import drawing
from experiments.data import PBMC, values_of
from experiments.labelled import Cases
from experiments.published import GNNIMPUTE, HEADLINE, LOWER_IS_BETTER, METRICS
from experiments.reports import Report, averaged, beside
from experiments.rows import Rows, read
from experiments.setting import OURS

if TYPE_CHECKING:
    from pathlib import Path

    from experiments.setting import Setting

TITLE = "PBMC, 10 % masked, labelled protocol"
N_SEEDS = 5


def compute(setting: Setting, path: Path) -> None:
    """A row for each seed."""
    values = cache(lambda: values_of(setting, PBMC).normalized)
    cases = Cases(Rows(path))
    for seed in setting.seeds(N_SEEDS):
        key = partial(dict, data=PBMC, seed=seed)
        cases.network(key(network=OURS), values, setting.networks()[OURS], rate=0.1, seed=seed)


def draw(path: Path, out: Path) -> None:
    """A panel for each metric: ours by seed, and the published number as a line."""
    table = read(path)
    figure, axes = drawing.panels(1, 4, width=2.3)
    for ax, metric in zip(axes[0], METRICS, strict=True):
        ours = table[metric]
        ax.plot([0] * len(ours), ours, "o", color=drawing.BLUE, alpha=0.6, label=f"{OURS}, each seed")
        ax.plot([-0.15, 0.15], [ours.mean()] * 2, color=drawing.BLUE, linewidth=2, label="mean")
        ax.axhline(HEADLINE[metric], color=drawing.ORANGE, linestyle="--", label=GNNIMPUTE)
        ax.set_xlim(-0.5, 0.5)
        ax.set_xticks([])
        ax.set_title(drawing.named(metric), fontsize="small")
        ax.margins(y=0.25)
    drawing.legend(figure, axes[0][0])
    drawing.save(figure, out)


def report(path: Path) -> Report:
    """Ours and the published number."""
    table = read(path)
    better = [metric for metric in METRICS if (table[metric].mean() <= HEADLINE[metric]) == (metric in LOWER_IS_BETTER)]
    line = f"{beside(table, HEADLINE)}; as good or better in {len(better)} of 4, {len(table)} seeds."
    return Report(line, averaged(table, ["network"], METRICS, published=[((GNNIMPUTE,), HEADLINE)]))
