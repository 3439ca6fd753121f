"""The loss of hidden molecules and its gradient in one go, in parts of the cells that run side by side."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch.autograd.function import once_differentiable

from gnnimpute._threads import Threads

if TYPE_CHECKING:
    from torch import Tensor, nn

    from gnnimpute._loss import Hidden

_AT_ONCE = 2**20
"""Logits that a thread makes at a time, 4 MB."""
_LEAST = 2**18
"""Logits to a thread, at least: fewer are not worth the way there."""


def multinomial_loss(
    x: Tensor,
    layer: nn.Linear,
    hidden: Hidden,
    *,
    threads: Threads = Threads(),  # noqa: B008 -- frozen
) -> Tensor:
    """What :func:`gnnimpute._loss.hidden_loss` is for ``loss="poisson"`` and ``hide="molecules"``, in less time.

    The gradient of a softmax is the softmax itself, less what was hidden. It is made in place of the logits as soon as
    these are there, so that they are gone through once, and only those of a few cells are ever held.

    Parameters
    ----------
    x
        What the last layer reads, of shape (n_cells, n_hidden).
    layer
        The last layer, which makes logits of it, of shape (n_cells, n_genes).
    hidden
        The molecules that were hidden of the same cells, in the order of the cells.
    threads
        Where parts of the cells are computed.
    """
    loss: Tensor = _Multinomial.apply(x, layer.weight, layer.bias, hidden, threads)  # type: ignore[no-untyped-call]
    return loss


class _Part(NamedTuple):
    """Of some cells, not yet divided by the hidden molecules of all: the loss and its gradients."""

    loss: Tensor
    x: Tensor
    weight: Tensor
    bias: Tensor


class _Multinomial(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, *others: Any) -> Tensor:
        hidden: Hidden
        threads: Threads
        hidden, threads = others
        layer = x.detach(), weight.detach(), bias.detach()  # other threads do not know that no graph is wanted
        parts = _slices(0, len(x), min(threads.n, len(x) * len(weight) // _LEAST))
        first, *further = threads.map(lambda cells: _part(*layer, hidden, cells), parts)
        for part in further:
            for sum_of, more in ((first.loss, part.loss), (first.weight, part.weight), (first.bias, part.bias)):
                sum_of.add_(more)
        divisor = hidden.exposure.sum().clamp(min=1)
        ctx.save_for_backward(torch.cat([part.x for part in (first, *further)]), first.weight, first.bias, divisor)
        return first.loss / divisor

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        *gradients, divisor = ctx.saved_tensors
        x, weight, bias = (gradient * (grad[0] / divisor) for gradient in gradients)
        return x, weight, bias, None, None


def _slices(start: int, stop: int, n: int) -> list[slice]:
    """Of nearly the same size: as many as asked for, at least one, and none that is empty if that can be."""
    n = max(1, min(n, stop - start))
    ends = [start + (stop - start) * i // n for i in range(n + 1)]
    return [slice(*pair) for pair in itertools.pairwise(ends)]


def _entries(hidden: Hidden, cells: slice) -> slice:
    """Which hidden entries are those of some cells."""
    if cells == slice(0, len(hidden.exposure)):
        return slice(len(hidden.rows))  # a GPU need not be waited for
    ends = torch.tensor([cells.start, cells.stop], device=hidden.rows.device)
    return slice(*torch.searchsorted(hidden.rows, ends).tolist())


def _part(x: Tensor, weight: Tensor, bias: Tensor, hidden: Hidden, part: slice) -> _Part:
    n_genes = len(weight)
    made = _Part(x.new_zeros(()), torch.empty_like(x[part]), torch.zeros_like(weight), torch.zeros_like(bias))
    n_chunks = -(-(part.stop - part.start) * n_genes // _AT_ONCE) if x.device.type == "cpu" else 1
    for cells in _slices(part.start, part.stop, n_chunks):
        there = _entries(hidden, cells)
        exposure, molecules = hidden.exposure[cells], hidden.molecules[there]
        places = (hidden.rows[there] - cells.start) * n_genes + hidden.cols[there]
        logits = torch.addmm(bias, x[cells], weight.T)
        shares = logits.softmax(1)  # many times as fast as the exponential by itself
        log_total = logits.amax(1) - shares.amax(1).log()
        log_expected = exposure.clamp(min=1e-6).log() - log_total
        made.loss.add_((exposure * (1 - log_expected)).sum() - (molecules * logits.take(places)).sum())
        gradient = shares.mul_(exposure[:, None]).put_(places, -molecules, accumulate=True)
        torch.mm(gradient, weight, out=made.x[cells.start - part.start : cells.stop - part.start])
        made.weight.addmm_(gradient.T, x[cells])
        made.bias.add_(gradient.sum(0))
    return made
