"""Our optimiser takes the steps of PyTorch's, without its import of the compiler."""

from __future__ import annotations

import subprocess
import sys

import torch
from torch import nn

from gnnimpute._adam import Adam


def test_steps_are_those_of_pytorch() -> None:
    ours, theirs = (nn.ParameterList([torch.ones(3, 4), torch.ones(2), torch.ones(5)]) for _ in range(2))
    adam = Adam(ours, learning_rate=0.1, weight_decay=0.2, warm_up=4)
    reference = torch.optim.AdamW(theirs, lr=0.1, weight_decay=0.2, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(reference, lambda step: min(1.0, (step + 1) / 4))
    generator = torch.Generator().manual_seed(0)
    for _ in range(7):
        for mine, other in list(zip(ours, theirs, strict=True))[:2]:  # the last one is not used: it has no gradient
            mine.grad = torch.randn(mine.shape, generator=generator)
            other.grad = mine.grad.clone()
        adam.step()
        reference.step()
        schedule.step()
    for mine, other in zip(ours, theirs, strict=True):
        assert torch.equal(mine, other)
    assert torch.equal(ours[2], torch.ones(5))


def test_goes_on_where_it_was() -> None:
    def step(adam: Adam, weight: torch.Tensor) -> None:
        weight.grad = weight.detach() ** 2
        adam.step()

    settings = {"learning_rate": 0.1, "weight_decay": 0.0, "warm_up": 3}
    straight = nn.Parameter(torch.arange(4.0))
    adam = Adam([straight], **settings)
    for _ in range(2):
        step(adam, straight)
    resumed = nn.Parameter(straight.detach().clone())
    other = Adam([resumed], **settings)
    other.load({name: value.clone() for name, value in adam.tensors().items()}, adam.n_steps)
    step(adam, straight)
    step(other, resumed)
    assert torch.equal(straight, resumed)


def test_training_imports_no_compiler() -> None:
    code = (
        "import sys, numpy as np, gnnimpute as gi\n"
        "counts = np.random.default_rng(0).poisson(1, (20, 9)).astype('float32')\n"
        "graph = gi.NeighborGraph.from_embedding(counts, n_neighbors=2)\n"
        "imputer = gi.GNNImputer(gi.Config(n_epochs=1), device='cpu').fit(counts, graph)\n"
        "imputer.transform(counts, graph)\n"
        "assert 'torch._dynamo' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
