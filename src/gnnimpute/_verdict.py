"""What an evaluation means, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gnnimpute._uses import are_copies, failures, uses

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

    from gnnimpute._check import Status

RAW, GENE_MEAN, NEIGHBOR_MEAN = "no imputation", "gene mean", "neighbour and gene mean"
OURS, OTHER = "gnnimpute", "gnnimpute, {}"
"""Ours with the estimate that is judged, and with the other one."""

HELPS, UNCLEAR, NO_GAIN = "helps", "unclear", "no gain"

HEADLINES = {
    HELPS: "Imputation helps these data.",
    UNCLEAR: "Whether imputation helps these data is not clear.",
    NO_GAIN: "Imputation does not help these data: do not impute them.",
}
OTHER_HELPS = {
    UNCLEAR: "Whether imputation helps these data with estimate={!r} is not clear: take estimate={!r} (--estimate {}), "
    "which helps.",
    NO_GAIN: "Imputation does not help these data with estimate={!r}: take estimate={!r} (--estimate {}), which helps.",
}
"""In place of them, where the other estimate passes what this one does not: both estimates, and the option."""
COPIES = (
    "Whether imputation helps these data cannot be told: they look like reads, or like simulated "
    "dropout, where what is left tells of what is hidden."
)
STATUS: dict[str, Status] = {HELPS: "pass", UNCLEAR: "unknown", NO_GAIN: "fail"}
LIGHTS = {"pass": "passed", "fail": "FAILED", "unknown": "open"}

_FEW_CELLS = 100
_FEW_GENES = 500
_WIDER = "Config(reads='genes', n_hidden=128, patience=12) (--reads genes --n-hidden 128 --patience 12)"

_SIMPLE = (RAW, GENE_MEAN)
"""What knows nothing of which cells are alike."""


def verdict_of(methods: pd.DataFrame, checks: pd.DataFrame) -> str:
    """``helps``, ``unclear`` or ``no gain``, by what ours predicts better than the better of counts and gene mean.

    Where copies of what is hidden are there to be read, it is unclear, if ours is not behind the gene mean.
    """
    best = _best_simple(methods)
    if are_copies(checks) and methods.set_index("method").loc[GENE_MEAN, "ours_over_it"] > 0:
        return UNCLEAR
    if best["ours_over_it"] <= 0:
        return NO_GAIN
    # One cell or gene leaves nothing to resample: no interval, so nothing is clear.
    return HELPS if best["ours_over_it_low"] > 0 else UNCLEAR


def told(found: Mapping[str, Any]) -> str:
    """The verdict, what it rests on, where imputation helps and where it does not: some lines of text.

    Parameters
    ----------
    found
        What :func:`gnnimpute.tl.evaluate` has found.
    """
    lines = [*_but(found), *_why(found), *_uses(found), *_where(found), *_tests(found)]
    return "\n".join([_headline(found), *(f"  {line}" for line in lines)])


def _headline(found: Mapping[str, Any]) -> str:
    if found["verdict"] == UNCLEAR and are_copies(found["checks"]):
        return COPIES
    for name, row in _others(found["methods"].set_index("method")).items():
        if found["verdict"] != HELPS and row["over_gene_mean_low"] > 0 and row["over_counts_low"] > 0:
            return OTHER_HELPS[found["verdict"]].format(str(found["estimate"]), name, name)
    return HEADLINES[found["verdict"]]


def _but(found: Mapping[str, Any]) -> list[str]:
    said = failures(found["checks"])
    return [said] if said and found["verdict"] != NO_GAIN else []


def _why(found: Mapping[str, Any]) -> list[str]:
    methods = found["methods"].set_index("method")
    seeds = len(found["seeds"])
    lines = [
        f"{100 * found['held_out']:g} % of the molecules were hidden before everything else, {seeds} "
        f"{'time' if seeds == 1 else 'times'}; {found['n_cells']:,} cells x {found['n_genes']:,} genes; "
        f"{found['seconds']:.0f} s."
    ]
    if found["n_drawn"] < found["n_given"]:
        lines.append(f"These are {found['n_drawn']:,} of {found['n_given']:,} cells: with all, there is more to learn.")
    if found["n_cells"] < _FEW_CELLS:
        lines.append("These are few cells: others of the same sample may say otherwise.")
    if not found["blind"]:
        lines.append("Not blind: the embedding that names the neighbours may have seen what was hidden.")
    lines.append(
        f"Hidden molecules are predicted {_better(methods.loc[GENE_MEAN])} than by the mean of each gene, "
        f"{_better(methods.loc[RAW])} than by the counts, {_better(methods.loc[NEIGHBOR_MEAN])} than by a mean of "
        "neighbours."
    )
    won, near = methods.loc[OURS], methods.loc[NEIGHBOR_MEAN]
    if np.isnan(won["won"]):
        if methods.loc[GENE_MEAN, "ours_over_it_low"] > 0:
            return [*lines, "How much there is to win over the gene mean cannot be told: too few molecules are hidden."]
        return [*lines, "Cells do not differ clearly beyond chance: there is nothing to win over the gene mean."]
    lines.append(
        f"Of the differences between cells that are not chance, it finds {_share(won, 'won')}; "
        f"a mean of neighbours {_share(near, 'won')}."
    )
    if won["noise_gone"] > 0:
        lines.append(f"Of the counting noise of the counts, {_share(won, 'noise_gone')} is gone.")
    elif not np.isnan(won["noise_gone"]):
        lines.append("Where counts are many they are nearer to the true expression than this estimate is.")
    lines += _beside_neighbors(found, methods.loc[NEIGHBOR_MEAN])
    return [*lines, *_alternative(found, methods)]


def _beside_neighbors(found: Mapping[str, Any], neighbors: pd.Series) -> list[str]:
    """Say so where a mean of neighbours does as well or better; of few genes, what predicts better than the default."""
    if neighbors["ours_over_it_low"] > 0:
        return []
    if not neighbors["ours_over_it_high"] < 0:
        return ["A plain mean of neighbours does about as well."]
    lines = ["A plain mean of neighbours does better."]
    if found["n_genes"] <= _FEW_GENES and found.get("params", {}).get("reads") != "genes":
        lines[0] += (
            f" Of so few genes, a wider network of all genes that is trained for longer may be better: {_WIDER}."
        )
    return lines


def _alternative(found: Mapping[str, Any], methods: pd.DataFrame) -> list[str]:
    """The other estimate, if it predicts clearly better; whether that is enough, where this one does not help."""
    lines = []
    for name, row in _others(methods).items():
        if not row["ours_over_it_high"] < 0:
            continue
        gone = row["ours_over_it"] / (row["ours_over_it"] - 1)  # of our deviance, as all gains are told
        ahead = (methods.loc[[GENE_MEAN, RAW, NEIGHBOR_MEAN], "ours_over_it"] > 0).all()
        text = f"estimate='{name}' predicts {100 * gone:.1f} % better{' still' if ahead else ''}"
        if found["verdict"] != HELPS:
            text += (
                f": {_better(row, 'over_gene_mean')} than by the mean of each gene, {_better(row, 'over_counts')} than "
                f"by the counts. What follows is about estimate='{found['estimate']}'"
            )
        lines.append(f"{text}.")
    return lines


def _others(methods: pd.DataFrame) -> dict[str, pd.Series]:
    """Rows of our other estimate, by its name."""
    start = OTHER.format("")
    return {str(name).removeprefix(start): row for name, row in methods.iterrows() if str(name).startswith(start)}


def _uses(found: Mapping[str, Any]) -> list[str]:
    """What one may do with imputed values, without the reasons: the tests have them."""
    lines = [f"  {one.answer:9} {one.use}" for one in uses(found["checks"], gain=STATUS[found["verdict"]])]
    return ["What to use them for, as the tests say:", *lines] if lines else []


def _where(found: Mapping[str, Any]) -> list[str]:
    """The part of each cut that gains most, and all parts that do not clearly gain."""
    lines = []
    for by, parts in found["parts"].groupby("by", sort=False):
        gaining = parts[parts["predicted_low"] > 0]
        lost = parts[~(parts["predicted_low"] > 0)]
        if len(parts) == 1:
            continue
        best = gaining.sort_values("predicted").tail(1)
        text = "; ".join(f"most in {row.part}, {100 * row.predicted:.1f} %" for row in best.itertuples())
        if len(lost):
            no = ", ".join(f"{row.part} {100 * row.predicted:+.1f} %" for row in lost.itertuples())
            text = f"{text}; NOT clearly in {no}" if text else f"NOT clearly anywhere: {no}"
        lines.append(f"{str(by).capitalize()}: {text}.")
    return [f"Where, as gain over the gene mean:{'' if lines else ' no parts to compare.'}", *(f"  {x}" for x in lines)]


def _tests(found: Mapping[str, Any]) -> list[str]:
    """What each test of false signals says."""
    lines = []
    for check in found["checks"].itertuples():
        lines.append(f"  {LIGHTS[check.status]:7} {check.question} {check.said}; line: {check.line}.")
        if check.status == "fail":
            lines.append(f"          {check.advice}")
    return ["Tests for false signals:", *lines] if lines else []


def _best_simple(methods: pd.DataFrame) -> pd.Series:
    simple = methods[methods["method"].isin(_SIMPLE)]
    return simple.loc[simple["deviance"].idxmin()]


def _better(row: pd.Series, gain: str = "ours_over_it") -> str:
    text = f"{100 * abs(row[gain]):.1f} % {'better' if row[gain] > 0 else 'WORSE'}"
    if np.isnan(row[f"{gain}_low"]):
        return text
    return f"{text} [{100 * row[f'{gain}_low']:.1f}, {100 * row[f'{gain}_high']:.1f}]"


def _share(row: pd.Series, name: str) -> str:
    return f"{100 * row[name]:.0f} % [{100 * row[f'{name}_low']:.0f}, {100 * row[f'{name}_high']:.0f}]"
