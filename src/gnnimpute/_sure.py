"""How sure an estimate is, and whether rightly: hidden molecules inside predicted intervals, and how wide these are."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from gnnimpute import metrics
from gnnimpute._check import Check, at_most, most_expressed

if TYPE_CHECKING:
    from gnnimpute._trial import Trial

N_CELLS, N_GENES = 1000, 1000
"""Most cells, and most expressed genes, whose hidden molecules are looked at."""
N_SAMPLED = 300
"""Cells and genes, from few to many molecules, whose intervals are measured."""
LEVELS, DRAWN = (0.5, 0.8, 0.95), (0.1, 0.2, 0.3, 0.4, 0.6, 0.7, 0.9, 0.99)
"""Levels of the intervals that are judged, and further ones that are drawn."""
WIDTH_LEVEL = 0.9
MOST_MISCALIBRATED = 0.03
ALL, MANY = "all", "where one or more is expected"
"""Hidden counts that are looked at: where less than one is expected, nearly any prediction looks right."""
FEWEST = {ALL: 100, MANY: 2500}
"""Entries without which nothing is said of them: of so many, a share is known to a hundredth."""
NO_SPREAD = 1e8
"""Size of a negative binomial that is as good as a Poisson."""


class Sure(NamedTuple):
    """What a trial says of intervals; empty tables where it has none."""

    coverage: pd.DataFrame
    """Columns ``entries``, ``level`` and ``share``: of the hidden molecules, how many are in such intervals;
    ``poisson``: how many would be in intervals that know of no spread beyond chance."""
    widths: pd.DataFrame
    """Columns ``mean`` and ``width``: of each gene, the expression, and the width of its interval as a share of the
    value, both in the median cell."""


NOT_SURE = Sure(pd.DataFrame(columns=["entries", "level", "share", "poisson"]), pd.DataFrame(columns=["mean", "width"]))


def sure(trial: Trial, *, halved: Trial) -> Sure:
    """Compare the half of the molecules that was hidden with intervals predicted for it; measure those of a trial."""
    if trial.imputer.config.hide != "molecules":
        return NOT_SURE
    return Sure(_coverage(halved), _widths(trial))


def calibrated(coverage: pd.DataFrame) -> Check:
    """Judge the share of hidden molecules that intervals hold, of all and of those where one or more is expected.

    Where intervals that know of no spread hold as many, so few molecules are hidden that chance alone says how they
    vary, and the test shows nothing.
    """
    value, said = float("nan"), "this network was not trained on hidden molecules: it gives no intervals"
    shares = coverage[(coverage["entries"] == ALL) & coverage["level"].isin(LEVELS)]
    judged = coverage[coverage["level"].isin(LEVELS)]
    if len(shares):
        value = float((judged["share"] - judged["level"]).abs().max())
        said = ", ".join(f"{one.level:.0%} hold {one.share:.1%}" for one in shares.itertuples())
    status = at_most(value, MOST_MISCALIBRATED)
    if status == "pass" and (judged["poisson"] - judged["level"]).abs().max() <= MOST_MISCALIBRATED:
        status, said = "unknown", f"{said}; but so would intervals of chance alone: too few are hidden to tell"
    return Check(
        "calibration",
        "Intervals: do they hold as many hidden molecules as they say?",
        said,
        f"at most {MOST_MISCALIBRATED:.0%} off",
        value,
        status,
        "Intervals are too narrow or too wide: do not read them as probabilities.",
    )


def _coverage(trial: Trial) -> pd.DataFrame:
    rows = np.sort(np.random.default_rng(trial.seed).permutation(trial.kept.n_obs)[:N_CELLS])
    genes = np.sort(most_expressed(trial.kept.X, N_GENES))
    rate, names = trial.hold_out.rate, list(trial.imputer.genes_[genes])
    mean, size = trial.imputer.further(trial.kept.X, trial.graph, exposure=rate / (1 - rate), genes=names, cells=rows)
    judge = partial(
        metrics.score_coverage, trial.hold_out, mean, cells=trial.cells[rows], genes=trial.genes[genes],
        levels=sorted(LEVELS + DRAWN), rng=trial.seed,
    )  # fmt: skip
    return pd.DataFrame(
        [
            {"entries": name, "level": level, "share": share, "poisson": alone}
            for name, least in {ALL: 0.0, MANY: 1.0}.items()
            if (mean >= least).sum() >= FEWEST[name]
            for (level, share), alone in zip(
                judge(size, least=least).items(),
                judge(np.full_like(size, NO_SPREAD), least=least).values(),
                strict=True,
            )
        ],
        columns=NOT_SURE.coverage.columns,
    )


def _widths(trial: Trial) -> pd.DataFrame:
    by_expression = most_expressed(trial.kept.X, trial.kept.n_vars)
    genes = np.sort(by_expression[:: max(1, -(-len(by_expression) // N_SAMPLED))])
    asked: dict[str, Any] = {
        "cells": np.random.default_rng(trial.seed).permutation(trial.kept.n_obs)[:N_SAMPLED],
        "genes": list(trial.imputer.genes_[genes]),
    }
    value = trial.imputer.transform(trial.kept.X, trial.graph, estimate=trial.estimate, **asked)
    lower, upper = trial.imputer.interval(trial.kept.X, trial.graph, level=WIDTH_LEVEL, **asked)
    width = np.median((upper - lower) / np.maximum(value, 1e-9), axis=0)
    return pd.DataFrame({"mean": np.median(value, axis=0), "width": width}).astype(float)
