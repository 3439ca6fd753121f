"""Simulate counts with known truth: the Splat model of :cite:t:`Zappia2017` in NumPy, arrays in and out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import scipy.sparse as sp
from scipy.special import expit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gnnimpute._splat_params import SplatParams

    Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Genes:
    """What is drawn once for a gene. Means and factors have no unit: only their proportions matter."""

    base_mean: Floats  # (n_genes,), before outliers
    outlier_factor: Floats  # (n_genes,), 1 but for outliers: their factor over the median mean
    mean: Floats  # (n_genes,)
    batch_factor: Floats  # (n_batches, n_genes)
    de_factor: Floats  # (n_groups, n_genes)
    bcv_factor: Floats  # (n_genes,), biological variation over the common trend


@dataclass(frozen=True)
class Plan:
    """All that is drawn before the counts."""

    params: SplatParams
    genes: Genes
    batch: NDArray[np.intp]  # (n_cells,)
    group: NDArray[np.intp]  # (n_cells,)
    library_size: Floats  # (n_cells,), expected total before dropout
    profile: Floats  # (n_batches, n_groups, n_genes), share of each gene in the counts of a cell
    dropout: Floats | None  # (2, n_cells), midpoint and shape of the logistic function; nothing without dropout
    seed: np.random.SeedSequence  # of the counts


class Counts(NamedTuple):
    """Counts of some cells, each of shape (n_cells, n_genes)."""

    true_counts: sp.csr_matrix  # float32, before dropout
    counts: sp.csr_matrix  # float32, after dropout; shares no memory with `true_counts`
    true_means: NDArray[np.float32] | None  # dense: what `true_counts` were drawn with


def plan(params: SplatParams, rng: np.random.Generator) -> Plan:
    """Draw genes, groups and library sizes."""
    root = np.random.SeedSequence(rng.integers(2**32, size=4).tolist())
    for_genes, for_groups, for_sizes, for_counts = root.spawn(4)
    genes = _simulate_genes(params, np.random.default_rng(for_genes))
    n_cells = params.each("batch_cells").astype(np.intp)
    batch = np.repeat(np.arange(len(n_cells)), n_cells)
    probability = params.each("group_prob") / np.sum(params.group_prob)
    group = np.random.default_rng(for_groups).choice(len(probability), size=len(batch), p=probability)
    size = _library_sizes(params, len(batch), np.random.default_rng(for_sizes))
    return Plan(params, genes, batch, group, size, _profiles(genes), _dropout(params, batch, group), for_counts)


def draw(made: Plan, cells: range, *, true_means: bool = False) -> Counts:
    """Simulate cells one by one, each with its own stream of random numbers.

    No more than one cell is ever dense (`true_means` apart), and a cell depends on nothing but the plan and its own
    number: the same counts come in one block or in many, and in one batch, more cells leave the first as they were.
    """
    params, dropout, seed = made.params, made.dropout, made.seed
    means = np.empty((len(cells), params.n_genes), dtype=np.float32) if true_means else None
    true_rows, rows = _Rows(), _Rows()
    for row, cell in enumerate(cells):
        # The child that `seed.spawn` would give, without those before it.
        stream = np.random.default_rng(np.random.SeedSequence(seed.entropy, spawn_key=(*seed.spawn_key, cell)))
        expected = made.library_size[cell] * made.profile[made.batch[cell], made.group[cell]]
        rate = _varied(expected, made.genes.bcv_factor, params.bcv_common, rng=stream)
        count = stream.poisson(rate)
        found = np.flatnonzero(count > 0)
        true_rows.add(found, count[found])
        if dropout is not None:
            mid, shape = dropout[:, cell]
            kept = found[stream.random(len(found)) >= expit(shape * (np.log(rate[found]) - mid))]
            rows.add(kept, count[kept])
        if means is not None:
            means[row] = rate
    true_counts = true_rows.to_csr(params.n_genes)
    return Counts(true_counts, true_counts.copy() if dropout is None else rows.to_csr(params.n_genes), means)


def _simulate_genes(params: SplatParams, rng: np.random.Generator) -> Genes:
    n = params.n_genes
    base = rng.gamma(params.mean_shape, 1 / params.mean_rate, size=n)
    outlier = _factors(n, (params.out_prob, 0, params.out_fac_loc, params.out_fac_scale), rng)
    mean = np.where(outlier == 1, base, np.median(base) * outlier)
    batch_laws = zip(params.each("batch_fac_loc"), params.each("batch_fac_scale"), strict=True)
    batch = np.array([_factors(n, (1, 0.5, *law), rng) for law in batch_laws])
    if len(batch) == 1 or params.batch_rm_effect:
        batch = np.ones_like(batch)
    de_laws = zip(*map(params.each, ("de_prob", "de_down_prob", "de_fac_loc", "de_fac_scale")), strict=True)
    de = np.array([_factors(n, law, rng) for law in de_laws])
    if len(de) == 1:
        de = np.ones_like(de)  # a single group differs from nothing
    finite = math.isfinite(params.bcv_df)
    bcv = np.sqrt(params.bcv_df / rng.chisquare(params.bcv_df, size=n)) if finite else np.ones(n)
    return Genes(base, outlier, mean, batch, de, bcv)


def _factors(n: int, law: tuple[float, float, float, float], rng: np.random.Generator) -> Floats:
    """Factors that are 1 but for a selected share of genes: log-normal, and always above 1 or, if down, below it."""
    probability, down_probability, loc, scale = law
    selected = rng.random(n) < probability
    size = np.abs(rng.normal(loc, scale, size=n))
    down = rng.random(n) < down_probability
    factors: Floats = np.exp(np.where(selected, np.where(down, -size, size), 0))
    return factors


def _library_sizes(params: SplatParams, n_cells: int, rng: np.random.Generator) -> Floats:
    if not params.lib_norm:
        return rng.lognormal(params.lib_loc, params.lib_scale, size=n_cells)
    sizes = rng.normal(params.lib_loc, params.lib_scale, size=n_cells)
    if not np.any(sizes > 0):
        msg = f"splatter(lib_loc={params.lib_loc}, lib_norm=True): no cell has a positive library size; raise lib_loc."
        raise ValueError(msg)
    return np.where(sizes > 0, sizes, sizes[sizes > 0].min() / 2)


def _profiles(genes: Genes) -> Floats:
    """Share of each gene in the counts of a cell, (n_batches, n_groups, n_genes)."""
    mean = genes.mean * genes.batch_factor[:, None] * genes.de_factor
    if not np.all(total := mean.sum(axis=-1, keepdims=True)):
        msg = "splatter(): all genes have mean 0, so no cell has a count; raise mean_shape or n_genes."
        raise ValueError(msg)
    profiles: Floats = mean / total
    return profiles


def _dropout(params: SplatParams, batch: NDArray[np.intp], group: NDArray[np.intp]) -> Floats | None:
    """Midpoint and shape of the logistic function for each cell, (2, n_cells); nothing without dropout."""
    if params.dropout_type == "none":
        return None
    every = np.arange(len(batch))
    position = {"experiment": np.zeros_like(every), "batch": batch, "group": group, "cell": every}
    both = np.array([params.each("dropout_mid"), params.each("dropout_shape")])
    return both[:, position[params.dropout_type]]


def _varied(expected: Floats, factor: Floats, common: float, *, rng: np.random.Generator) -> Floats:
    r"""Means of one cell with biological variation: gamma, coefficient of variation :math:`(c + 1/\sqrt\mu) f`.

    Written with :math:`\mu \mathrm{BCV}^2 = (c \sqrt\mu + 1)^2 f^2`, which stays finite where :math:`\mu = 0`.
    """
    scale = np.square((common * np.sqrt(expected) + 1) * factor)
    varied: Floats = rng.standard_gamma(expected / scale) * scale
    return varied


class _Rows:
    """Sparse rows, collected."""

    def __init__(self) -> None:
        self._indices: list[NDArray[np.int32]] = []
        self._values: list[NDArray[np.float32]] = []

    def add(self, indices: NDArray[np.intp], values: NDArray[np.int64]) -> None:
        self._indices.append(indices.astype(np.int32))
        self._values.append(values.astype(np.float32))

    def to_csr(self, n_columns: int) -> sp.csr_matrix:
        indptr = np.cumsum([0, *map(len, self._indices)])
        indices, self._indices = np.concatenate(self._indices), []  # let go of the parts before the next is joined
        values, self._values = np.concatenate(self._values), []
        return sp.csr_matrix((values, indices, indptr), shape=(len(indptr) - 1, n_columns))
