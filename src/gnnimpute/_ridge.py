"""Ridge regression of every gene at once, each with the penalty that predicts cells of other folds best."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
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
    whole, target = moments.sum(0), products.sum(0, dtype=np.float64)
    unit = np.diagonal(whole, axis1=-2, axis2=-1).max(-1)
    n_genes, useless = target.shape[1], len(PENALTIES)
    error = np.zeros((useless + 1, n_genes))
    for moment, product in zip(moments, products, strict=True):
        values, vectors = _decomposed(whole - moment)
        train, test = _turned(vectors, target - product), _turned(vectors, product)
        # In the basis of the fit, a penalty only divides; single precision is enough to compare errors.
        turned = (np.swapaxes(vectors, -1, -2) @ moment @ vectors).astype(np.float32)
        train, test, values = (part.astype(np.float32) for part in (train, test, values))
        for p, penalty in enumerate(PENALTIES):
            b = train / (values + (penalty * unit).astype(np.float32))
            fitted = turned @ b if moment.ndim == 2 else np.einsum("gij,jg->ig", turned, b)
            error[p] += np.einsum("ig,ig->g", b, fitted - 2 * test)
    best = error.argmin(0)
    values, vectors = _decomposed(whole)
    coefficients = _turned(vectors, target) / (values + PENALTIES[np.minimum(best, useless - 1)] * unit)
    coefficients = vectors @ coefficients if vectors.ndim == 2 else np.einsum("gij,jg->ig", vectors, coefficients)
    coefficients[:, best == useless] = 0
    return np.asarray(coefficients)


def _decomposed(moment: Floats) -> tuple[Floats, Floats]:
    """Eigenvalues, of shape (n_features, 1) or (n_features, n_genes), and eigenvectors."""
    if moment.ndim == 2:
        values, vectors = np.linalg.eigh(moment)
    else:  # NumPy's would wake all threads for each of thousands of small matrices: four times the work
        values, vectors = (part.numpy() for part in torch.linalg.eigh(torch.from_numpy(moment)))
    values = np.maximum(values, 0) + 1e-12
    return values[:, None] if moment.ndim == 2 else values.T, vectors


def _turned(vectors: Floats, product: Floats) -> Floats:
    """Products of features with targets, (n_features, n_genes), as those of eigenvectors."""
    return vectors.T @ product if vectors.ndim == 2 else np.einsum("gij,ig->jg", vectors, product)
