"""Figure 4: loss, PCC and CS during the training, on PBMC."""

from __future__ import annotations

import time
from functools import cache
from typing import TYPE_CHECKING

import pandas as pd

from experiments import drawing
from experiments.data import PBMC, values_of
from experiments.labelled import Case, budgets, text
from experiments.reports import Report, markdown
from experiments.rows import CONFIG, VERSION, read, version
from gnnimpute._atomic import replacing

if TYPE_CHECKING:
    from pathlib import Path

    from experiments.setting import Setting

TITLE = "Training curves on PBMC"
PANELS = {
    "loss": {"training": ("training", drawing.GREY), "validation": ("validation", drawing.BLUE)},
    "PCC": {"training_pcc": ("training", drawing.GREY), "pcc": ("validation", drawing.BLUE)},
    "CS": {"training_cs": ("training", drawing.GREY), "cs": ("validation", drawing.BLUE)},
}

COLUMNS = {"training": "training loss", "validation": "validation loss", "mse": "MSE", "mae": "MAE", "pcc": "PCC",
           "cs": "CS", "training_pcc": "PCC, training cells", "training_cs": "CS, training cells"}  # fmt: skip
"""What the table shows of an epoch, under which heading."""


def compute(setting: Setting, path: Path) -> None:
    """A row for each network and epoch."""
    case = cache(lambda: Case.make(values_of(setting, PBMC).normalized, rate=0.1, seed=0))
    known = read(path) if path.exists() else pd.DataFrame(columns=["network", CONFIG])
    for name, config in setting.networks().items():
        if ((known["network"] == name) & (known[CONFIG] == text(config))).any():
            continue
        print(f"  network {name}", flush=True)
        started = time.perf_counter()
        made = case().train(config, curves=True)
        rows = pd.DataFrame(made.history)
        rows.insert(0, "epoch", 1 + rows.index)
        rows.insert(0, "network", name)
        rows = rows.assign(best_epoch=made.best_epoch + 1, seconds=round(time.perf_counter() - started, 1))
        rows[CONFIG], rows[VERSION] = text(config), version()
        known = pd.concat([part for part in (known[known["network"] != name], rows) if len(part)])
        with replacing(path) as beside:
            known.to_csv(beside, index=False)


def draw(path: Path, out: Path) -> None:
    """A row of panels for each network: losses, PCC and CS by epoch, the epoch that is used marked."""
    table = read(path)
    networks = list(dict.fromkeys(table["network"]))
    figure, axes = drawing.panels(len(networks), 3, width=3.6)
    for row, name in zip(axes, networks, strict=True):
        part = table[table["network"] == name]
        for ax, (title, lines) in zip(row, PANELS.items(), strict=True):
            for column, (label, color) in lines.items():
                ax.plot(part["epoch"], part[column], "o-", color=color, markersize=3, label=label)
            ax.axvline(part["best_epoch"].iloc[0], color=drawing.ORANGE, linestyle=":", label="epoch that is used")
            ax.set(xlabel="epoch", title=f"{name}: {title}")
            ax.xaxis.get_major_locator().set_params(integer=True)
    drawing.legend(figure, axes[0][0])
    drawing.save(figure, out)


def report(path: Path) -> Report:
    """First, best and last epoch of each network."""
    table = read(path)
    lines, rows = [], []
    for name, rows_of in table.groupby("network", sort=False):
        part = rows_of.set_index("epoch")
        best = int(part["best_epoch"].iloc[0])
        shown = dict.fromkeys((1, best, int(part.index[-1])))
        rows += [[name, f"{epoch}{' (used)' if epoch == best else ''}",
                  *(f"{part.loc[epoch, column]:.4f}" for column in COLUMNS)]
                 for epoch in shown]  # fmt: skip
        lines.append(f"{name}: PCC {part['pcc'].iloc[0]:.4f} after 1 epoch, {part.loc[best, 'pcc']:.4f} after {best}")
    head = ["network", "epoch", *COLUMNS.values()]
    line = "; ".join(lines) + " (masked values of validation cells; the paper's curves are pictures)."
    return Report(line, "\n\n".join(filter(None, [markdown(head, rows), budgets(table)])))
