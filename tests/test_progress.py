"""The line that says what is running."""

from __future__ import annotations

import pytest

from gnnimpute._progress import Progress


def test_what_runs_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(2, show=True) as shown:
        shown.says("PBMC: quality control")
        tick = shown.runs("PBMC: 1/2 PCA")
        tick()
        shown.done()
        shown.runs("PBMC: 2/2 MAGIC")
    lines = [line.strip() for line in capsys.readouterr().err.split("\r")]
    assert any(line.startswith("PBMC: quality control | 0/2") for line in lines)
    assert any(line.startswith("PBMC: 1/2 PCA, 0 s | 0/2") for line in lines)
    assert any(line.startswith("PBMC: 2/2 MAGIC, 0 s | 1/2") for line in lines)
    assert lines[-1] == ""  # it clears up behind itself


@pytest.mark.parametrize("show", [False, None])
def test_nothing_is_shown_where_nobody_looks(show: bool | None, capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(2, show=show) as shown:
        shown.says("PBMC: quality control")
        shown.runs("PCA")()
        shown.done()
    assert capsys.readouterr().err == ""


def test_nothing_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(0, show=True):
        pass
    assert capsys.readouterr().err == ""
