"""Figure 6 a-e: do clusters of imputed cells agree with what cells are? Klein and five cell lines."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from anndata import AnnData

import gnnimpute as gi
from experiments import blind, drawing
from experiments.clustering import agreement, points
from experiments.data import KLEIN, LINES, Absent, labels_of, normalized, read
from experiments.labelled import Case, budgets, text
from experiments.published import CLUSTERS, GNNIMPUTE
from experiments.reports import Report, averaged, beside, troubles
from experiments.rows import Rows
from experiments.rows import read as read_rows
from experiments.setting import OURS
from gnnimpute._atomic import replacing

if TYPE_CHECKING:
    from pathlib import Path

    from experiments.setting import Setting

TITLE = "Clusters of raw, masked and imputed cells"
RAW, MASKED = "raw", "masked 10 %"
WITH_LABELS = ", labelled"
"""How names of matrices end that are made with labels."""
LABELLED = OURS + WITH_LABELS
UNMASKED = {OURS: "mean", f"{OURS} (posterior)": "posterior"}
"""Estimates of cells of which nothing was masked, to stand beside the raw ones."""
WITH_ALL = ", nothing masked"
"""How their names end."""
SHOWN = (RAW, MASKED, LABELLED, OURS)
"""Whose cells are drawn."""
EQUAL = {"no imputation", "gene mean"}
"""Controls that leave cells as they are, or make all of them equal."""
COLORS = {"not imputed": drawing.GREEN, "nothing masked": drawing.SKY, "labelled": drawing.PINK,
          "blind, ours": drawing.BLUE, "blind, others": drawing.GREY}  # fmt: skip
"""Of bars."""
FEW = 200
"""Cells below which t-SNE is exact: its approximation is slow where all cells are alike."""
POINTS = "clusters_tsne"


def compute(setting: Setting, path: Path) -> None:
    """ARI and NMI of every matrix; t-SNE of some."""
    rows, found = Rows(path, retry=setting.retry), 0
    for data in (KLEIN, LINES):
        try:
            adata = read(setting, data)
        except Absent as reason:
            print(f"  {reason}")
            continue
        found += 1
        for seed in setting.seeds():
            one = _Set(setting, data, adata, path.with_stem(POINTS), seed=seed)
            for name, (make, config) in one.matrices().items():
                key = {"data": data, "seed": seed, "matrix": name}
                rows.once(key, lambda n=name, m=make, o=one: o.judged(n, m()), config=config)
    if not found:
        msg = "Neither Klein nor the five cell lines are at hand."
        raise Absent(msg)


class _Set:
    """A data set with all that is made of it with one seed, of masks and of methods."""

    def __init__(self, setting: Setting, data: str, adata: AnnData, drawn: Path, *, seed: int) -> None:
        self.setting, self.data, self.adata, self.drawn, self.seed = setting, data, adata, drawn, seed
        self.labels = labels_of(data, adata)
        self.counts = adata.layers["counts"]
        self.case = cache(lambda: Case.make(normalized(self.counts), rate=0.1, seed=seed))
        self.fitted = cache(self._fitted)

    def matrices(self) -> dict[str, tuple[Any, str]]:
        """What makes each matrix, and settings of networks."""
        made: dict[str, tuple[Any, str]] = {} if self.seed else {RAW: (lambda: normalized(self.counts), "")}
        made[MASKED] = (lambda: self.case().hold_out.train, "")
        for name, estimate in UNMASKED.items():
            made[name + WITH_ALL] = (lambda e=estimate: self._unmasked(e), text(self.setting.ours()))
        for name, config in self.setting.networks().items():
            made[name + WITH_LABELS] = (lambda c=config: self.case().imputed(c), text(config))
        for method in blind.within_budget(self.setting, self.adata):
            if method.name not in EQUAL:
                made[method.name] = (lambda m=method: self._blind(m), " ".join(method.arguments))
        return made

    def _fitted(self) -> tuple[AnnData, gi.GNNImputer]:
        adata = AnnData(self.counts.copy(), obs=self.adata.obs[[]].copy(), var=self.adata.var[[]].copy())
        gi.pp.prepare(adata)
        return adata, gi.tl.fit(adata, config=self.setting.ours(), rng=self.seed)

    def _unmasked(self, estimate: str) -> Any:
        adata, imputer = self.fitted()
        gi.tl.impute(adata, imputer=imputer, estimate=estimate)
        return adata.layers["gnnimpute"]

    def _blind(self, method: Any) -> Any:
        hidden = gi.metrics.HoldOut.mask(self.counts, 0.1, rng=self.seed).train
        adata = self.adata[:, :].copy()
        adata.X = hidden
        return blind.imputed(self.setting, method, adata, seed=self.seed)

    def judged(self, name: str, values: Any) -> dict[str, Any]:
        """ARI and NMI; or why there are none."""
        if isinstance(values, str):
            return {"status": values}
        if name in SHOWN and not self.seed:
            self._embed(name, values)
        return agreement(values, self.labels) | {"status": "ok"}

    def _embed(self, name: str, values: Any) -> None:
        from sklearn.manifold import TSNE

        perplexity = min(30, (len(self.labels) - 1) / 4)
        method = "exact" if len(self.labels) < FEW else "barnes_hut"
        xy = TSNE(perplexity=perplexity, init="pca", method=method, random_state=0).fit_transform(points(values))
        rows = pd.DataFrame({"data": self.data, "matrix": name, "label": self.labels, "x": xy[:, 0], "y": xy[:, 1]})
        if self.drawn.exists():
            known = pd.read_csv(self.drawn)
            rows = pd.concat([known[(known["data"] != self.data) | (known["matrix"] != name)], rows])
        with replacing(self.drawn) as beside_it:
            rows.to_csv(beside_it, index=False)


def draw(path: Path, out: Path) -> None:
    """A row for each set: t-SNE of some matrices, ARI and NMI of all."""
    table, cells = read_rows(path), pd.read_csv(path.with_stem(POINTS))
    table = table[table["status"] == "ok"]
    data = list(dict.fromkeys(table["data"]))
    shown = [name for name in SHOWN if name in set(cells["matrix"])]
    n_matrices = table["matrix"].nunique()
    figure, axes = drawing.panels(len(data), len(shown) + 2, width=2.6, height=max(2.6, 0.24 * n_matrices + 0.6))
    for row, name in zip(axes, data, strict=True):
        styles = drawing.styles(sorted(cells.loc[cells["data"] == name, "label"].unique()))
        for ax, matrix in zip(row, shown, strict=False):
            part = cells[(cells["data"] == name) & (cells["matrix"] == matrix)]
            if part.empty:
                ax.axis("off")
                continue
            for label, some in part.groupby("label"):
                style = styles[label] | {"linestyle": ""}
                ax.plot(some["x"], some["y"], **style, markersize=1.4, markeredgewidth=0, label=label, rasterized=True)
            ax.set(xticks=[], yticks=[], title=f"{name}: {titled(matrix)}")
            ax.set_xlabel("t-SNE 1", fontsize="x-small")
            ax.set_ylabel("t-SNE 2", fontsize="x-small")
            ax.title.set_fontsize("small")
        row[0].legend(fontsize="xx-small", markerscale=5, frameon=True)
        part = table[table["data"] == name]
        for ax, metric in zip(row[-2:], ("ari", "nmi"), strict=True):
            values = {matrix: [*some] for matrix, some in part.groupby("matrix", sort=False)[metric]}
            drawing.bars(ax, values, colors=[_color(matrix) for matrix in values])
            ax.set_title(f"{name}: {drawing.named(metric)}", fontsize="small")
            ax.set_xlim(0, 1)
            if name == KLEIN:
                ax.axvline(CLUSTERS[GNNIMPUTE][metric], color=drawing.ORANGE, linestyle="--", label=GNNIMPUTE)
            ax.tick_params(axis="y", labelleft=metric == "ari", labelsize="x-small")
    last = axes[data.index(KLEIN) if KLEIN in data else 0][-1]
    for label, color in COLORS.items():
        last.plot([], [], "s", color=color, label=label)
    drawing.legend(figure, last, columns=5)
    drawing.save(figure, out)


def is_blind(matrix: str) -> bool:
    """Whether a method made it that knew no masked value."""
    return matrix not in {RAW, MASKED} and not matrix.endswith((WITH_LABELS, WITH_ALL))


def titled(matrix: str) -> str:
    """Name of a matrix, with the protocol."""
    return f"{matrix}, blind" if is_blind(matrix) else matrix


def _color(matrix: str) -> str:
    if is_blind(matrix):
        return COLORS["blind, ours" if "gnnimpute" in matrix else "blind, others"]
    if matrix.endswith(WITH_ALL):
        return COLORS["nothing masked"]
    return COLORS["not imputed" if matrix in {RAW, MASKED} else "labelled"]


def report(path: Path) -> Report:
    """ARI and NMI of every matrix, labelled and blind apart."""
    table = read_rows(path)
    good = table[table["status"] == "ok"]
    name = KLEIN if (good["data"] == KLEIN).any() else LINES
    ours = good[(good["data"] == name) & (good["matrix"] == LABELLED)]
    raw = good[(good["data"] == name) & (good["matrix"] == RAW)]
    line = f"{name}: {beside(ours, CLUSTERS[GNNIMPUTE])}; raw counts have ARI {np.mean(raw['ari']):.4f}. "
    line += "The paper gives its two numbers in both orders."
    published = [((KLEIN, name), numbers) for name, numbers in CLUSTERS.items()]
    blindly, labelled = good["matrix"].map(is_blind), good["matrix"].str.endswith(WITH_LABELS)
    by, metrics = ["data", "matrix"], ("ari", "nmi")
    tables = ["Not imputed, and ours with nothing masked", averaged(good[~blindly & ~labelled], by, metrics),
              "Labelled", averaged(good[labelled], by, metrics, published=published),
              budgets(good[labelled], column="matrix")]  # fmt: skip
    if blindly.any():
        tables += ["Blind", averaged(good[blindly], by, metrics)]
    bad = table[table["status"] != "ok"]
    tables.append(troubles(f"{row.data}, {titled(row.matrix)}: {row.status}" for row in bad.itertuples()))
    return Report(line, "\n\n".join(filter(None, tables)))
