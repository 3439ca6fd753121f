"""What the posterior takes besides the mean: it is what was simulated, from any blocks of cells."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from gnnimpute import Config, _infer, _posterior_fit, _values
from gnnimpute._masking import Split
from gnnimpute._nn import Autoencoder
from gnnimpute._posterior_fit import posterior_of
from gnnimpute._values import Decoder


@pytest.fixture
def latent() -> torch.Tensor:
    return 2 * torch.randn(90, 4, generator=torch.Generator().manual_seed(0))


def a_decoder() -> Decoder:
    config = Config(n_hidden=8, n_latent=4)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Autoencoder(60, config).eval()
        torch.nn.init.normal_(network.out.weight)
        torch.nn.init.normal_(network.out.bias)
    network.target_total.fill_(50)
    return Decoder(network, config, None)


def test_the_spread_is_what_was_simulated(rng: np.random.Generator) -> None:
    """Cells that differ from what the network says: half of the genes by chance alone, half by far more."""
    decoder = a_decoder()
    latent = torch.from_numpy(rng.normal(size=(600, 4)).astype(np.float32))
    share = torch.softmax(decoder.network.decode(latent), 1).detach().numpy()
    own = np.where(np.arange(60) % 2, 1, rng.gamma(0.5, 2.0, size=share.shape))
    rate = decoder.config.validation_rate
    expression = 2000 * share * own
    kept, held_out = (sp.csr_matrix(rng.poisson(expression * part).astype(np.float32)) for part in (1 - rate, rate))
    (dispersion, fano), (shares, weight), _ = posterior_of(decoder, Split(kept, held_out), latent)
    assert dispersion.shape == fano.shape == (60,)
    assert (dispersion > 0).all()
    assert np.median(dispersion[::2]) == pytest.approx(0.5, rel=1)
    assert np.median(dispersion[1::2]) > 20 * np.median(dispersion[::2])
    assert np.median(fano[1::2]) < 0.05
    assert weight[1::2].max() < 0.01  # the average is far off, and where cells differ by chance alone, it shows
    np.testing.assert_allclose(shares, kept.toarray().sum(0) / kept.sum(), rtol=1e-5)


def test_molecules_that_come_in_pairs_do_so_where_many_are_held_out(rng: np.random.Generator) -> None:
    decoder, rate = a_decoder(), 0.5
    decoder = replace(decoder, config=replace(decoder.config, validation_rate=rate))
    latent = torch.from_numpy(rng.normal(size=(900, 4)).astype(np.float32))
    share = torch.softmax(decoder.network.decode(latent), 1).detach().numpy()
    counts = 2 * rng.poisson(200 * share / 2)
    held_out = rng.binomial(counts, rate)
    kept, held_out = (sp.csr_matrix(part.astype(np.float32)) for part in (counts - held_out, held_out))
    spread = posterior_of(decoder, Split(kept, held_out), latent).spread
    assert np.median(spread.fano) == pytest.approx(2 - 1, rel=0.1)


def test_the_spread_is_the_same_from_any_blocks(
    counts: sp.csr_matrix, latent: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoder = a_decoder()
    split = Split(counts, counts[::-1])
    whole = posterior_of(decoder, split, latent)
    monkeypatch.setattr(_infer, "AT_ONCE", 11 * counts.shape[1])
    again = posterior_of(decoder, split, latent)
    np.testing.assert_allclose(again.spread, whole.spread, rtol=1e-3)
    np.testing.assert_allclose(again.average, whole.average, rtol=1e-3)
    monkeypatch.setattr(_posterior_fit, "FIT_ON", 20)
    assert not np.allclose(posterior_of(decoder, split, latent).spread, whole.spread)


def test_the_prior_is_given_half_of_the_molecules_that_were_read(
    counts: sp.csr_matrix, latent: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks: list[tuple[np.ndarray, ...]] = []
    fit_prior = _posterior_fit.fit_prior
    monkeypatch.setattr(
        _posterior_fit, "fit_prior", lambda of, *a, **k: blocks.extend(of := list(of)) or fit_prior(of, *a, **k)
    )
    posterior_of(a_decoder(), Split(counts, counts), latent)
    read, half = (np.concatenate([block[part] for block in blocks]) for part in (1, 2))
    np.testing.assert_array_equal(read, counts.toarray())
    assert (half <= read).all()
    assert half.sum() / read.sum() == pytest.approx(0.5, abs=0.05)


def test_threads_are_given_back_while_an_error_is_looked_at(
    counts: sp.csr_matrix, latent: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(blocks: Any, *_: Any, **__: Any) -> None:
        next(iter(blocks))
        raise ZeroDivisionError

    monkeypatch.setattr(_posterior_fit, "fit_prior", fails)
    monkeypatch.setattr(_values, "cells_at_once", lambda *_: 5)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with pytest.raises(ZeroDivisionError) as error:
            posterior_of(a_decoder(), Split(counts, counts), latent)
        assert error.tb is not None  # which holds all that was being done
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
