"""How well do methods predict molecules that nobody has seen? Blind accuracy on count matrices.

    python benchmarks/accuracy/blind.py FILES... [--seeds 1] [--hide 0.1] [--out results.csv]

A share of the molecules of each file is taken out before anything else: quality control, graph, principal components,
scaling and training see the rest only. README.md in this folder says what is measured.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anndata
import numpy as np
import pandas as pd
import scipy.sparse as sp

import gnnimpute as gi

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    # Expected counts of some cells, on the scale of the kept part: dense or sparse.
    Estimate = Callable[[slice], Any]

BLOCK = 512  # cells scored at a time
N_NEAREST = 30
LOSSES = ("poisson_loss", "mse", "log1p_cp10k_mse")


@dataclass(frozen=True)
class Case:
    """What every method gets, and what judges it."""

    adata: anndata.AnnData
    """The kept part, prepared: cells and genes that passed quality control on what was kept."""
    hold_out: gi.metrics.HoldOut
    cells: NDArray[np.int64]
    """Positions of the cells of `adata` in `hold_out`."""
    genes: NDArray[np.int64]
    """Positions of the genes of `adata` in `hold_out`."""
    counts: sp.csr_matrix
    """Kept molecules of these cells and genes."""
    total: NDArray[np.float64]
    """Kept molecules of each cell, of shape (n_cells,)."""
    seed: int
    prepare_seconds: float
    config: gi.Config

    @cached_property
    def imputer(self) -> gi.GNNImputer:
        """Our network, trained once for all of its estimates."""
        return gi.tl.fit(self.adata, config=self.config, rng=self.seed)


def prepare(counts: sp.csr_matrix, names: anndata.AnnData, *, rate: float, seed: int, config: gi.Config) -> Case:
    """Hide molecules first, then do everything else with what is left."""
    hold_out = gi.metrics.HoldOut.thin(counts, rate, rng=seed)
    adata = anndata.AnnData(hold_out.train.copy(), obs=names.obs[[]].copy(), var=names.var.copy())
    adata.obs["position"], adata.var["position"] = np.arange(adata.n_obs), np.arange(adata.n_vars)
    started = time.perf_counter()
    gi.pp.prepare(adata, filter=True, rng=seed)
    seconds = time.perf_counter() - started
    kept = sp.csr_matrix(adata.layers["counts"])
    cells, genes = adata.obs["position"].to_numpy(), adata.var["position"].to_numpy()
    total = np.asarray(kept.sum(axis=1, dtype=np.float64)).ravel()
    return Case(adata, hold_out, cells, genes, kept, total, seed, seconds, config)


def no_imputation(case: Case) -> Estimate:
    """The kept counts themselves."""
    return lambda rows: case.counts[rows]


def gene_mean(case: Case) -> Estimate:
    """A gene's share of all molecules, times the cell's total."""
    share = np.asarray(case.counts.sum(axis=0, dtype=np.float64)).ravel() / case.total.sum()
    return lambda rows: case.total[rows, None] * share


def nearest_mean(case: Case) -> Estimate:
    """Mean share of each gene among the nearest cells, the cell itself being one, times the cell's total."""
    embedding = case.adata.obsm["gnnimpute_pca"]
    nearest = gi.NeighborGraph.from_embedding(embedding, n_neighbors=N_NEAREST - 1, rng=case.seed).indices
    shares = sp.csr_matrix(sp.diags(1 / case.total) @ case.counts)
    starts = np.arange(0, nearest.size + 1, nearest.shape[1])
    mean = sp.csr_matrix((np.full(nearest.size, 1 / nearest.shape[1]), nearest.ravel(), starts))
    return lambda rows: (mean[rows] @ shares).toarray() * case.total[rows, None]


def nearest_and_gene_mean(case: Case) -> Estimate:
    """The former with the gene's mean as one more cell, so that nothing is expected to be impossible."""
    near, everywhere = nearest_mean(case), gene_mean(case)
    return lambda rows: (N_NEAREST * near(rows) + everywhere(rows)) / (N_NEAREST + 1)


def ours(estimate: str) -> Callable[[Case], Estimate]:
    """One estimate of our network."""

    def impute(case: Case) -> Estimate:
        gi.tl.impute(case.adata, imputer=case.imputer, estimate=estimate, output="counts", rng=case.seed)
        values = case.adata.layers["gnnimpute"]
        return lambda rows: values[rows]

    return impute


def without_graph(case: Case) -> Estimate:
    """Ablation: the same network where each cell attends to itself alone."""
    alone = gi.NeighborGraph(np.arange(len(case.cells))[:, None])
    imputer = gi.GNNImputer(case.config).fit(case.counts, alone, rng=case.seed)
    values = imputer.transform(case.counts, alone, output="counts")
    return lambda rows: values[rows]


BASELINES: dict[str, Callable[[Case], Estimate]] = {
    "no imputation": no_imputation,
    "gene mean": gene_mean,
    f"{N_NEAREST} nearest": nearest_mean,
    f"{N_NEAREST} nearest + gene mean": nearest_and_gene_mean,
}
OURS = {"gnnimpute mean": ours("mean"), "gnnimpute posterior": ours("posterior")}
METHODS = BASELINES | OURS | {"gnnimpute mean, no graph": without_graph}


def losses_of(case: Case, estimate: Estimate) -> tuple[dict[str, NDArray[np.float64]], float]:
    """Losses of each cell on what was hidden of it, a block of cells at a time; and the seconds the estimate took."""
    losses, seconds = {loss: np.empty(len(case.cells)) for loss in LOSSES}, 0.0
    for start in range(0, len(case.cells), BLOCK):
        rows = slice(start, start + BLOCK)
        started = time.perf_counter()
        expected = estimate(rows)
        seconds += time.perf_counter() - started
        for loss in LOSSES:
            losses[loss][rows] = gi.metrics.score_cells(
                case.hold_out, expected, loss=loss, cells=case.cells[rows], genes=case.genes
            )
    return losses, seconds


def judge(case: Case, methods: list[str]) -> Iterator[dict[str, Any]]:
    """Rows of the results: each method's losses, and its distance from the best baseline in Poisson loss."""
    poisson: dict[str, NDArray[np.float64]] = {}
    for name in methods:
        started = time.perf_counter()
        estimate = METHODS[name](case)
        learning = time.perf_counter() - started
        losses, estimating = losses_of(case, estimate)
        poisson[name] = losses["poisson_loss"]
        print(f"  {name}: {poisson[name].mean():.5f}, {learning + estimating:.1f} s", file=sys.stderr)
        for loss, by_cell in losses.items():
            interval = gi.metrics.bootstrap(np.mean, by_cell, rng=case.seed)
            yield {"method": name, "metric": loss, **interval._asdict(), "seconds": learning + estimating}
    best = min((name for name in methods if name in BASELINES), key=lambda name: poisson[name].mean(), default=None)
    for name in methods if best else []:
        difference = gi.metrics.paired_difference(poisson[name], poisson[best], rng=case.seed)
        yield {"method": name, "metric": f"poisson_loss - {best}", **difference._asdict()}


def table(results: pd.DataFrame) -> str:
    """Poisson loss of every method, a row for each file and seed, and by how much ours beats the best baseline."""
    lines = []
    for (data, seed), part in results.groupby(["data", "seed"], sort=False):
        poisson = part[part["metric"] == "poisson_loss"].set_index("method")
        line = {"data": data, "seed": seed} | {name: f"{value:.5f}" for name, value in poisson["value"].items()}
        differences = part[part["metric"].str.startswith("poisson_loss - ")].set_index("method")
        for name in differences.index.difference(list(BASELINES)):
            row = differences.loc[name]
            line[f"{name} - best baseline"] = f"{row['value']:+.5f} [{row['low']:+.5f}, {row['high']:+.5f}]"
            line[f"{name}, s"] = f"{poisson.loc[name, 'seconds']:.0f}"
        lines.append(line)
    frame = pd.DataFrame(lines).fillna("")
    rows = [frame.columns.tolist(), ["---"] * frame.shape[1], *frame.astype(str).to_numpy().tolist()]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def main() -> None:
    """Run every method on every file and seed; write what there is after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path, help="h5ad files with counts in layers['counts'] or X")
    parser.add_argument("--seeds", type=int, default=1, help="number of seeds, from 0 (default 1)")
    parser.add_argument("--hide", type=float, default=0.1, help="share of the molecules that is hidden (default 0.1)")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS), metavar="METHOD",
                        help=f"of {', '.join(METHODS)} (default all)")  # fmt: skip
    parser.add_argument("--config", type=json.loads, default={}, help='settings to change, as JSON: {"n_heads": 3}')
    parser.add_argument("--out", type=Path, help="CSV to write; must not exist")
    args = parser.parse_args()
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before PyTorch is imported: as the command line does
    if args.out and args.out.exists():
        parser.error(f"{args.out} exists: name another file")

    results: list[dict[str, Any]] = []
    for path in args.files:
        names = anndata.read_h5ad(path)
        counts = names.layers.get("counts", names.X)
        for seed in range(args.seeds):
            print(f"{path.stem}, seed {seed}", file=sys.stderr)
            case = prepare(counts, names, rate=args.hide, seed=seed, config=gi.Config(**args.config))
            about = {
                "data": path.stem,
                "n_cells": len(case.cells),
                "n_genes": len(case.genes),
                "seed": seed,
                "protocol": f"{case.hold_out.protocol}, {args.hide:g} of the molecules hidden",
                "prepare_seconds": case.prepare_seconds,
            }
            results += [about | row for row in judge(case, args.methods)]
            if args.out:
                beside = args.out.with_name(f".{args.out.name}.part")
                pd.DataFrame(results).to_csv(beside, index=False)
                beside.replace(args.out)
    print(table(pd.DataFrame(results)))


if __name__ == "__main__":
    main()
