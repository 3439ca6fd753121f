"""Does imputation invent or lose signals in these data? Tests that need no labels, each with a number and a line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from gnnimpute import _false_signal as fs
from gnnimpute._check import Check, at_most, beyond_chance, most_expressed, normalized
from gnnimpute._check_null import dealt
from gnnimpute._sure import calibrated

if TYPE_CHECKING:
    from collections.abc import Sequence

    import scipy.sparse as sp
    from numpy.typing import NDArray

    from gnnimpute._trial import Trial

N_CORRELATED, N_TESTED, N_SPLITS = 200, 1000, 40
"""Most expressed genes whose correlations are looked at, genes that are tested, and random splits."""

LEAST_SINGLE, FEWEST_RARE = 0.6, 50
"""Share of 1 among non-zeros of rare genes: .70 to .95 in counts of molecules, .28 to .66 in counts of reads."""
MOST_UNEVEN = 0.1
UNEVEN_BY_CHANCE = 0.83
"""Median distance of n independent p-values from uniform, times the root of n (Kolmogorov's distribution)."""
MOST_LEAK = 0.05
LEAST_GENES = 10
VARIANCE_KEPT = (0.5, 2.0)
MOST_INFLATED = 1.5
LEAST_AGREEMENT = 0.9
_FEWEST = 20


NONE = pd.DataFrame(columns=list(Check._fields))
"""A table of no tests."""


def checks_of(trials: Sequence[Trial], groups: NDArray[np.int64], *, coverage: pd.DataFrame) -> pd.DataFrame:
    """All tests, a row for each: see :class:`Check`.

    Parameters
    ----------
    trials
        Blind trials; the first is looked at, the others say how far seeds agree.
    groups
        Group of each cell of the first: any grouping will do, since each test holds for all. Cells without one (-1) are
        left out where cells of a group are looked at.
    coverage
        Of the first, from :func:`gnnimpute._sure.sure`.
    """
    first = trials[0]
    rng = np.random.default_rng(first.seed)
    if groups.max() < 0:  # all cells that somebody has named have failed quality control
        groups = np.zeros_like(groups)
    found = [molecules(first.kept.X), *dealt(first, groups, rng), split(first, groups, rng), zeros(first, groups)]
    found += [*smoothed(first, groups, rng), calibrated(coverage), seeds_agree(trials)]
    return pd.DataFrame(found)


def molecules(counts: sp.csr_matrix) -> Check:
    """Look at genes that few cells show: in one cell, they are rarely counted twice, unless copies are counted."""
    share, n_genes = fs.single(counts)
    said = f"{share:.0%} of the non-zeros of {n_genes:,} genes that few cells show are 1"
    if n_genes < FEWEST_RARE:
        share, said = float("nan"), f"only {n_genes} genes that few cells show: too few to tell"
    return Check(
        "molecules",
        "Are these molecules, and not reads, of which each has copies?",
        said,
        f"at least {LEAST_SINGLE:.0%}",
        share,
        "unknown" if np.isnan(share) else "pass" if share >= LEAST_SINGLE else "fail",
        "Copies, or zeros of simulated dropout, tell of what is hidden: gains are too kind, most so the posterior's.",
    )


def split(trial: Trial, groups: NDArray[np.int64], rng: np.random.Generator) -> Check:
    """Split the largest group at random again and again: no gene differs, and p-values have to say so."""
    cells = np.flatnonzero(groups == np.bincount(groups[groups >= 0]).argmax())
    genes = most_expressed(trial.kept.X, N_TESTED)
    distance, chance, said, p_values = float("nan"), float("nan"), "too few cells", np.empty(0)
    if len(cells) >= _FEWEST:
        values = trial.values(list(trial.imputer.genes_[genes]))[cells]
        p_values = fs.split_p_values(values, n_splits=N_SPLITS, rng=rng)
        raw = fs.split_p_values(normalized(trial.kept.X)[cells][:, genes].toarray(), n_splits=N_SPLITS, rng=rng)
    if p_values.size:
        distance, of_raw = (float(np.median([fs.from_uniform(one) for one in p])) for p in (p_values, raw))
        chance = UNEVEN_BY_CHANCE / np.sqrt(len(p_values[0]))
        worst, worst_raw = ((p < 0.05).mean(axis=1).max() for p in (p_values, raw))
        said = (
            f"{distance:.3f} from uniform (counts {of_raw:.3f}); in the worst of {N_SPLITS} splits {worst:.0%} of the "
            f"genes have p < 0.05 (counts {worst_raw:.0%})"
        )
    return Check(
        "split",
        "One group split at random: are p-values uniform?",
        said,
        f"at most {MOST_UNEVEN} from uniform beyond chance",
        distance,
        beyond_chance(distance, chance, MOST_UNEVEN),
        "Imputed genes move together, and so do their p-values: test differential expression on the counts.",
    )


def zeros(trial: Trial, groups: NDArray[np.int64]) -> Check:
    """Look at genes that a group never shows, though it would if it had them: they have to stay off."""
    known, row = groups >= 0, groups + 1
    mean = np.zeros((row.max() + 1, trial.kept.n_vars))  # the first is of cells without a group
    weight = np.bincount(row)[row]
    trial.imputer.transform(trial.kept.X, trial.graph, estimate=trial.estimate, out=_GroupMeans(mean, row, weight))
    ratio, pairs = fs.leaks(trial.kept.X[known], mean[1:], groups=groups[known])
    high = float(np.quantile(ratio, 0.9)) if len(ratio) else float("nan")
    n_genes = len({gene for _, gene in pairs})
    said = f"{high:.1%} of the expression elsewhere, in nine of ten cases less ({n_genes:,} genes)"
    if 0 < n_genes < LEAST_GENES:
        said, high = f"only {n_genes} such genes: too few to tell", float("nan")
    return Check(
        "zeros",
        "Genes that a group never shows: do they stay off?",
        said if len(ratio) else "no such genes: groups are too few, or too small",
        f"at most {MOST_LEAK:.0%}",
        high,
        at_most(high, MOST_LEAK),
        "Markers appear where they are not: trust a gene in a group only if its counts show it there.",
    )


def smoothed(trial: Trial, groups: NDArray[np.int64], rng: np.random.Generator) -> list[Check]:
    """Variance and correlations within groups, against what two halves of the molecules say of the truth."""
    genes = most_expressed(trial.kept.X, N_CORRELATED)
    known = groups >= 0
    groups = groups[known]
    truth = fs.two_fold(trial.kept.X[known], groups, genes=genes, target=trial.imputer.target_total_, rng=rng)
    values = trial.values(list(trial.imputer.genes_[genes]))[known]
    n_clear = int(truth.clear.sum())
    enough = n_clear >= LEAST_GENES  # of many genes a few seem clear by chance
    kept = fs.variance_kept(values, groups, truth) if enough else float("nan")
    found = fs.correlation_within(values[:, truth.clear], groups)
    inflated = found / truth.correlation if enough and truth.correlation > 0 else float("nan")
    low, high = VARIANCE_KEPT
    nothing = f"cells of a group clearly differ in {n_clear or 'no'} gene{'s' * (n_clear != 1)}: too few to tell"
    one = Check(
        "variance",
        "Differences between cells of a group: are they kept?",
        f"{kept:.0%} of the true variance ({n_clear} genes)" if enough else nothing,
        f"{low:.0%} to {high:.0%}",
        kept,
        "unknown" if np.isnan(kept) else "pass" if low <= kept <= high else "fail",
        "Cells of a group look more alike than they are: do not measure heterogeneity on imputed values."
        if not kept > high
        else "Cells of a group look more different than they are.",
    )
    two = Check(
        "correlation",
        "Correlations between genes within groups: are they true?",
        f"{found:.3f}, true {truth.correlation:.3f} (root mean square)"
        if np.isfinite(inflated)
        else f"{found:.3f} (root mean square), true ones too small to tell"
        if enough
        else nothing,
        f"at most {MOST_INFLATED} times the true ones",
        inflated,
        at_most(inflated, MOST_INFLATED),
        "Correlations between imputed genes are too strong: do not infer networks from them.",
    )
    return [one, two]


def seeds_agree(trials: Sequence[Trial]) -> Check:
    """Compare what other hidden molecules and another start of the training lead to."""
    value, said = float("nan"), "one seed only"
    if len(trials) > 1:
        one, other = trials[:2]
        genes = [
            name for name in one.kept.var_names[most_expressed(one.kept.X, N_TESTED)] if name in other.kept.var_names
        ]
        _, a, b = np.intersect1d(one.cells, other.cells, return_indices=True)
        value = fs.agreement(one.values(genes)[a], other.values(genes)[b])
        said = f"correlation {value:.3f} over cells, in the median gene"
    return Check(
        "seeds",
        "Another seed and other hidden molecules: does the same come out?",
        said,
        f"at least {LEAST_AGREEMENT}",
        value,
        "unknown" if np.isnan(value) else "pass" if value >= LEAST_AGREEMENT else "fail",
        "Values depend on chance: impute with several seeds and believe what they have in common.",
    )


class _GroupMeans:
    """What imputed values are written to, of which only the mean of each group is kept."""

    def __init__(self, mean: NDArray[np.float64], groups: NDArray[np.int64], weight: NDArray[np.int64]) -> None:
        self._mean, self._groups, self._weight = mean, groups, weight
        self.shape = (len(groups), mean.shape[1])

    def __setitem__(self, rows: slice, values: NDArray[np.float32]) -> None:
        np.add.at(self._mean, self._groups[rows], values / self._weight[rows, None])
