"""PBMC with 10 % masked, five seeds: the number that the paper is known by."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from experiments import drawing
from experiments.data import PBMC, counts_of
from experiments.labelled import works
from experiments.published import GNNIMPUTE, HEADLINE, LOWER_IS_BETTER, METRICS
from experiments.reports import Report, averaged, beside
from experiments.rows import Rows, read
from experiments.setting import OURS, PAPER

if TYPE_CHECKING:
    from pathlib import Path

    from experiments.setting import Setting

TITLE = "PBMC, 10 % masked, labelled protocol"
N_SEEDS = 5


def compute(setting: Setting, path: Path) -> None:
    """A row for each network and seed; the paper's network at its full length only."""
    networks = setting.networks()
    if not setting.full:
        del networks[PAPER]
    counts_of(setting, PBMC)
    work = (works(setting, {"data": PBMC, "seed": seed}, networks) for seed in setting.seeds(N_SEEDS))
    Rows(path).each(chain.from_iterable(work), jobs=setting.jobs)


def draw(path: Path, out: Path) -> None:
    """A panel for each metric: networks by seed, and the published number as a line."""
    table = read(path)
    networks = list(dict.fromkeys(table["network"]))
    figure, axes = drawing.panels(1, 4, width=2.3)
    for ax, metric in zip(axes[0], METRICS, strict=True):
        for at, name in enumerate(networks):
            values = table[metric][table["network"] == name]
            color = drawing.BLUE if name == OURS else drawing.GREY
            ax.plot([at] * len(values), values, "o", color=color, alpha=0.6, label=f"{name}, each seed")
            ax.plot([at - 0.15, at + 0.15], [values.mean()] * 2, color=color, linewidth=2, label=f"{name}, mean")
        ax.axhline(HEADLINE[metric], color=drawing.ORANGE, linestyle="--", label=GNNIMPUTE)
        ax.set_xlim(-0.5, len(networks) - 0.5)
        ax.set_xticks([])
        ax.set_title(drawing.named(metric), fontsize="small")
        ax.margins(y=0.25)
    drawing.legend(figure, axes[0][0])
    drawing.save(figure, out)


def report(path: Path) -> Report:
    """Networks and the published number."""
    table = read(path)
    lines = []
    for name, part in table.groupby("network", sort=False):
        named = f"{name}: " if table["network"].nunique() > 1 else ""
        better = sum((part[m].mean() <= HEADLINE[m]) == (m in LOWER_IS_BETTER) for m in METRICS)
        lines.append(f"{named}{beside(part, HEADLINE)}; as good or better in {better} of 4, {len(part)} seeds.")
    return Report(" ".join(lines), averaged(table, ["network"], METRICS, published=[((GNNIMPUTE,), HEADLINE)]))
