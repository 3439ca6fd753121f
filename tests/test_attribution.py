"""Integrated gradients: they sum to what they explain, and find the genes that do it."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from gnnimpute._attribution import integrated_gradients
from gnnimpute._config import Config
from gnnimpute._graph import NeighborGraph
from gnnimpute._nn import Autoencoder


def network_of(n_genes: int, rng: np.random.Generator, **settings: object) -> Autoencoder:
    torch.manual_seed(0)
    network = Autoencoder(n_genes, Config(n_hidden=12, n_latent=3, n_components=4, **settings)).eval()
    network.mean += torch.from_numpy(rng.random(n_genes).astype(np.float32))
    network.scale *= torch.from_numpy(0.5 + rng.random(len(network.scale)).astype(np.float32))
    for directions in (network.linear.own, network.linear.neighbors):
        directions.copy_(torch.from_numpy(rng.normal(size=directions.shape)))
    return network


@pytest.mark.parametrize("settings", [{}, {"attention": "additive", "n_heads": 2}, {"reads": "genes", "n_heads": 3}])
def test_shares_sum_to_the_difference_in_the_score(rng: np.random.Generator, settings: dict[str, object]) -> None:
    network = network_of(30, rng, **settings)
    x = sp.csr_matrix(rng.poisson(1.0, size=(40, 30)).astype(np.float32))
    graph = NeighborGraph.from_embedding(rng.normal(size=(40, 2)), n_neighbors=4)
    direction = rng.normal(scale=4, size=(40, 3)).astype(np.float32)
    shares, difference = integrated_gradients(network, x, graph, direction=direction)
    assert shares.shape == (30,)
    assert shares.sum() == pytest.approx(difference, rel=0.05)
    assert abs(difference) > 0.1


@pytest.mark.parametrize("reads", ["components", "genes"])
def test_without_bends_a_share_is_weight_times_input(rng: np.random.Generator, reads: str) -> None:
    network = network_of(20, rng, attention="mean", averaging=0.0, reads=reads)
    network.norm1.bias.data += 20  # so far above 0 that ReLU is a straight line
    network.norm2.bias.data += 500
    x = sp.csr_matrix(rng.random((10, 20)).astype(np.float32))
    alone = NeighborGraph(np.arange(10)[:, None])
    direction = np.ones((10, 3), np.float32)
    shares, _ = integrated_gradients(network, x, alone, direction=direction)
    weight = (network.attention1.weight / network.scale[:, None]) @ network.attention2.weight
    if reads == "components":
        weight = torch.cat([network.linear.own, network.linear.neighbors], 1) @ weight
    expected = (x.toarray() - network.mean.numpy()).sum(0) * weight.detach().numpy().sum(1)
    np.testing.assert_allclose(shares, expected, rtol=1e-3, atol=1e-4)
