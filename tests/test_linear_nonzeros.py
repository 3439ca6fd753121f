from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from gnnimpute import _linear_nonzeros
from gnnimpute._line import Cells
from gnnimpute._linear_nonzeros import _center, _Entries, _moments, _terms, nonzero_line


@pytest.fixture
def entries() -> _Entries:
    rng = np.random.default_rng(0)
    cell = np.repeat(np.arange(60), 3)
    return _Entries(cell, rng.integers(4, size=180), rng.gamma(2, size=180), rng.normal(size=(60, 3)))


def test_moments_of_each_gene(entries):
    weight = np.random.default_rng(1).gamma(3, size=60)
    moments, products = (
        np.stack(parts)
        for parts in zip(
            *(_moments(entries, _terms(entries.features), weight, (f, 2), slice(0, 4)) for f in range(2)), strict=True
        )
    )
    _center(moments, products)
    for gene in range(4):
        here = entries.gene == gene
        x, y, w = entries.features[entries.cell[here]], entries.value[here], weight[entries.cell[here]]
        x, y = x - np.average(x, axis=0, weights=w), y - np.average(y, weights=w)
        np.testing.assert_allclose(moments[:, gene, 1:, 1:].sum(0), x.T @ (w[:, None] * x), rtol=1e-8, atol=1e-10)
        np.testing.assert_allclose(products[:, gene, 1:].sum(0), x.T @ (w * y), rtol=1e-8, atol=1e-10)


def test_labels_are_learnt_from():
    rng = np.random.default_rng(2)
    counts = sp.csr_matrix(rng.poisson(3, (50, 8)).astype(np.float32))
    cells = Cells(counts, np.arange(50)[:, None], 24.0)
    labels = sp.csr_matrix((np.full(50, 400.0, np.float32), (np.arange(50), np.full(50, 2))), counts.shape)
    without, _ = nonzero_line(cells, None, rng=np.random.default_rng(0), n_folds=3)
    with_labels, _ = nonzero_line(cells, labels, rng=np.random.default_rng(0), n_folds=3)
    assert with_labels[2] > 10 * without[2]


@pytest.fixture
def cells() -> Cells:
    """Cells of one, two or three times the depth."""
    rng = np.random.default_rng(0)
    counts = rng.poisson(3, (60, 11)) * rng.integers(1, 4, (60, 1))
    return Cells(sp.csr_matrix(counts.astype(np.float32)), np.arange(60)[:, None], 24.0)


def test_a_fifth_of_the_nonzeros_is_predicted_from_the_others(cells, monkeypatch):
    shares, rows = [], Cells.rows
    monkeypatch.setattr(Cells, "rows", lambda self, *some: shares.extend(some[1:]) or rows(self, *some))
    nonzero_line(cells, None, rng=np.random.default_rng(0), n_folds=3)
    assert shares == [pytest.approx(0.8)] * 5


def test_cells_weigh_as_much_as_they_are_deep(cells, monkeypatch):
    weights, regression = [], _linear_nonzeros._regression
    monkeypatch.setattr(
        _linear_nonzeros,
        "_regression",
        lambda parts, weight, *of: weights.append(weight) or regression(parts, weight, *of),
    )
    nonzero_line(cells, None, rng=np.random.default_rng(0), n_folds=3)
    np.testing.assert_allclose(weights[0], cells.counts.toarray().sum(1) / 24, rtol=1e-4)


def test_depth_costs_no_more_than_the_first_component(cells, monkeypatch):
    features = []
    monkeypatch.setattr(_linear_nonzeros, "_terms", lambda x: features.append(x) or _terms(x))
    nonzero_line(cells, None, rng=np.random.default_rng(0), n_folds=3)
    *components, depth = np.concatenate(features).std(0)
    assert depth == pytest.approx(max(components), rel=1e-4)


def test_genes_are_fitted_a_few_at_a_time_and_alike(monkeypatch):
    rng = np.random.default_rng(3)
    cells = Cells(sp.csr_matrix(rng.poisson(2, (60, 11)).astype(np.float32)), np.arange(60)[:, None], 22.0)

    def fitted():
        intercept, line = nonzero_line(cells, None, rng=np.random.default_rng(0), n_folds=3)
        return intercept, line.coefficients

    whole = fitted()
    monkeypatch.setattr("gnnimpute._linear_nonzeros.GENES_AT_ONCE", 4)
    for few, all_of_them in zip(fitted(), whole, strict=True):
        np.testing.assert_array_equal(few, all_of_them)
    assert whole[1].any()
