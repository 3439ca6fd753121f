"""What imputed values can be used for on the data that were tested, in words for those who did not make the tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import pandas as pd

    from gnnimpute._check import Status


class Use(NamedTuple):
    """One thing to do with imputed values."""

    use: str
    status: Status
    answer: str
    why: str


ANSWERS: dict[Status, str] = {"pass": "yes", "fail": "NO", "unknown": "not shown"}
"""Whether one may."""

LOOK = "look at genes in plots, and find candidates to test on the counts"

TESTED = {
    "say that a gene is on in a group": ("zeros",),
    "compare how much cells of a group differ": ("variance",),
    "read intervals, and how likely a zero is a dropout": ("calibration", "molecules"),
    "expect the same values from another seed": ("seeds",),
}
"""Uses that a test can show to be safe: it is one where the test passes."""

NEVER_SHOWN = {
    "test for differential expression": ("split",),
    "read correlations, or infer networks of genes": ("null_correlation", "correlation"),
}
"""Uses that a test can only show to be unsafe. Groups that are imputed apart, or found in the imputed values, give
small p-values whatever the test says, and what two genes owe to the imputation is not all in one test."""


_GAIN: dict[Status, str] = {
    "pass": "It predicts molecules that were hidden from it.",
    "fail": "It does not predict molecules that were hidden from it.",
    "unknown": "Whether it predicts molecules that were hidden from it is not clear.",
}


def uses(checks: pd.DataFrame, *, gain: Status) -> list[Use]:
    """Say of each use whether the tests bear it out; of none without tests.

    Parameters
    ----------
    checks
        A row for each test: see :class:`gnnimpute._check.Check`.
    gain
        Whether hidden molecules are predicted better than by what is simpler.
    """
    if not len(checks):
        return []
    rows = checks.set_index("name")
    why = _GAIN[gain]
    if gain == "unknown" and are_copies(checks):
        test = rows.loc["molecules"]
        why = f"{test['question']} {test['said']}. {test['advice']}"
    return [
        Use(LOOK, gain, ANSWERS[gain], why),
        *(_shown_by(rows[rows.index.isin(names)], use) for use, names in TESTED.items()),
        *(_never_shown_by(rows[rows.index.isin(names)], use) for use, names in NEVER_SHOWN.items()),
    ]


def are_copies(checks: pd.DataFrame) -> bool:
    """Whether what is counted are not molecules, by the test for that, if it was made."""
    return bool((checks["name"].eq("molecules") & checks["status"].eq("fail")).any())


def failures(checks: pd.DataFrame) -> str:
    """Say how many tests fail, and what that means; nothing where none does."""
    n_failed = int((checks["status"] == "fail").sum())
    if not n_failed:
        return ""
    return f"{n_failed} of {len(checks)} tests for false signals FAILED: look at imputed values, test on the counts."


def _shown_by(tests: pd.DataFrame, use: str) -> Use:
    if (tests["status"] == "fail").any():
        return _failed(tests, use)
    status: Status = "pass" if (tests["status"] == "pass").all() else "unknown"
    return Use(use, status, ANSWERS[status], " ".join(f"{one.question} {one.said}." for one in tests.itertuples()))


def _never_shown_by(tests: pd.DataFrame, use: str) -> Use:
    if (tests["status"] == "fail").any():
        return _failed(tests, use)
    return Use(use, "unknown", ANSWERS["unknown"], "No test failed, but none can show that it is safe. Use the counts.")


def _failed(tests: pd.DataFrame, use: str) -> Use:
    failed = tests[tests["status"] == "fail"]
    why = " ".join(f"{one.question} {one.said}." for one in failed.itertuples())
    return Use(use, "fail", ANSWERS["fail"], f"{why} Use the counts.")
