"""A simulation as an AnnData in memory, or written to a zarr store a few cells at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gnnimpute._sparse_store import SparseWriter
from gnnimpute._splat_params import SplatParams
from gnnimpute._splatter import draw, plan
from gnnimpute._writers import write_zarr

if TYPE_CHECKING:
    from pathlib import Path

    from anndata import AnnData

    from gnnimpute._splatter import Plan

BLOCK = 4096
"""Cells that are simulated and written at a time."""


def simulated(settings: dict[str, Any], rng: int | np.random.Generator, *, true_means: bool = False) -> AnnData:
    """All cells in memory, described in :func:`gnnimpute.datasets.splatter`."""
    made = plan(SplatParams(**settings), np.random.default_rng(rng))
    counts = draw(made, range(len(made.batch)), true_means=true_means)
    adata = _described(made, settings, rng)
    adata.X, adata.layers["true_counts"] = counts.counts, counts.true_counts
    if counts.true_means is not None:
        adata.layers["true_means"] = counts.true_means
    return adata


def write_simulated(
    path: Path, settings: dict[str, Any], rng: int | np.random.Generator
) -> tuple[AnnData, tuple[int, int]]:
    """Write the same to the new zarr store `path`, holding few cells at a time.

    Without dropout, the counts are the truth and are written once. Gives all but the counts, and the number of
    non-zeros after and before dropout.
    """
    import zarr

    made = plan(SplatParams(**settings), np.random.default_rng(rng))
    adata = _described(made, settings, rng)
    write_zarr(adata, path)
    root = zarr.open_group(path, mode="r+")
    writers = [SparseWriter(root, "X", n_columns=adata.n_vars)]
    if made.dropout is not None:
        writers.append(SparseWriter(root, "layers/true_counts", n_columns=adata.n_vars))
    for start in range(0, adata.n_obs, BLOCK):
        counts = draw(made, range(start, min(start + BLOCK, adata.n_obs)))
        for writer, block in zip(writers, (counts.counts, counts.true_counts), strict=False):
            writer.append(block)
    for writer in writers:
        writer.close()
    zarr.consolidate_metadata(path)
    return adata, (writers[0].n_values, writers[-1].n_values)


def _described(made: Plan, settings: dict[str, Any], rng: int | np.random.Generator) -> AnnData:
    """Cells and genes, without their counts."""
    import pandas as pd
    from anndata import AnnData

    groups = [f"Group{number + 1}" for number in range(len(made.genes.de_factor))]
    batches = [f"Batch{number + 1}" for number in range(len(made.genes.batch_factor))]
    obs = {
        "group": pd.Categorical.from_codes(made.group, groups),
        "batch": pd.Categorical.from_codes(made.batch, batches),
        "expected_library_size": made.library_size,
    }
    var = {name: getattr(made.genes, name) for name in ("mean", "base_mean", "outlier_factor", "bcv_factor")}
    var |= {f"de_factor_{group}": factor for group, factor in zip(groups, made.genes.de_factor, strict=True)}
    var |= {f"batch_factor_{batch}": factor for batch, factor in zip(batches, made.genes.batch_factor, strict=True)}
    written = settings | ({"rng": rng} if isinstance(rng, int) else {})
    return AnnData(
        obs=pd.DataFrame(obs, index=[f"Cell{number + 1}" for number in range(len(made.group))]),
        var=pd.DataFrame(var, index=[f"Gene{number + 1}" for number in range(made.params.n_genes)]),
        uns={"splatter": {name: np.asarray(v) if np.ndim(v) else v for name, v in written.items()}},
    )
