"""The training loop: hide, predict what was hidden, stop early, keep the best weights in memory."""

from __future__ import annotations

import logging
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from tqdm.auto import tqdm

from gnnimpute import _checkpoint
from gnnimpute._borrowed import interruptible, torch_randomness
from gnnimpute._counts import totals
from gnnimpute._distributed import join
from gnnimpute._infer import projections
from gnnimpute._local_fit import fit_local
from gnnimpute._loss import Hidden, hidden_loss, weight
from gnnimpute._masking import hide
from gnnimpute._multinomial import multinomial_loss
from gnnimpute._rows import Rows
from gnnimpute._threads import Threads, side_by_side
from gnnimpute._training import Training, n_batches, start
from gnnimpute._validation import Validation

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import scipy.sparse as sp

    from gnnimpute._config import Config
    from gnnimpute._graph import Block, NeighborGraph
    from gnnimpute._masking import Labels, Split
    from gnnimpute._nn import Autoencoder
    from gnnimpute._sparse_rows import SparseRows

log = logging.getLogger(__name__)

LEAST_PATIENCE = 64
"""Steps without a better validation loss that training goes on for, at least: an epoch of few cells has few steps."""


def train(
    split: Split,
    graph: NeighborGraph,
    config: Config,
    *,
    rng: np.random.Generator,
    labels: Labels | None = None,
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
        Further targets to train on: masked values that the paper's protocol knows. All values are then normalised ones,
        and read as they are.
    after_epoch
        Called after every epoch, in every process.
    device
        Where to compute.
    progress
        Show a bar; by default, if the output is a terminal.
    checkpoint
        File to write after every epoch, and to go on from if it exists.

    Under `torchrun`, processes share each batch: same counts, graph and `rng` in all of them give the same weights in
    all. The first one validates and writes.
    """
    team = join()
    with torch_randomness(rng, device):
        state = start(split.kept, graph, config, labels=labels, rng=rng, device=device, team=team)
        if labels is None:  # else the total is what it was before masking
            state.total = state.total + totals(split.held_out)
        identity = {} if checkpoint is None else _checkpoint.identity(split, graph, config)
        if checkpoint is not None:
            _checkpoint.resume(checkpoint, state, identity)
        team.own_dropout(device)  # after resuming, which gives all the state of the first
        validation = Validation(state.network, split, graph, config, state.total)
        # No time that remains: when it stops is not known.
        bar = tqdm(total=config.n_epochs, initial=state.epoch, desc="training",
                   bar_format="{desc}: epoch {n_fmt} of at most {total_fmt} [{elapsed}{postfix}]",
                   disable=not team.is_first or (None if progress is None else not progress))  # fmt: skip
        with interruptible() as interrupted, bar:
            patience = max(config.patience, -(-LEAST_PATIENCE // n_batches(split.kept.shape, config)))
            while state.epoch < config.n_epochs and _is_falling(state.history["validation"], patience, config):
                loss = _epoch(state, split.kept, graph, config, labels)
                _validate(state, validation)
                state.history["training"].append(loss)
                state.epoch += 1
                if after_epoch is not None:
                    after_epoch(state)
                bar.set_postfix(loss=f"{state.history['validation'][-1]:.4f}", best=f"{state.best_loss:.4f}")
                bar.update()
                if checkpoint is not None and team.is_first:
                    _checkpoint.save(checkpoint, state, identity)
                state.interrupted = team.told(interrupted.is_set())
                if state.interrupted:
                    log.warning("Interrupted after epoch %d: going on with the best weights so far.", state.epoch)
                    break
            # Else a notebook shows it in red, as if it had failed.
            bar.total, bar.bar_format = bar.n, "{desc}: {n_fmt} epochs [{elapsed}{postfix}]"
        state.network.load_state_dict(state.best)
        _weigh_linear(state, validation)
        _put_groups_right(state, validation)
    state.network.eval()
    return state


def _is_falling(losses: list[float], patience: int, config: Config) -> bool:
    if not (before := losses[:-patience]):
        return True
    # Likelihoods are of a molecule and have no zero of their own: an arbitrary constant may have brought them near it.
    least = 0 if config.loss == "squared_error" else 1
    return min(before) - min(losses) > config.tolerance * max(abs(min(before)), least)


@torch.no_grad()
def _average(state: Training, decay: float) -> None:
    """Move the averaged weights towards the present ones; early on the average is over fewer steps."""
    step = state.optimizer.n_steps
    share = 1 - min(decay, step / (step + 10))
    present = state.network.state_dict()
    for name, mean in state.average.state_dict().items():
        now = present[name]
        if name.startswith(("linear.", "local.")):
            continue  # in closed form: no step changes it
        if mean.is_floating_point():
            mean.lerp_(now, share)
        else:
            mean.copy_(now)


def _epoch(
    state: Training, counts: sp.csr_matrix, graph: NeighborGraph, config: Config, labels: Labels | None
) -> float:
    device = state.network.mean.device
    state.network.train()
    split = hide(counts, config.hide_rate, config, rng=state.rng)
    kept_share = 1 - config.hide_rate if config.hide == "nonzeros" else 1.0
    rows = replace(Rows.of(split.kept, state.network), kept_share=kept_share)
    # Projections do not change with the weights: an epoch takes them once.
    inputs = projections(state.network, rows) if state.network.reads_components else rows
    order = state.rng.permutation(graph.n_cells)
    # Steps that read components are made of many small operators and one large layer at the end.
    in_parts = state.network.reads_components and _is_multinomial(config)
    losses = []
    with side_by_side(device) if in_parts else nullcontext(Threads()) as threads:
        for part in np.array_split(order, n_batches(counts.shape, config)):
            seeds = np.sort(state.team.share(part))
            latent = _encode(state.network, inputs, graph.block(seeds))
            known = None if labels is None else labels.values[seeds]
            hidden = Hidden.of(
                split.held_out[seeds], split.kept[seeds], config, labels=known, total=state.total[seeds],
                are_scaled=state.network.is_normalized, device=device,
            )  # fmt: skip
            loss = _loss(state.network, latent, hidden, config, threads)
            state.optimizer.zero_grad()
            loss = state.team.backward(state.network.parameters(), loss, partial(weight, hidden, config=config))
            state.optimizer.step()
            _average(state, config.averaging)
            losses.append(loss)
    return _finite(float(torch.stack(losses).mean()), "training", state.epoch)


def _encode(network: Autoencoder, inputs: Rows | torch.Tensor, block: Block) -> torch.Tensor:
    """Latent of the block's cells. Where they need most cells, all rows are read: that spares gathering them anew."""
    device, first = network.mean.device, block.first
    x: SparseRows | torch.Tensor
    if isinstance(inputs, torch.Tensor):
        x = inputs[torch.from_numpy(block.cells).to(device)]
    elif 2 * len(block.cells) > inputs.counts.shape[0]:
        x, first = inputs.everything, block.cells[first]
    else:
        x = inputs.gather(block.cells)
    return network.encode(x, *(torch.from_numpy(neighbors).to(device) for neighbors in (first, block.second)))


def _loss(network: Autoencoder, latent: torch.Tensor, hidden: Hidden, config: Config, threads: Threads) -> torch.Tensor:
    if _is_multinomial(config):
        return multinomial_loss(network.expanded(latent), network.out, hidden, threads=threads)
    return hidden_loss(network, network.decode(latent), hidden, config=config)


def _is_multinomial(config: Config) -> bool:
    return config.loss == "poisson" and config.hide == "molecules"


def _finite(loss: float, name: str, epoch: int) -> float:
    if not np.isfinite(loss):
        msg = f"The {name} loss became {loss} in epoch {epoch + 1}: lower the learning rate."
        raise FloatingPointError(msg)
    return loss


def _validate(state: Training, validation: Validation) -> None:
    loss = validation.loss(state.average) if state.team.is_first else np.nan
    loss = _finite(state.team.told(loss), "validation", state.epoch)
    state.history["validation"].append(loss)
    if loss < state.best_loss or not state.best:
        state.best_loss, state.best_epoch = loss, state.epoch
        state.best = {name: value.clone() for name, value in state.average.state_dict().items()}


def _weigh_linear(state: Training, validation: Validation) -> None:
    """Give the linear part the share of the result that predicts the held-out part best."""
    if state.network.linear is not None:
        best = validation.best_share() if state.team.is_first else np.nan
        state.network.linear.weight.fill_(best := state.team.told(best))
        if best == 1:
            log.info("The linear part alone predicts the held-out molecules best: the network has no say in values.")


def _put_groups_right(state: Training, validation: Validation) -> None:
    """Multiply what groups of cells are expected to show by what their molecules say of it."""
    network = state.network
    if network.linear is None or not network.linear.is_used or not len(network.local):
        return
    if state.team.is_first:
        rate = validation.config.validation_rate
        fit_local(network, validation.split, validation.latent(network), ratio=rate / (1 - rate))
    # From the CPU: a tensor of a GPU would come to every process on the GPU of the first.
    factors = {name: value.cpu() for name, value in network.local.state_dict().items()}
    network.local.load_state_dict(state.team.told(factors))
