"""The data sets of each test, what methods get of them, and what is measured in what they give back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import anndata
import measures
import numpy as np
import scipy.sparse as sp

import gnnimpute as gi
from gnnimpute import _false_signal as fs
from gnnimpute._check import most_expressed, normalized
from gnnimpute._gain import Errors, gain
from gnnimpute._tally import Tally

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import pandas as pd
    from numpy.typing import NDArray

    Ask = Callable[..., dict[str, NDArray[np.float32]]]
    """Imputes counts: expected counts at the total of each cell, by estimate."""

MARKERS = {
    "T cell": ["CD3D", "CD3E"],
    "B cell": ["CD79A", "CD79B", "MS4A1", "CD19"],
    "CD14+": ["S100A8", "S100A9", "CD14"],
    "CD34+": ["CD34", "SPINK2"],
}
PROTEINS = {
    "CD3": "CD3E", "CD4": "CD4", "CD8": "CD8A", "CD14": "CD14", "CD19": "CD19", "CD56": "NCAM1", "CD16": "FCGR3A",
    "CD5": "CD5", "CD7": "CD7", "CD27": "CD27", "CD28": "CD28", "IL7Ralpha (CD127)": "IL7R", "CD11c": "ITGAX",
    "CD11b": "ITGAM", "MHCII (HLA-DR)": "HLA-DRA", "CD2": "CD2", "CD69": "CD69", "CD62L": "SELL", "CD24": "CD24",
    "CD44": "CD44", "CD45": "PTPRC", "PECAM (CD31)": "PECAM1",
}  # fmt: skip


class Measured(NamedTuple):
    """One number."""

    estimate: str
    measure: str
    value: float
    passed: bool | None
    """Whether it keeps to its line; `None` where there is none."""


def read(folder: Path, name: str, *, n_cells: int | None = None, seed: int = 0) -> anndata.AnnData:
    """Counts of some cells, of genes that three of them show."""
    adata = anndata.read_h5ad(folder / f"{name}.h5ad")
    if n_cells is not None and n_cells < adata.n_obs:
        adata = adata[np.sort(np.random.default_rng(seed).permutation(adata.n_obs)[:n_cells])]
    seen = np.asarray((adata.X > 0).sum(axis=0)).ravel() >= 3
    adata = adata[:, seen].copy()
    adata.X = sp.csr_matrix(adata.X, dtype=np.float32)
    adata.var_names_make_unique()
    return adata


def at_median(values: Any, counts: sp.csr_matrix) -> NDArray[np.float64]:
    """Expected counts brought to the median total, dense."""
    total = np.maximum(np.asarray(counts.sum(axis=1), dtype=np.float64), 1)
    dense = values.toarray() if sp.issparse(values) else values
    return np.asarray(dense * (np.median(total) / total), dtype=np.float64)


def nothing_to_find(folder: Path, ask: Ask, seed: int) -> Iterator[Measured]:
    """(a) Genes shuffled within sorted types: no gain over the type means, no correlation."""
    adata = read(folder, "PBMC_facs_zheng", n_cells=1000, seed=seed)
    adata = adata[:, np.sort(most_expressed(adata.X, 2000))]
    types = np.unique(adata.obs["subpop"], return_inverse=True)[1]
    dealt = fs.dealt_within(sp.csr_matrix(adata.X), types, np.random.default_rng(seed))
    hold_out = gi.metrics.HoldOut.thin(dealt, 0.1, rng=seed)
    seen = hold_out.train
    cells, genes = (np.arange(n) for n in seen.shape)

    def errors(values: Any) -> Errors:
        tally = Tally(hold_out, cells=cells, genes=genes, weight=np.ones(len(genes)))
        tally[0 : len(cells)] = values
        return Errors(tally.deviance[0], tally.distance[0])

    means, top = errors(fs.group_means(seen, types)), most_expressed(seen, 200)
    for estimate, values in ask(named(seen, adata), seed=seed).items():
        found = gain(errors(values), means, of=cells).predicted
        yield Measured(estimate, "gain over the type means, %", 100 * found.value, found.low <= 0)
        r = fs.correlation_within(at_median(values[:, top], seen), types)
        yield Measured(estimate, "correlation of unrelated genes", r, r <= 0.1)


def sorted_types(folder: Path, ask: Ask, seed: int) -> Iterator[Measured]:
    """(b), (c), (d) Sorted blood cells: random splits of B cells, markers, and differences within types."""
    adata = read(folder, "PBMC_facs_zheng", n_cells=1500, seed=seed)
    types, names = (np.asarray(part) for part in np.unique(adata.obs["subpop"], return_inverse=True)[::-1])
    counts, rng = sp.csr_matrix(adata.X), np.random.default_rng(seed)
    raw, top = normalized(counts), most_expressed(counts, 1000)
    target = float(np.median(np.asarray(counts.sum(axis=1))))
    truth = fs.two_fold(counts, types, genes=top[:200], target=target, rng=np.random.default_rng(seed))
    b_cells = np.flatnonzero(types == list(names).index("B cell"))
    for estimate, values in ask(named(counts, adata), seed=seed).items():
        scaled = at_median(values, counts)
        p = fs.split_p_values(scaled[b_cells][:, top], n_splits=40, rng=rng)
        uneven = float(np.median([fs.from_uniform(one) for one in p])) if p.size else np.nan
        worst = float((p < 0.05).mean(axis=1).max()) if p.size else np.nan
        yield Measured(estimate, "random split: p-values from uniform", uneven, uneven <= 0.1)
        yield Measured(estimate, "random split: p < 0.05, worst of 40", worst, None)
        yield from markers(estimate, scaled, raw, genes=adata.var_names, type_of=names[types])
        kept = fs.variance_kept(scaled[:, top[:200]], types, truth)
        yield Measured(estimate, "variance within types, of the true", kept, 0.5 <= kept <= 2)
        r = fs.correlation_within(scaled[:, top[:200]][:, truth.clear], types) / truth.correlation
        yield Measured(estimate, "correlation within types, of the true", r, r <= 1.5)


def markers(estimate: str, scaled: Any, raw: Any, *, genes: pd.Index, type_of: NDArray[np.str_]) -> Iterator[Measured]:
    """Markers of one sorted type in the others."""
    found = []
    for name, names in MARKERS.items():
        own = type_of == name
        off = ~own & ((type_of != "CD34+") | (name == "CD34+"))  # progenitors are of many kinds
        for gene in genes.intersection(names):
            column = genes.get_loc(gene)
            seen, value = raw[:, [column]].toarray().ravel(), scaled[:, column]
            one = (measures.leak(value, own=own, off=off), measures.leak(seen, own=own, off=off))
            apart = measures.zeros_told_apart(value, seen, own=own, off=off)
            found.append((*one, apart, *measures.zeros_kept(value, seen, own=own, off=off)))
    leak, of_raw, apart, preserved, completed = np.nanmedian(np.array(found), axis=0)
    yield Measured(estimate, "markers elsewhere, of their own type", float(leak), bool(leak <= of_raw + 0.05))
    yield Measured(estimate, "zeros: dropouts above true ones (AUROC)", float(apart), bool(apart >= 0.9))
    yield Measured(estimate, "zeros preserved in other types", float(preserved), None)
    yield Measured(estimate, "zeros completed in the own type", float(completed), None)


def halves_apart(folder: Path, ask: Ask, seed: int) -> Iterator[Measured]:
    """(b) B cells split at random, each half imputed on its own: no gene differs."""
    adata = read(folder, "PBMC_facs_zheng")
    adata = adata[adata.obs["subpop"] == "B cell"]
    adata = adata[:, np.asarray((adata.X > 0).sum(axis=0)).ravel() >= 10].copy()
    order = np.random.default_rng(seed).permutation(adata.n_obs)
    halves = [np.sort(order[: adata.n_obs // 2]), np.sort(order[adata.n_obs // 2 :])]
    top = most_expressed(adata.X, 1000)
    given = [ask(named(sp.csr_matrix(adata.X[cells]), adata[cells]), seed=seed) for cells in halves]
    for estimate in given[0]:
        one, other = (
            at_median(half[estimate], adata.X[cells])[:, top] for half, cells in zip(given, halves, strict=True)
        )
        p = rank_sum(one, other)
        yield Measured(
            estimate, "halves imputed apart: p < 0.05", float((p < 0.05).mean()), bool((p < 0.05).mean() <= 0.1)
        )


def rank_sum(one: Any, other: Any) -> NDArray[np.float64]:
    """P-values of rank-sum tests, gene by gene; 1 for genes that are equal in all cells."""
    from scipy.stats import mannwhitneyu

    p = mannwhitneyu(one, other, axis=0, method="asymptotic").pvalue
    return np.where(np.isfinite(p), p, 1.0)


def rare_types(folder: Path, ask: Ask, seed: int) -> Iterator[Measured]:
    """(d) A few B cells among T cells have to stay B cells."""
    adata = read(folder, "PBMC_facs_zheng")
    rng, types = np.random.default_rng(seed), adata.obs["subpop"].to_numpy()
    b, t = (rng.permutation(np.flatnonzero(types == name)) for name in ("B cell", "T cell"))
    logs = normalized(adata.X).log1p()
    profile, others = (np.asarray(logs[cells].mean(axis=0)).ravel() for cells in (b[100:], t[1200:]))
    genes = np.argsort(-np.abs(profile - others))[:50]
    for share, n_rare in (("1 %", 10), ("0.1 %", 1)):
        cells = np.concatenate([b[:n_rare], t[: 1000 - n_rare]])
        part = adata[cells]
        rare = np.arange(len(cells)) < n_rare
        scale = np.median(np.asarray(adata.X.sum(axis=1))) / np.median(np.asarray(part.X.sum(axis=1)))
        for estimate, values in ask(named(sp.csr_matrix(part.X), part), seed=seed).items():
            value = np.log1p(at_median(values, part.X)[:, genes] * scale)
            kept = measures.survival(value, rare=rare, profile=profile[genes], others=others[genes])
            yield Measured(estimate, f"rare type of {share}: kept", kept, kept >= 0.5)


def mixes(folder: Path, ask: Ask, seed: int) -> Iterator[Measured]:
    """(e) RNA mixed in known shares: cells of one mix are equal, and mixes lie in order."""
    adata = read(folder, "scmix_RNAmix_celseq2")
    mix = np.unique(adata.obs["mix_label"].astype(str), return_inverse=True)[1]
    amounts = (adata.obs["HCC827_prop"].astype(float) - adata.obs["H1975_prop"].astype(float)).to_numpy()
    counts, top = sp.csr_matrix(adata.X), most_expressed(adata.X, 1000)
    raw = np.log1p(at_median(counts, counts)[:, top])
    limits = measures.within_share(raw, mix), measures.order_kept(raw, amounts)
    for estimate, values in ask(named(counts, adata), seed=seed).items():
        value = np.log1p(at_median(values, counts)[:, top])
        within, order = measures.within_share(value, mix), measures.order_kept(value, amounts)
        yield Measured(estimate, "RNA mixes: variance within a mix", within, within <= limits[0])
        yield Measured(estimate, "RNA mixes: order kept", order, order >= limits[1] - 0.02)


def proteins(folder: Path, ask: Ask, seed: int) -> Iterator[Measured]:
    """(e) Surface proteins of the same cells: their RNA has to come nearer to them."""
    adata = read(folder, "CITEseq_citefuse500")
    surface = np.log1p(adata.obsm["protein"])
    pairs = [(protein, f"hg19_{gene}") for protein, gene in PROTEINS.items() if f"hg19_{gene}" in adata.var_names]
    columns = adata.var_names.get_indexer([gene for _, gene in pairs])
    counts = sp.csr_matrix(adata.X)

    def typical(values: Any) -> float:
        scaled = at_median(values, counts)[:, columns]
        return float(
            np.median(
                [measures.rank_correlation(scaled[:, i], surface[p].to_numpy()) for i, (p, _) in enumerate(pairs)]
            )
        )

    least = typical(counts)
    for estimate, values in ask(named(counts, adata), seed=seed).items():
        value = typical(values)
        yield Measured(estimate, f"{len(pairs)} surface proteins: correlation with their RNA", value, value >= least)


def simulated(folder: Path, ask: Ask, seed: int) -> Iterator[Measured]:
    """(e) Simulated counts, some lost: zeros have to come nearer to what was there."""
    del folder
    adata = gi.datasets.splatter(n_genes=1000, batch_cells=400, group_prob=[0.5, 0.3, 0.2], lib_loc=8.5,
                                 dropout_type="experiment", dropout_mid=1, rng=seed)  # fmt: skip
    counts = sp.csr_matrix(adata.X, dtype=np.float32)
    adata = adata[:, np.asarray((counts > 0).sum(axis=0)).ravel() >= 3]
    counts, true = sp.csr_matrix(adata.X, dtype=np.float32), np.asarray(adata.layers["true_counts"].todense())
    zero = counts.toarray() == 0
    none = np.sqrt(np.mean(np.square(np.log1p(true[zero]))))
    for estimate, values in ask(named(counts, adata), seed=seed).items():
        error = np.sqrt(np.mean(np.square(np.log1p(np.maximum(values[zero], 0)) - np.log1p(true[zero])))) / none
        yield Measured(estimate, "simulated: error at zeros, of none imputed", float(error), bool(error < 1))


def stable(folder: Path, ask: Ask, seed: int) -> Iterator[Measured]:
    """(g) Another seed, another order of the cells, a tenth of them removed: the same has to come out."""
    adata = read(folder, "CITEseq_citefuse500")
    counts, rng = sp.csr_matrix(adata.X), np.random.default_rng(seed)
    top, n = most_expressed(counts, 1000), adata.n_obs
    first = ask(named(counts, adata), seed=seed)
    changes = {"another seed": (np.arange(n), seed + 1), "another order": (rng.permutation(n), seed),
               "a tenth removed": (np.sort(rng.permutation(n)[n // 10 :]), seed)}  # fmt: skip
    for name, (cells, other) in changes.items():
        second = ask(named(sp.csr_matrix(counts[cells]), adata[cells]), seed=other)
        for estimate, values in first.items():
            pair = (at_median(part[:, top], counts[cells]) for part in (values[cells], second[estimate]))
            value = fs.agreement(*pair)
            yield Measured(estimate, f"{name}: agreement", value, value >= 0.9)


def intervals(folder: Path, ask: Ask, seed: int) -> Iterator[Measured]:
    """(f) An expected count, taken at its word: hidden molecules then are Poisson, and its intervals hold them.

    Our own intervals know that counts vary more; a report has them. Other methods give no more than a value.
    """
    adata = read(folder, "CITEseq_citefuse500")
    hold_out = gi.metrics.HoldOut.thin(adata.X, 0.1, rng=seed)
    genes = np.sort(most_expressed(hold_out.train, 1000))
    for estimate, values in ask(named(hold_out.train, adata), seed=seed).items():
        mean = values[:, genes] * (0.1 / 0.9)
        known = {"size": np.full(mean.shape, np.inf), "genes": genes, "levels": (0.8,), "least": 1.0, "rng": seed}
        share = 100 * gi.metrics.score_coverage(hold_out, mean, **known)[0.8]
        yield Measured(estimate, "Poisson intervals of 80 %: hold, %", share, abs(share - 80) <= 3)


def named(counts: sp.csr_matrix, like: anndata.AnnData) -> anndata.AnnData:
    """Counts with the names of others, and nothing else."""
    return anndata.AnnData(counts, obs=like.obs[[]].copy(), var=like.var[[]].copy())


JOBS = {job.__name__: job for job in (
    nothing_to_find, sorted_types, halves_apart, rare_types, mixes, proteins, simulated, stable, intervals,
)}  # fmt: skip
