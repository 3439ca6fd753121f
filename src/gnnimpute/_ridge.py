"""Ridge regression of every gene at once, each with the penalty that predicts cells of other folds best."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from numpy.typing import NDArray

    Floats = NDArray[np.floating[Any]]

PENALTIES = 10.0 ** np.arange(-2, 4.1, 0.75)
"""Penalties that are tried, in units of the largest variance of a feature."""


def ridge(moments: Floats, products: Floats) -> Floats:
    """Coefficients of each gene, of shape (n_features, n_genes); 0 where no penalty predicts better than the mean.

    Parameters
    ----------
    moments
        Weighted products of centred features with each other, for each fold of the cells: (n_folds, n_features,
        n_features) if they are the same for all genes, else (n_folds, n_genes, n_features, n_features).
    products
        The same of features with targets, of shape (n_folds, n_features, n_genes).
    """
    whole, target = moments.sum(0), products.sum(0)
    unit = np.diagonal(whole, axis1=-2, axis2=-1).max(-1)
    n_genes, useless = target.shape[1], len(PENALTIES)
    error = np.zeros((useless + 1, n_genes))
    for moment, product in zip(moments, products, strict=True):
        solve = _solver(whole - moment, target - product)
        for p, penalty in enumerate(PENALTIES):
            b = solve(np.broadcast_to(penalty * unit, n_genes))
            fitted = moment @ b if moment.ndim == 2 else np.einsum("gij,jg->ig", moment, b)
            error[p] += (b * (fitted - 2 * product)).sum(0)
    best = error.argmin(0)
    coefficients = _solver(whole, target)(PENALTIES[np.minimum(best, useless - 1)] * unit)
    coefficients[:, best == useless] = 0
    return coefficients


def _solver(moment: Floats, product: Floats) -> Callable[[Floats], Floats]:
    """Function from the penalty of each gene to its coefficients."""
    values, vectors = np.linalg.eigh(moment)
    values = np.maximum(values, 0) + 1e-12
    if moment.ndim == 2:
        rotated = vectors.T @ product
        return lambda penalty: np.asarray(vectors @ (rotated / (values[:, None] + penalty)))
    rotated = np.einsum("gij,ig->gj", vectors, product)
    return lambda penalty: np.einsum("gij,gj->ig", vectors, rotated / (values + penalty[:, None]))
