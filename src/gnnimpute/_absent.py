"""Read counts in which genes of the model are not: as if they were there, as in an average cell, but not counted."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from gnnimpute._imputer import GNNImputer
    from gnnimpute._nn import Autoencoder


def reader(imputer: GNNImputer, names: Sequence[str] | NDArray[np.str_] | None) -> GNNImputer:
    """An imputer as it reads counts of these genes: itself, or a copy that does not take absent genes for zeros.

    Parameters
    ----------
    imputer
        A fitted imputer.
    names
        Names of the genes of the counts; `None` if they are those of the imputer.

    Returns
    -------
    An imputer of the same genes. Of absent ones it gives the mean as the posterior too, and no interval.
    """
    there = np.isin(imputer.genes_, np.asarray(imputer.genes_ if names is None else names, dtype=str))
    if there.all() or not there.any():
        return imputer
    made = copy.copy(imputer)
    made.network_ = without(imputer.network_, ~there)
    made.covarying_ = imputer.covarying_.without(~there)
    if imputer.dispersion_ is not None:
        made.dispersion_ = np.where(there, imputer.dispersion_, np.float32(np.nan))
    return made


@torch.no_grad()
def without(network: Autoencoder, absent: NDArray[np.bool_]) -> Autoencoder:
    """A copy of a network for rows in which some genes, of shape (n_genes,), are 0 because they are not there.

    What it reads is taken from the average cell. There an absent gene adds nothing that has to be taken off, and to the
    components of the linear part it adds what it has on average. A cell's depth is its total over the share of the
    molecules that genes which are there have on average.
    """
    network = copy.deepcopy(network)
    away = torch.from_numpy(absent).to(network.mean.device)
    network.seen = 1 - float(_shares(network)[away].sum())
    of_average_cell = network.mean * away
    network.mean[away] = 0
    if network.linear is not None:
        linear = network.linear
        linear.center -= of_average_cell @ linear.own + of_average_cell @ linear.neighbors
    return network


def _shares(network: Autoencoder) -> torch.Tensor:
    """Share of each gene in the molecules of the average cell, of shape (n_genes,); if need be from its mean log."""
    mean = network.linear.intercept if network.linear is not None and network.is_share else network.mean.expm1()
    return mean / mean.sum()
