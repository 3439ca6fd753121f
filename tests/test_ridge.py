from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from gnnimpute._ridge import PENALTIES, ridge


def moments(x: np.ndarray, y: np.ndarray, n_folds: int = 3) -> tuple[np.ndarray, np.ndarray]:
    fold = np.arange(len(x)) % n_folds
    parts = [(x[fold == f], y[fold == f]) for f in range(n_folds)]
    return np.stack([a.T @ a for a, _ in parts]), np.stack([a.T @ b for a, b in parts])


@pytest.fixture
def data() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(120, 4)) * [4, 2, 1, 0.5]
    y = x @ rng.normal(size=(4, 6)) + rng.normal(size=(120, 6)) * [0.01, 0.1, 1, 5, 20, 80]
    return x, y


def test_each_gene_gets_the_ridge_of_one_of_the_penalties(data):
    x, y = data
    coefficients = ridge(*moments(x, y))
    unit = np.diagonal(x.T @ x).max()
    for gene, found in enumerate(coefficients.T):
        fits = [Ridge(alpha=p * unit, fit_intercept=False).fit(x, y[:, gene]).coef_ for p in PENALTIES]
        assert min(np.abs(found - fit).max() for fit in [*fits, np.zeros(4)]) < 1e-8


def test_the_penalty_is_the_best_of_the_folds(data):
    x, y = data
    unit, fold = np.diagonal(x.T @ x).max(), np.arange(len(x)) % 3
    errors = []
    for penalty in PENALTIES:
        fits = [Ridge(alpha=penalty * unit, fit_intercept=False).fit(x[fold != f], y[fold != f, 2]) for f in range(3)]
        errors.append(sum(((y[fold == f, 2] - fit.predict(x[fold == f])) ** 2).sum() for f, fit in enumerate(fits)))
    best = Ridge(alpha=PENALTIES[np.argmin(errors)] * unit, fit_intercept=False).fit(x, y[:, 2])
    np.testing.assert_allclose(ridge(*moments(x, y))[:, 2], best.coef_, rtol=1e-7)


def test_shared_and_separate_moments_agree(data):
    shared, products = moments(*data)
    separate = np.repeat(shared[:, None], products.shape[2], axis=1)
    np.testing.assert_allclose(ridge(separate, products), ridge(shared, products), rtol=1e-8, atol=1e-12)


def test_noise_is_not_fitted():
    rng = np.random.default_rng(1)
    coefficients = ridge(*moments(rng.normal(size=(60, 10)), rng.normal(size=(60, 200))))
    assert (coefficients == 0).all(axis=0).mean() > 0.3
    assert np.abs(coefficients).max() < 0.5


def test_nothing_to_learn_from():
    assert not ridge(np.zeros((3, 2, 2)), np.zeros((3, 2, 5))).any()
