"""Losses of cells: kept, completed, and compared on the same cells."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

import gnnimpute as gi
from gnnimpute._paired import CellLosses, label
from gnnimpute._results import Run

if TYPE_CHECKING:
    from pathlib import Path

NET, PCA = Run("A", "thin", 0.1, 0, "net"), Run("A", "thin", 0.1, 0, "PCA")
CELLS = pd.Index([f"cell{number}" for number in range(30)])


@pytest.fixture
def losses(rng: np.random.Generator) -> dict[str, np.ndarray]:
    return {name: rng.gamma(2, size=30) for name in ("mean", "posterior", "pca")}


def kept(path: Path, losses: dict[str, np.ndarray]) -> CellLosses:
    some = CellLosses(path)
    some.add(NET, CELLS, {name: losses[name] for name in ("mean", "posterior")})
    some.add(PCA, CELLS, {"mean": losses["pca"]})
    return some


def test_differences_are_paired(losses: dict[str, np.ndarray], tmp_path: Path) -> None:
    path = tmp_path / "cells.csv"
    kept(path, losses)
    found = CellLosses(path).difference("net (posterior)", "PCA", data="A", rate=0.1)
    names = np.argsort(CELLS)  # grouped by name
    assert found == gi.metrics.paired_difference(losses["posterior"][names], losses["pca"][names])


def test_each_cell_counts_once_whatever_the_number_of_seeds(losses: dict[str, np.ndarray], tmp_path: Path) -> None:
    some = kept(tmp_path / "cells.csv", losses)
    one = some.difference("net", "PCA", data="A", rate=0.1)
    other = kept(tmp_path / "more.csv", losses)
    for run, name in ((NET, "mean"), (PCA, "pca")):
        other.add(run._replace(seed=1), CELLS[:20], {"mean": losses[name][:20]})
    assert other.difference("net", "PCA", data="A", rate=0.1) == one
    assert other.difference("net", "PCA", data="A", rate=0.1, seed=0) == one
    assert other.difference("net", "PCA", data="A", rate=0.1, seed=1) != one
    other.add(NET._replace(seed=2), CELLS, {"mean": 100 + losses["mean"]})  # the other was not run on this seed
    assert other.difference("net", "PCA", data="A", rate=0.1) == one


def test_what_is_there_and_what_is_not(losses: dict[str, np.ndarray], tmp_path: Path) -> None:
    some = kept(tmp_path / "cells.csv", losses)
    assert not some.lacks(NET)
    for changed in ({"seed": 1}, {"rate": 0.2}, {"data": "B"}, {"method": "ne"}):
        assert some.lacks(NET._replace(**changed))
    assert not some.wants(NET._replace(protocol="mask"))
    assert not some.lacks(NET._replace(protocol="mask"))
    assert some.difference("net", "SAVER", data="A", rate=0.1) is None
    assert some.difference("net", "PCA", data="B", rate=0.1) is None


def test_later_losses_replace_earlier_ones(losses: dict[str, np.ndarray], tmp_path: Path) -> None:
    some = kept(tmp_path / "cells.csv", losses)
    some.add(PCA, CELLS, {"mean": losses["mean"] + 1})
    difference = some.difference("net", "PCA", data="A", rate=0.1)
    assert difference is not None
    np.testing.assert_allclose(difference, -1)


def test_two_at_once_lose_nothing_of_each_other(losses: dict[str, np.ndarray], tmp_path: Path) -> None:
    one, two = (CellLosses(tmp_path / "cells.csv") for _ in range(2))
    two.add(PCA, CELLS, {"mean": losses["pca"]})
    one.add(NET, CELLS, {"mean": losses["mean"]})
    assert one.difference("net", "PCA", data="A", rate=0.1) is not None
    assert not CellLosses(tmp_path / "cells.csv").lacks(PCA)


def test_data_and_cells_may_be_called_like_missing_values(losses: dict[str, np.ndarray], tmp_path: Path) -> None:
    path, cells, run = tmp_path / "cells.csv", CELLS[:3].append(pd.Index(["NA", "nan", ""])), NET._replace(data="NA")
    CellLosses(path).add(run, cells, {"mean": losses["mean"][:6]})
    again = CellLosses(path)
    assert not again.lacks(run)
    before = path.read_bytes()
    again.add(run, cells, {"mean": losses["mean"][:6]})
    assert path.read_bytes() == before
    again.add(run._replace(method="PCA"), cells[:3], {"mean": losses["pca"][:3]})
    assert np.isnan(CellLosses(path)._table["PCA"]).sum() == 3


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\x89HDF\r\n\x1a\n", "is no CSV of losses of cells"),
        (b"", "is no CSV of losses of cells"),
        (b"data,protocol,rate,seed,cell,net\nA,thin,much,0,c,1\n", "column 'rate' does not hold numbers"),
        (b"data,protocol,rate,seed,cell,net\nA,thin,.1,0,c,good\n", "column 'net' does not hold numbers"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "x.h5ad").write_bytes(content)
    with pytest.raises(ValueError, match=f"{said}.*--cells"):
        CellLosses(tmp_path / "x.h5ad")
    assert (tmp_path / "x.h5ad").read_bytes() == content


def test_without_a_file_nothing_is_kept(tmp_path: Path) -> None:
    assert not CellLosses(None).wants(NET)
    assert not CellLosses(None).lacks(NET)
    (tmp_path / "other.csv").write_text("data,cell\n1,2\n")
    with pytest.raises(ValueError, match=r"lacks protocol, rate, seed.*--cells"):
        CellLosses(tmp_path / "other.csv")
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        CellLosses(tmp_path / "nowhere" / "cells.csv")


def test_labels() -> None:
    assert [label("net", name) for name in ("mean", "", "posterior")] == ["net", "net", "net (posterior)"]
