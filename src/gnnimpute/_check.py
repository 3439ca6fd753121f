"""A test for false signals: a number, the line it must keep to, and what to do if it does not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import scipy.sparse as sp

from gnnimpute._counts import divisors

if TYPE_CHECKING:
    from numpy.typing import NDArray

Status = Literal["pass", "fail", "unknown"]


class Check(NamedTuple):
    """One test."""

    name: str
    question: str
    said: str
    """The number, in words."""
    line: str
    """What it has to be."""
    value: float
    status: Status
    advice: str
    """What to do where it fails."""


def at_most(value: float, line: float) -> Status:
    """Whether a number passes; one that is not defined is unknown."""
    return "unknown" if np.isnan(value) else "pass" if value <= line else "fail"


def beyond_chance(value: float, chance: float, line: float) -> Status:
    """Whether what lies beyond chance passes; where chance alone is at the line, nothing can be shown to.

    Parameters
    ----------
    value
        The number.
    chance
        What it would be in as few genes or cells if there were nothing. Squares add up.
    line
        What the rest must not exceed.
    """
    if np.isnan(value):
        return "unknown"
    if value**2 - chance**2 > line**2:
        return "fail"
    return "pass" if chance <= line else "unknown"


def most_expressed(counts: sp.csr_matrix, n_genes: int) -> NDArray[np.int64]:
    """Positions of the genes with most molecules."""
    return np.argsort(-np.asarray(counts.sum(axis=0)).ravel(), kind="stable")[:n_genes]


def normalized(counts: sp.csr_matrix) -> sp.csr_matrix:
    """Each cell scaled to the median total."""
    total = np.asarray(counts.sum(axis=1), dtype=np.float64).ravel()
    return sp.csr_matrix(sp.diags(np.median(total) / divisors(total)) @ counts)
