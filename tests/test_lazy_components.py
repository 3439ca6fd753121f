"""Components of blocks are those of the whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from gnnimpute import _lazy_components
from gnnimpute._blocks import by_cells
from gnnimpute._components import principal_components
from gnnimpute._lazy_components import lazy_principal_components

if TYPE_CHECKING:
    import scipy.sparse as sp


def distances(scores: np.ndarray) -> np.ndarray:
    """What neither signs nor rotations of the components change."""
    return np.linalg.norm(scores[:, None] - scores[None], axis=2)


def lazily(counts: sp.csr_matrix) -> object:
    from dask import array

    return by_cells(array.from_array(counts.toarray(), chunks=(40, -1)), where="X")


def test_as_in_memory(counts: sp.csr_matrix, rng: np.random.Generator) -> None:
    passing = rng.random(90) < 0.8
    found = lazy_principal_components(lazily(counts), n_pcs=6, passing=passing)
    expected = principal_components(counts, n_pcs=6, passing=passing)
    np.testing.assert_allclose(distances(found), distances(expected), atol=2e-4)
    assert found.dtype == np.float32


def test_more_components_than_there_are(counts: sp.csr_matrix) -> None:
    found = lazy_principal_components(lazily(counts[:5]), n_pcs=50, passing=np.ones(5, dtype=bool))
    assert found.shape == (5, 4)


def test_genes_of_most_variance(counts: sp.csr_matrix, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_lazy_components, "MOST_GENES", 30)
    every = np.ones(90, dtype=bool)
    found = lazy_principal_components(lazily(counts), n_pcs=3, passing=every)
    expected = principal_components(counts, n_pcs=3, passing=every)
    assert np.corrcoef(distances(found).ravel(), distances(expected).ravel())[0, 1] > 0.9


def test_counts_are_read_four_times(counts: sp.csr_matrix) -> None:
    n_read = 0

    def counting(block: np.ndarray) -> np.ndarray:
        nonlocal n_read
        n_read += 1
        return block

    from dask import array

    blocks = array.from_array(counts.toarray(), chunks=(90, -1)).map_blocks(counting, meta=np.empty((0, 0), np.float32))
    lazy_principal_components(by_cells(blocks, where="X"), n_pcs=3, passing=np.ones(90, dtype=bool))
    assert n_read == 4


@pytest.mark.parametrize(
    ("n_pcs", "n_passing", "text"),
    [(0, 5, "n_pcs=0: give at least 1"), (-3, 5, "n_pcs=-3: give at least 1"), (2, 1, "Only 1 cell passes")],
)
def test_components_that_there_cannot_be(counts: sp.csr_matrix, n_pcs: int, n_passing: int, text: str) -> None:
    passing = np.arange(5) < n_passing
    for find, matrix in ((principal_components, counts[:5]), (lazy_principal_components, lazily(counts[:5]))):
        with pytest.raises(ValueError, match=text):
            find(matrix, n_pcs=n_pcs, passing=passing)
