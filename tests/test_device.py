"""Where tensors live."""

from __future__ import annotations

import pytest
import torch

from gnnimpute._device import device_named


def test_devices_are_named_as_pytorch_does() -> None:
    assert device_named("cpu") == torch.device("cpu")
    assert device_named(None).type == ("cuda" if torch.cuda.is_available() else "cpu")
    with pytest.raises(ValueError, match="device='gpu' is no device of PyTorch"):
        device_named("gpu")
    with pytest.raises(ValueError, match=r"device='cuda:99', but PyTorch finds \d+ GPUs"):
        device_named("cuda:99")
