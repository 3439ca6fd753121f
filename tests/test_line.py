from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from gnnimpute._line import Cells, Line, combined, loadings_of
from gnnimpute._rows import Rows


@pytest.fixture
def cells() -> Cells:
    rng = np.random.default_rng(0)
    counts = sp.csr_matrix(rng.poisson(2, (40, 12)).astype(np.float32))
    neighbors = np.stack([np.arange(30), rng.integers(30, 40, size=30), rng.integers(30, 40, size=30)], axis=1)
    return Cells(counts, neighbors, 20.0)


def lines() -> list[Line]:
    rng = np.random.default_rng(1)
    return [
        Line(rng.normal(size=(12, k)), rng.normal(size=2 * k + 1), rng.normal(size=(2 * k + 1, 12))) for k in (2, 3)
    ]


def test_features(cells):
    rng = np.random.default_rng(2)
    loadings, depth = rng.normal(size=(12, 3)), rng.normal(size=40)
    rows = cells.rows().normalized()
    h = rows.toarray() @ loadings
    expected = np.c_[h[cells.own], (h[cells.neighbors[:, 1]] + h[cells.neighbors[:, 2]]) / 2, depth[cells.own]]
    np.testing.assert_allclose(cells.features(rows, loadings, depth), expected, rtol=1e-5, atol=1e-6)


def test_room_for_neighbors_that_are_not_there_changes_nothing(cells):
    rng = np.random.default_rng(2)
    loadings, rows = rng.normal(size=(12, 3)), cells.rows().normalized()
    wider = cells._replace(neighbors=np.c_[cells.neighbors, np.repeat(cells.own[:, None], 7, axis=1)])
    features = (each.features(rows, loadings, np.zeros(40)) for each in (cells, wider))
    np.testing.assert_allclose(*features, rtol=1e-5, atol=1e-6)


def test_combined_is_the_mean_of_the_lines(cells):
    rows, depth = cells.rows().normalized(), cells.rows().log_depth
    each = [(cells.features(rows, line.loadings, depth) - line.center) @ line.coefficients for line in lines()]
    w = combined(cells, lines(), np.ones(12), n_components=12)
    h = rows.toarray()
    z = h[cells.own] @ w.own + h[cells.neighbors[:, 1:]].mean(1) @ w.neighbors
    z += np.outer(depth[cells.own], w.depth) - w.center
    np.testing.assert_allclose(z @ w.coefficients.T, np.mean(each, axis=0), atol=1e-4 * np.abs(each).max())


def test_fewer_dimensions_keep_most(cells):
    whole, part = (combined(cells, lines(), np.ones(12), n_components=n) for n in (12, 4))
    h = cells.rows().normalized().toarray()[cells.own]
    assert part.coefficients.shape == (12, 4)
    assert np.isfinite(h @ part.own).all()
    assert np.linalg.norm(part.coefficients) <= np.linalg.norm(whole.coefficients) + 1e-9


def test_loadings_find_the_groups():
    rng = np.random.default_rng(3)
    profile = rng.gamma(1, 4, (2, 30))
    counts = sp.csr_matrix(rng.poisson(profile[np.repeat([0, 1], 50)]).astype(np.float32))
    rows = Rows(counts, float(counts.sum() / 100)).normalized()
    scores = rows @ loadings_of(rows, 1, rng)
    assert scores.shape == (100, 2)
    first, second = scores[:50, 1], scores[50:, 1]
    assert first.max() < second.min() or second.max() < first.min()


@pytest.mark.parametrize("shape", [(2, 12), (40, 2), (2, 2)])
def test_few_cells_or_genes(shape):
    counts = sp.csr_matrix(np.random.default_rng(4).poisson(5, shape).astype(np.float32))
    loadings = loadings_of(Rows(counts, 10.0).normalized(), 50, np.random.default_rng(0))
    assert loadings.shape == (shape[1], 1)
