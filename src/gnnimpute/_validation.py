"""What chooses the epoch, and the share of the linear part: how well the held-out part is predicted."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch

from gnnimpute._infer import attend, chunks, embed, read
from gnnimpute._loss import Hidden, hidden_loss
from gnnimpute._rows import Rows

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from gnnimpute._config import Config
    from gnnimpute._graph import NeighborGraph
    from gnnimpute._masking import Split
    from gnnimpute._nn import Autoencoder

VALIDATE_ON = 1024
"""Most cells that the validation loss is taken on: its noise is then far below the differences between epochs."""
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Shares of the linear part in the result that are compared."""
_BLOCK = 512
"""Cells that are decoded at a time."""


@dataclass(frozen=True)
class Validation:
    """The held-out part of some counts, and what predicts it.

    Parameters
    ----------
    network
        The network in training. What is taken of it here, no step changes.
    split
        Counts that are read, and counts that were held out.
    graph
        Neighbours of the cells.
    config
        Settings of the loss.
    total
        What each cell had before anything was hidden from it, of shape (n_cells,).
    """

    network: Autoencoder
    split: Split
    graph: NeighborGraph
    config: Config
    total: NDArray[np.float64]

    def loss(self, network: Autoencoder) -> float:
        """Loss of a network, such as one with averaged weights, on the held-out part."""
        return self._loss(network, self.latent(network))

    def best_share(self) -> float:
        """The share of the linear part that has the lowest loss; that of the network is left at another."""
        assert self.network.linear is not None
        latent, losses = self.latent(self.network), []
        for share in SHARES:
            self.network.linear.weight.fill_(share)
            losses.append(self._loss(self.network, latent))
        return SHARES[int(np.argmin(losses))]

    def latent(self, network: Autoencoder) -> Tensor:
        """Latent of all cells, from the counts that are read."""
        if network.reads_components:
            return attend(network, self._projected, self.graph)
        return embed(network, self._rows, self.graph)

    @cached_property
    def _rows(self) -> Rows:
        return Rows(self.split.kept, float(self.network.target_total), self.network.mean.device)

    @cached_property
    def _projected(self) -> Tensor:
        return read(self.network, self._rows)

    @cached_property
    def _cells(self) -> NDArray[np.int64]:
        some = np.flatnonzero(np.diff(self.split.held_out.indptr))
        return np.sort(np.random.default_rng(0).permutation(some)[:VALIDATE_ON])

    @cached_property
    def _hidden(self) -> list[Hidden]:
        device, (kept, held_out) = self.network.mean.device, (self.split.kept, self.split.held_out)
        blocks = [self._cells[c] for c in chunks(len(self._cells), _BLOCK)]
        return [Hidden.of(held_out[c], kept[c], self.config, total=self.total[c], device=device) for c in blocks]

    @torch.no_grad()
    def _loss(self, network: Autoencoder, latent: Tensor) -> float:
        blocks = torch.split(latent[torch.from_numpy(self._cells).to(latent.device)], _BLOCK)
        loss, n = 0.0, 0.0
        for block, hidden in zip(blocks, self._hidden, strict=True):
            here = float(len(hidden.rows))
            if self.config.loss != "squared_error":
                here = max(float(hidden.molecules.sum()), 1.0)
            loss += here * float(hidden_loss(network, network.decode(block), hidden, config=self.config))
            n += here
        return loss / max(n, 1.0)
