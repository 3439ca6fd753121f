"""How close training and decoding come to what the device could do: one command, on a GPU or on a CPU.

    python benchmarks/speed/gpu.py --out results/gpu.json                     a million cells x 20,000 genes, one GPU
    python benchmarks/speed/gpu.py --cells 2000 --genes 1000 --epochs 1       a small size, on whatever there is

As `gnnimpute impute` does, it trains on a sample of the cells (`Config.most_cells`), then keeps of all cells what their
values are decoded from, and decodes some.

Two floors are written down. Arithmetic: the multiply-adds that encoder and decoder cannot do without, over the rate of
a large matrix product on this device. Bytes: the counts read once by the encoder, and logits of the decoder written and
read once on the way there and once on the way back, over the rate at which this device copies memory. Both rates are
measured here first. Simulated counts and their graph are made before the clock starts; the epoch's random hiding, which
NumPy does, is inside, and so are the linear part and the groups of cells, of which the floors know nothing. The search
for neighbours has a clock of its own, on random points: 50 multiply-adds for each pair of cells, and its distances
written and read.

Matrix products are float32. With --tf32 CUDA may round their factors to ten bits, which held-out molecules do not see
(docs/research.md). With --busy it trains again under PyTorch's profiler, which takes longer: for how long did the GPU
compute, copy, and multiply matrices?
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp
import torch

import gnnimpute as gi
from gnnimpute._atomic import replacing
from gnnimpute._device import device_named
from gnnimpute._nearest import exact

if TYPE_CHECKING:
    from collections.abc import Callable

N_GROUPS = 20
N_DIMENSIONS = 50
"""Dimensions in which neighbours are sought."""
N_DECODED = 4096
"""Cells that are decoded to time it."""


def simulated(n_cells: int, n_genes: int, density: float, device: torch.device | str = "cpu") -> sp.csr_matrix:
    """Sparse counts of groups of cells: frequent genes differ between groups. Made group by group, never dense."""
    rng = np.random.default_rng(0)
    draw = torch.Generator(device).manual_seed(0)
    n_molecules = round(density * n_genes)
    parts = []
    for cells in np.array_split(np.arange(n_cells), N_GROUPS):
        share = torch.from_numpy(rng.gamma(0.3, 1.0, n_genes) + 1e-3).to(device)
        limits = (share.cumsum(0) / share.sum()).float()
        molecules = torch.rand(len(cells), n_molecules, generator=draw, device=device)
        genes = torch.searchsorted(limits, molecules).clamp_(max=n_genes - 1)
        genes += n_genes * torch.arange(len(cells), device=device)[:, None]
        # Entries in order of their cells, then of their genes; each with the number of its molecules.
        entries, counts = genes.flatten().sort().values.unique_consecutive(return_counts=True)
        per_cell = torch.bincount(entries // n_genes, minlength=len(cells))
        parts.append([part.cpu().numpy() for part in (counts.float(), (entries % n_genes).int(), per_cell)])
    data, indices, sizes = (np.concatenate(part) for part in zip(*parts, strict=True))
    return sp.csr_matrix((data, indices, np.append(0, np.cumsum(sizes))), (n_cells, n_genes))


def neighbors(n_cells: int, k: int) -> gi.NeighborGraph:
    """A graph within the groups."""
    rng = np.random.default_rng(1)
    groups = np.array_split(np.arange(n_cells), N_GROUPS)
    others = [rng.choice(cells, size=(len(cells), k)) for cells in groups]
    return gi.NeighborGraph(np.column_stack([np.arange(n_cells), np.concatenate(others)]))


def synchronized(device: torch.device) -> float:
    """The time, once the device has done all that it was asked for."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def rates(device: torch.device, size: int) -> dict[str, float]:
    """Multiply-adds and bytes a second that this device reaches: the best of five products and copies."""
    a, b = (torch.randn(size, size, device=device) for _ in range(2))
    best = {"multiply_adds": 0.0, "bytes": 0.0}
    work = {"multiply_adds": (lambda: a @ b, size**3), "bytes": (a.clone, 2 * 4 * size**2)}
    for name, (run, amount) in work.items():
        for _ in range(5):
            started = synchronized(device)
            run()
            best[name] = max(best[name], amount / (synchronized(device) - started))
    return best


def floors(counts: sp.csr_matrix, config: gi.Config, *, n_cells: int, decoding: bool = False) -> dict[str, float]:
    """Least multiply-adds and bytes of an epoch on so many of the cells, or of decoding them once."""
    n_genes = counts.shape[1]
    if decoding:  # of the network and of the linear part beside it
        width = config.n_hidden + config.n_components
        return {"multiply_adds": n_cells * width * n_genes, "bytes": 4 * n_cells * n_genes}
    kept = (1 - config.hide_rate) * counts.nnz * n_cells / counts.shape[0]
    if config.reads == "components":  # projected once; no gradient goes through the directions
        encoder, read = kept * 2 * config.n_components, 8 * kept
    else:
        encoder, read = 2 * kept * config.n_heads * config.n_hidden, 2 * 8 * kept
    # The decoder's product, and its gradient for weights and for input.
    multiply_adds = encoder + 3 * n_cells * config.n_hidden * n_genes
    return {"multiply_adds": multiply_adds, "bytes": read + 4 * 4 * n_cells * n_genes}


def report(seconds: float, least: dict[str, float], rate: dict[str, float]) -> dict[str, float]:
    """Seconds beside both floors, and the share of the higher one."""
    floor = {name: least[name] / rate[name] for name in least}
    named = {"floor_arithmetic_s": floor["multiply_adds"], "floor_bytes_s": floor["bytes"]}
    return {"seconds": seconds, **named, "share_of_floor": max(floor.values()) / seconds}


def busy(train: Callable[[], object]) -> dict[str, float]:
    """Seconds of a training, and of these how long the GPU computed, copied, and multiplied matrices."""
    from torch.profiler import ProfilerActivity, profile

    started = time.perf_counter()
    with profile(activities=[ProfilerActivity.CUDA]) as seen:
        train()
    events = [(event.key.lower(), event.self_device_time_total / 1e6) for event in seen.key_averages()]
    copied = sum(seconds for name, seconds in events if name.startswith("mem"))
    return {
        "seconds": time.perf_counter() - started,
        "computing_s": sum(seconds for _, seconds in events) - copied,
        "copying_s": copied,
        "products_s": sum(seconds for name, seconds in events if "gemm" in name),
    }


def measured(given: argparse.Namespace) -> dict[str, Any]:
    """Everything that is written down."""
    device = device_named(given.device)
    if given.tf32:
        torch.set_float32_matmul_precision("high")  # of this process, which ends with this benchmark
    rate = rates(device, given.product)
    counts, graph = simulated(given.cells, given.genes, given.density, device), neighbors(given.cells, given.neighbors)
    print(f"{counts.shape[0]} x {counts.shape[1]}, {counts.nnz / 1e6:.1f} million non-zeros", file=sys.stderr)
    config = gi.Config(n_epochs=given.epochs, patience=given.epochs)
    some = np.arange(given.cells)[:: -(-given.cells // config.most_cells)]
    sample, graph_of_sample = counts[some], neighbors(len(some), given.neighbors)

    def train() -> gi.GNNImputer:
        return gi.GNNImputer(config, device=str(device)).fit(sample, graph_of_sample, progress=given.progress)

    started = synchronized(device)
    imputer = train()
    fitted = synchronized(device) - started
    started = synchronized(device)
    imputer.keep(counts, graph)
    kept = synchronized(device) - started
    points = np.random.default_rng(2).standard_normal((given.cells, N_DIMENSIONS), dtype=np.float32)
    started = synchronized(device)
    exact(points, given.neighbors, device)
    searched = synchronized(device) - started
    pairs = float(given.cells) ** 2
    cells = np.arange(min(N_DECODED, given.cells))
    started = synchronized(device)
    imputer.values(cells=cells)
    decoded = synchronized(device) - started
    least = floors(counts, config, n_cells=len(some))
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "tf32": given.tf32,
        "cells": given.cells,
        "genes": given.genes,
        "non_zeros": int(counts.nnz),
        "epochs": given.epochs,
        "rates": rate,
        "peak_gb": torch.cuda.max_memory_allocated(device) / 1e9 if device.type == "cuda" else None,
        "training": {
            "cells": len(some),
            **report(fitted, {name: value * given.epochs for name, value in least.items()}, rate),
        },
        "training_again": busy(train) if given.busy else None,
        "keeping_seconds": kept,
        "neighbors": report(searched, {"multiply_adds": N_DIMENSIONS * pairs, "bytes": 2 * 4 * pairs}, rate),
        "decoding": {
            "cells": len(cells),
            **report(decoded, floors(counts, config, n_cells=len(cells), decoding=True), rate),
        },
        "trained_and_ready_to_decode_seconds": searched + fitted + kept,
    }


def main() -> None:
    """Measure, print, and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=1_000_000)
    parser.add_argument("--genes", type=int, default=20_000)
    parser.add_argument("--density", type=float, default=0.05, help="molecules of a cell over genes (default 0.05)")
    parser.add_argument("--neighbors", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=3, help="a million cells need few (default 3)")
    parser.add_argument("--product", type=int, default=4096, help="size of the product that is timed (default 4096)")
    parser.add_argument("--device", help="as PyTorch names it (default: a GPU if there is one)")
    parser.add_argument("--tf32", action="store_true", help="let CUDA round factors of products to ten bits")
    parser.add_argument("--busy", action="store_true", help="train again, and say how long the GPU was busy")
    parser.add_argument("--progress", action="store_true", help="show the bar of the training")
    parser.add_argument("--out", type=Path, help="JSON to write")
    given = parser.parse_args()
    if given.busy and device_named(given.device).type != "cuda":
        parser.error("--busy is about a GPU, and there is none here")
    text = json.dumps(measured(given), indent=2)
    print(text)
    if given.out is not None:
        with replacing(given.out) as beside:
            beside.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
