"""Training of one network by several processes: `torchrun` starts them, each computes a part of every batch.

All processes read the same data, draw the same random numbers and end with the same weights.
"""

from __future__ import annotations

import atexit
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from gnnimpute import _processes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import scipy.sparse as sp
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Team:
    """The processes that train one network; by default this one alone, for which nothing here has an effect."""

    rank: int = 0
    n_processes: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process validates, writes and talks."""
        return self.rank == 0

    def share(self, cells: NDArray[np.int64]) -> NDArray[np.int64]:
        """The part of a batch that this process computes; parts differ by one cell at most."""
        return np.array_split(cells, self.n_processes)[self.rank]

    def check(self, counts: sp.csr_matrix, smallest_batch: int) -> None:
        """Raise ValueError where processes cannot train together."""
        if self.n_processes == 1:
            return
        if smallest_batch < 2 * self.n_processes:
            who = f"{self.n_processes} processes share batches of {smallest_batch} cells"
            msg = f"{who}: start fewer of them, or raise batch_size."
            raise ValueError(msg)
        mine = [*counts.shape, counts.nnz, float(counts.sum(dtype=np.float64))]
        if mine != (theirs := self.told(mine)):
            msg = f"Process {self.rank} has other counts ({mine}) than process 0 ({theirs}): give all the same file."
            raise ValueError(msg)

    def told(self, value: Any) -> Any:
        """What the first process says, known to all."""
        if self.n_processes == 1:
            return value
        values = [value]
        dist.broadcast_object_list(values, src=0)
        return values[0]

    def same_random(self, rng: np.random.Generator) -> np.random.Generator:
        """Let all processes draw what the first one draws."""
        rng.bit_generator.state = self.told(rng.bit_generator.state)
        return rng

    def own_dropout(self, device: torch.device | str = "cpu") -> None:
        """Let each process drop other units, though all have the random state of the first one, which keeps it."""
        if not self.rank:
            return
        seed = int(torch.randint(2**62, (), device=device)) + self.rank
        torch.default_generator.manual_seed(seed)
        if torch.device(device).type == "cuda":
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)

    def shared(self, network: nn.Module) -> None:
        """Let batch normalisation see the whole batch, and all start from the weights of the first process."""
        if self.n_processes == 1:
            return
        for name, module in list(network.named_children()):
            if isinstance(module, nn.BatchNorm1d):
                setattr(network, name, SharedNorm(module.num_features))
        for value in network.state_dict().values():
            dist.broadcast(value, src=0)

    def backward(self, parameters: Iterable[nn.Parameter], loss: Tensor, weight: Callable[[], Tensor]) -> Tensor:
        """Gradients of the loss of the whole batch, and that loss.

        Parameters
        ----------
        parameters
            What is learnt.
        loss
            Mean over this process's part of the batch.
        weight
            Gives what that part was divided by to be a mean.
        """
        if self.n_processes == 1:
            loss.backward()  # type: ignore[no-untyped-call]
            return loss.detach()
        here = weight().to(loss)
        (here * loss).backward()  # type: ignore[no-untyped-call]
        with_gradient = [p for p in parameters if p.grad is not None]
        parts = [p.grad.flatten() for p in with_gradient if p.grad is not None]
        flat = torch.cat([*parts, (here * loss).detach()[None], here[None]])
        dist.all_reduce(flat)
        flat /= flat[-1].clone()
        for parameter, part in zip(with_gradient, torch.split(flat[:-2], [len(p) for p in parts]), strict=True):
            parameter.grad = part.view_as(parameter)
        return flat[-2]


def join() -> Team:
    """The processes that `torchrun` started, or those of a process group that is there already."""
    if dist.is_available() and dist.is_initialized():
        return Team(dist.get_rank(), dist.get_world_size())
    if (here := _processes.place()).n_processes == 1:
        return Team()
    if here.local_rank < torch.cuda.device_count():
        torch.cuda.set_device(here.local_rank)
    dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
    atexit.register(dist.destroy_process_group)
    return Team(here.rank, here.n_processes)


class SharedNorm(nn.BatchNorm1d):
    """Batch normalisation by the mean and variance of all processes' rows; PyTorch has that for GPUs only.

    A neighbour that two processes both read counts twice in the hidden layer's statistics, and once with one process.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalise rows (m, n_features)."""
        if not self.training or self.running_mean is None or self.running_var is None:
            return super().forward(x)
        n = _sum(x.new_tensor([float(len(x))]))
        mean = _sum(x.sum(0)) / n
        centred = x - mean
        variance = _sum((centred**2).sum(0)) / n
        with torch.no_grad():
            momentum = float(self.momentum or 0)
            self.running_mean.lerp_(mean, momentum)
            self.running_var.lerp_(variance * n / (n - 1), momentum)
            if self.num_batches_tracked is not None:
                self.num_batches_tracked += 1
        return centred * torch.rsqrt(variance + self.eps) * self.weight + self.bias


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:  # noqa: ARG004
        total = x.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *grad: Tensor) -> Tensor:  # noqa: ARG004
        total = grad[0].clone()
        dist.all_reduce(total)
        return total


def _sum(x: Tensor) -> Tensor:
    """Sum over processes, with the gradient that every process's loss gives."""
    total: Tensor = _Sum.apply(x)  # type: ignore[no-untyped-call]
    return total
