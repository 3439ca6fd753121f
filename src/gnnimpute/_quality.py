"""Quality control: which cells are set aside, by which rule."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from gnnimpute import _keys
from gnnimpute._blocks import each
from gnnimpute._names import suggestion

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import scipy.sparse as sp
    from numpy.typing import NDArray

Limit = float | Literal["mad"] | None
"""An exact number, median absolute deviations, or a step that is left out."""

N_MADS = 5
"""Median absolute deviations beyond which a cell is an outlier: wide, so that cell types of any tissue stay."""

LEAST_MITO_LIMIT = 5.0
"""Per cent. Tissues with next to no mitochondrial counts are not held to less than the 5 % of the paper."""

LEAST_TOTAL_FOLD = 2.0
"""Times the median total that a cell may always have: doublets start there, and equal totals have no deviation."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a cell or gene has to meet to pass; the options of :func:`gnnimpute.pp.prepare` of the same names."""

    min_genes: int = 200
    min_cells: int = 3
    max_genes: int | None = None
    max_mito_pct: Limit = "mad"
    max_total: Limit = "mad"

    def __post_init__(self) -> None:
        for name, limit in vars(self).items():
            may_adapt = name in {"max_mito_pct", "max_total"}
            if (limit is None and name.startswith("max")) or (may_adapt and limit == "mad"):
                continue
            if isinstance(limit, str) or limit is None or not limit >= 0:
                others = ", 'mad' or None" if may_adapt else ""
                msg = f"{name}={limit!r}: give a number from 0 up{others}."
                raise ValueError(msg)


WITHOUT_LIMITS = Limits(min_genes=0, min_cells=0, max_mito_pct=None, max_total=None)
"""Only what has no counts at all fails."""


class Quality(NamedTuple):
    """Quality of each cell: three arrays of shape (n_cells,)."""

    n_genes: NDArray[np.int64]
    """Detected genes."""
    total_counts: NDArray[np.float64]
    """Counts."""
    pct_mito: NDArray[np.float64] | None
    """Per cent of the counts in mitochondrial genes; `None` where no such gene is known."""


@dataclass(frozen=True)
class Rule:
    """One rule, and which cells it sets aside."""

    reason: str
    """What is wrong with them, for the log: ``"fewer than 200 genes"``."""
    option: str
    """Option that made the rule, with its value: ``"min_genes=200"``; empty where there is none."""
    fails: NDArray[np.bool_]
    """Array of shape (n_cells,)."""
    hint: str = ""
    """What to know of the data before it is changed, a sentence."""

    def __str__(self) -> str:
        return f"{int(self.fails.sum())} with {self.reason}" + (f" ({self.option})" if self.option else "")


def quality_of(counts: sp.csr_matrix, mito: NDArray[np.bool_]) -> Quality:
    """Quality of each cell, given which genes are mitochondrial; counts may be a Dask array."""
    parts = zip(*each(counts, _of_block, mito), strict=True)
    n_genes, total, pct_mito = (np.concatenate(part) for part in parts)
    return Quality(n_genes, total, pct_mito if mito.any() else None)


def _of_block(counts: sp.csr_matrix, mito: NDArray[np.bool_]) -> tuple[NDArray[Any], ...]:
    total, in_mito = (np.asarray(part.sum(axis=1, dtype=np.float64)).ravel() for part in (counts, counts[:, mito]))
    pct_mito = 100 * np.divide(in_mito, total, out=np.zeros_like(total), where=total > 0)
    return np.diff(counts.indptr).astype(np.int64), total, pct_mito


def cell_rules(quality: Quality, limits: Limits) -> list[Rule]:
    """Rules for cells, in the order of the options. Cells without counts fail whatever the options are.

    What is typical is learnt from cells with `min_genes` genes: beside empty droplets, any cell would be an outlier.
    """
    n_genes, total, pct_mito = quality
    rules = [Rule("no counts", "", total == 0)]
    typical = (n_genes >= limits.min_genes) & (total > 0)
    if (least := limits.min_genes) > 0:
        half = f" Half of the cells show {np.median(n_genes):.0f} genes or more."
        rules.append(Rule(f"fewer than {least} genes", f"min_genes={least}", n_genes < least, half))
    if (most := limits.max_genes) is not None:
        rules.append(Rule(f"more than {most} genes", f"max_genes={most}", n_genes > most))
    if (given := limits.max_mito_pct) is not None and pct_mito is not None:
        limit = mito_limit(pct_mito[typical]) if isinstance(given, str) else given
        reason = f"more than {limit:.3g} % of their counts in mitochondrial genes"
        rules.append(Rule(reason, f"max_mito_pct={given!r}", pct_mito > limit))
    if (given := limits.max_total) is not None:
        limit = total_limit(total[typical]) if isinstance(given, str) else given
        rules.append(Rule(f"more than {limit:.0f} counts", f"max_total={given!r}", total > limit))
    return rules


def mito_limit(pct_mito: NDArray[np.floating]) -> float:
    """Five median absolute deviations above the median, and at least 5 %."""
    return max(_above_median(pct_mito, least=0.0), LEAST_MITO_LIMIT)


def total_limit(total: NDArray[np.floating]) -> float:
    """Five median absolute deviations of log totals above their median, and at least twice the median total.

    Low totals are judged by the number of genes alone: small cells are no outliers.
    """
    return float(np.expm1(_above_median(np.log1p(total), least=float(np.log(LEAST_TOTAL_FOLD)))))


def _above_median(values: NDArray[np.floating], *, least: float) -> float:
    if not values.size:
        return np.inf
    middle = np.median(values)
    return float(middle + max(N_MADS * np.median(np.abs(values - middle)), least))


def require_passing(rules: Sequence[Rule]) -> NDArray[np.bool_]:
    """Cells that no rule sets aside.

    Raises
    ------
    ValueError
        If there is none, naming the rule that sets most cells aside.
    """
    passing: NDArray[np.bool_] = ~np.any([rule.fails for rule in rules], axis=0)
    if not passing.any():
        worst = max(rules, key=lambda rule: int(rule.fails.sum()))
        option = worst.option.partition("=")[0]
        named = f"{worst.option} (--{option.replace('_', '-')})"
        change = f"Loosen {named}.{worst.hint}" if option else "Check the matrix."
        failed = "; ".join(str(rule) for rule in rules if rule.fails.any())
        msg = f"No cell passes: of {len(passing)} cells, {failed}. {change}"
        raise ValueError(msg)
    return passing


def about(limits: Limits, rules: Sequence[Rule], *, n_genes: int, layer: str | None) -> dict[str, Any]:
    """Limits and what they set aside, as plain values that AnnData can write.

    Parameters
    ----------
    limits
        What cells and genes had to meet.
    rules
        What came of it for cells.
    n_genes
        Number of genes that fail.
    layer
        Layer that was named, if any.
    """
    return ({} if layer is None else {"layer": layer}) | {
        "limits": {name: "none" if limit is None else limit for name, limit in vars(limits).items()},
        "reasons": np.array([rule.reason for rule in rules], dtype=str),
        "n_cells": np.array([int(rule.fails.sum()) for rule in rules]),
        "n_genes": n_genes,
    }


def limits_of(uns: Mapping[str, Any]) -> dict[str, Any]:
    """Limits that :func:`gnnimpute.pp.prepare` was last called with, as its arguments; empty if it was not."""
    limits = uns.get(_keys.QUALITY, {}).get("limits", {})
    return {name: None if str(limit) == "none" else _plain(limit) for name, limit in limits.items()}


def check_limits(quality: Mapping[str, Any]) -> dict[str, Any]:
    """Raise TypeError for what is no limit of :func:`gnnimpute.pp.prepare`, with near names; else give them."""
    known = [field.name for field in fields(Limits)]
    for name in quality:
        if name not in known:
            msg = f"quality has {name!r}, which is no limit of gi.pp.prepare. {suggestion(name, known)}"
            raise TypeError(msg)
    return dict(quality)


def _plain(limit: Any) -> Any:
    """A limit as it was before it was written to a file."""
    return limit if isinstance(limit, str) else limit.item() if hasattr(limit, "item") else limit
