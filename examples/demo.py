"""How much of what was lost comes back? On simulated counts whose truth is known, or on counts of your own.

    python examples/demo.py                 simulated: counts are lost to dropout, and the truth is known
    python examples/demo.py counts.h5ad     yours: a tenth of the molecules is hidden, and predicted from the rest

A picture and the imputed object are written into the folder ``demo`` here.
"""

from __future__ import annotations

import logging
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
import scipy.sparse as sp
from anndata import AnnData
from matplotlib import pyplot as plt

import gnnimpute as gi

if TYPE_CHECKING:
    from numpy.typing import NDArray

OUT = Path("demo")
OURS = "gnnimpute"


def main() -> None:
    """Run on the file that the command line names, or on simulated counts."""
    started = time.monotonic()
    mpl.use("agg")
    logging.basicConfig(format="   %(message)s", level=logging.WARNING)
    OUT.mkdir(exist_ok=True)
    if len(sys.argv) > 1:
        try:
            on_real_counts(Path(sys.argv[1]))
        except (ValueError, OSError) as error:
            sys.exit(f"Error: {error}")
    else:
        on_simulated_counts()
    print(f"\nDone in {time.monotonic() - started:.0f} s.")


def on_simulated_counts() -> None:
    """Lose counts whose truth is known, impute, and compare with the truth."""
    print("1. Simulate 1000 cells of three groups x 2000 genes, and lose counts: the fewer, the likelier (Splatter).")
    adata = gi.datasets.splatter(
        n_genes=2000,
        batch_cells=1000,
        group_prob=[0.5, 0.3, 0.2],
        de_prob=0.3,
        de_fac_scale=0.7,
        lib_loc=8.5,
        dropout_type="experiment",
        dropout_mid=0,
        true_means=True,
    )
    truth = sp.csr_matrix(adata.layers["true_counts"])
    print(f"   Of {truth.nnz:,} non-zeros {truth.nnz - adata.X.nnz:,} are zeros now: dropouts.\n")

    print("2. Impute. Two questions are asked of one model:")
    gi.pp.prepare(adata)
    # The default is more epochs; after these few the loss hardly moves here.
    imputer = gi.tl.fit(adata, config=gi.Config(n_epochs=15))
    gi.tl.impute(adata, imputer=imputer, estimate="detected", output="counts")
    gi.tl.impute(adata, imputer=imputer, estimate="mean", output="counts", key_added="expected")
    print("   'detected': if there was something, how much?    'mean': how much is there on average?\n")

    print("3. Compare with the truth, which the imputer has never seen.")
    errors = at_dropouts(adata, truth)
    everywhere(adata, truth)
    draw(adata, errors, unit="error (RMSE) at dropouts, counts", title="Lost counts", truth=truth)
    adata.layers.pop("true_means")
    save(adata)


def at_dropouts(adata: AnnData, truth: sp.csr_matrix) -> dict[str, float]:
    """Compare the counts that were lost with what each method says is behind those zeros."""
    now = adata.X.toarray()
    lost = (truth.toarray() > 0) & (now == 0)
    true, mean = truth.toarray()[lost], adata.layers["true_means"][lost]
    n_detected = np.maximum((now > 0).sum(0), 1)
    guesses = {
        "no imputation": np.zeros_like(true),
        "gene's mean": np.broadcast_to(now.mean(0), now.shape)[lost],
        "mean of gene's non-zeros": np.broadcast_to(now.sum(0) / n_detected, now.shape)[lost],
        OURS: adata.layers["gnnimpute"][lost],
        # Nobody has this: the simulation's own mean of each count, given that there is one. What is left is chance.
        "best possible": mean / -np.expm1(-mean),
    }
    errors = {name: rmse(true, guess) for name, guess in guesses.items()}
    worst, best = errors["no imputation"], errors["best possible"]
    print(f"\n   The {len(true):,} dropouts (estimate 'detected'), whose true counts are {true.mean():.2f} on average:")
    print(f"   {'':26}{'error (RMSE)':>14}{'within half a count':>22}{'came back':>12}")
    for name, guess in guesses.items():
        back = (worst - errors[name]) / (worst - best)
        print(f"   {name:26}{errors[name]:>14.2f}{np.mean(np.abs(guess - true) <= 0.5):>22.0%}{back:>12.0%}")
    print("   'came back': the share of the error that is gone, of all that could go. The rest is chance.")
    return errors


def everywhere(adata: AnnData, truth: sp.csr_matrix) -> None:
    """Compare all values, zeros included, with the expression that the counts were drawn from."""
    expression, now = np.log1p(adata.layers["true_means"]), adata.X.toarray()
    guesses = {
        "no imputation": now,
        "gene's mean": np.broadcast_to(now.mean(0), now.shape),
        OURS: adata.layers["expected"],
        "counts before dropout": truth.toarray(),
    }
    print(f"\n   All {now.size:,} values against the true expression (estimate 'mean', log(1 + count)):")
    print(f"   {'':26}{'error (RMSE)':>14}{'correlation':>22}")
    for name, guess in guesses.items():
        logged = np.log1p(guess)
        r = np.corrcoef(expression.ravel(), logged.ravel())[0, 1]
        print(f"   {name:26}{rmse(expression, logged):>14.3f}{r:>22.3f}")
    print(
        "   The true expression is the mean that a count was drawn from. Even with nothing lost, counts scatter around"
    )
    print("   it: that is the last line.")


def on_real_counts(path: Path) -> None:
    """Hide a tenth of the molecules from everything, impute the rest, and compare with what was hidden."""
    logging.getLogger("gnnimpute").setLevel(logging.INFO)
    print(f"1. Read {path} and hide each molecule with probability 0.1.")
    whole = gi.io.read(path)
    hold_out = gi.metrics.HoldOut.thin(counts_of(whole), 0.1, rng=0)
    adata = AnnData(hold_out.train, obs=whole.obs[[]], var=whole.var)

    print("\n2. Impute what is left; graph, components and training have never seen what is hidden.")
    gi.pp.prepare(adata)
    gi.tl.impute(adata, output="counts")

    cells, genes = (np.flatnonzero(frame["gnnimpute_pass"]) for frame in (adata.obs, adata.var))
    print(f"\n3. Predict the hidden molecules of the {len(cells):,} cells and {len(genes):,} genes that were imputed.")
    left = hold_out.train[cells][:, genes]
    factor = np.asarray(left.sum(1)) / left.sum()
    methods = {
        "no imputation": left,
        "gene's mean": PerGene(np.asarray(left.sum(0)).ravel(), factor.ravel()),
        OURS: Part(adata.layers["gnnimpute"], cells, genes),
    }
    losses = {
        name: gi.metrics.score(hold_out, made, cells=cells, genes=genes)["poisson_loss"]
        for name, made in methods.items()
    }
    print(f"   {'':26}{'Poisson loss per value (lower is better)':>42}{'95 % interval':>22}")
    for name, loss in losses.items():
        print(f"   {name:26}{loss.value:>42.5f}{f'{loss.low:.5f} to {loss.high:.5f}':>22}")
    better = losses[OURS].value < min(loss.value for name, loss in losses.items() if name != OURS)
    print(f"   Imputation {'helps' if better else 'does NOT help'} on this data.")
    if not better:
        print(f"   Whether another estimate does: gnnimpute evaluate {path}")
    errors = {name: loss.value for name, loss in losses.items()}
    draw(adata, errors, unit="Poisson loss", title="Hidden molecules, a tenth of all")
    save(adata)


def counts_of(adata: AnnData) -> sp.csr_matrix | NDArray[np.floating]:
    """``layers["counts"]`` or else `X`; of normalised values what `raw` has, as in files of CELLxGENE."""
    counts = adata.layers.get("counts", adata.X)
    some = sp.csr_matrix(counts[:100]).data
    if adata.raw is not None and adata.raw.var_names.equals(adata.var_names) and (some != np.rint(some)).any():
        print("   These are no counts: those of adata.raw are taken.")
        return adata.raw.X
    return counts


class PerGene:
    """Mean of each gene at the depth of each cell, made a few rows at a time: the whole may not fit in memory."""

    def __init__(self, gene: NDArray[np.floating], depth: NDArray[np.floating]) -> None:
        self.gene, self.depth, self.shape = gene, depth, (len(depth), len(gene))

    def __getitem__(self, rows: slice) -> NDArray[np.floating]:
        return np.outer(self.depth[rows], self.gene)


class Part:
    """Some cells and genes of imputed values, read a few rows at a time."""

    def __init__(self, values: NDArray[np.floating], cells: NDArray[np.int64], genes: NDArray[np.int64]) -> None:
        self.values, self.cells, self.genes, self.shape = values, cells, genes, (len(cells), len(genes))

    def __getitem__(self, rows: slice) -> NDArray[np.floating]:
        return self.values[self.cells[rows]][:, self.genes]


def rmse(true: NDArray[np.floating], guess: NDArray[np.floating]) -> float:
    """Root of the mean squared error."""
    return float(np.sqrt(np.mean(np.square(guess - true, dtype=np.float64))))


def draw(
    adata: AnnData, errors: dict[str, float], *, unit: str, title: str, truth: sp.csr_matrix | None = None
) -> None:
    """One picture: the matrices if the truth is known, then training, two genes, and errors."""
    figure = plt.figure(figsize=(13, 8.5 if truth is not None else 4.4), layout="constrained")
    rows = figure.subfigures(2 if truth is not None else 1, 1, squeeze=False)[:, 0]
    if truth is not None:
        heat_maps(rows[0].subplots(1, 3, sharey=True), adata, truth)
    left, middle, right = rows[-1].subplots(1, 3)
    gi.pl.loss(adata, ax=left)
    gi.pl.gene_pair(adata, *telling_genes(adata), color="group" if truth is not None else None, ax=middle)
    gi.pl.held_out(errors, unit=unit, title=title, ax=right)
    figure.savefig(OUT / "demo.png", dpi=110)
    print(f"\nWrote {OUT / 'demo.png'}: training, two genes before and after, and the errors above.")


def heat_maps(axes: NDArray[np.object_], adata: AnnData, truth: sp.csr_matrix) -> None:
    """Genes that differ between the groups: before dropout, after it, and imputed."""
    groups = adata.obs["group"]
    cells = np.concatenate([np.flatnonzero(groups == group)[:60] for group in groups.cat.categories])
    genes = np.concatenate([markers(adata, group) for group in groups.cat.categories])
    shown = {
        "truth: counts before dropout": truth,
        "what is left": adata.X,
        "imputed: expected counts\n(estimate: mean)": adata.layers["expected"],
    }
    for ax, (title, matrix) in zip(axes, shown.items(), strict=True):
        block = matrix[cells][:, genes]
        values = np.log1p(block.toarray() if sp.issparse(block) else block)
        image = ax.imshow(values.T, aspect="auto", cmap="viridis", vmin=0, vmax=np.log1p(20), interpolation="none")
        ax.set(title=title, xlabel="60 cells of each group", xticks=[], yticks=[])
    axes[0].set_ylabel("15 genes of each group")
    bar = axes[0].figure.colorbar(image, ax=list(axes), label="count", extend="max")
    bar.set_ticks(np.log1p([0, 1, 2, 5, 10, 20]), labels=["0", "1", "2", "5", "10", "20"])


def markers(adata: AnnData, group: str, n: int = 15) -> NDArray[np.int64]:
    """Genes that are high in a group and often lost."""
    factor = adata.var[f"de_factor_{group}"].to_numpy()
    lost = adata.var["gnnimpute_n_cells"] / np.maximum((adata.layers["true_counts"] > 0).sum(0).A1, 1)
    fit = adata.var["gnnimpute_pass"].to_numpy() & (lost.to_numpy() < 0.8) & (adata.var["mean"].to_numpy() > 1)
    return np.argsort(np.where(fit, -factor, 0), kind="stable")[:n]


def telling_genes(adata: AnnData) -> tuple[str, str]:
    """Two genes that vary together in what was imputed."""
    values = np.log1p(np.asarray(adata.layers["gnnimpute"][:: max(1, adata.n_obs // 1000)], dtype=np.float32))
    values[:, ~adata.var["gnnimpute_pass"].to_numpy()] = 0
    few = np.argsort(-values.std(0), kind="stable")[:50]
    r = np.corrcoef(values[:, few].T) if len(few) > 1 else np.zeros((1, 1))
    x, y = np.unravel_index(np.argmax(r - 2 * np.eye(len(r))), r.shape)
    return str(adata.var_names[few[x]]), str(adata.var_names[few[y]])


def save(adata: AnnData) -> None:
    """Write the object with all that was added."""
    gi.io.write(adata, OUT / "imputed.h5ad", overwrite=True)
    print(f'Wrote {OUT / "imputed.h5ad"}: layers["gnnimpute"] is the imputed layer.')


if __name__ == "__main__":
    main()
