"""Tables 4 and 5: attention with 1, 3, 5 and 8 heads, and a graph convolution without, on PBMC and Klein."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any

from experiments import drawing
from experiments.clustering import agreement
from experiments.data import KLEIN, PBMC, Absent, counts_of
from experiments.labelled import about, case_of, kept_values, text
from experiments.published import ATTENTION, HEADLINE, METRICS, NO_ATTENTION
from experiments.reports import Report, averaged
from experiments.rows import Rows, Work, read

if TYPE_CHECKING:
    from pathlib import Path

    from experiments.setting import Setting
    from gnnimpute import Config

TITLE = "Attention heads, and none (GCN)"
HEADS = (1, 3, 5, 8)
GCN = "GCN"
CLUSTERED = ("ari", "nmi")


def networks(setting: Setting) -> dict[str, Config]:
    """The paper's network with each number of heads: all else is equal."""
    heads = {f"{n} head{'s' if n > 1 else ''}": setting.paper(n_heads=n) for n in HEADS}
    return {GCN: setting.paper(attention="mean", n_heads=1)} | heads


def compute(setting: Setting, path: Path) -> None:
    """Each network on PBMC, judged by masked values; on Klein by clusters too."""
    rows = Rows(path)
    work = [
        Work({"data": data, "network": name, "seed": seed}, partial(_row, setting, data, seed, config), text(config))
        for data in (KLEIN, PBMC) for seed in setting.seeds() for name, config in networks(setting).items()
    ]  # fmt: skip
    absent = set()
    for data in {one.key["data"] for one in work if rows.lacks(one.key, one.config)}:
        try:
            counts_of(setting, data)
        except Absent as reason:
            print(f"  {reason}")
            absent.add(data)
    rows.each((one for one in work if one.key["data"] not in absent), jobs=setting.jobs)


def _row(setting: Setting, data: str, seed: int, config: Config) -> dict[str, Any]:
    started = time.perf_counter()
    case = case_of(setting, data, seed)
    made = case.train(config)
    row = case.judged(made.values) | about(made, time.perf_counter() - started)
    labels = kept_values(setting, data).labels
    return row | ({} if labels is None else agreement(made.values, labels))


def draw(path: Path, out: Path) -> None:
    """A panel for each number: MSE and PCC of PBMC, ARI and NMI of Klein."""
    table = read(path)
    shown = [(data, metric) for data, metric in ((PBMC, "mse"), (PBMC, "pcc"), (KLEIN, "ari"), (KLEIN, "nmi"))
             if metric in table and (table["data"] == data).any()]  # fmt: skip
    figure, axes = drawing.panels(1, len(shown))
    for ax, (data, metric) in zip(axes[0], shown, strict=True):
        part = table[table["data"] == data]
        values = {name: some[metric].tolist() for name, some in part.groupby("network", sort=False)}
        colors = [drawing.GREY if name == GCN else drawing.BLUE for name in values]
        drawing.bars(ax, values, colors=colors, from_zero=metric in CLUSTERED)
        published = (NO_ATTENTION, HEADLINE) if data == PBMC else ATTENTION.values()
        names = ("published: GCN", "published: attention (PBMC: the worst number of heads)")
        for color, name, numbers in zip((drawing.GREY, drawing.BLUE), names, published, strict=True):
            ax.axvline(numbers[metric], color=color, linestyle="--", label=name)
        ax.set_title(f"{data}: {drawing.named(metric)}", fontsize="small")
        ax.margins(x=0.1)
        ax.tick_params(axis="y", labelleft=(data, metric) in {(PBMC, "mse"), (KLEIN, "ari")})
    drawing.legend(figure, axes[0][0])
    drawing.save(figure, out)


def report(path: Path) -> Report:
    """Both tables; the line compares GCN with the worst number of heads, as the paper does."""
    table = read(path)
    tables, lines = [], []
    for data, metrics, published in (
        (PBMC, METRICS, [(("published: GCN",), NO_ATTENTION), (("published: worst of the heads",), HEADLINE)]),
        (KLEIN, (*METRICS, *CLUSTERED), [((name,), numbers) for name, numbers in ATTENTION.items()]),
    ):
        part = table[table["data"] == data]
        if len(part):
            here = [metric for metric in metrics if metric in part]
            tables.append(f"{data}\n\n" + averaged(part, ["network"], here, published=published))
        if part["network"].nunique() < 2 or GCN not in set(part["network"]):
            continue  # nothing to compare yet
        if data == PBMC:
            mse = part.groupby("network", sort=False)["mse"].mean()
            worst = mse.drop(GCN).idxmax()
            lines.append(
                f"PBMC MSE: GCN {mse[GCN]:.4f} (published {NO_ATTENTION['mse']:.4f}), worst of the heads "
                f"{mse[worst]:.4f}, {worst} (published {HEADLINE['mse']:.4f})"
            )
        elif "ari" in part:
            ari = part.groupby("network", sort=False)["ari"].mean()
            heads, (without, attention) = ari.drop(GCN), (numbers["ari"] for numbers in ATTENTION.values())
            lines.append(
                f"Klein ARI: GCN {ari[GCN]:.4f} (published {without:.4f}), heads {heads.min():.4f} to "
                f"{heads.max():.4f} (published {attention:.4f}, the text does not say of how many)"
            )
    return Report("; ".join(lines) + "." if lines else "Not done yet.", "\n\n".join(tables))
