"""Where training starts, and in how many steps an epoch goes."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from gnnimpute import NeighborGraph, _training
from gnnimpute._config import Config
from gnnimpute._training import n_batches, start

SMALL = Config(n_hidden=8, n_latent=4)


@pytest.mark.parametrize(
    ("n_cells", "batch_size", "expected"),
    [(90, 0, 3), (8000, 0, 32), (40_000, 0, 79), (90, 28, 4), (90, 1, 45), (3, 2, 1)],
)
def test_steps_of_an_epoch(n_cells, batch_size, expected):
    assert n_batches((n_cells, 40), Config(batch_size=batch_size)) == expected


@pytest.mark.parametrize(("n_cells", "expected"), [(90, 2), (800, 8), (8000, 16)])
def test_steps_of_an_epoch_that_hides_non_zeros(n_cells, expected):
    assert n_batches((n_cells, 40), Config.detected()) == expected


def test_a_batch_is_cut_to_the_memory_of_its_activations(monkeypatch):
    steps = []
    for limit in (1, 20_000, 2**31):
        monkeypatch.setattr(_training, "ACTIVATIONS", limit)
        steps.append(n_batches((90, 40), Config(n_hidden=8, batch_size=90)))
    assert steps[0] == 45 > steps[1] > steps[2] == 1


@pytest.mark.parametrize("config", [SMALL, Config.detected(n_hidden=8, n_latent=4)], ids=["shares", "expression"])
def test_a_network_starts_near_the_gene_means(counts, config):
    alone = NeighborGraph(np.arange(counts.shape[0])[:, None])
    state = start(counts, alone, config, rng=np.random.default_rng(0))
    with torch.no_grad():
        state.network.out.weight.zero_()  # what remains is the start
        decoded = state.network.eval().decode(torch.zeros(1, config.n_latent))[0].numpy()
    if config.loss == "poisson":
        share = np.exp(decoded - np.logaddexp.reduce(decoded))
        molecules = np.asarray(counts.sum(0)).ravel() + 0.5
        np.testing.assert_allclose(share, molecules / molecules.sum(), rtol=1e-4)
    else:
        assert np.isfinite(decoded).all()
        assert (decoded >= 0).all()
        assert decoded.max() > 0


def test_components_that_are_rounding_errors_are_not_blown_up(counts):
    """Cells without neighbours have no components of these, but for what a solver leaves of nothing."""
    alone = NeighborGraph(np.arange(counts.shape[0])[:, None])
    network = start(counts, alone, SMALL, rng=np.random.default_rng(0)).network
    assert torch.isfinite(network.attention1.weight / network.scale[:, None]).all()
    blown_up = network.scale[network.scale != 1]
    assert 0 < len(blown_up) < len(network.scale)
    assert blown_up.min() > 1e-6 * blown_up.max()


@pytest.mark.parametrize("loss", ["poisson", "squared_error"])
def test_the_linear_part_speaks_the_units_of_the_network(rng, loss):
    """Shares, or expression: both are mixed with what the network decodes."""
    rates = rng.gamma(0.5, 1, (2, 60))[np.repeat([0, 1], 60)] * 8
    kept = sp.csr_matrix(rng.poisson(rates).astype(np.float32))
    graph = NeighborGraph.from_embedding(rates, n_neighbors=5)
    network = start(kept, graph, Config(loss=loss, n_hidden=8, n_latent=4), rng=rng).network
    whole = 1 if loss == "poisson" else float(network.target_total)
    assert float(network.linear.intercept.sum()) == pytest.approx(whole, rel=1e-3)
    with torch.no_grad():
        assert network.linear(torch.zeros(1, 50)).sum().item() == pytest.approx(whole, rel=1e-3)
