"""Figure 6 f-m: 50 marker genes over Leiden clusters of PBMC; raw, masked, and as every method gives them back."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

import gnnimpute as gi
from experiments import blind, drawing
from experiments.clustering import points
from experiments.clusters import EQUAL, LABELLED, MASKED, RAW, is_blind, titled
from experiments.data import PBMC, normalized, read
from experiments.labelled import Case, text
from experiments.reports import Report, markdown, troubles
from experiments.rows import Rows
from experiments.rows import read as read_rows
from experiments.setting import OURS
from gnnimpute._atomic import replacing

if TYPE_CHECKING:
    from pathlib import Path

    from anndata import AnnData

    from experiments.setting import Setting

TITLE = "50 marker genes over Leiden clusters of PBMC"
N_MARKERS = 50
VALUES, GENES, CELLS = "markers_values", "markers_genes", "markers_cells"


def compute(setting: Setting, path: Path) -> None:
    """Markers of the raw counts, and their values in every matrix."""
    adata = read(setting, PBMC)
    values = normalized(adata.layers["counts"])
    clusters, genes, homes = markers(values, adata)
    _write(path.with_stem(GENES), pd.DataFrame({"gene": adata.var_names[genes], "cluster": homes}))
    _write(path.with_stem(CELLS), pd.DataFrame({"cluster": clusters}))
    folder = path.parent / VALUES
    folder.mkdir(exist_ok=True)
    rows = Rows(path, retry=setting.retry)

    def row(name: str, made: Any) -> dict[str, Any]:
        if isinstance(made, str):
            return {"status": made}
        logged = np.log1p(normalized(sp.csr_matrix(made))[:, genes].toarray())
        with replacing(folder / f"{name}.npy") as beside, beside.open("wb") as file:
            np.save(file, logged.astype(np.float16))
        return judged(logged, clusters, homes) | {"status": "ok"}

    for name, (make, config) in _matrices(setting, adata, values).items():
        rows.once({"matrix": name}, lambda n=name, m=make: row(n, m()), config=config)


def _matrices(setting: Setting, adata: AnnData, values: sp.csr_matrix) -> dict[str, tuple[Any, str]]:
    case = cache(lambda: Case.make(values, rate=0.1, seed=0))
    config = setting.networks()[OURS]
    made: dict[str, tuple[Any, str]] = {
        RAW: (lambda: values, ""),
        MASKED: (lambda: case().hold_out.train, ""),
        LABELLED: (lambda: case().imputed(config), text(config)),
    }

    def run(method: Any) -> Any:
        given = adata[:, :].copy()
        given.X = gi.metrics.HoldOut.mask(adata.layers["counts"], 0.1, rng=0).train
        return blind.imputed(setting, method, given)

    for method in blind.within_budget(setting, adata):
        if method.name not in EQUAL:
            made[method.name] = (lambda m=method: run(m), " ".join(method.arguments))
    return made


def markers(values: sp.csr_matrix, adata: AnnData) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cluster of each cell; positions of the genes that tell clusters apart best by t-test; the cluster of each gene.

    Clusters name their next best gene in turns until there are 50.
    """
    import scanpy as sc
    from anndata import AnnData

    logged = AnnData(values.log1p(), var=adata.var[[]].copy())
    logged.obsm["points"] = points(values)
    sc.pp.neighbors(logged, use_rep="points", random_state=0)
    sc.tl.leiden(logged, flavor="igraph", n_iterations=2, directed=False, random_state=0)
    sc.tl.rank_genes_groups(logged, "leiden", method="t-test")
    order = logged.uns["rank_genes_groups"]["names"]
    names = list(order.dtype.names)
    chosen: dict[str, str] = {}
    for place in range(len(order)):
        for name in names:
            if len(chosen) < N_MARKERS:
                chosen.setdefault(order[name][place], name)
    genes = sorted(chosen, key=lambda gene: names.index(chosen[gene]))
    homes = np.array([int(chosen[gene]) for gene in genes])
    return logged.obs["leiden"].astype(int).to_numpy(), logged.var_names.get_indexer(genes), homes


def judged(logged: np.ndarray, clusters: np.ndarray, homes: np.ndarray) -> dict[str, float]:
    """How well markers tell clusters apart.

    Parameters
    ----------
    logged
        Logarithms of the values of the markers, of shape (n_cells, n_markers).
    clusters
        Cluster of each cell.
    homes
        Cluster of each marker.

    Returns
    -------
    ``between``: share of a marker's variance that lies between clusters; ``contrast``: its mean in its cluster less
    that in other cells. Both are means over markers.
    """
    overall = logged.var(axis=0)
    means = np.stack([logged[clusters == c].mean(axis=0) for c in range(clusters.max() + 1)])
    shares = np.bincount(clusters) / len(clusters)
    between = (shares[:, None] * (means - logged.mean(axis=0)) ** 2).sum(axis=0)
    inside = means[homes, np.arange(len(homes))]
    outside = np.array([logged[clusters != home, gene].mean() for gene, home in enumerate(homes)])
    defined = overall > 0
    return {"between": float((between[defined] / overall[defined]).mean()),
            "contrast": float((inside - outside).mean())}  # fmt: skip


def draw(path: Path, out: Path) -> None:
    """A heat map for each matrix: markers below each other, cells by cluster, each marker from its 1 % to its 99 %."""
    table = read_rows(path)
    names = table.loc[table["status"] == "ok", "matrix"].tolist()
    genes, clusters = pd.read_csv(path.with_stem(GENES)), pd.read_csv(path.with_stem(CELLS))["cluster"].to_numpy()
    order = np.argsort(clusters, kind="stable")
    edges = np.flatnonzero(np.diff(clusters[order])) + 1
    columns = 4
    figure, axes = drawing.panels(-(-len(names) // columns), columns, width=3.6, height=4.6)
    for ax in axes.flat[len(names) :]:
        ax.axis("off")
    middles = [np.mean(part) for part in np.split(np.arange(len(order)), edges)]
    for ax, name in zip(axes.flat, names, strict=False):
        logged = np.load(path.parent / VALUES / f"{name}.npy").astype(np.float32)[order]
        low, high = np.quantile(logged, (0.01, 0.99), axis=0)
        ax.imshow(
            ((logged - low) / np.maximum(high - low, 1e-6)).T,
            aspect="auto",
            cmap="viridis",
            vmin=0,
            vmax=1,
            interpolation="nearest",
        )
        for edge in edges:
            ax.axvline(edge - 0.5, color="white", linewidth=0.5)
        ax.set_xticks(middles, sorted(set(clusters)))
        ax.set_yticks(range(len(genes)), genes["gene"] if ax in axes[:, 0] else [""] * len(genes), fontsize=4.5)
        ax.tick_params(length=0)
        ax.set_title(titled(name), fontsize="medium")
        ax.spines[:].set_visible(False)
    figure.supxlabel("cells by Leiden cluster of the raw counts", fontsize="small")
    drawing.save(figure, out)


def report(path: Path) -> Report:
    """Both numbers of every matrix, labelled and blind apart."""
    table = read_rows(path)
    good = table[table["status"] == "ok"]
    by_name = good.set_index("matrix")["between"]
    shown = "; ".join(f"{titled(name)} {by_name[name]:.3f}" for name in (RAW, MASKED, LABELLED, OURS)
                      if name in by_name)  # fmt: skip
    line = f"Share of the markers' variance between clusters: {shown} (the paper shows pictures only)."
    head = ("matrix", "variance between clusters", "own cluster less others (log)")
    tables, blindly = [], good["matrix"].map(is_blind)
    for said, part in (("Labelled, and not imputed", good[~blindly]), ("Blind", good[blindly])):
        rows = [(row.matrix, f"{row.between:.3f}", f"{row.contrast:.3f}") for row in part.itertuples()]
        tables += [said, markdown(head, rows)] if rows else []
    bad = table[table["status"] != "ok"]
    tables.append(troubles(f"{titled(row.matrix)}: {row.status}" for row in bad.itertuples()))
    return Report(line, "\n\n".join(filter(None, tables)))


def _write(path: Path, table: pd.DataFrame) -> None:
    with replacing(path) as beside:
        table.to_csv(beside, index=False)
