"""Figures 7 and 8: PBMC by masked and by labelled share."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from experiments import blind, drawing
from experiments.data import PBMC, counts_of
from experiments.labelled import CONTROL, budgets, works
from experiments.published import DROPOUT, GNNIMPUTE, LABELS, METRICS
from experiments.reports import Report, averaged, beside
from experiments.rows import Rows, read
from experiments.setting import OURS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from experiments.setting import Setting

RATES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
BLIND = "dropout_blind"
FRACTIONS = (0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1)


class Dropout:
    """How much worse it gets with more masked."""

    TITLE = "PBMC by masked share"

    @staticmethod
    def compute(setting: Setting, path: Path) -> None:
        """Networks and controls at each rate."""
        _fill(setting, path, [({"rate": rate}, {"rate": rate}) for rate in RATES], controls=CONTROL)
        if setting.peers is not None:
            data = {PBMC: counts_of(setting, PBMC)}
            blind.compare(setting, path.with_stem(BLIND), data=data, protocols=("mask",), rates=RATES,
                          ours=blind.FOR_NONZEROS)  # fmt: skip

    @staticmethod
    def draw(path: Path, out: Path) -> None:
        """A panel for each metric; blind comparisons, if there are, in a row of their own."""
        table, other = read(path), path.with_stem(BLIND)
        blindly = blind.wide(other) if other.exists() else table[:0]
        figure, axes = drawing.panels(2 if len(blindly) else 1, 4)
        styles = drawing.styles([*table["network"], *blindly["network"]])
        drawing.by_share(axes[0], table, x="rate", metrics=METRICS, styles=styles, published=DROPOUT)
        if len(blindly):
            drawing.by_share(axes[1], blindly, x="rate", metrics=METRICS, styles=styles)
            axes[0][0].set_ylabel("labelled")
            axes[1][0].set_ylabel("blind")
            axes[1][-1].legend(fontsize="xx-small", loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
        for ax in axes[-1]:
            ax.set_xlabel("% of non-zeros masked")
        drawing.legend(figure, axes[0][0])
        drawing.save(figure, out)

    @staticmethod
    def report(path: Path) -> Report:
        """All rates, labelled and blind; the line is about 60 %."""
        table = read(path)
        ours = table[(table["network"] == OURS) & (table["rate"] == RATES[-1])]
        published = [((name, f"{rate:g}"), some) for name, by in DROPOUT.items() for rate, some in by.items()]
        line = f"60 % masked: {beside(ours, DROPOUT[GNNIMPUTE][0.6])}."
        tables = averaged(table.sort_values(["network", "rate"], kind="stable"), ["network", "rate"], METRICS,
                          published=published, heads={"rate": "masked"})  # fmt: skip
        tables = [f"Labelled\n\n{tables}", budgets(table), blind.report(path.with_stem(BLIND), by="rate")]
        return Report(line, "\n\n".join(filter(None, tables)))


class Labels:
    """How much worse it gets with fewer labelled cells."""

    TITLE = "PBMC by labelled share of the cells"

    @staticmethod
    def compute(setting: Setting, path: Path) -> None:
        """Networks at each share."""
        _fill(setting, path, [({"labelled": share}, {"rate": 0.1, "train_fraction": share}) for share in FRACTIONS])

    @staticmethod
    def draw(path: Path, out: Path) -> None:
        """A panel for each metric."""
        figure, axes = drawing.panels(1, 4)
        table = read(path)
        drawing.by_share(axes[0], table, x="labelled", metrics=METRICS, styles=drawing.styles(table["network"]),
                         published={GNNIMPUTE: LABELS})  # fmt: skip
        for ax in axes[0]:
            ax.invert_xaxis()
            ax.set_xlabel("% of cells labelled")
        drawing.legend(figure, axes[0][0])
        drawing.save(figure, out)

    @staticmethod
    def report(path: Path) -> Report:
        """All shares; the line is about 10 %."""
        table = read(path)
        ours = table[(table["network"] == OURS) & (table["labelled"] == FRACTIONS[-1])]
        published = [((GNNIMPUTE, f"{share:g}"), some) for share, some in LABELS.items()]
        tables = averaged(table.sort_values(["network", "labelled"], ascending=[True, False], kind="stable"),
                          ["network", "labelled"], METRICS, published=published)  # fmt: skip
        return Report(f"10 % of the cells labelled: {beside(ours, LABELS[0.1])}.", tables)


def _fill(
    setting: Setting,
    path: Path,
    cases: Sequence[tuple[dict[str, float], dict[str, float]]],
    *,
    controls: Iterable[str] = (),
) -> None:
    """A row for each network, control and seed of each case: what it is called, and how it is made."""
    # The paper's network costs too much for every share.
    networks = setting.networks() if setting.full else {OURS: setting.networks()[OURS]}
    work = (
        works(setting, {"data": PBMC, **named, "seed": seed}, networks, controls, **how)
        for seed in setting.seeds() for named, how in cases
    )  # fmt: skip
    Rows(path).each(chain.from_iterable(work), jobs=setting.jobs)
