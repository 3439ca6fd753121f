"""What one may do with imputed values: only what a test bears out, and never what none can."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from gnnimpute._uses import NEVER_SHOWN, TESTED, failures, uses

NAMES = [
    "molecules",
    "null_gain",
    "null_correlation",
    "split",
    "zeros",
    "variance",
    "correlation",
    "calibration",
    "seeds",
]


def checks(status: str = "pass", **others: str) -> pd.DataFrame:
    rows = [{"name": n, "question": f"Is {n} right?", "said": f"{n} is 3", "status": status} for n in NAMES]
    table = pd.DataFrame(rows).assign(advice="Beware.")
    return table.assign(status=[others.get(name, status) for name in table["name"]])


def answers(table: pd.DataFrame, **others: Any) -> dict[str, str]:
    return {one.use: one.answer for one in uses(table, **{"gain": "pass"} | others)}


def test_where_all_passes_counts_stay_the_evidence() -> None:
    found = answers(checks())
    assert {found.pop(use) for use in NEVER_SHOWN} == {"not shown"}
    assert set(found.values()) == {"yes"}
    assert len(found) == 1 + len(TESTED)


@pytest.mark.parametrize(
    ("name", "use"),
    [(name, use) for use, names in (TESTED | NEVER_SHOWN).items() for name in names],
)
def test_a_test_that_fails_forbids_its_use_and_no_other(name: str, use: str) -> None:
    one = next(found for found in uses(checks(**{name: "fail"}), gain="pass") if found.use == use)
    assert (one.status, one.answer) == ("fail", "NO")
    assert one.why == f"Is {name} right? {name} is 3. Use the counts."
    assert list(answers(checks(**{name: "fail"})).values()).count("NO") == 1


def test_what_was_not_tested_is_not_shown() -> None:
    assert set(answers(checks("unknown"), gain="unknown").values()) == {"not shown"}
    assert uses(checks().iloc[:0], gain="pass") == []


def test_every_use_names_tests_that_there_are() -> None:
    assert {name for names in (TESTED | NEVER_SHOWN).values() for name in names} <= set(NAMES)


def test_failures_are_counted() -> None:
    assert failures(checks()) == ""
    assert failures(checks(split="fail", zeros="fail")).startswith("2 of 9 tests")


def test_of_copies_a_gain_is_not_shown() -> None:
    look = uses(checks(molecules="fail"), gain="unknown")[0]  # which the verdict on them is
    assert (look.status, look.answer) == ("unknown", "not shown")
    assert look.why.startswith("Is molecules right? molecules is 3.")
    assert uses(checks(molecules="fail"), gain="fail")[0].answer == "NO"
    before = checks()  # an evaluation of before there was this test
    assert uses(before[before["name"] != "molecules"], gain="pass")[0].answer == "yes"
