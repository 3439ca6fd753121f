"""How much of what can be won do methods win? Molecules hidden from simulated counts, whose best prediction is known.

    python benchmarks/accuracy/attainable.py FILES... --out results.csv [--methods "gene mean;gnnimpute"] [--peers DIR]
    python benchmarks/accuracy/attainable.py FILES... --out masked.csv --hide --mask 0.1 --methods "gnnimpute, detected"

A model is fitted to the counts of each file and then taken for the truth: the expression of a gene in a cell is drawn
from a gamma distribution around the model's mean, with the model's dispersion, and counts are Poisson. No method can
predict these molecules better than who knows all means and dispersions, and has each cell's own counts: the posterior
of the truth. The table has the shares of the way from the mean of each gene to there. Nor can anybody predict masked
non-zeros with less squared error than who knows all means and dispersions. README.md says what this means.
"""

from __future__ import annotations

import argparse
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import scipy.sparse as sp
from anndata import AnnData

import gnnimpute as gi
from gnnimpute import _benchmark, _results
from gnnimpute._adapters import built_in, chosen, peers
from gnnimpute._estimates import posterior
from gnnimpute._judge import Budget, Case, Protocol
from gnnimpute._paired import label

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pandas as pd

    from gnnimpute._prior import Spread

METHODS = ("gene mean", "neighbour and gene mean", "PCA", "gnnimpute")
WORST = "gene mean"
MEAN, BEST = "the true mean", "its posterior"
DETECTED = "the true mean of what was detected"
METRICS = {"mse": "MSE", "mae": "MAE", "pcc": "PCC", "cs": "CS"}


class Simulated(NamedTuple):
    """Counts, and what they were drawn from."""

    counts: AnnData
    mean: np.ndarray
    """Expected counts, of shape (n_cells, n_genes)."""
    spread: Spread
    """How far the cells differ from the mean."""

    @classmethod
    def like(cls, path: Path) -> Simulated:
        """As the fitted model of a file would have it."""
        adata = gi.io.read(path)
        gi.pp.prepare(adata, filter=True)
        imputer = gi.tl.fit(adata)
        counts = sp.csr_matrix(adata.layers["counts"])
        graph = gi.NeighborGraph.from_sparse(adata.obsp["gnnimpute_neighbors_distances"], nearest="smallest")
        mean, spread = imputer.transform(counts, graph, output="counts"), imputer.spread_
        rng = np.random.default_rng(0)
        rows = []
        for row in mean:
            # A gamma distribution of shape 1e6 is a point, for counts.
            shape = np.clip(spread.size(row), 1e-9, 1e6)
            rows.append(sp.csr_matrix(rng.poisson(row * rng.gamma(shape) / shape).astype(np.float32)))
        return cls(AnnData(sp.vstack(rows, "csr"), obs=adata.obs[[]], var=adata.var[[]]), mean, spread)

    def known(self, protocol: Protocol, seed: int) -> dict[str, dict[str, float]]:
        """Metrics of who knows what the counts were drawn from: of molecules, without and with the counts left."""
        case = Case.make(self.counts, protocol, seed=seed)
        mean, spread = self.mean[case.cells][:, case.genes], self.spread.of(case.genes)
        if protocol.kind == "mask":
            values = {DETECTED: of_detected(mean, spread)}
        else:
            kept = 1 - protocol.rate
            mean = kept * mean
            # Of what is kept, the variance b * mean + mean**2 / theta of the means has a smaller b, and the same theta.
            values = {
                MEAN: mean,
                BEST: posterior(mean, case.adata.X.toarray(), spread._replace(fano=kept * spread.fano)),
            }
        where = {"cells": case.cells, "genes": case.genes, "rng": seed}
        scores = {name: gi.metrics.score(case.hold_out, value, **where) for name, value in values.items()}
        return {name: {metric: one.value for metric, one in score.items()} for name, score in scores.items()}


def of_detected(mean: np.ndarray, spread: Spread) -> np.ndarray:
    """Expected count of who was detected, of a negative binomial: the mean over the probability of one or more."""
    size = np.clip(spread.size(mean), 1e-9, 1e6)
    return mean / -np.expm1(-size * np.log1p(np.maximum(mean, 1e-9) / size))


Known = dict[tuple[str, Protocol, int], dict[str, dict[str, float]]]
"""Metrics of who knows the truth, for each set, what is hidden of it, and seed."""


def table(results: pd.DataFrame, known: Known) -> str:
    """Losses of molecules, and shares of what can be won, in Markdown.

    Parameters
    ----------
    results
        Rows of `gnnimpute benchmark`.
    known
        What :meth:`Simulated.known` says.
    """
    found = results[(results["metric"] == "poisson_loss") & (results["protocol"] == "thin")]
    lines = ["| data | hidden | seed | method | Poisson loss | of what can be won |", "|---|---|---|---|---|---|"]
    for (data, rate, seed), part in found.groupby(["data", "rate", "seed"], sort=False):
        names = [label(*pair) for pair in zip(part["method"], part["estimate"], strict=True)]
        best = known.get((data, Protocol("thin", rate), seed), {})
        losses = dict(zip(names, part["value"], strict=True)) | {n: one["poisson_loss"] for n, one in best.items()}
        if not {WORST, BEST} <= losses.keys():  # of an earlier call with the same file of results, or nothing to share
            continue
        for name, loss in sorted(losses.items(), key=lambda pair: pair[1]):
            share = (losses[WORST] - loss) / (losses[WORST] - losses[BEST])
            lines.append(f"| {data} | {rate:g} | {seed} | {name} | {loss:.5f} | {share:.1%} |")
    return "\n".join(lines)


def masked_table(results: pd.DataFrame, known: Known) -> str:
    """Errors of masked non-zeros beside the least ones, in Markdown; parameters as of :func:`table`."""
    lines = [f"| data | masked | seed | method | {' | '.join(METRICS.values())} |", "|---" * (4 + len(METRICS)) + "|"]
    for (data, protocol, seed), best in known.items():
        if protocol.kind != "mask":
            continue
        here = (results["data"] == data) & (results["rate"] == protocol.rate) & (results["seed"] == seed)
        found = results[here & (results["protocol"] == "mask") & results["metric"].isin(METRICS)]
        methods = {label(*pair): dict(zip(part["metric"], part["value"], strict=True))
                   for pair, part in found.groupby(["method", "estimate"], sort=False)}  # fmt: skip
        for name, values in sorted((methods | best).items(), key=lambda pair: pair[1]["mse"]):
            numbers = " | ".join(f"{values[metric]:.4f}" for metric in METRICS)
            lines.append(f"| {data} | {protocol.rate:g} | {seed} | {name} | {numbers} |")
    return "\n".join(lines)


def run(args: argparse.Namespace) -> Iterator[tuple[tuple[str, Protocol, int], dict[str, dict[str, float]]]]:
    """Run what is not in the file of the results yet; the metrics of who knows the truth."""
    methods = chosen(built_in({}) + (peers(args.peers) if args.peers else []), args.methods)
    protocols = [Protocol("thin", rate) for rate in args.hide] + [Protocol("mask", rate) for rate in args.mask]
    for path in args.files:
        simulated = Simulated.like(path)
        rows = _benchmark.run(
            {path.stem: simulated.counts}, methods=methods, protocols=protocols, seeds=range(args.seeds), out=args.out,
            budget=Budget(time_limit=args.time_limit, threads=args.threads),
        )  # fmt: skip
        for _ in rows:
            pass
        for protocol in protocols:
            for seed in range(args.seeds):
                yield (path.stem, protocol, seed), simulated.known(protocol, seed)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run methods and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path, help="files with raw counts in layers['counts'] or X")
    parser.add_argument("--out", type=Path, required=True, help="CSV to write, or to go on from")
    parser.add_argument("--seeds", type=int, default=1, help="number of seeds of the hiding, from 0 (default 1)")
    parser.add_argument("--hide", type=float, nargs="*", default=[0.1], help="shares of the molecules (default 0.1)")
    parser.add_argument("--mask", type=float, nargs="*", default=[], help="shares of each gene's non-zeros (none)")
    parser.add_argument("--methods", type=lambda text: text.split(";"), default=METHODS,
                        help=f"names with ; between (default: {';'.join(METHODS)})")  # fmt: skip
    parser.add_argument("--peers", type=Path, help="folder of adapters of other methods, such as benchmarks/peers")
    parser.add_argument("--time-limit", type=float, default=3600, help="seconds of each method (%(default)g)")
    parser.add_argument("--threads", type=int, default=int(os.environ.get("OMP_NUM_THREADS", "2")))
    args = parser.parse_args(arguments)
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    known = dict(run(args))
    results = _results.read(args.out)
    if args.hide:
        print(table(results, known))
    if args.mask:
        print(masked_table(results, known))


if __name__ == "__main__":
    main()
