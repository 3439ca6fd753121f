"""A network in training: its state, and where it starts."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from gnnimpute._adam import Adam
from gnnimpute._arguments import check_rng
from gnnimpute._counts import divisors, median_total, totals
from gnnimpute._distributed import Team
from gnnimpute._infer import projections
from gnnimpute._linear_fit import fit_linear
from gnnimpute._nn import Autoencoder
from gnnimpute._rows import Rows

if TYPE_CHECKING:
    import scipy.sparse as sp
    from numpy.typing import NDArray

    from gnnimpute._config import Config
    from gnnimpute._graph import NeighborGraph
    from gnnimpute._masking import Labels

ACTIVATIONS = 2**31
"""Bytes of activations that a step may hold; a batch is cut to this. Fixed, so that results do not depend on the
machine."""
_WARM_UP = 24
"""Steps over which the learning rate rises, or two epochs, if these are fewer."""
_ROUNDING = 1e-6
"""Share of the largest deviation of a component below which one is rounding error, not to be blown up to 1."""
_LEAST_SPREAD = 0.05
"""Molecules that the expression of any gene may differ by: one that was never more than one molecule can be learnt."""


@dataclass
class Training:
    """A network in training and all that is needed to go on with it."""

    network: Autoencoder
    average: Autoencoder
    """Its weights, averaged over steps: what is validated and kept."""
    optimizer: Adam
    rng: np.random.Generator
    total: NDArray[np.float64]
    """What each cell had before anything was hidden from it, of shape (n_cells,)."""
    team: Team = field(default_factory=Team)
    epoch: int = 0
    best_loss: float = np.inf
    best_epoch: int = -1
    best: dict[str, torch.Tensor] = field(default_factory=dict)
    interrupted: bool = False
    """Whether the user has ended it before its time."""
    history: dict[str, list[float]] = field(default_factory=lambda: {"training": [], "validation": []})


def start(
    kept: sp.csr_matrix,
    graph: NeighborGraph,
    config: Config,
    *,
    labels: Labels | None = None,
    rng: np.random.Generator,
    device: torch.device | str = "cpu",
    team: Team = Team(),  # noqa: B008 -- frozen
) -> Training:
    """A network that predicts the mean of each gene, beside a linear part that is ready, and its optimiser.

    Parameters
    ----------
    kept
        Counts to train on.
    graph
        Neighbours of the cells.
    config
        Settings.
    labels
        Further targets to train on, and what all values were normalised to; those of `kept` are then read as they are.
    rng
        Source of all randomness of the training.
    device
        Where to compute.
    team
        The processes that train together.
    """
    team.check(kept, smallest_batch=kept.shape[0] // n_batches(kept.shape, config))
    network = Autoencoder(kept.shape[1], config)
    if labels is None:
        # That of all molecules, by those that are seen: what is held out sets no scale for all.
        network.target_total.fill_(median_total(totals(kept)) / (1 - config.validation_rate))
    else:
        network.target_total.fill_(labels.total)
        network.is_normalized = True
    rows = Rows.of(kept, network)
    _start_at_gene_means(network, rows, config)
    if network.linear is not None:
        beyond_one = not network.is_share and config.hide == "nonzeros"
        target_total = float(network.target_total)
        fit_linear(
            network.linear, kept, graph, target_total=target_total, beyond_one=beyond_one, labels=labels, rng=rng,
            device=device,
        )  # fmt: skip
        if not network.is_share and not beyond_one:  # the line says shares, the network expression
            for part in (network.linear.intercept, network.linear.coefficients):
                part.mul_(target_total)
        network.linear.weight.fill_(0.5)
    _standardize(network, rows)
    team.shared(network)
    network.to(device)
    optimizer = Adam(
        network.parameters(),
        learning_rate=config.learning_rate,
        weight_decay=config.weight_decay,
        warm_up=min(_WARM_UP, 2 * n_batches(kept.shape, config)),
    )
    return Training(network, copy.deepcopy(network), optimizer, rng, total=rows.total, team=team)


@torch.no_grad()
def _standardize(network: Autoencoder, rows: Rows) -> None:
    """Take the mean of genes and the spread of what the encoder reads."""
    mean, deviation = (torch.from_numpy(moment) for moment in rows.moments())
    network.mean.copy_(mean)
    if network.reads_components:
        deviation = projections(network, rows).std(0)
        # Few cells, or such without neighbours, have fewer components than there is room for: the rest is 0, or nearly.
        deviation[deviation < _ROUNDING * deviation.max()] = 0
    network.scale.copy_(torch.where(deviation > 0, deviation, 1))


@torch.no_grad()
def _start_at_gene_means(network: Autoencoder, rows: Rows, config: Config) -> None:
    """All that the network has to learn is then how cells differ."""
    kept = rows.counts
    if network.is_share:
        molecules = np.asarray(kept.sum(0)).ravel() + 0.5
        network.out.bias.copy_(torch.from_numpy(np.log(molecules / molecules.sum())))
        return
    n_genes, scale = kept.shape[1], rows.target_total / divisors(rows.total)
    least = rows.unit if config.hide == "nonzeros" else np.zeros(kept.shape[0])
    values = (kept.data - np.repeat(least, np.diff(kept.indptr))) * np.repeat(scale, np.diff(kept.indptr))
    n_values = np.bincount(kept.indices, minlength=n_genes) if config.hide == "nonzeros" else kept.shape[0]
    mean, square = (np.bincount(kept.indices, values**power, n_genes) / np.maximum(n_values, 1) for power in (1, 2))
    spread = np.sqrt(np.maximum(square - mean**2, 0)) + _LEAST_SPREAD
    network.spread.copy_(torch.from_numpy(spread))
    network.out.bias.copy_(torch.from_numpy(mean / spread))


def given_seed(rng: Any) -> int | str:
    """The seed, to be written down, if it was given as one; what is none is refused."""
    check_rng(rng)
    return int(rng) if isinstance(rng, (int, np.integer)) else "a generator"


def n_batches(shape: tuple[int, int], config: Config) -> int:
    """Steps of an epoch, for so many cells and genes."""
    n_cells, n_genes = shape
    # Logits, shares and their gradient; projections of the cell and what attention keeps of them.
    bytes_per_cell = 4 * (3 * n_genes + 12 * config.n_heads * config.n_hidden)
    # Molecules are hidden of all cells, so that few cells say much; many small steps take fewer epochs.
    default = max(n_cells // 32, 32) if config.hide == "molecules" else max(n_cells // 8, 64)
    size = config.batch_size or min(default, 512)
    largest = max(1, min(size, ACTIVATIONS // bytes_per_cell))
    return max(1, min(-(-n_cells // largest), n_cells // 2))  # batch norm needs two cells in a batch
