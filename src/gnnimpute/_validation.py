"""What chooses the epoch, and the share of the linear part: how well the held-out part is predicted."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F

from gnnimpute._infer import attend, cells_at_once, chunks, embed, read
from gnnimpute._loss import Hidden, entries_loss, hidden_loss, is_of_hidden_alone, weight
from gnnimpute._rows import Rows
from gnnimpute._threads import Threads, side_by_side

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from gnnimpute._config import Config
    from gnnimpute._graph import NeighborGraph
    from gnnimpute._masking import Split
    from gnnimpute._nn import Autoencoder

VALIDATE_ON = 1024
"""Most cells that the validation loss is taken on: its noise is then far below the differences between epochs."""
WEIGH_ON = 8192
"""Most cells that the share of the linear part is chosen on, if by squared errors: a few large counts carry those."""
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Shares of the linear part in the result that are compared."""


@dataclass(frozen=True)
class Validation:
    """The held-out part of some counts, and what predicts it: the network and its linear part, groups come last.

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
    most_cells
        Most cells that losses are taken on.
    evenly
        Whether squared errors of non-zeros are divided by the spread of their Poisson noise, as the line has it.
    """

    network: Autoencoder
    split: Split
    graph: NeighborGraph
    config: Config
    total: NDArray[np.float64]
    most_cells: int = VALIDATE_ON
    evenly: bool = False
    _lines: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict, init=False)
    """Of each block: what the linear part predicts of the hidden entries, and of all genes of their cells."""

    def loss(self, network: Autoencoder) -> float:
        """Loss of a network, such as one with averaged weights, on the held-out part."""
        share = 0.0 if network.linear is None else float(network.linear.weight)
        return self._losses(network, [share])[0]

    def best_share(self) -> float:
        """The share of the linear part that has the lowest loss; that of the network may be left at another."""
        judge = self
        if self.config.loss == "squared_error":
            # A few large counts carry the sum of squares, and would choose by chance.
            judge = replace(self, most_cells=max(self.most_cells, WEIGH_ON), evenly=True)
        return SHARES[int(np.argmin(judge._losses(self.network, SHARES)))]

    def latent(self, network: Autoencoder) -> Tensor:
        """Latent of all cells, from the counts that are read."""
        if network.reads_components:
            return attend(network, self._projected, self.graph)
        return embed(network, self._rows, self.graph)

    @property
    def _at_once(self) -> int:
        """Cells that are decoded at a time."""
        return cells_at_once(self.split.kept.shape[1], self.network.mean.device)

    @cached_property
    def _rows(self) -> Rows:
        return Rows.of(self.split.kept, self.network)

    @cached_property
    def _projected(self) -> Tensor:
        return read(self.network, self._rows)

    @cached_property
    def _cells(self) -> NDArray[np.int64]:
        some = np.flatnonzero(np.diff(self.split.held_out.indptr))
        return np.sort(np.random.default_rng(0).permutation(some)[: self.most_cells])

    @cached_property
    def _hidden(self) -> list[Hidden]:
        device, (kept, held_out) = self.network.mean.device, (self.split.kept, self.split.held_out)
        blocks = [self._cells[c] for c in chunks(len(self._cells), self._at_once)]
        are_scaled = self.network.is_normalized
        return [
            Hidden.of(held_out[c], kept[c], self.config, total=self.total[c], are_scaled=are_scaled, device=device)
            for c in blocks
        ]

    @torch.no_grad()
    def _losses(self, network: Autoencoder, shares: Sequence[float]) -> list[float]:
        """Loss with each share of the linear part."""
        latent = self.latent(network)[torch.from_numpy(self._cells).to(network.mean.device)]
        blocks = torch.split(latent, self._at_once)
        weights = [float(weight(hidden, config=self.config)) for hidden in self._hidden]
        alone = is_of_hidden_alone(self.config)

        @torch.no_grad()
        def losses(b: int) -> NDArray[np.float64]:
            each = self._each if alone else self._each_of_all
            return weights[b] * np.array([float(loss) for loss in each(network, blocks[b], b, shares)])

        # Where the loss takes all entries, the share is set in the network: one block after the other.
        with side_by_side(latent.device) if alone else nullcontext(Threads()) as threads:
            total = sum(threads.map(losses, range(len(blocks))), np.zeros(len(shares)))
        return list(total / max(sum(weights), 1.0))

    def _each(self, network: Autoencoder, latent: Tensor, b: int, shares: Sequence[float]) -> Iterator[Tensor]:
        """Loss of block `b` with each share: the parts are mixed where something was hidden, and nowhere else."""
        hidden = self._hidden[b]
        decoded = network.decode(latent[:, : network.n_latent])
        own = hidden.at(F.log_softmax(decoded, 1) if network.is_share else decoded)
        if b not in self._lines and network.linear is not None and latent.shape[1] > network.n_latent:
            values = network.linear(latent[:, network.n_latent :])
            self._lines[b] = hidden.at(values), values.sum(1)[hidden.rows]
        weights: Tensor | float = 1.0
        if self.evenly:
            molecule = hidden.scaled(hidden.unit[hidden.rows], network.target_total)
            weights = (molecule * (self._lines[b][0] + molecule)).rsqrt()
        for share in shares:
            mixed = own
            if share and network.is_share:
                line, total = self._lines[b]
                mixed = (own.exp().lerp(line, share) / (1 - share + share * total)).log()
            elif share:
                mixed = own.lerp(self._lines[b][0], share)
            yield entries_loss(network, mixed, hidden, config=self.config, weights=weights)

    def _each_of_all(self, network: Autoencoder, latent: Tensor, b: int, shares: Sequence[float]) -> Iterator[Tensor]:
        """The same where the loss takes all entries."""
        for share in shares:
            if network.linear is not None:
                network.linear.weight.fill_(share)
            yield hidden_loss(network, network.decode(latent), self._hidden[b], config=self.config)
