"""Figure 5: imputation error on all sets with 10 % masked; labelled as in the paper, and blind as users have it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from experiments import blind, drawing
from experiments.data import PBMC, Absent, at_hand, counts_of
from experiments.labelled import CONTROL, budgets, works
from experiments.published import FOUR_SETS, GNNIMPUTE, METRICS
from experiments.reports import Report, averaged, beside
from experiments.rows import Rows, read
from experiments.setting import MOST_CELLS, OURS, PAPER
from gnnimpute import _benchmark_plots
from gnnimpute._benchmark_table import summary
from gnnimpute._paired import CellLosses
from gnnimpute._results import read as read_results

if TYPE_CHECKING:
    from pathlib import Path

    from experiments.rows import Work
    from experiments.setting import Setting

TITLE = "Imputation error on all sets, 10 % hidden"
BLIND = "error_blind"


def compute(setting: Setting, path: Path) -> None:
    """Networks and controls under the paper's protocol; then all methods, blind."""
    work: list[Work] = []
    found = {}
    for data in at_hand(setting):
        try:
            found[data] = counts_of(setting, data)
        except Absent as reason:
            print(f"  {reason}")
            continue
        networks = setting.networks()
        if not setting.full and _n_cells(found[data]) > MOST_CELLS:
            del networks[PAPER]
        for seed in setting.seeds():
            work += works(setting, {"data": data, "seed": seed}, networks, CONTROL)
    if not found:
        msg = "No data set is at hand."
        raise Absent(msg)
    Rows(path).each(work, jobs=setting.jobs)
    blind.compare(setting, path.with_stem(BLIND), data=found, protocols=("mask", "thin"))


def _n_cells(source: object) -> int:
    import anndata

    return (source if hasattr(source, "n_obs") else anndata.read_h5ad(source, backed="r")).n_obs


def draw(path: Path, out: Path) -> None:
    """A panel for each metric, a row for each set; blind comparisons have a figure of their own."""
    table = read(path)
    data, styles = list(dict.fromkeys(table["data"]))[::-1], drawing.styles(table["network"])
    figure, axes = drawing.panels(1, 4, width=3.2, height=1.4 + 0.35 * len(data))
    for ax, metric in zip(axes[0], METRICS, strict=True):
        for network, part in table.groupby("network", sort=False):
            places = [data.index(name) for name in part["data"]]
            ax.plot(part[metric], places, **(styles[network] | {"linestyle": ""}), markersize=6, alpha=0.8,
                    label=network)  # fmt: skip
        ax.axvline(FOUR_SETS[GNNIMPUTE][metric], color=drawing.BLUE, linestyle="--", linewidth=1,
                   label=f"{GNNIMPUTE}, mean of its four sets")  # fmt: skip
        ax.set_yticks(range(len(data)), data)
        ax.tick_params(axis="y", labelleft=ax is axes[0][0])
        ax.set_ylim(-0.6, len(data) - 0.4)
        ax.grid(axis="y", color="#E5E5E5")
        ax.set_title(drawing.named(metric), fontsize="medium")
        if metric == "mse":
            drawing.logarithmic(ax)
    drawing.legend(figure, axes[0][0])
    drawing.save(figure, out)
    other = path.with_stem(BLIND)
    if other.exists() and (read_results(other)["status"] == "ok").any():
        _benchmark_plots.save(read_results(other), out.with_stem(BLIND))


def report(path: Path) -> Report:
    """Labelled and blind tables, apart."""
    table = read(path)
    pbmc = table[(table["network"] == OURS) & (table["data"] == PBMC)]
    mean = table[table["network"] == OURS].groupby("data")[[*METRICS]].mean()
    shown = pbmc if len(pbmc) else mean
    line = f"{PBMC if len(pbmc) else 'Mean'}, labelled: {beside(shown, FOUR_SETS[GNNIMPUTE])}; "
    line += "the published are means of PBMC, Campbell, Chen and Klein."
    published = [(("mean of four sets", name), numbers) for name, numbers in FOUR_SETS.items()]
    tables = ["Labelled: networks know the masked values of 60 % of the cells; controls do not",
              averaged(table, ["data", "network"], METRICS, published=published),
              budgets(table), blind.report(path.with_stem(BLIND))]  # fmt: skip
    return Report(line, "\n\n".join(filter(None, tables)))


def molecules(folder: Path) -> str:
    """Blind comparison by held-out molecules, empty if there is none: deviance, differences, Poisson loss."""
    path = folder / f"{BLIND}.csv"
    if not path.exists():
        return ""
    results = read_results(path)
    thinned = results[results["protocol"] == "thin"]
    losses = summary(thinned[thinned["status"] == "ok"], metric="poisson_loss")
    return f"{summary(thinned, CellLosses(blind.cells_of(path)))}\n{losses}".strip()
