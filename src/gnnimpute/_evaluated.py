"""Tables of an evaluation: gains of methods over each other, and of parts of the cells and genes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from gnnimpute._gain import Errors, Gain, gain, quarters
from gnnimpute._groups import groups_of
from gnnimpute._verdict import GENE_MEAN, OURS, RAW

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from gnnimpute._trial import Trial

CELL, GENE = 0, 1
"""Which of the sums of a :class:`~gnnimpute._tally.Tally`."""
QUARTERS = ("lowest quarter", "second quarter", "third quarter", "highest quarter")
PARTS = ["by", "part", "n", "predicted", "predicted_low", "predicted_high", "won", "won_low", "won_high"]
"""Columns of the table of parts, also where no part is large enough to be in it."""
FEWEST = 10
"""Cells or genes of which a part must have as many, to be looked at apart."""


def methods_table(trials: Sequence[Trial]) -> pd.DataFrame:
    """A row for each method: its deviance, and its gain over the gene mean, over the counts, and ours over it.

    Columns are ``method``, ``deviance`` (mean over cells and genes), and gains with ``_low`` and ``_high``:
    ``over_gene_mean`` and ``over_counts`` (share of the deviance of the gene mean, and of the counts, that is gone),
    ``won`` (share of what can be won over the gene mean), ``noise_gone`` (share of the counting noise of the counts
    that is gone), ``ours_over_it`` (share of its deviance that is gone with ours).
    """
    rows = []
    for name in trials[0].tallies:
        errors = _pooled(trials, name, CELL)
        of = _units(trials, CELL)
        over_mean = gain(errors, _pooled(trials, GENE_MEAN, CELL), of=of)
        over_raw = gain(errors, _pooled(trials, RAW, CELL), of=of)
        ours = gain(_pooled(trials, OURS, CELL), errors, of=of)
        size = sum(np.prod(trial.tallies[name].shape) for trial in trials)
        rows.append(
            {"method": name, "deviance": errors.deviance.sum() / size}
            | _spelled("over_gene_mean", over_mean.predicted)
            | _spelled("over_counts", over_raw.predicted)
            | _spelled("won", over_mean.won)
            | _spelled("noise_gone", over_raw.won)
            | _spelled("ours_over_it", ours.predicted)
        )
    return pd.DataFrame(rows)


def parts_table(trials: Sequence[Trial], *, groups: NDArray[np.str_]) -> pd.DataFrame:
    """Gain of ours over the gene mean in parts: genes by expression and dispersion, cells by depth and group.

    Columns are ``by``, ``part``, ``n``, ``predicted`` and ``won``, each of these two with ``_low`` and ``_high``.
    """
    rows: list[dict[str, Any]] = []
    for axis, by, labels, names in _cuts(trials, groups):
        ours, mean = _pooled(trials, OURS, axis), _pooled(trials, GENE_MEAN, axis)
        for label, name in enumerate(names):
            part = labels == label
            if part.sum() >= FEWEST:
                found = gain(ours, mean, of=_units(trials, axis), part=part)
                rows.append({"by": by, "part": name, "n": found.n} | _numbers(found))
    return pd.DataFrame(rows, columns=PARTS)


def _cuts(
    trials: Sequence[Trial], groups: NDArray[np.str_]
) -> Iterator[tuple[int, str, NDArray[np.int64], Sequence[str]]]:
    """Axis, what is cut by, the part of each entry (-1: none), and the names of the parts."""
    mean = np.concatenate([_gene_means(trial) for trial in trials])
    part, edges = quarters(mean)
    yield GENE, "genes by expression", part, _bounds(edges, "molecules a cell")
    spread = np.concatenate([_beyond_chance(trial) for trial in trials])
    measured = part >= 2  # of genes with few molecules nobody knows how much they vary
    if measured.any():
        part = np.full(len(spread), -1)
        part[measured], edges = quarters(spread[measured])
        yield GENE, "genes by variability", part, _bounds(edges, "squared CV beyond chance")
    depth = np.concatenate([np.asarray(trial.kept.X.sum(axis=1)).ravel() for trial in trials])
    part, edges = quarters(depth)
    yield CELL, "cells by depth", part, _bounds(edges, "molecules")
    yield CELL, "cells by group", *codes_of(groups[_units(trials, CELL)])


def found_groups(trial: Trial, n_cells: int) -> NDArray[np.str_]:
    """Groups found in a trial, for all cells that there are: empty for those that it does not model."""
    labels = np.full(n_cells, "", dtype="<U8")
    labels[trial.cells] = [f"group {1 + group}" for group in groups_of(trial.embedding, rng=trial.seed)]
    return labels


def codes_of(labels: NDArray[np.str_]) -> tuple[NDArray[np.int64], list[str]]:
    """Number of the group of each cell, -1 where it has none, and the names of the groups, in natural order."""
    names = sorted({str(label) for label in labels if label}, key=lambda name: (len(name), name))
    number = {name: code for code, name in enumerate(names)}
    return np.array([number.get(str(label), -1) for label in labels]), names


def _gene_means(trial: Trial) -> NDArray[np.float64]:
    return np.asarray(trial.kept.X.mean(axis=0), dtype=np.float64).ravel()


def _beyond_chance(trial: Trial) -> NDArray[np.float64]:
    """Squared coefficient of variation of each gene that counting noise does not explain."""
    counts = trial.kept.X
    depth = np.asarray(counts.sum(axis=1), dtype=np.float64).ravel()
    depth /= depth.mean()
    share = _gene_means(trial)
    squares = np.asarray(counts.power(2).sum(axis=0), dtype=np.float64).ravel()
    crossed = np.asarray(counts.T @ depth).ravel() * share
    variance = (squares - 2 * crossed) / counts.shape[0] + share**2 * np.mean(depth**2)
    return np.asarray((variance - share) / share**2)


def _bounds(edges: NDArray[np.float64], unit: str) -> list[str]:
    low, middle, high = (f"{edge:.2g}" if abs(edge) < 10 else f"{edge:,.0f}" for edge in edges)
    return [
        f"{name} ({text} {unit})"
        for name, text in zip(
            QUARTERS, (f"up to {low}", f"{low} to {middle}", f"{middle} to {high}", f"over {high}"), strict=True
        )
    ]


def _pooled(trials: Sequence[Trial], name: str, axis: int) -> Errors:
    tallies = [trial.tallies[name] for trial in trials]
    return Errors(
        np.concatenate([tally.deviance[axis] for tally in tallies]),
        np.concatenate([tally.distance[axis] for tally in tallies]),
    )


def _units(trials: Sequence[Trial], axis: int) -> NDArray[np.int64]:
    return np.concatenate([trial.cells if axis == CELL else trial.genes for trial in trials])


def _numbers(found: Gain) -> dict[str, float]:
    return _spelled("predicted", found.predicted) | _spelled("won", found.won)


def _spelled(name: str, interval: Any) -> dict[str, float]:
    return {name: interval.value, f"{name}_low": interval.low, f"{name}_high": interval.high}
