"""Tables: averages over seeds, the best in bold, and words for what has no number."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from gnnimpute._benchmark_table import averages, protocols_of, summary
from gnnimpute._paired import CellLosses
from gnnimpute._results import COLUMNS, Run

NAN = float("nan")


def row(method: str, value: float = NAN, **changes: Any) -> dict[str, Any]:
    about = {"data": "A", "protocol": "thin", "rate": 0.1, "seed": 0, "method": method, "status": "ok"}
    about |= {"estimate": "mean", "metric": "poisson_deviance", "message": "", "seconds": 2.0, "peak_gb": 0.1}
    return about | {"value": value, "low": value - 0.1, "high": value + 0.1} | changes


def bad(method: str, status: str, message: str, **changes: Any) -> dict[str, Any]:
    nothing = {"estimate": "", "metric": "", "seconds": NAN}
    return row(method, status=status, message=message) | nothing | changes


def table_of(*rows: dict[str, Any]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=list(COLUMNS))


def lines(text: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]


def test_one_row_for_each_method_and_estimate() -> None:
    results = table_of(
        row("gene mean", 1.0),
        row("net", 0.7),
        row("net", 0.6, estimate="posterior"),
        row("net", 9.0, metric="mse"),
        row("gene mean", 2.0, data="B"),
        row("net", 2.5, data="B"),
        row("net", 1.5, data="B", estimate="posterior", seconds=30.0),
    )
    header, _, *rest = lines(summary(results))
    assert header == ["method", "A", "B", "seconds"]
    assert rest == [
        ["net (posterior)", "**0.6**", "**1.5**", "16"],
        ["net", "0.7", "2.5", "2"],
        ["gene mean", "1", "2", "2"],
    ]
    assert summary(results).startswith("10 % of the molecules hidden: poisson_deviance (lower is better)\n\n| method")


def test_seeds_are_averaged() -> None:
    results = table_of(row("net", 1.0), row("net", 2.0, seed=1), row("net", 3.0, seed=2))
    (line,) = averages(results, "thin", 0.1).to_dict("records")
    assert (line["value"], line["low"], line["high"], line["sd"], line["n_seeds"]) == pytest.approx((2, 1.9, 2.1, 1, 3))
    assert "mean ± standard deviation of 3 seeds" in summary(results)
    assert lines(summary(results))[2][1] == "**2 ± 1**"


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ((15.9, 97.7), "56.8 ± 58"),
        ((12300.0, 12500.0), "12400 ± 141"),
        ((0.10321, 0.10371), "0.1035 ± 0.0004"),
        ((1e-5, 1.2e-5), "0.000011 ± 0.000001"),
    ],
)
def test_numbers_are_plain(values: tuple[float, float], shown: str) -> None:
    results = table_of(*(row("net", value, seed=seed) for seed, value in enumerate(values)))
    assert lines(summary(results))[2][1] == f"**{shown}**"


def test_large_differences_are_plain() -> None:
    losses, run = CellLosses(None), Run("A", "thin", 0.1, 0, "gnnimpute")
    losses.add(run, pd.Index(["a", "b"]), {"posterior": [124.0, 124.0]})
    losses.add(run._replace(method="PCA"), pd.Index(["a", "b"]), {"mean": [1.0, 1.0]})
    text = summary(table_of(row("PCA", 5.0), row("gnnimpute", 4.0, estimate="posterior")), losses)
    assert "+123 [+123, +123]" in text


def test_what_has_no_number_is_said_in_words() -> None:
    results = table_of(
        row("gene mean", 1.0),
        bad("MAGIC", "absent", "pip install magic"),
        bad("SAVER", "timed out", "not done after 9 s", seconds=9.0),
        row("net", 2.0),
        bad("net", "failed", "no memory", seed=1),
        row("flat", NAN),
    )
    text = summary(results)
    cells = {line[0]: line[1] for line in lines(text)[2:]}
    assert cells == {
        "gene mean": "**1**",
        "net": "2 (also failed)",
        "MAGIC": "absent",
        "SAVER": "timed out",
        "flat": "not defined",
    }
    assert (
        "- MAGIC: absent. pip install magic\n- SAVER: timed out. not done after 9 s\n- net: failed. no memory" in text
    )


def test_a_table_for_each_protocol() -> None:
    results = table_of(row("net", 1.0), row("net", 2.0, rate=0.8), row("net", 3.0, protocol="mask", metric="mse"))
    assert protocols_of(results) == [("thin", 0.1), ("thin", 0.8), ("mask", 0.1)]
    text = summary(results)
    assert "80 % of the molecules hidden: poisson_deviance" in text
    assert "10 % of each gene's non-zeros hidden: mse" in text
    assert [line[1] for line in lines(text) if line[0] == "net"] == ["**1**", "**2**", "**3**"]


def test_differences_between_methods_on_the_same_cells() -> None:
    losses, cells = CellLosses(None), pd.Index(["a", "b", "c"])
    run = Run("A", "thin", 0.1, 0, "gnnimpute")
    losses.add(run, cells, {"mean": [2.0, 4, 6], "posterior": [1.0, 3, 5]})
    losses.add(run._replace(method="PCA"), cells, {"mean": [3.0, 5, 7]})
    losses.add(run._replace(method="PCA", data="B"), cells, {"mean": [3.0, 5, 7]})
    results = table_of(
        row("PCA", 5.0),
        row("PCA", 5.0, data="B"),
        row("gnnimpute", 4.0),
        row("gnnimpute", 3.0, estimate="posterior"),
        row("gene mean", 9.0),
    )
    text = summary(results, losses).split("gnnimpute (posterior) less each other method, cell by cell")[1]
    assert lines(text)[:1] + lines(text)[2:] == [
        ["method", "A", "B"],
        ["gnnimpute", "-1 [-1, -1]", ""],
        ["PCA", "-2 [-2, -2]", ""],
    ]
    assert "less each other" not in summary(results)
    assert "less each other" not in summary(results, CellLosses(None))


def test_other_metrics() -> None:
    results = table_of(row("net", 1.0), row("net", 5.0, metric="log1p_cp10k_mse"))
    assert list(averages(results, "thin", 0.1, metric="log1p_cp10k_mse")["value"]) == [5.0]
    text = summary(results, metric="log1p_cp10k_mse")
    assert text.startswith("10 % of the molecules hidden: log1p_cp10k_mse (lower is better)")
    assert lines(text)[2][1] == "**5**"


def test_a_method_that_lacks_on_one_data_set() -> None:
    results = table_of(row("a", 1.0), row("b", 2.0), row("a", 1.0, data="B"))
    assert lines(summary(results))[2:] == [["a", "**1**", "**1**", "2"], ["b", "2", "", "2"]]


def test_nothing_at_all() -> None:
    assert summary(table_of()) == "\n"
    assert averages(table_of(), "thin", 0.1).empty
    assert np.isnan(averages(table_of(bad("x", "failed", "")), "thin", 0.1)["value"]).all()
