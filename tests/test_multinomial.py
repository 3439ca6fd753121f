from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from gnnimpute import _multinomial
from gnnimpute._config import Config
from gnnimpute._loss import Hidden, hidden_loss
from gnnimpute._masking import hide_molecules
from gnnimpute._multinomial import multinomial_loss
from gnnimpute._nn import Autoencoder
from gnnimpute._threads import Threads, side_by_side

CONFIG = Config(n_hidden=6, n_latent=2)
CPU = torch.device("cpu")


@pytest.fixture(params=[None, 1, 2, 3])
def threads(request):
    """No threads of their own, one, two and three."""
    before = torch.get_num_threads()
    if request.param is None:
        yield Threads()
        return
    torch.set_num_threads(request.param)
    with side_by_side(CPU) as threads:
        yield threads
    torch.set_num_threads(before)


def a_target(counts: sp.csr_matrix) -> Hidden:
    kept, hidden = hide_molecules(counts, 0.3, np.random.default_rng(0))
    target = Hidden.of(hidden, kept, CONFIG)
    return target._replace(molecules=target.molecules.double(), exposure=target.exposure.double())


def a_layer(n_cells: int, n_genes: int, scale: float) -> tuple[torch.Tensor, torch.nn.Linear]:
    rng, layer = np.random.default_rng(1), torch.nn.Linear(CONFIG.n_hidden, n_genes).double()
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=scale, generator=torch.Generator().manual_seed(len(parameter.shape)))
    return torch.from_numpy(scale * rng.normal(size=(n_cells, CONFIG.n_hidden))).requires_grad_(), layer


@pytest.mark.parametrize("cells_at_once", [1, 7, 1000])
@pytest.mark.parametrize("scale", [0.5, 20.0])
def test_loss_and_gradient_are_those_of_a_softmax(counts, monkeypatch, threads, scale, cells_at_once):
    n_cells, n_genes = counts.shape
    monkeypatch.setattr(_multinomial, "_LEAST", 1)
    monkeypatch.setattr(_multinomial, "_AT_ONCE", cells_at_once * n_genes)
    hidden, (x, layer) = a_target(counts), a_layer(n_cells, n_genes, scale)
    found = multinomial_loss(x, layer, hidden, threads=threads)
    expected = hidden_loss(Autoencoder(n_genes, CONFIG), layer(x), hidden, config=CONFIG)
    torch.testing.assert_close(found, expected)
    gradients = (torch.autograd.grad(3 * loss, [x, *layer.parameters()]) for loss in (found, expected))
    torch.testing.assert_close(*gradients)


def test_cells_without_anything_hidden_count_for_nothing(counts, threads):
    some = sp.vstack([counts[:5], sp.csr_matrix((4, counts.shape[1])), counts[5:9]]).tocsr()
    x, layer = a_layer(13, counts.shape[1], 1.0)
    loss = multinomial_loss(x, layer, a_target(some), threads=threads)
    (gradient,) = torch.autograd.grad(loss, [x])
    assert not gradient[5:9].any()
    assert gradient[:5].all()
    assert torch.isfinite(loss)


def test_nothing_hidden_at_all(threads):
    x, layer = a_layer(4, 9, 1.0)
    loss = multinomial_loss(x, layer, a_target(sp.csr_matrix((4, 9), dtype=np.float32)), threads=threads)
    loss.backward()
    assert loss == 0
    assert not any(part.grad.any() for part in (x, *layer.parameters()))


def test_what_is_not_finite_is_seen(counts, threads):
    x, layer = a_layer(*counts.shape, 1.0)
    with torch.no_grad():
        layer.bias[3] = np.nan
    assert torch.isnan(multinomial_loss(x, layer, a_target(counts), threads=threads))
