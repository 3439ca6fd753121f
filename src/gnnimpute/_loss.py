"""Losses on what was hidden: squared error, Poisson, negative binomial."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

from gnnimpute._counts import totals
from gnnimpute._rows import units

if TYPE_CHECKING:
    import scipy.sparse as sp
    from numpy.typing import NDArray
    from torch import Tensor

    from gnnimpute._config import Config
    from gnnimpute._nn import Autoencoder


class Hidden(NamedTuple):
    """What was hidden of some cells, as coordinates of its non-zeros."""

    rows: Tensor
    """(nnz,) position of the cell."""
    cols: Tensor
    """(nnz,) gene."""
    molecules: Tensor
    """(nnz,) hidden count."""
    exposure: Tensor
    """(n_cells,) total that shares of the cell are multiplied with to be expected counts."""
    unit: Tensor
    """(n_cells,) the least that a non-zero can be: one molecule, on the scale of the cell's values."""

    @classmethod
    def of(
        cls,
        hidden: sp.csr_matrix,
        kept: sp.csr_matrix,
        config: Config,
        *,
        labels: sp.csr_matrix | None = None,
        total: NDArray[np.float64] | None = None,
        are_scaled: bool = False,
        device: torch.device | str = "cpu",
    ) -> Hidden:
        """Prepare the hidden part of some cells as a target.

        Single molecules are hidden everywhere, so the hidden total is the exposure; a hidden non-zero is a whole entry,
        so the exposure is all that the cell had: `total`, by default both parts. `labels` are further targets, which
        the cell never had. `are_scaled` says that no value is a count, though those of a cell may all be whole.
        """
        entries = (hidden if labels is None else hidden + labels).tocoo()
        if config.hide == "molecules":
            exposure = totals(hidden)
        else:
            exposure = totals(hidden) + totals(kept) if total is None else total
        return cls(
            torch.from_numpy(entries.row.astype(np.int64)).to(device),
            torch.from_numpy(entries.col.astype(np.int64)).to(device),
            torch.from_numpy(entries.data.astype(np.float32)).to(device),
            torch.from_numpy(exposure.astype(np.float32)).to(device),
            torch.from_numpy(units(kept, are_scaled=are_scaled)).to(device),
        )

    def at(self, values: Tensor) -> Tensor:
        """Of values of shape (n_cells, n_genes) those of what was hidden, (nnz,)."""
        # The gradient of this takes less time than that of values[rows, cols].
        return values.take(self.rows * values.shape[1] + self.cols)

    def scaled(self, molecules: Tensor, target_total: Tensor) -> Tensor:
        """Of values of what was hidden, (nnz,), those of cells with a common total."""
        return target_total / self.exposure[self.rows] * molecules


def hidden_loss(network: Autoencoder, decoded: Tensor, hidden: Hidden, *, config: Config) -> Tensor:
    r"""Loss of the decoded cells on what was hidden of them.

    Hidden *molecules* are thinned counts of every entry, zeros too: the loss runs over all n_cells x n_genes. Hidden
    *non-zeros* are known to be at least 1: it runs over them alone, with the likelihood truncated at zero,
    :math:`p(y) / (1 - p(0))`, so that the network still estimates the mean of all counts.

    Parameters
    ----------
    network
        The network; it holds the dispersions of the negative binomial.
    decoded
        Output of the decoder, of shape (n_cells, n_genes).
    hidden
        What was hidden of the same cells.
    config
        Settings: `loss` and `hide`.

    Returns
    -------
    Negative log-likelihood per hidden molecule (hidden entry, for non-zeros) up to terms without the network, or the
    mean squared error of counts scaled to the median total. Of hidden non-zeros the network then predicts what is
    beyond the one molecule that each of them has for sure.
    """
    value = F.log_softmax(decoded, dim=1) if network.is_share else decoded
    at_hidden = hidden.at(value)
    if is_of_hidden_alone(config):
        return entries_loss(network, at_hidden, hidden, config=config)
    if config.loss == "squared_error":
        return _all_squared_errors(network, decoded, at_hidden, hidden)
    log_exposure, dispersion = _log_exposure(hidden), network.log_dispersion.exp()
    mean = (value + log_exposure[:, None]).exp()
    zeros = (dispersion * torch.log1p(mean / dispersion)).sum()
    nonzeros = _nonzero_terms(at_hidden + log_exposure[hidden.rows], hidden, dispersion).sum()
    return (zeros - nonzeros) / hidden.exposure.sum().clamp(min=1)


def is_of_hidden_alone(config: Config) -> bool:
    """Whether the loss takes what is predicted of hidden entries, and of all others at most their sum."""
    return config.hide == "nonzeros" or config.loss == "poisson"


def entries_loss(
    network: Autoencoder, at_hidden: Tensor, hidden: Hidden, *, config: Config, weights: Tensor | float = 1.0
) -> Tensor:
    """The loss from what is predicted of the hidden entries, where that is enough.

    Parameters
    ----------
    network
        The network; it holds the dispersions of the negative binomial.
    at_hidden
        Logarithm of the share, or expression, of each hidden entry, of shape (nnz,).
    hidden
        What was hidden.
    config
        Settings: `loss` and `hide`, such that :func:`is_of_hidden_alone`.
    weights
        Of each squared error, of shape (nnz,).
    """
    if config.loss == "squared_error":
        beyond = hidden.scaled(hidden.molecules - hidden.unit[hidden.rows], network.target_total)
        return (weights * (at_hidden - beyond) ** 2).sum() / max(len(hidden.rows), 1)
    log_mean = at_hidden + _log_exposure(hidden)[hidden.rows]
    if config.hide == "nonzeros":
        dispersion = network.log_dispersion.exp() if config.loss == "negative_binomial" else None
        return _truncated(log_mean, hidden, dispersion).sum() / max(len(hidden.rows), 1)
    # The shares of a cell sum to 1, so its expected total is the exposure.
    loss = hidden.exposure.sum() - (hidden.molecules * log_mean).sum()
    return loss / hidden.exposure.sum().clamp(min=1)


def weight(hidden: Hidden, *, config: Config) -> Tensor:
    """What the loss was divided by, up to a factor that all cells share: parts of a batch are averaged with it."""
    if config.hide == "nonzeros":
        return torch.tensor(float(len(hidden.rows)))
    return (hidden.exposure > 0).sum() if config.loss == "squared_error" else hidden.exposure.sum()


def _all_squared_errors(network: Autoencoder, decoded: Tensor, at_hidden: Tensor, hidden: Hidden) -> Tensor:
    error = ((at_hidden - hidden.scaled(hidden.molecules, network.target_total)) ** 2).sum()
    # A cell of which nothing is hidden says nothing about its shares.
    seen = hidden.exposure > 0
    zeros = ((decoded**2).sum(1) * seen).sum() - (at_hidden**2).sum()
    return (error + zeros) / (seen.sum() * decoded.shape[1]).clamp(min=1)


def _log_exposure(hidden: Hidden) -> Tensor:
    return hidden.exposure.clamp(min=1e-6).log()


def _nonzero_terms(log_mean: Tensor, hidden: Hidden, dispersion: Tensor) -> Tensor:
    """What the log-probability of a count y > 0 has beyond that of a zero, negative binomial."""
    size = dispersion[hidden.cols]
    y = hidden.molecules
    return torch.lgamma(y + size) - torch.lgamma(size) - torch.lgamma(y + 1) + y * (log_mean - _log_sum(log_mean, size))


def _log_sum(log_mean: Tensor, size: Tensor) -> Tensor:
    return torch.log(log_mean.exp() + size)


def _truncated(log_mean: Tensor, hidden: Hidden, dispersion: Tensor | None) -> Tensor:
    """Negative log-probability of the hidden counts, given that they are not zero."""
    mean = log_mean.exp().clamp(min=1e-8)
    if dispersion is None:
        return mean - hidden.molecules * log_mean + torch.log(-torch.expm1(-mean))
    size = dispersion[hidden.cols]
    log_zero = -size * torch.log1p(mean / size)
    return -log_zero - _nonzero_terms(log_mean, hidden, dispersion) + torch.log(-torch.expm1(log_zero))
