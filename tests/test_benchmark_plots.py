"""The figure: what is drawn where, and what stands in place of a dot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

from gnnimpute._benchmark_plots import figure, save
from gnnimpute._results import COLUMNS

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes

NAN = float("nan")


def row(method: str, value: float = NAN, **changes: Any) -> dict[str, Any]:
    about = {"data": "A", "protocol": "thin", "rate": 0.1, "seed": 0, "method": method, "status": "ok"}
    about |= {"estimate": "mean", "metric": "poisson_deviance", "message": "", "seconds": 2.0, "peak_gb": 0.1}
    return about | {"value": value, "low": 0.9 * value, "high": 1.1 * value} | changes


def absent(method: str, **changes: Any) -> dict[str, Any]:
    return row(method, status="absent") | {"estimate": "", "metric": "", "seconds": NAN} | changes


def table_of(*rows: dict[str, Any]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=list(COLUMNS))


def dots(ax: Axes) -> dict[str, float]:
    """Position of each dot by the method in whose row it lies."""
    names = [label.get_text() for label in ax.get_yticklabels()]
    lines = [line for line in ax.lines if line.get_marker() == "o"]
    return {names[int(line.get_ydata()[0])]: float(line.get_xdata()[0]) for line in lines}


def words(ax: Axes) -> set[str]:
    return {text.get_text() for text in ax.texts}


def test_losses_are_shares_of_what_the_gene_mean_loses() -> None:
    drawn = figure(table_of(row("gene mean", 2.0), row("gnnimpute", 1.0), row("PCA", 1.5), row("none", 9.0)))
    losses, time = drawn.axes
    assert dots(losses) == {"gene mean": 1.0, "gnnimpute": 0.5, "PCA": 0.75}
    assert words(losses) == {"4.5 →"}
    assert "gene mean: 2 = 1" in losses.get_xlabel()
    assert [label.get_text() for label in losses.get_yticklabels()] == ["none", "gene mean", "PCA", "gnnimpute"]
    assert losses.get_xlim()[1] < 1.5
    assert time.get_xscale() == "log"


def test_intervals_are_shares_too() -> None:
    losses = figure(table_of(row("gene mean", 2.0), row("PCA", 1.0))).axes[0]
    spans = [tuple(line.get_xdata()) for line in losses.lines if len(line.get_xdata()) == 2]
    assert (0.45, 0.55) in [tuple(round(float(end), 6) for end in span) for span in spans]


def test_without_the_gene_mean_losses_are_what_they_are() -> None:
    losses = figure(table_of(row("PCA", 3.0), row("none", 9.0))).axes[0]
    assert dots(losses) == {"PCA": 3.0, "none": 9.0}
    assert "gene mean" not in losses.get_xlabel()


def test_what_became_of_methods_without_a_loss() -> None:
    results = table_of(row("gene mean", 2.0), absent("MAGIC"), row("gene mean", 1.0, data="B"))
    first, second, _ = figure(results).axes
    assert words(first) == {"absent"}
    assert words(second) == {"not run"}


def test_a_row_for_each_protocol_and_a_column_for_each_data_set() -> None:
    rows = [row("PCA", 1.0, data=data, rate=rate) for data in "ABC" for rate in (0.1, 0.8)]
    drawn = figure(table_of(*rows))
    assert len(drawn.axes) == 2 * (3 + 1)
    assert [ax.get_title() for ax in drawn.axes[:4]] == ["A", "B", "C", "time"]
    assert drawn.axes[4].get_title(loc="left").strip() == "80 % of the molecules hidden"


def test_what_was_hidden_can_be_read_beside_few_methods(tmp_path: Path) -> None:
    rows = [row("gene mean", 1.0, protocol="mask", metric="mse"), row("gene mean", 1.0)]
    drawn = figure(table_of(*rows))
    drawn.savefig(tmp_path / "figure.png")  # which places all that is drawn
    for ax in drawn.axes[::2]:
        box = ax._left_title.get_window_extent()
        assert box.width > 100
        assert 0 <= box.x0 < box.x1 <= drawn.bbox.x1
        assert 0 <= box.y0 < box.y1 <= drawn.bbox.y1
        assert ax.title.get_window_extent().y1 <= (box.y0 + box.y1) / 2  # its second line, which is empty
        assert not ax.get_ylabel()


@pytest.mark.parametrize("results", [table_of(), table_of(absent("MAGIC"))])
def test_nothing_to_draw(results: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match="nothing to draw"):
        figure(results)


@pytest.mark.parametrize(("ending", "start"), [(".png", b"\x89PNG"), (".pdf", b"%PDF"), (".svg", b"<?xml")])
def test_files(tmp_path: Path, ending: str, start: bytes) -> None:
    path = tmp_path / f"figure{ending}"
    save(table_of(row("gene mean", 2.0), row("PCA", 1.0)), path)
    assert path.read_bytes().startswith(start)
    assert list(tmp_path.iterdir()) == [path]
