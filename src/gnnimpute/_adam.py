"""Adam with decoupled weight decay and a warm-up.

The step is PyTorch's own. Its optimizer *classes* import the compiler as soon as one is made: two seconds of every run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.optim.adamw import adamw

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor, nn


class Adam:
    """State of the optimiser and its step.

    Parameters
    ----------
    parameters
        What is learnt.
    learning_rate
        Peak learning rate.
    weight_decay
        Share of each weight, times the learning rate, that a step takes away.
    warm_up
        Steps over which the learning rate rises to its peak.
    """

    def __init__(
        self, parameters: Iterable[nn.Parameter], *, learning_rate: float, weight_decay: float, warm_up: int
    ) -> None:
        self.parameters = list(parameters)
        self.learning_rate, self.weight_decay, self.warm_up = learning_rate, weight_decay, warm_up
        self.n_steps = 0
        self.mean = [torch.zeros_like(p, memory_format=torch.preserve_format) for p in self.parameters]
        self.square = [torch.zeros_like(p, memory_format=torch.preserve_format) for p in self.parameters]
        self._taken = [torch.zeros((), device=p.device) for p in self.parameters]

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Move every parameter that has a gradient."""
        moved = [i for i, p in enumerate(self.parameters) if p.grad is not None]
        adamw(
            [self.parameters[i] for i in moved],
            [grad for p in self.parameters if (grad := p.grad) is not None],
            [self.mean[i] for i in moved],
            [self.square[i] for i in moved],
            [],
            [self._taken[i] for i in moved],
            fused=True,
            amsgrad=False,
            beta1=0.9,
            beta2=0.999,
            lr=self.learning_rate * min(1.0, (self.n_steps + 1) / self.warm_up),
            weight_decay=self.weight_decay,
            eps=1e-8,
            maximize=False,
        )
        self.n_steps += 1

    def tensors(self) -> dict[str, Tensor]:
        """State to write down; `load` takes it back, together with `n_steps`."""
        parts = {"mean": self.mean, "square": self.square, "taken": self._taken}
        return {f"{name}.{i}": value for name, values in parts.items() for i, value in enumerate(values)}

    def load(self, tensors: dict[str, Tensor], n_steps: int) -> None:
        """Go on from what `tensors` gave."""
        for name, value in self.tensors().items():
            value.copy_(tensors[name])
        self.n_steps = n_steps
