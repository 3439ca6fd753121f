"""Simulations in memory and in a store are the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anndata
import pytest

import gnnimpute as gi
from gnnimpute import _simulated

if TYPE_CHECKING:
    from pathlib import Path


def settings(**changes: Any) -> dict[str, Any]:
    """All parameters, as :func:`gnnimpute.datasets.splatter` writes them down."""
    known = gi.datasets.splatter(n_genes=5, batch_cells=2, lib_loc=5).uns["splatter"]
    small = {"n_genes": 40, "batch_cells": [30, 20], "group_prob": [0.5, 0.5], "lib_loc": 6}
    return {name: value for name, value in known.items() if name != "rng"} | small | changes


@pytest.mark.parametrize("block", [7, 4096])
@pytest.mark.parametrize("dropout", ["experiment", "none"])
def test_a_store_holds_what_memory_would(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int, dropout: str
) -> None:
    monkeypatch.setattr(_simulated, "BLOCK", block)
    given = settings(dropout_type=dropout)
    expected = gi.datasets.splatter(**given, rng=3)
    _, found = _simulated.write_simulated(tmp_path / "x.zarr", given, 3)
    made = anndata.read_zarr(tmp_path / "x.zarr")
    assert (made.X != expected.X).nnz == 0
    assert found == (expected.X.nnz, expected.layers["true_counts"].nnz)
    if dropout == "none":
        assert not made.layers
    else:
        assert (made.layers["true_counts"] != expected.layers["true_counts"]).nnz == 0
    assert made.obs.equals(expected.obs)
    assert made.var.equals(expected.var)
    assert made.uns["splatter"].keys() == expected.uns["splatter"].keys()
