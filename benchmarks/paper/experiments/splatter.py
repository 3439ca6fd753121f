"""Tables 2 and 3: simulated counts of 2 and 6 groups, whose values before dropout are known."""

from __future__ import annotations

import time
from functools import cache, partial
from itertools import product
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import scipy.sparse as sp

import gnnimpute as gi
from experiments import blind, drawing
from experiments.data import normalized
from experiments.labelled import CONTROL, Case, about, budgets, control, text
from experiments.published import GNNIMPUTE, METRICS, SPARSITY, SPLATTER
from experiments.reports import Report, averaged
from experiments.rows import Rows, read
from experiments.setting import OURS

if TYPE_CHECKING:
    from pathlib import Path

    from anndata import AnnData

    from experiments.setting import Setting

TITLE = "Splatter, 2 and 6 groups"
GROUPS = (2, 6)
GIVEN, NONE = "{} groups", "{} groups, no dropout"
"""With the parameters of the paper; and without dropout, which its sparsity and its errors look like."""
FULL, SCALED = 4000, 600
"""Cells of the paper's simulations, and of ours by default."""


class Simulated(NamedTuple):
    """Values after dropout, normalised, and those that were lost on the same scale."""

    normalized: sp.csr_matrix
    lost: sp.csr_matrix


def simulate(setting: Setting, n_groups: int, *, dropout: bool = True) -> AnnData:
    """Counts with the paper's parameters; fewer cells, unless the run is a full one.

    Parameters
    ----------
    setting
        Options of the run.
    n_groups
        Number of groups, all equally likely.
    dropout
        Whether counts are lost.
    """
    n_cells = setting.sim_cells or (FULL if setting.full else SCALED)
    return gi.datasets.splatter(
        n_genes=setting.sim_genes,
        batch_cells=n_cells,
        group_prob=[1 / n_groups] * n_groups,
        de_fac_scale=0.25,
        dropout_type="experiment" if dropout else "none",
        dropout_mid=5,
        dropout_shape=-1,
        rng=0,
    )


def compute(setting: Setting, path: Path) -> None:
    """Networks and controls on both simulations; other methods too, if there are any."""
    rows = Rows(path)
    for (n_groups, dropout), seed in product(product(GROUPS, (True, False)), setting.seeds()):
        data = (GIVEN if dropout else NONE).format(n_groups)
        adata = cache(partial(simulate, setting, n_groups, dropout=dropout))
        values = cache(lambda adata=adata: _values(adata()))
        case = cache(lambda values=values, seed=seed: Case.make(values().normalized, rate=0.1, seed=seed))
        key = {"data": data, "seed": seed}
        for name, config in setting.networks().items():
            rows.once(key | {"network": name}, lambda c=case, v=values, g=config: _network(c(), v(), g),
                      config=text(config))  # fmt: skip
        for name in CONTROL:
            rows.once(key | {"network": name}, lambda c=case, v=values, n=name: _control(c(), v(), n))
    if setting.peers is not None:
        data = {GIVEN.format(n_groups): simulate(setting, n_groups) for n_groups in GROUPS}
        blind.compare(setting, path.with_stem("splatter_blind"), data=data, protocols=("mask",),
                      ours=blind.FOR_NONZEROS)  # fmt: skip


def _values(adata: AnnData) -> Simulated:
    true = adata.layers["true_counts"]
    adata.layers["lost"] = sp.csr_matrix(true - true.multiply(adata.X > 0))
    gi.pp.prepare(adata, filter=True, n_pcs=None)
    counts = adata.layers["counts"]
    values = normalized(counts)
    total = np.asarray(counts.sum(axis=1)).ravel()
    factor = np.median(total) / total
    return Simulated(values, sp.csr_matrix(sp.diags(factor) @ adata.layers["lost"]))


def _network(case: Case, values: Simulated, config: gi.Config) -> dict[str, Any]:
    started = time.perf_counter()
    made = case.train(config)
    return _judged(case, values, made.values) | about(made, time.perf_counter() - started)


def _control(case: Case, values: Simulated, name: str) -> dict[str, Any]:
    return _judged(case, values, control(case, name))


def _judged(case: Case, values: Simulated, imputed: np.ndarray) -> dict[str, float]:
    """Metrics of masked values, and of what dropout took from test cells."""
    test = case.hold_out.split.test
    lost = values.lost[test].tocoo()
    metrics = {f"lost_{name}": np.nan for name in METRICS}
    if lost.nnz:
        guessed = imputed[test][lost.row, lost.col]
        metrics = {f"lost_{name}": getattr(gi.metrics, name)(lost.data, guessed) for name in METRICS}
    sparsity = 1 - values.normalized.nnz / np.prod(values.normalized.shape)
    return case.judged(imputed) | metrics | {"sparsity": sparsity}


def draw(path: Path, out: Path) -> None:
    """A row of panels for each simulation: masked values, and lost ones where there are."""
    table = read(path)
    data = list(dict.fromkeys(table["data"]))
    shown = {"mse": "masked: MSE", "pcc": "masked: PCC", "lost_mse": "lost to dropout: MSE",
             "lost_pcc": "lost to dropout: PCC"}  # fmt: skip
    figure, axes = drawing.panels(len(data), len(shown), width=2.8, height=1.9)
    for row, name in zip(axes, data, strict=True):
        part = table[table["data"] == name]
        row[0].set_ylabel(name, fontsize="small")
        for ax, (metric, title) in zip(row, shown.items(), strict=True):
            if part[metric].isna().all():
                ax.axis("off")
                continue
            values = {network: some[metric].tolist() for network, some in part.groupby("network", sort=False)}
            drawing.bars(ax, values, colors=[drawing.BLUE if "gnnimpute" in one else drawing.GREY for one in values])
            ax.tick_params(axis="y", labelleft=ax is row[0])
            ax.set_title(title, fontsize="small")
            if metric == "mse" and name.startswith("2 groups"):
                for color, (label, value) in zip((drawing.ORANGE, "black"), SPLATTER.items(), strict=True):
                    ax.axvline(value, color=color, linestyle="--", label=label)
    drawing.legend(figure, axes[0][0])
    drawing.save(figure, out)


def report(path: Path) -> Report:
    """Masked and lost values, and other methods where they were run."""
    table = read(path)
    ours = table[table["network"] == OURS].groupby("data")[["mse", "sparsity"]].mean()
    said = [f"{name} {row.mse:.4f} at sparsity {row.sparsity:.2f}" for name, row in ours.iterrows() if name[0] == "2"]
    line = f"MSE of {OURS}: {'; '.join(said)} (published, 2 groups: GNNImpute {SPLATTER[GNNIMPUTE]:.4f}, "
    line += f"DCA {SPLATTER['published: DCA']:.4f}, sparsity {SPARSITY['Splatter']})."
    published = [(("2 groups", name), {"mse": value}) for name, value in SPLATTER.items()]
    lost = table.dropna(subset=["lost_mse"]).drop(columns=[*METRICS])
    lost = lost.rename(columns={f"lost_{name}": name for name in METRICS})
    by = ["data", "network"]
    tables = [
        "Labelled: masked values of test cells\n\n" + averaged(table, by, METRICS, published=published),
        "Labelled: values that dropout took from test cells\n\n" + averaged(lost, by, METRICS),
        budgets(table),
        blind.report(path.with_stem("splatter_blind")),
    ]
    return Report(line, "\n\n".join(filter(None, tables)))
