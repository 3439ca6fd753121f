"""Losses against torch.distributions on dense matrices, and finite where numbers are extreme."""

from __future__ import annotations

import itertools
from typing import Any, get_args

import hypothesis.strategies as st
import numpy as np
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given, settings
from torch import Tensor
from torch.distributions import NegativeBinomial, Poisson

from gnnimpute import Config
from gnnimpute._config import Hide, Loss
from gnnimpute._loss import Hidden, hidden_loss
from gnnimpute._masking import hide_molecules, hide_nonzeros
from gnnimpute._nn import Autoencoder

N_CELLS, N_GENES = 90, 60
EVERY_WAY = [*itertools.product(get_args(Loss), get_args(Hide))]
every_way = pytest.mark.parametrize(("loss", "hide"), EVERY_WAY)
likelihoods = pytest.mark.parametrize("loss", ["poisson", "negative_binomial"])


def a_config(loss: str, hide: str) -> Config:
    return Config(loss=loss, hide=hide, n_hidden=4, n_latent=2)  # type: ignore[arg-type]


def a_network(config: Config, n_genes: int = N_GENES) -> Autoencoder:
    network = Autoencoder(n_genes, config).double()
    network.target_total.fill_(70.0)
    if config.loss == "negative_binomial":
        with torch.no_grad():
            network.log_dispersion.copy_(torch.linspace(-3, 4, n_genes))
    return network


def split(counts: sp.csr_matrix, hide: str) -> tuple[sp.csr_matrix, sp.csr_matrix]:
    """What is kept and what is hidden."""
    return (hide_molecules if hide == "molecules" else hide_nonzeros)(counts, 0.3, np.random.default_rng(0))


def a_decoding(rng: np.random.Generator, shape: tuple[int, int] = (N_CELLS, N_GENES)) -> Tensor:
    return torch.from_numpy(rng.normal(size=shape)).requires_grad_()


def dense_loss(network: Autoencoder, decoded: Tensor, hidden: Tensor, kept: Tensor, config: Config) -> Tensor:
    """The same over whole matrices; of Poisson counts with the terms that do not depend on the network."""
    at_hidden = hidden > 0
    exposure = hidden.sum(1, keepdim=True) + (0 if config.hide == "molecules" else kept.sum(1, keepdim=True))
    if config.loss == "squared_error":
        least = kept.masked_fill(kept == 0, torch.inf).amin(1, keepdim=True) if config.hide == "nonzeros" else 0
        error = (decoded - network.target_total * (hidden - least) / exposure) ** 2
        return error.mean() if config.hide == "molecules" else error[at_hidden].mean()
    mean = torch.softmax(decoded, 1) * exposure
    if config.loss == "poisson":
        distribution: Any = Poisson(mean)
    else:
        dispersion = network.log_dispersion.exp().expand_as(mean)
        distribution = NegativeBinomial(dispersion, logits=(mean / dispersion).log())
    log_probability = distribution.log_prob(hidden)
    if config.hide == "molecules":
        return -log_probability.sum() / hidden.sum()
    log_zero = distribution.log_prob(torch.zeros_like(hidden))
    return -(log_probability - torch.log1p(-log_zero.exp()))[at_hidden].mean()


@every_way
def test_loss_is_the_dense_one(counts: sp.csr_matrix, rng: np.random.Generator, loss: str, hide: str) -> None:
    config = a_config(loss, hide)
    network, decoded = a_network(config), a_decoding(rng)
    kept, hidden = split(counts, hide)
    dense = torch.from_numpy(hidden.toarray()).double()
    inputs = [decoded, network.log_dispersion] if loss == "negative_binomial" else [decoded]

    ours = hidden_loss(network, decoded, Hidden.of(hidden, kept, config), config=config)
    expected = dense_loss(network, decoded, dense, torch.from_numpy(kept.toarray()).double(), config)
    for one, other in zip(torch.autograd.grad(ours, inputs), torch.autograd.grad(expected, inputs), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-9)
    if loss == "poisson":
        weight = dense.sum() if hide == "molecules" else (dense > 0).sum()
        expected = expected - torch.lgamma(dense + 1).sum() / weight
    torch.testing.assert_close(ours, expected, rtol=1e-6, atol=1e-6)


@likelihoods
def test_hidden_counts_that_are_not_zero_have_probability_one_in_all(loss: str) -> None:
    """Of the counts of one gene that are not zero, the truncated likelihoods sum to 1."""
    config = a_config(loss, "nonzeros")
    network = a_network(config, 2)
    if loss == "negative_binomial":
        torch.nn.init.constant_(network.log_dispersion, 0.5)
    decoded = torch.tensor([[0.3, 1.0]], dtype=torch.float64)
    total = 0.0
    for y in range(1, 400):
        hidden = Hidden(
            torch.zeros(1).long(), torch.zeros(1).long(), torch.tensor([float(y)]), torch.tensor([6.0]), torch.ones(1)
        )
        minus_log = hidden_loss(network, decoded, hidden, config=config)
        constant = torch.lgamma(torch.tensor(y + 1.0, dtype=torch.float64)) if loss == "poisson" else 0
        total += float(torch.exp(-minus_log - constant).detach())
    assert total == pytest.approx(1, abs=1e-5)


def test_truncated_loss_is_least_at_the_mean_of_all_counts_not_of_those_detected(rng: np.random.Generator) -> None:
    """Of two genes of which only non-zeros are seen, the shares are still those of all counts."""
    config = a_config("poisson", "nonzeros")
    network = a_network(config, 2)
    counts = sp.csr_matrix(rng.poisson([0.5, 3.5], size=(4000, 2)).astype(np.float32))
    hidden = Hidden.of(counts, sp.csr_matrix(counts.shape), config)._replace(exposure=torch.full((4000,), 4.0))
    shares = np.linspace(0.05, 0.3, 51)
    losses = [
        float(hidden_loss(network, torch.tensor([[s, 1 - s]]).log().expand(4000, 2), hidden, config=config))
        for s in shares
    ]
    assert shares[np.argmin(losses)] == pytest.approx(0.125, abs=0.02)


def test_hidden_holds_what_is_hidden_and_its_exposure() -> None:
    hidden = sp.csr_matrix(np.array([[0, 2, 0], [0, 0, 0], [1, 0, 3]], np.float32))
    kept = sp.csr_matrix(np.array([[4, 0, 0], [0, 1, 0], [0, 5, 0]], np.float32))
    for hide, exposure in (("molecules", [2, 0, 4]), ("nonzeros", [6, 1, 9])):
        target = Hidden.of(hidden, kept, a_config("poisson", hide))
        assert list(zip(*(part.tolist() for part in target[:3]), strict=True)) == [(0, 1, 2), (2, 0, 1), (2, 2, 3)]
        assert target.exposure.tolist() == exposure


@every_way
def test_loss_does_not_depend_on_how_many_cells_there_are(
    counts: sp.csr_matrix, rng: np.random.Generator, loss: str, hide: str
) -> None:
    config = a_config(loss, hide)
    network, decoded = a_network(config), a_decoding(rng)
    kept, hidden = split(counts, hide)
    once = hidden_loss(network, decoded, Hidden.of(hidden, kept, config), config=config)
    twice = Hidden.of(sp.vstack([hidden, hidden]).tocsr(), sp.vstack([kept, kept]).tocsr(), config)
    torch.testing.assert_close(hidden_loss(network, torch.cat([decoded, decoded]), twice, config=config), once)


@likelihoods
@pytest.mark.parametrize("hide", get_args(Hide))
def test_shares_are_what_counts(counts: sp.csr_matrix, rng: np.random.Generator, loss: str, hide: str) -> None:
    """The same logits plus any number of each cell are the same shares."""
    config = a_config(loss, hide)
    network, decoded = a_network(config), a_decoding(rng)
    kept, hidden = split(counts, hide)
    target = Hidden.of(hidden, kept, config)
    shifted = decoded + torch.from_numpy(rng.normal(size=(N_CELLS, 1)))
    torch.testing.assert_close(
        hidden_loss(network, shifted, target, config=config), hidden_loss(network, decoded, target, config=config)
    )


def test_poisson_is_in_units_of_molecules() -> None:
    """Two genes of which half each: a nat per molecule is what not knowing the gene costs, beside log exposure."""
    config = a_config("poisson", "molecules")
    hidden = sp.csr_matrix(np.full((3, 2), 5, np.float32))
    loss = hidden_loss(a_network(config, 2), torch.zeros(3, 2), Hidden.of(hidden, hidden, config), config=config)
    assert float(loss) == pytest.approx(1 - np.log(10 / 2))


@pytest.mark.parametrize("hide", get_args(Hide))
def test_squared_error_is_in_units_of_normalized_counts(counts: sp.csr_matrix, hide: str) -> None:
    """Deeper cells with the same shares are the same target; a decoder that says it has no loss."""
    config = a_config("squared_error", hide)
    network = a_network(config)
    kept, hidden = split(counts, hide)
    target = Hidden.of(hidden, kept, config)
    least = target.unit[:, None] if hide == "nonzeros" else 0
    truth = network.target_total * (torch.from_numpy(hidden.toarray()) - least) / target.exposure[:, None]
    deeper = Hidden.of(hidden * np.float32(np.pi), kept * np.float32(np.pi), config)
    for this in (target, deeper):
        assert float(hidden_loss(network, truth, this, config=config)) == pytest.approx(0, abs=1e-5)
        assert float(hidden_loss(network, truth + 2, this, config=config)) == pytest.approx(4, rel=1e-5)


def gradient_of(config: Config, decoded: Tensor, hidden: np.ndarray, kept: np.ndarray) -> tuple[Tensor, Tensor]:
    network = a_network(config, decoded.shape[1]).float()
    target = Hidden.of(sp.csr_matrix(hidden), sp.csr_matrix(kept), config)
    decoded = decoded.clone().requires_grad_()
    loss = hidden_loss(network, decoded, target, config=config)
    loss.backward()  # type: ignore[no-untyped-call]
    assert decoded.grad is not None
    if config.loss == "negative_binomial":
        assert network.log_dispersion.grad is not None
        assert network.log_dispersion.grad.isfinite().all()
    return loss.detach(), decoded.grad


@every_way
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_loss_and_gradient_are_finite_at_extremes(loss: str, hide: str, data: st.DataObject) -> None:
    shape = (3, 4)
    values = st.sampled_from([0.0, 1.0, 7.0, 2.0**20])
    hidden, kept = (
        np.array(data.draw(st.lists(values, min_size=12, max_size=12)), np.float32).reshape(shape) for _ in range(2)
    )
    logits = data.draw(st.lists(st.sampled_from([-300.0, -30.0, 0.0, 3.0, 80.0]), min_size=12, max_size=12))
    value, gradient = gradient_of(a_config(loss, hide), torch.tensor(logits).view(shape), hidden, kept)
    assert value.isfinite()
    assert gradient.isfinite().all()


@every_way
def test_nothing_hidden(loss: str, hide: str) -> None:
    value, gradient = gradient_of(a_config(loss, hide), torch.ones(3, 4), np.zeros((3, 4)), np.ones((3, 4)))
    assert float(value) == pytest.approx(0, abs=1e-4)
    assert gradient.abs().max() < 1e-4


@every_way
def test_a_cell_without_anything_hidden_says_nothing(rng: np.random.Generator, loss: str, hide: str) -> None:
    hidden = np.array([[0, 0, 0, 0], [2, 0, 1, 0]], np.float32)
    kept = np.array([[1, 0, 2, 5], [0, 4, 0, 1]], np.float32)
    decoded = torch.from_numpy(rng.normal(size=(2, 4)).astype(np.float32))
    value, gradient = gradient_of(a_config(loss, hide), decoded, hidden, kept)
    alone, gradient_alone = gradient_of(a_config(loss, hide), decoded[1:], hidden[1:], kept[1:])
    torch.testing.assert_close(value, alone, rtol=1e-5, atol=1e-5)
    assert gradient[0].abs().max() < 1e-5
    torch.testing.assert_close(gradient[1], gradient_alone[0], rtol=1e-5, atol=1e-5)
