"""The training loop: hide, predict what was hidden, stop early, keep the best weights in memory."""

from __future__ import annotations

import copy
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from tqdm.auto import tqdm

from gnnimpute import _checkpoint
from gnnimpute._borrowed import interruptible, torch_randomness
from gnnimpute._infer import chunks, embed
from gnnimpute._loss import Hidden, hidden_loss
from gnnimpute._masking import hide
from gnnimpute._nn import Autoencoder
from gnnimpute._rows import Rows, totals, units

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import scipy.sparse as sp
    from numpy.typing import NDArray

    from gnnimpute._config import Config
    from gnnimpute._graph import Block, NeighborGraph
    from gnnimpute._masking import Split

log = logging.getLogger(__name__)

ACTIVATIONS = 2**31
"""Bytes of activations that a step may hold; a batch is cut to this. Fixed, so that results do not depend on the
machine."""
_LEAST_SPREAD = 0.05
"""Molecules that the expression of any gene may differ by: one that was never more than one molecule can be learnt."""
VALIDATE_ON = 2048
"""Most cells that the validation loss is taken on: its noise is then far below the differences between epochs."""


@dataclass
class Training:
    """A network in training and all that is needed to go on with it."""

    network: Autoencoder
    average: Autoencoder
    """Its weights, averaged over steps: what is validated and kept."""
    optimizer: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler
    rng: np.random.Generator
    total: NDArray[np.float64]
    """What each cell had before anything was hidden from it, of shape (n_cells,)."""
    epoch: int = 0
    best_loss: float = np.inf
    best_epoch: int = -1
    best: dict[str, torch.Tensor] = field(default_factory=dict)
    history: dict[str, list[float]] = field(default_factory=lambda: {"training": [], "validation": []})


def train(
    split: Split,
    graph: NeighborGraph,
    config: Config,
    *,
    rng: np.random.Generator,
    labels: sp.csr_matrix | None = None,
    after_epoch: Callable[[Training], None] | None = None,
    device: torch.device | str = "cpu",
    progress: bool | None = None,
    checkpoint: Path | None = None,
) -> Training:
    """Train a network on the kept part of the counts and choose its epoch on the held-out part.

    Parameters
    ----------
    split
        Counts to train on and counts to validate on.
    graph
        Neighbours of the cells, made without the held-out part.
    config
        Settings.
    rng
        Source of all randomness; PyTorch's global one is left as it was.
    labels
        Further targets to train on, of shape (n_cells, n_genes): masked values that the paper's protocol knows.
    after_epoch
        Called after every epoch.
    device
        Where to compute.
    progress
        Show a bar; by default, if the output is a terminal.
    checkpoint
        File to write after every epoch, and to go on from if it exists.
    """
    with torch_randomness(rng, device):
        state = _start(split.kept, config, rng, device)
        if labels is None:  # labelled values are no part of the cell: test cells never had them
            state.total += totals(split.held_out)
        identity = {} if checkpoint is None else _checkpoint.identity(split, graph, config)
        if checkpoint is not None:
            _checkpoint.resume(checkpoint, state, identity)
        cells = np.flatnonzero(np.diff(split.held_out.indptr))
        watched = np.sort(np.random.default_rng(0).permutation(cells)[:VALIDATE_ON])
        bar = tqdm(total=config.n_epochs, initial=state.epoch, desc="training", unit="epoch",
                   disable=None if progress is None else not progress)  # fmt: skip
        with interruptible() as interrupted, bar:
            while state.epoch < config.n_epochs and _is_falling(state.history["validation"], config):
                loss = _epoch(state, split.kept, graph, config, labels)
                _validate(state, split, graph, config, watched)
                state.history["training"].append(loss)
                state.epoch += 1
                if after_epoch is not None:
                    after_epoch(state)
                bar.set_postfix(loss=f"{state.history['validation'][-1]:.4f}", best=f"{state.best_loss:.4f}")
                bar.update()
                if checkpoint is not None:
                    _checkpoint.save(checkpoint, state, identity)
                if interrupted.is_set():
                    log.warning("Interrupted after epoch %d: going on with the best weights so far.", state.epoch)
                    break
    state.network.load_state_dict(state.best)
    state.network.eval()
    return state


def _is_falling(losses: list[float], config: Config) -> bool:
    before = losses[: -config.patience]
    return not before or min(before) - min(losses) > config.tolerance * abs(min(before))


def _start(kept: sp.csr_matrix, config: Config, rng: np.random.Generator, device: torch.device | str) -> Training:
    network = Autoencoder(kept.shape[1], config)
    molecules_of = totals(kept)
    network.target_total.fill_(float(np.median(molecules_of[molecules_of > 0])))
    mean, deviation = Rows(kept, float(network.target_total)).moments()
    network.mean.copy_(torch.from_numpy(mean))
    network.scale.copy_(torch.from_numpy(np.where(deviation > 0, deviation, 1)))
    _start_at_gene_means(network, kept, config)
    network.to(device)
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
    )
    warm_up = _n_batches(kept.shape, config) * 2
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / warm_up))
    return Training(network, copy.deepcopy(network), optimizer, schedule, rng, total=molecules_of)


@torch.no_grad()
def _start_at_gene_means(network: Autoencoder, kept: sp.csr_matrix, config: Config) -> None:
    """All that the network has to learn is then how cells differ."""
    if network.is_share:
        molecules = np.asarray(kept.sum(0)).ravel() + 0.5
        network.out.bias.copy_(torch.from_numpy(np.log(molecules / molecules.sum())))
        return
    n_genes, scale = kept.shape[1], float(network.target_total) / np.maximum(totals(kept), 1)
    least = units(kept) if config.hide == "nonzeros" else np.zeros(kept.shape[0])
    values = (kept.data - np.repeat(least, np.diff(kept.indptr))) * np.repeat(scale, np.diff(kept.indptr))
    n_values = np.bincount(kept.indices, minlength=n_genes) if config.hide == "nonzeros" else kept.shape[0]
    mean, square = (np.bincount(kept.indices, values**power, n_genes) / np.maximum(n_values, 1) for power in (1, 2))
    spread = np.sqrt(np.maximum(square - mean**2, 0)) + _LEAST_SPREAD
    network.spread.copy_(torch.from_numpy(spread))
    network.out.bias.copy_(torch.from_numpy(mean / spread))


@torch.no_grad()
def _average(state: Training, decay: float) -> None:
    """Move the averaged weights towards the present ones; early on the average is over fewer steps."""
    step = state.schedule.last_epoch
    weight = 1 - min(decay, step / (step + 10))
    for mean, now in zip(state.average.state_dict().values(), state.network.state_dict().values(), strict=True):
        if mean.is_floating_point():
            mean.lerp_(now, weight)
        else:
            mean.copy_(now)


def _n_batches(shape: tuple[int, int], config: Config) -> int:
    n_cells, n_genes = shape
    # Logits, shares and their gradient; projections of the cell and what attention keeps of them.
    bytes_per_cell = 4 * (3 * n_genes + 12 * config.n_heads * config.n_hidden)
    size = config.batch_size or min(max(n_cells // 8, 64), 512)
    largest = max(1, min(size, ACTIVATIONS // bytes_per_cell))
    return max(1, min(-(-n_cells // largest), n_cells // 2))  # batch norm needs two cells in a batch


def _epoch(
    state: Training, counts: sp.csr_matrix, graph: NeighborGraph, config: Config, labels: sp.csr_matrix | None
) -> float:
    device = state.network.mean.device
    state.network.train()
    split = hide(counts, config.hide_rate, config, rng=state.rng)
    rows = Rows(split.kept, float(state.network.target_total), device)
    order = state.rng.permutation(graph.n_cells)
    losses = []
    for part in np.array_split(order, _n_batches(counts.shape, config)):
        seeds = np.sort(part)
        decoded = state.network.decode(_encode(state.network, rows, graph.block(seeds)))
        known = None if labels is None else labels[seeds]
        hidden = Hidden.of(
            split.held_out[seeds], split.kept[seeds], config, labels=known, total=state.total[seeds], device=device
        )
        loss = hidden_loss(state.network, decoded, hidden, config=config)
        state.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        state.optimizer.step()
        state.schedule.step()
        _average(state, config.averaging)
        losses.append(loss.detach())
    return _finite(float(torch.stack(losses).mean()), "training", state.epoch)


def _encode(network: Autoencoder, rows: Rows, block: Block) -> torch.Tensor:
    """Latent of the block's cells. Where they need most cells, all are read: that spares gathering them anew."""
    nearly_all = 2 * len(block.cells) > rows.counts.shape[0]
    x = rows.everything if nearly_all else rows.gather(block.cells)
    first = block.cells[block.first] if nearly_all else block.first
    return network.encode(x, *(torch.from_numpy(neighbors).to(rows.device) for neighbors in (first, block.second)))


def _finite(loss: float, name: str, epoch: int) -> float:
    if not np.isfinite(loss):
        msg = f"The {name} loss became {loss} in epoch {epoch + 1}: lower the learning rate."
        raise FloatingPointError(msg)
    return loss


@torch.no_grad()
def _validate(state: Training, split: Split, graph: NeighborGraph, config: Config, cells: NDArray[np.int64]) -> None:
    device = state.network.mean.device
    rows = Rows(split.kept, float(state.network.target_total), device)
    latent = embed(state.average, rows, graph)[torch.from_numpy(cells).to(device)]
    loss, weight = 0.0, 0.0
    for c in chunks(len(cells), 512):
        some = cells[c]
        hidden = Hidden.of(split.held_out[some], split.kept[some], config, total=state.total[some], device=device)
        here = max(float(hidden.molecules.sum()), 1.0) if config.loss != "squared_error" else float(len(hidden.rows))
        loss += here * float(hidden_loss(state.average, state.average.decode(latent[c]), hidden, config=config))
        weight += here
    loss = _finite(loss / max(weight, 1.0), "validation", state.epoch)
    state.history["validation"].append(loss)
    if loss < state.best_loss or not state.best:
        state.best_loss, state.best_epoch = loss, state.epoch
        state.best = {name: value.clone() for name, value in state.average.state_dict().items()}
