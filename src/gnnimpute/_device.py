"""Where tensors live."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gnnimpute import _processes

if TYPE_CHECKING:
    import torch


def device_named(name: str | None) -> torch.device:
    """The device, or a GPU if there is one; of several processes each has its own.

    Raises
    ------
    ValueError
        If PyTorch knows no such device or cannot reach it.
    """
    import torch

    name = name or ("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cuda" and (here := _processes.place()).n_processes > 1:
        name = f"cuda:{here.local_rank}"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        msg = f"device={name!r} is no device of PyTorch: use 'cpu' or 'cuda'."
        raise ValueError(msg) from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        msg = f"device={name!r}, but PyTorch finds {torch.cuda.device_count()} GPUs here: use device='cpu'."
        raise ValueError(msg)
    return device
