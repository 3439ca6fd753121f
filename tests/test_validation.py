"""The loss that chooses the epoch and the share of the linear part, against its definition."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from gnnimpute import Config, NeighborGraph, _infer, _validation
from gnnimpute._counts import totals
from gnnimpute._infer import embed
from gnnimpute._loss import Hidden, hidden_loss
from gnnimpute._masking import Split, hide
from gnnimpute._rows import Rows
from gnnimpute._train import train
from gnnimpute._validation import Validation

if TYPE_CHECKING:
    import scipy.sparse as sp

    from gnnimpute._nn import Autoencoder

CONFIGS = {
    "components": Config(n_hidden=8, n_latent=4, n_epochs=3, n_components=5),
    "genes": Config(n_hidden=8, n_latent=4, n_epochs=3, n_components=5, reads="genes"),
    "non-zeros": Config.detected(n_hidden=8, n_latent=4, n_epochs=3, n_components=5),
    "non-zeros, Poisson": Config.detected(n_hidden=8, n_latent=4, n_epochs=3, n_components=5, loss="poisson"),
    "all, squared": Config(n_hidden=8, n_latent=4, n_epochs=3, n_components=5, loss="squared_error"),
    "all, negative binomial": Config(n_hidden=8, n_latent=4, n_epochs=3, n_components=5, loss="negative_binomial"),
}


@pytest.fixture
def graph(rng: np.random.Generator) -> NeighborGraph:
    return NeighborGraph.from_embedding(rng.normal(size=(90, 4)), n_neighbors=4)


@pytest.fixture(params=CONFIGS)
def config(request: pytest.FixtureRequest) -> Config:
    return CONFIGS[request.param]


@pytest.fixture
def validation(counts: sp.csr_matrix, graph: NeighborGraph, config: Config, rng: np.random.Generator) -> Validation:
    split = hide(counts, 0.2, config, rng=rng)
    network = train(split, graph, config, rng=rng).network
    for level in network.levels:  # set last, when epoch and share are chosen
        level.ratio.fill_(1)
    return Validation(network, split, graph, config, totals(counts))


def expected(validation: Validation, network: Autoencoder) -> float:
    """All cells at once, everything read anew."""
    split, config = validation.split, validation.config
    latent = embed(network, Rows(split.kept, float(network.target_total)), validation.graph)
    hidden = Hidden.of(split.held_out, split.kept, config, total=validation.total)
    with torch.no_grad():
        return float(hidden_loss(network, network.decode(latent), hidden, config=config))


def test_the_loss_is_that_of_all_held_out(validation: Validation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_infer, "AT_ONCE", 32 * 60)
    network = validation.network
    assert validation.loss(network) == pytest.approx(expected(validation, network), rel=1e-5)
    with torch.no_grad():
        network.attention1.weight.mul_(2)  # as a step would: nothing that depends on it may be kept
        network.out.bias.add_(torch.linspace(-1, 1, 60))
    assert validation.loss(network) == pytest.approx(expected(validation, network), rel=1e-5)


def evenly(validation: Validation, network: Autoencoder) -> float:
    """Squared errors of what is beyond one molecule, each by the standard deviation of the noise of the line."""
    cell, gene = validation.split.held_out.nonzero()
    molecule = float(network.target_total) / validation.total[cell]
    rows = Rows(validation.split.kept, float(network.target_total))
    share = float(network.linear.weight)
    with torch.no_grad():
        network.linear.weight.fill_(1)
        line = network.decode(embed(network, rows, validation.graph)).numpy()[cell, gene]
        network.linear.weight.fill_(share)
        predicted = network.decode(embed(network, rows, validation.graph)).numpy()[cell, gene]
    y = molecule * (np.asarray(validation.split.held_out[cell, gene]).ravel() - 1)
    return float(np.mean((predicted - y) ** 2 / np.sqrt(molecule * (line + molecule))))


def test_the_best_share_has_the_lowest_loss(validation: Validation) -> None:
    network, best, config = validation.network, validation.best_share(), validation.config
    is_even = config.loss == "squared_error" and config.hide == "nonzeros"
    losses = {}
    for share in _validation.SHARES:
        network.linear.weight.fill_(share)
        losses[share] = (evenly if is_even else expected)(validation, network)
    assert len(set(losses.values())) == len(losses)
    assert losses[best] == min(losses.values())


def test_many_cells_are_not_all_asked(validation: Validation) -> None:
    some = replace(validation, most_cells=20)
    assert some.loss(some.network) == some.loss(some.network)
    assert some.loss(some.network) != pytest.approx(expected(validation, some.network), rel=1e-4)
    assert some.loss(some.network) == pytest.approx(expected(validation, some.network), rel=0.5)


def test_squared_errors_are_weighed_on_more_cells(validation: Validation, monkeypatch: pytest.MonkeyPatch) -> None:
    """A few large values carry them; one cell in four says little of which share is best."""
    asked: list[int] = []
    original = Validation._losses

    def losses(self: Validation, *arguments: object) -> list[float]:
        asked.append(len(self._cells))
        return original(self, *arguments)

    monkeypatch.setattr(Validation, "_losses", losses)
    some = replace(validation, most_cells=20)
    some.loss(some.network)
    some.best_share()
    assert asked == [20, 90 if validation.config.loss == "squared_error" else 20]
    monkeypatch.setattr(_validation, "WEIGH_ON", 40)
    some.best_share()
    assert asked[-1] == (40 if validation.config.loss == "squared_error" else 20)


@pytest.mark.parametrize("config", ["non-zeros"], indirect=True)
def test_the_errors_that_choose_a_share_are_by_their_noise(validation: Validation) -> None:
    even, network = replace(validation, evenly=True), validation.network
    for share in _validation.SHARES:
        network.linear.weight.fill_(0.5)
        (got,) = even._losses(network, [share])
        network.linear.weight.fill_(share)
        assert got == pytest.approx(evenly(validation, network), rel=1e-4)


def test_cells_of_which_nothing_was_held_out_are_not_asked(
    validation: Validation, monkeypatch: pytest.MonkeyPatch
) -> None:
    held_out = validation.split.held_out.copy()
    held_out.data[: held_out.indptr[70]] = 0
    held_out.eliminate_zeros()
    part = replace(validation, split=Split(validation.split.kept, held_out))
    every = part.loss(part.network)
    assert np.isfinite(every)
    monkeypatch.setattr(_validation, "VALIDATE_ON", 20)
    assert replace(part).loss(part.network) == pytest.approx(every, rel=1e-5)
