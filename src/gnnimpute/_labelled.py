"""The paper's protocol: train on masked values that are known for some cells, judge on those of the others."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import scipy.sparse as sp

from gnnimpute._config import Config
from gnnimpute._counts import median_total, totals
from gnnimpute._device import device_named
from gnnimpute._entries import MASKED_METRICS, by_group
from gnnimpute._holdout import LabelledHoldOut
from gnnimpute._infer import embed
from gnnimpute._masking import Labels, Split
from gnnimpute._posterior_fit import covarying_of
from gnnimpute._rows import Rows
from gnnimpute._train import train
from gnnimpute._values import Decoder

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gnnimpute._graph import NeighborGraph
    from gnnimpute._nn import Autoencoder
    from gnnimpute._training import Training

LABELLED = Config.detected()
"""Our network, trained on what the protocol judges: the squared error of masked non-zeros."""


class Labelled(NamedTuple):
    """What a network made of the paper's protocol."""

    values: NDArray[np.float32]
    """(n_cells, n_genes) the value of each entry if it is a dropout, on the scale of the masked values."""
    history: dict[str, list[float]]
    """``training`` and ``validation`` loss of each epoch; if they were asked for, ``mse``, ``mae``, ``pcc`` and ``cs``
    of the masked values of validation cells, and with ``training_`` before the name of those of training cells."""
    best_epoch: int
    n_parameters: int
    interrupted: bool
    """Whether Ctrl-C ended the training before its time."""


def impute_labelled(
    hold_out: LabelledHoldOut,
    graph: NeighborGraph,
    *,
    config: Config = LABELLED,
    rng: np.random.Generator | int = 0,
    curves: bool = False,
    device: str | None = None,
    progress: bool | None = None,
) -> Labelled:
    """Train a network as in :cite:t:`Xu2021` and impute all cells.

    It predicts the masked values of training cells, which the protocol knows, and non-zeros hidden anew in every epoch
    from all cells; the masked values of validation cells choose the epoch. Those of test cells are sealed.

    Parameters
    ----------
    hold_out
        From :meth:`gnnimpute.metrics.LabelledHoldOut.mask`.
    graph
        Neighbours of the cells, made from ``hold_out.train``.
    config
        Settings, with ``hide="nonzeros"``.
    rng
        Seed or generator.
    curves
        Also measure the masked values of training and validation cells after every epoch, as the network and the linear
        part alone predict them.
    device
        Where to compute; by default a GPU if there is one.
    progress
        Show a bar; by default, if the output is a terminal.

    Raises
    ------
    TypeError
        If `hold_out` is a blind one, whose truth nobody has.
    ValueError
        If the settings hide molecules.
    """
    if not isinstance(hold_out, LabelledHoldOut):
        msg = f"`hold_out` is a {type(hold_out).__name__}: the paper's protocol needs LabelledHoldOut.mask(...)."
        raise TypeError(msg)
    if config.hide != "nonzeros":
        msg = f"Config(hide={config.hide!r}): labels are masked non-zeros, so use Config(hide='nonzeros')."
        raise ValueError(msg)
    where = device_named(device)
    known, held_out = (_masked(hold_out, cells) for cells in hold_out.split[:2])
    labels = Labels(known, median_total(totals(hold_out.labels)))
    measured: dict[str, list[float]] = {}

    def measure(state: Training) -> None:
        values = _values(state.average, hold_out.train, graph, config, cells=np.concatenate(hold_out.split[:2]))
        for prefix, truth in (("", held_out.tocoo()), ("training_", known.tocoo())):
            for name, value in zip(MASKED_METRICS, by_group(truth.data, values[truth.row, truth.col])[0], strict=True):
                measured.setdefault(prefix + name, []).append(float(value))

    trained = train(
        Split(hold_out.train, held_out), graph, config, rng=np.random.default_rng(rng), labels=labels,
        after_epoch=measure if curves else None, device=where, progress=progress,
    )  # fmt: skip
    values = _values(trained.network, hold_out.train, graph, config, cells=np.arange(graph.n_cells), covary=True)
    n_parameters = sum(parameter.numel() for parameter in trained.network.parameters())
    return Labelled(values, trained.history | measured, trained.best_epoch, n_parameters, trained.interrupted)


def _masked(hold_out: LabelledHoldOut, cells: NDArray[np.int64]) -> sp.csr_matrix:
    """Masked values of some cells, all others empty."""
    here = np.zeros(hold_out.train.shape[0], dtype=np.float32)
    here[cells] = 1
    masked = sp.csr_matrix(sp.diags(here) @ (hold_out.labels - hold_out.train))
    masked.eliminate_zeros()
    return masked.astype(np.float32)


def _values(
    network: Autoencoder,
    counts: sp.csr_matrix,
    graph: NeighborGraph,
    config: Config,
    *,
    cells: NDArray[np.int64],
    covary: bool = False,
) -> NDArray[np.float32]:
    """Estimates, of shape (n_cells, n_genes); rows of other cells are left 0."""
    rows = Rows.of(counts, network)
    latent = embed(network, rows, graph)
    values = np.zeros(counts.shape, dtype=np.float32)
    decoder = Decoder(network, config, likely=False)  # the paper's values are by squared error alone
    if covary:
        decoder = replace(decoder, covarying=covarying_of(decoder, rows, latent, graph=graph))
    for c, block in decoder.blocks(rows, latent, cells, estimate="detected", output="counts"):
        values[cells[c]] = block
    return values
