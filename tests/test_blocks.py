"""Blocks of a Dask array: the same work on parts is the work on the whole."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np
import pytest
import scipy.sparse as sp

from gnnimpute import _blocks
from gnnimpute._blocks import batched, by_cells, each, is_lazy, require_dask

if TYPE_CHECKING:
    import dask.array as da


def lazily(matrix: sp.csr_matrix, size: int) -> da.Array:
    from dask import array

    return array.from_array(matrix.toarray(), chunks=(size, 17)).map_blocks(sp.csr_matrix)


def doubled(block: sp.csr_matrix, weight: np.ndarray, factor: float) -> np.ndarray:
    return block.toarray() * weight[:, None] * factor


@pytest.mark.parametrize("size", [7, 40, 90])
def test_each_block_has_its_own_rows(counts: sp.csr_matrix, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(_blocks, "BLOCK", 30)
    blocks = by_cells(lazily(counts, size), where="X")
    assert is_lazy(blocks)
    assert not is_lazy(counts)
    weight = np.arange(90.0)
    found = list(each(blocks, doubled, 2.0, rows=[weight]))
    (expected,) = each(counts, doubled, 2.0, rows=[weight])
    assert len(found) > 2
    assert max(map(len, found)) <= 30
    np.testing.assert_array_equal(np.concatenate(found), expected)


def test_a_value_that_is_no_count_is_found_where_it_is(counts: sp.csr_matrix) -> None:
    wrong = counts.tolil()
    wrong[71, 5] = 0.5
    counts = wrong.tocsr()
    blocks = by_cells(lazily(counts, 20), where="adata.X")
    with pytest.raises(ValueError, match=r"adata.X is 0.5 in cell number 71, gene number 5"):
        list(each(blocks, np.shape))
    (kept,) = list(each(by_cells(lazily(counts, 90), where="X", allow_non_counts=True), abs))
    assert kept[71, 5] == 0.5


def test_lists_of_a_size() -> None:
    assert list(batched(iter(range(5)), 2)) == [[0, 1], [2, 3], [4]]


def test_without_dask_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    require_dask("This")
    monkeypatch.setattr(_blocks, "find_spec", lambda name: None if name == "distributed" else find_spec(name))
    with pytest.raises(ImportError, match=r"This needs distributed: pip install 'gnnimpute\[dask\]'"):
        require_dask("This")
