"""What PyTorch is asked to do for the parts of a training and for a decoded cell: counted, without a clock.

    python benchmarks/speed/operations.py            counts, beside those that are written down
    python benchmarks/speed/operations.py --write    write them to operations.json: after a change that was meant

Counted are calls of operators, multiply-adds of matrix products (of a sparse matrix, its non-zeros only) and bytes that
operators read and write. `tests/test_operations.py` fails when one of them has grown by more than 2 %.
"""

from __future__ import annotations

import argparse
import contextlib
import json
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import gnnimpute as gi
from gnnimpute import _train

RECORD = Path(__file__).with_name("operations.json")
N_CELLS, N_GENES, N_NEIGHBORS = 256, 400, 5


class Counted(TorchDispatchMode):
    """Counts what is computed inside."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = self.multiply_adds = self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operator, and count it; one that is made of others is counted as those."""
        with self:
            out = func.decompose(*args, **(kwargs or {}))
        if out is not NotImplemented:
            return out
        out = func(*args, **(kwargs or {}))
        if not func.is_view:
            tensors = [leaf for leaf in tree_leaves((args, kwargs, out)) if isinstance(leaf, torch.Tensor)]
            self.calls += 1
            self.bytes += sum(_n_values(tensor) * tensor.element_size() for tensor in tensors)
            name = func.overloadpacket.__name__
            if name in {"mm", "addmm", "addmm_"}:
                left, right = args[-2:]
                inner = left.values().numel() if left.layout == torch.sparse_csr else left.numel()
                self.multiply_adds += inner * right.shape[1]
        return out


def _n_values(tensor: torch.Tensor) -> int:
    return tensor.values().numel() if tensor.layout == torch.sparse_csr else tensor.numel()


def counts() -> np.ndarray:
    """A small data set of several kinds of cells, the same on every machine."""
    rng = np.random.default_rng(0)
    kinds = rng.gamma(0.3, 1.0, (4, N_GENES))
    return rng.poisson(0.3 * kinds[rng.integers(4, size=N_CELLS)]).astype(np.float32)


def measured() -> dict[str, dict[str, float]]:
    """Counts of the parts of a training and of a decoded cell, with the default settings."""
    matrix = counts()
    graph = gi.NeighborGraph.from_embedding(matrix, n_neighbors=N_NEIGHBORS)
    config = gi.Config(n_epochs=1, batch_size=64)
    # What it is called in the record, and what one of its calls is shared between.
    parts = {"_epoch": ("training step", N_CELLS // config.batch_size), "_validate": ("validation", 1)}
    parts |= {"_weigh_linear": ("weighing the linear part", 1), "_put_groups_right": ("groups", 1)}
    found = {}

    def counting(function: Any, name: str, n: int) -> Any:
        def counted(*args: Any) -> Any:
            with Counted() as mode:
                result = function(*args)
            found[name] = _shares(mode, n)
            return result

        return counted

    with contextlib.ExitStack() as patched:
        patched.callback(torch.set_num_threads, torch.get_num_threads())
        torch.set_num_threads(1)  # what runs side by side in threads of its own would not be counted
        for name, (called, n) in parts.items():
            patched.enter_context(mock.patch.object(_train, name, counting(getattr(_train, name), called, n)))
        imputer = gi.GNNImputer(config, device="cpu").fit(matrix, graph, progress=False)
        with Counted() as decoding:
            imputer.transform(matrix, graph)
    return found | {"decoded cell": _shares(decoding, N_CELLS)}


def _shares(mode: Counted, n: int) -> dict[str, float]:
    return {name: getattr(mode, name) / n for name in ("calls", "multiply_adds", "bytes")}


def main() -> None:
    """Print the counts beside the record, or write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write operations.json")
    given = parser.parse_args()
    now = measured()
    before = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else now
    for what, numbers in now.items():
        for name, value in numbers.items():
            change = value / before[what][name] - 1 if before.get(what, {}).get(name) else 0.0
            print(f"{what:24} {name:14} {value:14,.1f} {change:+8.1%}")
    if given.write:
        RECORD.write_text(json.dumps(now, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
