"""Clusters of cells, compared with what they are."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

import gnnimpute as gi
from gnnimpute._components import principal_components

N_STARTS = 10


def points(values: np.ndarray | sp.spmatrix) -> np.ndarray:
    """50 principal components of the logarithms of normalised values."""
    return principal_components(sp.csr_matrix(values, dtype=np.float32), n_pcs=50)


def agreement(values: np.ndarray | sp.spmatrix, labels: np.ndarray) -> dict[str, float]:
    """ARI and NMI of k-means clusters, as many as there are labels.

    Parameters
    ----------
    values
        Raw or imputed, of shape (n_cells, n_genes).
    labels
        What each cell is, of shape (n_cells,).
    """
    from sklearn.cluster import KMeans

    found = KMeans(len(set(labels)), n_init=N_STARTS, random_state=0).fit_predict(points(values))
    return {"ari": gi.metrics.ari(labels, found), "nmi": gi.metrics.nmi(labels, found)}
