"""Read counts in which genes of the model are not: as if they were there, as the others let expect, but not counted."""

from __future__ import annotations

import copy
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

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
    if imputer.spread_ is not None and imputer.average_ is not None:
        made.spread_, made.average_ = imputer.spread_.without(~there), imputer.average_.without(~there)
    return made


@torch.no_grad()
def without(network: Autoencoder, absent: NDArray[np.bool_]) -> Autoencoder:
    """A copy of a network for rows in which some genes, of shape (n_genes,), are 0 because they are not there.

    What an absent gene adds to the numbers that are read of a cell is what it adds on average, and what the genes that
    are there tell of it. A cell's depth is its total over the share of the molecules that these have on average; of
    its expected counts, those of genes that are there then sum to this total.
    """
    network = copy.deepcopy(network)
    away = torch.from_numpy(absent).to(network.mean.device)
    told = _told_by_others(network, away)
    network.seen, network.there = 1 - float(_shares(network)[away].sum()), (~away).float()
    of_average_cell = network.mean * away
    network.mean[away] = 0
    if network.linear is not None:
        for read in (network.linear.own, network.linear.neighbors):
            added = told(read)
            network.linear.center -= of_average_cell @ read - network.mean @ added
            read.add_(added)
    if not network.reads_components:
        weight, scale = network.attention1.weight, network.scale[:, None]
        weight.add_(scale * told(weight / scale))
    return network


def best_guess(read: torch.Tensor, away: torch.Tensor, *, loadings: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    """What to add to numbers that are read of a cell, for genes that are not there: their best linear guess.

    Parameters
    ----------
    read
        Weights of genes in the numbers that are read, of shape (n_genes, n).
    away
        Which genes are not there, of shape (n_genes,).
    loadings
        How genes vary with components of unit variance, of shape (n_genes, r).
    noise
        Variance of each gene besides, of shape (n_genes,).

    Returns
    -------
    Weights to add, of shape (n_genes, n), 0 of genes that are not there. With those that are, `p`, they are the
    regression ``inv(cov[p, p]) @ cov[p, away] @ read[away]`` for ``cov = loadings @ loadings.T + diag(noise)``, by way
    of matrices of shape (r, r) alone.
    """
    there = loadings * ~away[:, None]
    by_noise = there / noise[:, None]
    precision = torch.eye(there.shape[1], device=there.device) + there.T @ by_noise
    guess: torch.Tensor = torch.linalg.solve(precision, loadings.T @ (read * away[:, None]))
    return by_noise @ guess


def _told_by_others(network: Autoencoder, away: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
    """What to add to what is read, as :func:`best_guess` says; nothing if no line of shares knows how genes vary.

    Over cells, its components have unit variance, and its coefficients say how shares vary with them; counts are
    Poisson besides, and log counts vary as by the delta method.
    """
    line = network.linear
    if line is None or not network.is_share:
        return torch.zeros_like
    expected = network.target_total * _shares(network)  # counts in a cell of median depth
    slope = 1 / (1 + expected)
    loadings = (slope * network.target_total)[:, None] * line.coefficients
    noise = (slope.square() * expected).clamp_min(1e-12)
    return partial(best_guess, away=away, loadings=loadings, noise=noise)


def _shares(network: Autoencoder) -> torch.Tensor:
    """Share of each gene in the molecules of the average cell, of shape (n_genes,); if need be from its mean log."""
    mean = network.linear.intercept if network.linear is not None and network.is_share else network.mean.expm1()
    return mean / mean.sum()
