"""The CSV of a comparison: written whole, read back as it was, and told from other files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from gnnimpute._results import COLUMNS, KEY, Results, Run, read, settings_of

if TYPE_CHECKING:
    from pathlib import Path

RUN = Run("PBMC", "thin", 0.1, 0, "gene mean")


def row(**changes: Any) -> dict[str, Any]:
    numbers = dict.fromkeys(("value", "low", "high", "seconds", "peak_gb"), 0.1 + 0.2)
    texts = dict.fromkeys(("estimate", "metric", "version", "status", "message"), "x")
    return numbers | texts | {"settings": '{"a": "1, \\"b\\""}', "n_cells": 90, "n_genes": 60} | changes


def test_rows_come_back_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    results = Results(path)
    results.add(RUN, [row(metric="mse"), row(metric="nan", message="", low=float("nan"))])
    results.add(RUN._replace(method="NA", seed=1), [row(message='a "quoted", text\nof two lines')])
    again = Results(path)
    pd.testing.assert_frame_equal(again.table(), results.table(), check_dtype=False)
    assert again.of(RUN)[0]["value"] == 0.1 + 0.2
    assert again.of(RUN)[1]["metric"] == "nan"
    assert again.of(RUN)[1]["message"] == ""
    assert np.isnan(again.of(RUN)[1]["low"])
    assert settings_of(again.of(RUN)[0]) == {"a": '1, "b"'}
    assert [path.name for path in tmp_path.iterdir()] == ["results.csv"]


def test_columns_are_tidy(tmp_path: Path) -> None:
    results = Results(tmp_path / "results.csv")
    results.add(RUN, [row()])
    header = (tmp_path / "results.csv").read_text().splitlines()[0]
    assert header == (
        "data,protocol,rate,seed,method,estimate,metric,value,low,high,"
        "seconds,peak_gb,version,settings,status,message,n_cells,n_genes"
    )
    assert header == ",".join(COLUMNS)
    assert Run._fields == KEY


def test_a_run_done_again_replaces_its_rows(tmp_path: Path) -> None:
    results = Results(tmp_path / "results.csv")
    results.add(RUN, [row(status="failed"), row(status="failed")])
    results.add(RUN._replace(rate=0.8), [row()])
    results.add(RUN, [row(status="ok")])
    assert list(Results(tmp_path / "results.csv").table()["status"]) == ["ok", "x"]


def test_two_at_once_lose_nothing_of_each_other(tmp_path: Path) -> None:
    one, two = (Results(tmp_path / "results.csv") for _ in range(2))
    one.add(RUN, [row(status="one")])
    two.add(RUN._replace(seed=1), [row(status="two")])
    one.add(RUN._replace(seed=2), [row(status="one")])
    assert [*one.table()["status"]] == ["one", "two", "one"]
    assert one.of(RUN._replace(seed=1))[0]["status"] == "two"
    pd.testing.assert_frame_equal(Results(tmp_path / "results.csv").table(), one.table(), check_dtype=False)
    (tmp_path / "results.csv").unlink()
    one.add(RUN, [row(status="again")])
    assert [*Results(tmp_path / "results.csv").table()["status"]] == ["again", "two", "one"]


def test_without_a_file_nothing_is_written(tmp_path: Path) -> None:
    results = Results(None)
    results.add(RUN, [row()])
    assert len(results.table()) == 1
    assert results.of(RUN._replace(seed=5)) == []
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is no CSV of results"),
        ("cell,gene\n1,2\n", r"lacks data, protocol, rate \(it has cell, gene\)"),
        (",".join(COLUMNS) + "\n" + ",".join(["x"] * len(COLUMNS)) + "\n", "column 'rate' does not hold numbers"),
        ("a,b\n1,2,3\n1,2,3,4,5\n", "is no CSV of results"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "other.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=f"{said}.*--out"):
        Results(path)
    assert path.read_text() == text


def test_a_header_alone_is_an_empty_table(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    path.write_text(",".join(COLUMNS) + "\n")
    assert Results(path).table().empty


def test_binary_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(bytes(range(256)))
    with pytest.raises(ValueError, match="no CSV of results"):
        read(tmp_path / "x.csv")


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no folder"):
        Results(tmp_path / "nowhere" / "results.csv")
    with pytest.raises(IsADirectoryError, match="name a file in it"):
        Results(tmp_path)


@pytest.mark.parametrize(
    ("text", "settings"), [("", {}), ("{", {}), ("[1]", {"settings": [1]}), ('{"k": 5}', {"k": 5})]
)
def test_settings(text: str, settings: dict[str, Any]) -> None:
    assert settings_of({"settings": text}) == settings
