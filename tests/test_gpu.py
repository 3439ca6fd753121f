"""What a GPU computes is what a CPU computes. Where there is no GPU these tests say so; all else runs on a CPU."""

from __future__ import annotations

import itertools
from typing import get_args

import numpy as np
import pytest
import torch

import gnnimpute as gi
from gnnimpute._config import Attention, Config, Hide, Loss
from gnnimpute._imputer import GNNImputer
from gnnimpute._nearest import exact

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch finds no GPU here")

SMALL = Config(n_hidden=16, n_latent=8, n_epochs=3, dropout_rate=0.0)  # dropout draws other numbers on a GPU


@pytest.fixture
def adata():
    return gi.datasets.splatter(batch_cells=300, n_genes=400, group_prob=(0.5, 0.5), rng=0)


@pytest.fixture
def graph(counts):
    return gi.NeighborGraph.from_embedding(np.log1p(counts.toarray()), n_neighbors=4)


def on_both(make):
    """Of a CPU, then of a GPU."""
    return [make(device) for device in ("cpu", "cuda")]


@pytest.mark.parametrize(
    ("loss", "hide", "attention"), [*itertools.product(get_args(Loss), get_args(Hide), get_args(Attention))]
)
def test_every_kind_learns_the_same(counts, graph, loss, hide, attention):
    config = Config(**(SMALL.to_dict() | {"loss": loss, "hide": hide, "attention": attention, "n_heads": 2}))
    cpu, gpu = on_both(lambda device: GNNImputer(config, device=device).fit(counts, graph))
    assert gpu.network_.mean.device.type == "cuda"
    np.testing.assert_allclose(gpu.history_["validation"], cpu.history_["validation"], rtol=1e-3)
    estimates = ["mean", "detected", "posterior"] if hide == "molecules" else ["mean", "detected"]
    for estimate, output in itertools.product(estimates, ["normalized", "counts", "log1p"]):
        here, there = (imputer.transform(counts, graph, estimate=estimate, output=output) for imputer in (cpu, gpu))
        np.testing.assert_allclose(there, here, rtol=0.03, atol=0.03 * here.mean())


def test_all_that_a_model_says_is_the_same_on_both(counts, graph, tmp_path):
    GNNImputer(SMALL, device="cuda").fit(counts, graph).save(tmp_path / "model.safetensors")
    cpu, gpu = on_both(lambda device: GNNImputer.load(tmp_path / "model.safetensors", device=device))
    for ask in (
        lambda imputer: imputer.transform(counts, graph, estimate="posterior"),
        lambda imputer: imputer.embed(counts, graph),
        lambda imputer: imputer.attention(counts, graph).toarray(),
        lambda imputer: imputer.keep(counts, graph).values(genes=["3", "1"]),
        lambda imputer: imputer.values(cells=[2, 5]),
        lambda imputer: imputer.redetection(counts, graph),
        lambda imputer: np.stack(imputer.interval(counts, graph)),
        lambda imputer: np.stack(imputer.further(counts, graph, exposure=0.1)),
        lambda imputer: imputer.further_log1p(counts, graph, total=100),
    ):
        here, there = ask(cpu), ask(gpu)
        np.testing.assert_allclose(there, here, rtol=1e-3, atol=1e-4 * np.abs(here).max())


def test_a_training_goes_on_from_its_checkpoint(counts, graph, tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    whole = GNNImputer(SMALL, device="cuda").fit(counts, graph)
    GNNImputer(SMALL, device="cuda").fit(counts, graph, checkpoint=path)
    resumed = GNNImputer(SMALL, device="cuda").fit(counts, graph, checkpoint=path)
    np.testing.assert_allclose(resumed.history_["validation"], whole.history_["validation"], rtol=1e-4)


@pytest.mark.parametrize("estimate", ["mean", "detected", "posterior"])
def test_the_whole_way_of_a_user(adata, estimate):
    gi.pp.prepare(adata, device="cuda")
    results = on_both(lambda device: impute(adata, estimate=estimate, device=device))
    here, there = (values[np.isfinite(values)] for values in results)
    assert np.corrcoef(here, there)[0, 1] > 0.999


def impute(adata, **options):
    result = adata.copy()
    gi.tl.impute(result, **options)
    return result.layers["gnnimpute"]


def test_a_judgement_is_the_same(adata):
    cpu, gpu = on_both(lambda device: evaluation(adata, device))
    assert gpu == pytest.approx(cpu, rel=0.01)


def evaluation(adata, device):
    """Deviance of each method."""
    judged = adata.copy()
    gi.tl.evaluate(judged, device=device, seeds=(0,), checks=False)
    return judged.uns["gnnimpute_evaluation"]["methods"].set_index("method")["deviance"].to_dict()


def test_nearest_cells_are_the_same():
    points = np.random.default_rng(0).standard_normal((3000, 20), dtype=np.float32)
    here, there = on_both(lambda device: exact(points, 5, device))
    assert (here == there).mean() > 0.999
