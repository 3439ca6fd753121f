"""Another library of the same RNA: the hidden molecules are not of the library that is read, so they share no chance.

    python benchmarks/accuracy/replicates.py FILE --group mix_label mRNA_amount [--seeds 3] [--peers benchmarks/peers]

For data in which libraries are replicates, as mixtures of RNA are. Libraries of the same values of `obs[--group]` are
paired at random; methods get the first of each pair, and nothing else; what they say of it is judged by the counts of
the second, at its depth. Thinned molecules ask what the same library would show if it were sequenced deeper: with its
clumps and its losses. This asks what the RNA is.

The same of our own predictions: how many counts of the second library lie in their intervals, and how often it shows a
gene that is zero in the first, beside how likely `redetection` says that it does.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData

import gnnimpute as gi
from gnnimpute._adapters import built_in, chosen, peers
from gnnimpute._blind import visible
from gnnimpute._holdout import Sealed, unseal
from gnnimpute._judge import Budget, Case, Protocol, told
from gnnimpute._paired import label

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

METHODS = ("no imputation", "gene mean", "neighbour and gene mean", "PCA", "gnnimpute")


def pairs(groups: Iterable[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """Cells of each group in pairs, of shape (n_pairs, 2); an odd one is left out."""
    order = (rng.permutation(cells) for cells in groups)
    return np.concatenate([cells[: len(cells) // 2 * 2].reshape(-1, 2) for cells in order])


def replicates(adata: AnnData, by: Sequence[str], seed: int) -> Case:
    """One library of each pair to read, the other to judge by.

    Parameters
    ----------
    adata
        Raw counts in `X`.
    by
        Columns of `obs`: cells with equal values are replicates.
    seed
        Seed of the pairing.
    """
    groups = adata.obs.groupby(list(by), observed=True, sort=True).indices.values()
    first, second = pairs(groups, np.random.default_rng(seed)).T
    read, hidden = sp.csr_matrix(adata.X[first]), sp.csr_matrix(adata.X[second])
    kept, cells, genes, _ = visible(adata[first].copy(), read, n_pcs=None)
    hidden = hidden[cells][:, genes]
    factor = np.asarray(hidden.sum(1) / kept.X.sum(1), dtype=np.float64).ravel()
    hold_out = gi.metrics.HoldOut(sp.csr_matrix(kept.X), Sealed(hidden, factor), "molecules", 0.5)
    plain = AnnData(kept.X, obs=kept.obs[[]].copy(), var=kept.var[[]].copy())
    everything = np.arange(plain.n_obs), np.arange(plain.n_vars)
    return Case(plain, hold_out, *everything, Protocol("thin", 0.5), seed, {})


def table(pairings: Sequence[pd.DataFrame], reference: str) -> str:
    """Loss of each method, and how far it is from one of them pair by pair, in Markdown.

    Pairings share libraries, so their pairs are not independent of each other. The mean over pairings varies no more
    than one pairing does on average: its interval is the mean of theirs.

    Parameters
    ----------
    pairings
        Loss of each pair of libraries, of shape (n_pairs, n_methods), for each pairing.
    reference
        The method that others are compared with.
    """
    lines = ["| method | Poisson deviance | less that of " + reference + " [95 %] |", "|---|---|---|"]
    means = pd.DataFrame([losses.mean() for losses in pairings]).mean()
    for name in means.sort_values().index:
        line = f"| {name} | {means[name]:.4f} |"
        if name != reference and reference in means:
            found = [gi.metrics.paired_difference(losses[name], losses[reference], rng=0) for losses in pairings]
            mean, low, high = np.mean(found, axis=0)
            line += f" {mean:+.4f} [{low:+.4f}, {high:+.4f}] |"
        lines.append(line if line.count("|") == 4 else line + " |")
    return "\n".join(lines)


def calibration(case: Case) -> str:
    """What intervals of another library hold, and how often it shows what was zero, in Markdown.

    Parameters
    ----------
    case
        From :func:`replicates`.
    """
    counts, (hidden, factor) = sp.csr_matrix(case.adata.X), unseal(case.hold_out)
    kept = case.adata.copy()
    gi.pp.prepare(kept, min_genes=0, min_cells=0, max_mito_pct=None, max_total=None, rng=case.seed)
    graph = gi.NeighborGraph.from_sparse(kept.obsp["gnnimpute_neighbors_distances"], nearest="smallest")
    mean, size = gi.tl.fit(kept, rng=case.seed, progress=False).further(counts, graph)
    mean = mean * factor[:, None]
    lines = ["| entries by expected count | 50 % hold | 80 % hold | 95 % hold |", "|---|---|---|---|"]
    for name, least in {"all entries": 0, "1 or more, randomised": 1}.items():
        held = gi.metrics.coverage(hidden, mean, size, least=least).values()
        lines.append(f"| {name} | {' | '.join(f'{share:.1%}' for share in held)} |")
    zero, shows = counts.toarray() == 0, hidden.toarray() > 0
    # What `redetection` says with the depth of the second library for `exposure`, which differs from pair to pair.
    likely = -np.expm1(-size * np.log1p(mean / size))
    lines += ["", "| zeros that are likely to be shown | entries | said | shown |", "|---|---|---|---|"]
    for low, high in pairwise((0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.01)):
        these = zero & (likely >= low) & (likely < high)
        if these.any():
            found = f"{likely[these].mean():.1%} | {shows[these].mean():.1%}"
            lines.append(f"| {low:.0%} to {min(high, 1):.0%} | {these.sum():,} | {found} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run methods and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="raw counts in layers['counts'] or X")
    parser.add_argument("--group", nargs="+", required=True, help="columns of obs whose equal values are replicates")
    parser.add_argument("--seeds", type=int, default=1, help="number of pairings, from seed 0 on (default 1)")
    parser.add_argument("--methods", type=lambda text: text.split(";"), default=METHODS,
                        help=f"names with ; between (default: {';'.join(METHODS)})")  # fmt: skip
    parser.add_argument("--reference", default="gnnimpute", help="method that others are compared with (%(default)s)")
    parser.add_argument("--no-calibration", action="store_true", help="leave out our intervals and dropouts")
    parser.add_argument("--peers", type=Path, help="folder of adapters of other methods, such as benchmarks/peers")
    parser.add_argument("--time-limit", type=float, default=3600, help="seconds of each method (%(default)g)")
    parser.add_argument("--threads", type=int, default=int(os.environ.get("OMP_NUM_THREADS", "2")))
    args = parser.parse_args(arguments)
    adata = gi.io.read(args.file)
    adata.X = sp.csr_matrix(adata.layers.get("counts", adata.X))
    methods = chosen(built_in() + (peers(args.peers) if args.peers else []), args.methods)
    budget, found = Budget(time_limit=args.time_limit, threads=args.threads), []
    for seed in range(args.seeds):
        case = replicates(adata, args.group, seed)
        print(f"seed {seed}: {case.adata.n_obs} pairs, {case.adata.n_vars:,} genes")
        losses: dict[str, np.ndarray] = {}
        for method in methods:
            estimates: dict[str, np.ndarray] = {}
            with tempfile.TemporaryDirectory() as folder:
                rows = case.rows(method, Path(folder), budget=budget, keep=lambda _, made: estimates.update(made))  # noqa: B023 -- called at once
            print(f"  {method.name}: {told(rows, case.protocol)}", flush=True)
            losses |= {label(method.name, estimate): values for estimate, values in estimates.items()}
        found.append(pd.DataFrame(losses))
        if not args.no_calibration:
            print(calibration(case), flush=True)
    print(table(found, args.reference))


if __name__ == "__main__":
    main()
