"""The verdict: what it is judged by, and that it says in words what the numbers are."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click import Context

from gnnimpute import Config
from gnnimpute._checks import NONE
from gnnimpute._verdict import told, verdict_of
from gnnimpute.cli import main


def methods(over: dict[str, tuple[float, float]], *, won: float = 0.4) -> pd.DataFrame:
    """A table where ours is better than each other method by so much, and at least so much."""
    rows = [{"method": name, "deviance": 1.0 + gain, "ours_over_it": gain, "ours_over_it_low": low,
             "ours_over_it_high": 2 * gain - low} for name, (gain, low) in over.items()]  # fmt: skip
    table = pd.DataFrame(rows)
    for name in ("won", "noise_gone", "over_gene_mean", "over_counts"):
        table[name], table[f"{name}_low"], table[f"{name}_high"] = won, won - 0.1, won + 0.1
    return table


def found(over: dict[str, tuple[float, float]], **changes: Any) -> dict[str, Any]:
    table = methods({"gnnimpute": (0.0, 0.0)} | over, **changes)
    parts = pd.DataFrame(
        {"by": ["cells by group"] * 2, "part": ["T", "B"], "n": 50, "predicted": [0.1, -0.02],
         "predicted_low": [0.05, -0.1]}
    )  # fmt: skip
    names = [
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
    checks = pd.DataFrame(
        {
            "name": names,
            "question": ["Is it true?"] * 9,
            "said": ["0.3"] * 9,
            "line": ["at most 0.1"] * 9,
            "status": ["pass", "fail", *["pass"] * 7],
            "advice": ["Beware."] * 9,
        }
    )
    table_and = {
        "estimate": "mean",
        "checks": checks,
        "methods": table,
        "parts": parts,
        "verdict": verdict_of(table, checks),
    }
    return table_and | {"seeds": np.array([0, 1]), "n_cells": 1000, "n_genes": 2000,
            "seconds": 61.0, "held_out": 0.1, "n_given": 1000, "n_drawn": 1000, "blind": True}  # fmt: skip


POSTERIOR = "gnnimpute, posterior"
GOOD = {"no imputation": (0.5, 0.45), "gene mean": (0.1, 0.05), "neighbour and gene mean": (0.03, 0.01)}


@pytest.mark.parametrize(
    ("gene_mean", "verdict"), [((0.1, 0.05), "helps"), ((0.1, -0.05), "unclear"), ((-0.01, -0.05), "no gain")]
)
def test_the_better_of_counts_and_gene_mean_judges(gene_mean: tuple[float, float], verdict: str) -> None:
    assert verdict_of(methods(GOOD | {"gene mean": gene_mean}), NONE) == verdict


def test_raw_counts_judge_where_they_are_better() -> None:
    assert verdict_of(methods(GOOD | {"no imputation": (-0.2, -0.3)}), NONE) == "no gain"


@pytest.mark.parametrize(
    ("over", "verdict"),
    [({}, "unclear"), ({"no imputation": (-0.2, -0.3)}, "unclear"), ({"gene mean": (-0.1, -0.2)}, "no gain")],
)
def test_of_copies_nothing_can_be_told(over: dict[str, tuple[float, float]], verdict: str) -> None:
    """Neither a gain nor a loss to the counts, which have copies of what is hidden; but one to the gene mean."""
    whole = found(GOOD | over)
    whole["checks"].loc[whole["checks"]["name"] == "molecules", "status"] = "fail"
    whole["verdict"] = verdict_of(whole["methods"], whole["checks"])
    assert whole["verdict"] == verdict
    assert told(whole).startswith("Whether imputation helps these data cannot be told: they look like reads") == (
        verdict == "unclear"
    )


def test_numbers_are_said() -> None:
    text = told(found(GOOD))
    assert text.startswith("Imputation helps these data.")
    assert "10 % of the molecules were hidden before everything else, 2 times; 1,000 cells x 2,000 genes" in text
    assert "10.0 % better [5.0, 15.0] than by the mean of each gene" in text
    assert "it finds 40 % [30, 50]" in text
    assert "most in T, 10.0 %; NOT clearly in B -2.0 %" in text
    assert "about as well" not in text
    assert "\n  1 of 9 tests for false signals FAILED" in text
    assert "\n    yes       look at genes in plots" in text
    assert "\n    not shown test for differential expression" in text
    assert "FAILED  Is it true? 0.3; line: at most 0.1.\n            Beware." in text


def test_few_cells_are_said() -> None:
    assert "few cells" not in told(found(GOOD))
    assert "These are few cells: others of the same sample may say otherwise." in told(found(GOOD) | {"n_cells": 99})


def test_what_is_not_good_is_said_too() -> None:
    text = told(found(GOOD | {"neighbour and gene mean": (-0.01, -0.02), POSTERIOR: (-0.05, -0.06)}))
    assert "1.0 % WORSE [-2.0, 0.0] than by a mean of neighbours" in text
    assert "A plain mean of neighbours does about as well." in text
    assert "estimate='posterior' predicts 4.8 % better." in text
    assert "estimate='posterior' predicts 4.8 % better still." in told(found(GOOD | {POSTERIOR: (-0.05, -0.06)}))


def test_of_few_genes_what_does_better_than_the_default_is_named() -> None:
    worse = found(GOOD | {"neighbour and gene mean": (-0.04, -0.05)})
    assert "A plain mean of neighbours does better.\n" in told(worse)
    text = told(worse | {"n_genes": 158})
    assert "A plain mean of neighbours does better. Of so few genes, a wider network" in text
    config = re.search(r"(Config\(.*?\)) \((.*?)\)", text)
    assert config is not None
    named = eval(config[1], {"Config": Config})
    asked = main.get_command(Context(main), "evaluate").make_context("evaluate", [__file__, *config[2].split()]).params
    options = [option.removeprefix("--").replace("-", "_") for option in config[2].split()[::2]]
    assert len(options) == 3
    assert {name: asked[name] for name in options} == {name: getattr(named, name) for name in options}
    assert "Of so few genes" not in told(worse | {"n_genes": 158, "params": named.to_dict()})


LOST = GOOD | {"no imputation": (-0.2, -0.3), POSTERIOR: (-0.5, -0.6)}


def test_where_the_other_estimate_helps_the_verdict_says_so() -> None:
    text = told(found(LOST))
    assert text.split("\n")[0] == (
        "Imputation does not help these data with estimate='mean': take estimate='posterior' (--estimate posterior), "
        "which helps."
    )
    assert "do not impute" not in text
    assert (
        "  estimate='posterior' predicts 33.3 % better: 40.0 % better [30.0, 50.0] than by the mean of each gene, "
        in text
    )
    assert "better still" not in text
    assert "What follows is about estimate='mean'." in text
    unclear = told(found(GOOD | {"gene mean": (0.1, -0.05), POSTERIOR: (-0.5, -0.6)}))
    assert unclear.startswith("Whether imputation helps these data with estimate='mean' is not clear: take estimate=")


@pytest.mark.parametrize("column", ["over_gene_mean_low", "over_counts_low"])
def test_another_estimate_that_is_not_clearly_better_is_not_advised(column: str) -> None:
    judged = found(LOST)
    judged["methods"][column] = -0.01
    assert told(judged).startswith("Imputation does not help these data: do not impute them.\n")
    helping = found(GOOD | {POSTERIOR: (-0.5, -0.6)})
    assert told(helping).startswith("Imputation helps these data.\n")


def test_nothing_to_win_is_said() -> None:
    assert "nothing to win over the gene mean" in told(found(GOOD | {"gene mean": (0.01, -0.01)}, won=np.nan))
    said = told(found(GOOD, won=np.nan))  # a clear gain over the gene mean is something
    assert "nothing to win" not in said
    assert "How much there is to win over the gene mean cannot be told" in said


def test_counts_nearer_to_the_truth_are_said() -> None:
    assert "nearer to the true expression than this estimate" in told(found(GOOD, won=-0.2))


def test_limits_of_the_evaluation_are_said() -> None:
    text = told(found(GOOD) | {"n_given": 9000, "blind": False})
    assert "1,000 of 9,000 cells" in text
    assert "Not blind" in text
