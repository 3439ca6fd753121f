"""Values from latents: each estimate and output in its place, and their scales in step."""

from __future__ import annotations

import itertools
import logging
from dataclasses import replace
from typing import Any, get_args

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from gnnimpute import Config, GNNImputer, NeighborGraph, _infer
from gnnimpute._config import Estimate, Hide, Loss, Output
from gnnimpute._counts import totals
from gnnimpute._covarying import Covarying
from gnnimpute._estimates import detected, likely_count, mean_of_detected, posterior
from gnnimpute._nn import Autoencoder
from gnnimpute._prior import Average, Spread
from gnnimpute._rows import Rows
from gnnimpute._values import Decoder, check_choices, new_array

TARGET_TOTAL = 50.0
KINDS = [*itertools.product(get_args(Loss), get_args(Hide))]
every_kind = pytest.mark.parametrize(("loss", "hide"), KINDS)
every_estimate = pytest.mark.parametrize("estimate", get_args(Estimate))


@pytest.fixture
def latent() -> torch.Tensor:
    return 2 * torch.randn(90, 4, generator=torch.Generator().manual_seed(0))


def a_decoder(loss: str, hide: str) -> Decoder:
    config = Config(loss=loss, hide=hide, n_hidden=8, n_latent=4)  # type: ignore[arg-type]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Autoencoder(60, config).eval()
        torch.nn.init.normal_(network.out.weight)
        torch.nn.init.normal_(network.out.bias)
    network.target_total.fill_(TARGET_TOTAL)
    dispersion, fano = np.geomspace(0.1, 1e4, 60), np.linspace(0, 1, 60)
    average = Average(np.full(60, 1 / 60, np.float32), np.linspace(0, 0.5, 60, dtype=np.float32))
    return Decoder(network, config, Spread(dispersion.astype(np.float32), fano.astype(np.float32)), average)


def values(decoder: Decoder, counts: sp.csr_matrix, latent: torch.Tensor, **options: Any) -> np.ndarray:
    options = {"cells": np.arange(90), "estimate": "mean", "output": "normalized"} | options
    cells = options.pop("cells")
    result = np.full((len(cells), 60), np.nan, np.float32)
    for c, block in decoder.blocks(Rows.of(counts, decoder.network), latent, cells, **options):
        assert block.dtype == np.float32
        result[c] = block
    return result


def depth(counts: sp.csr_matrix) -> np.ndarray:
    return np.maximum(totals(counts), 1)[:, None] / TARGET_TOTAL


@every_kind
@every_estimate
def test_outputs_are_one_thing_on_three_scales(
    counts: sp.csr_matrix, latent: torch.Tensor, loss: str, hide: str, estimate: str
) -> None:
    decoder = a_decoder(loss, hide)
    by_output = {o: values(decoder, counts, latent, estimate=estimate, output=o) for o in get_args(Output)}
    for value in by_output.values():
        assert np.isfinite(value).all()
        assert value.min() >= 0
    np.testing.assert_allclose(by_output["log1p"], np.log1p(by_output["normalized"]), rtol=1e-5)
    np.testing.assert_allclose(by_output["counts"], by_output["normalized"] * depth(counts), rtol=1e-5)


@pytest.mark.parametrize("loss", ["poisson", "negative_binomial"])
@pytest.mark.parametrize("hide", get_args(Hide))
def test_means_are_shares_of_the_cell(counts: sp.csr_matrix, latent: torch.Tensor, loss: str, hide: str) -> None:
    decoder = a_decoder(loss, hide)
    normalized = values(decoder, counts, latent)
    np.testing.assert_allclose(normalized.sum(1), TARGET_TOTAL, rtol=1e-5)
    np.testing.assert_allclose(values(decoder, counts, latent, output="counts").sum(1), totals(counts), rtol=1e-5)
    shares = torch.softmax(decoder.network.decode(latent), 1).detach().numpy()
    np.testing.assert_allclose(normalized, TARGET_TOTAL * shares, rtol=1e-4, atol=1e-6)


@every_kind
def test_estimates_are_taken_at_the_depth_of_the_cell(
    counts: sp.csr_matrix, latent: torch.Tensor, loss: str, hide: str
) -> None:
    decoder = a_decoder(loss, hide)
    at_depth = {e: values(decoder, counts, latent, estimate=e, output="counts") for e in get_args(Estimate)}
    mean = at_depth["mean"]
    assert decoder.spread is not None
    assert decoder.average is not None
    prior = decoder.average.mixed_with(mean, np.maximum(totals(counts), 1)[:, None])
    assert not np.allclose(prior, mean, rtol=0.01)
    np.testing.assert_allclose(
        at_depth["posterior"], posterior(prior, counts.toarray(), decoder.spread), rtol=1e-5, atol=1e-6
    )
    if (loss, hide) == ("squared_error", "nonzeros"):  # such a network says what is beyond the one molecule
        raw = 1 + decoder.network.decode(latent).detach().numpy() * depth(counts)
        np.testing.assert_allclose(at_depth["detected"], likely_count(raw), rtol=1e-5, atol=1e-6)
        expected = values(replace(decoder, likely=False), counts, latent, estimate="detected", output="counts")
        np.testing.assert_allclose(expected, raw, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(mean, mean_of_detected(raw), rtol=1e-4, atol=1e-5)
    else:
        np.testing.assert_allclose(at_depth["detected"], likely_count(detected(mean)), rtol=1e-5)
        assert at_depth["detected"].min() >= 1
        assert (at_depth["detected"] >= mean * 0.99999).all()


def test_a_hidden_nonzero_is_a_molecule_at_least_whatever_others_say(
    counts: sp.csr_matrix, latent: torch.Tensor
) -> None:
    weights = sp.csr_matrix(-5 * (1 - np.eye(60, dtype=np.float32)))
    decoder = replace(a_decoder("squared_error", "nonzeros"), covarying=Covarying(weights))
    assert values(decoder, counts, latent, estimate="detected", output="counts").min() == pytest.approx(1)


def test_posterior_without_a_spread_is_the_mean(counts: sp.csr_matrix, latent: torch.Tensor) -> None:
    fitted = a_decoder("poisson", "molecules")
    decoder = Decoder(fitted.network, fitted.config, None)
    np.testing.assert_array_equal(
        values(decoder, counts, latent, estimate="posterior"), values(decoder, counts, latent, estimate="mean")
    )


@every_estimate
@pytest.mark.parametrize("size", [1, 7, 90])
def test_blocks_and_chosen_cells_make_no_difference(
    counts: sp.csr_matrix, latent: torch.Tensor, estimate: str, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoder = a_decoder("poisson", "molecules")
    whole = values(decoder, counts, latent, estimate=estimate)
    monkeypatch.setattr(_infer, "AT_ONCE", size * counts.shape[1])
    np.testing.assert_allclose(values(decoder, counts, latent, estimate=estimate), whole, rtol=1e-5)
    cells = np.array([5, 88, 5, 0])
    np.testing.assert_allclose(values(decoder, counts, latent, cells=cells, estimate=estimate), whole[cells], rtol=1e-5)


@every_estimate
@pytest.mark.parametrize("output", get_args(Output))
def test_cells_without_counts_have_finite_values(latent: torch.Tensor, estimate: str, output: str) -> None:
    nothing = sp.csr_matrix((90, 60), dtype=np.float32)
    value = values(a_decoder("poisson", "molecules"), nothing, latent, estimate=estimate, output=output)
    assert np.isfinite(value).all()
    assert value.min() >= 0


@pytest.mark.parametrize("container", [np.asarray, sp.csc_matrix, sp.coo_matrix, sp.csr_array, "unsorted", np.int64])
def test_a_fit_does_not_depend_on_the_container(counts: sp.csr_matrix, container: Any) -> None:
    graph = NeighborGraph.from_embedding(counts.toarray(), n_neighbors=3)
    config = Config(n_hidden=8, n_latent=4, n_epochs=1)
    if container == "unsorted":
        other = counts.copy()
        for row in itertools.starmap(slice, itertools.pairwise(counts.indptr)):
            other.indices[row], other.data[row] = counts.indices[row][::-1], counts.data[row][::-1]
        other.has_sorted_indices = False
    else:
        other = counts.astype(np.int64) if container is np.int64 else container(counts.toarray())
    results = [
        GNNImputer(config, device="cpu").fit(c, graph, progress=False).transform(c, graph, estimate="posterior")
        for c in (counts, other)
    ]
    np.testing.assert_array_equal(*results)


@pytest.mark.parametrize(
    ("estimate", "output", "text"),
    [
        ("median", "counts", "estimate='median': choose one of 'mean', 'detected', 'posterior'"),
        ("mean", "tpm", "output='tpm': choose one of 'normalized', 'counts', 'log1p'"),
        ("posterior", "counts", "estimate='posterior' needs a model that was trained on hidden molecules"),
    ],
)
def test_choices_that_there_are_not(estimate: str, output: str, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        check_choices(estimate, output, can_be_posterior=False)
    check_choices("posterior", "log1p", can_be_posterior=True)


def test_a_large_result_is_announced(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    with caplog.at_level(logging.WARNING):
        small = new_array(3, 4)
    assert (small.shape, small.dtype, caplog.text) == ((3, 4), np.float32, "")
    monkeypatch.setattr(np, "empty", lambda *_, **__: small)  # nothing is allocated
    with caplog.at_level(logging.WARNING):
        new_array(100_000, 10_000)
    assert "100000 cells x 10000 genes, 4.0 GB" in caplog.text
    assert "out=" in caplog.text
