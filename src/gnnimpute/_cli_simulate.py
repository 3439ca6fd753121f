"""The command ``gnnimpute simulate``."""

from __future__ import annotations

import inspect
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

import click

import gnnimpute as gi
from gnnimpute._command import Command, Option
from gnnimpute._options import misuse, parameters_of

PATH = click.Path(path_type=Path)

SIMULATED: dict[str, Any] = {"n_genes": 2000, "lib_loc": 9, "dropout_type": "experiment", "dropout_mid": 1}
"""Defaults of ``simulate`` where they are not R's: few genes, of which counts are lost."""

_ABOVE = {"batch_cells": "see --n-cells", "group_prob": "see --groups"}

_option = partial(click.option, cls=Option)


@click.command(
    cls=Command,
    epilog="""
Examples:
  gnnimpute simulate counts.h5ad
  gnnimpute simulate mixed.h5ad --n-cells 500 --group-prob 0.8,0.15,0.05 --dropout-type none
  gnnimpute simulate big.zarr --n-cells 100000 --n-genes 20000 --groups 8 --lib-loc 7.6 --dropout-type none

The two groups of Xu, Cai and Gao (2021):
  gnnimpute simulate paper.h5ad --n-cells 4000 --groups 2 --n-genes 20000 --lib-loc 11 \\
      --de-fac-scale 0.25 --dropout-mid 5
""",
)
@click.argument("out", metavar="OUT", type=PATH)
@_option("--n-cells", type=int, help="Number of cells, in one batch.  [default: 1000]", section="Most used")
@_option("--groups", type=int, help="Number of groups of cells, equally likely.  [default: 3]", section="Most used")
@_option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed.", section="Most used")
@_option("--overwrite", is_flag=True, help="Replace OUT if it exists.", section="Most used")
@parameters_of(gi.datasets.splatter, defaults=SIMULATED | _ABOVE, section="Parameters of the R package Splatter")
def simulate(out: Path, *, overwrite: bool, quiet: bool, **options: Any) -> None:
    """Simulate counts, of which some are lost, with Splatter's model, and write them to OUT (.h5ad or .zarr).

    The truth is there too: layers["true_counts"] holds the counts before dropout, obs["group"] the groups. Names and
    defaults of the parameters are R's, but for --n-genes, --lib-loc, --dropout-type and --dropout-mid, whose defaults
    make a small data set in which a good half of the non-zeros are lost. A .zarr is written some cells at a time: its
    size does not matter. Without dropout it holds the counts once, since they are the truth.
    """
    gi.io.check_writable(out, overwrite=overwrite)
    if out.suffix.lower() not in {".h5ad", ".zarr"}:
        misuse(f"{out}: only .h5ad and .zarr hold the truth beside the counts.")
    seed, n_cells, groups = (options.pop(name) for name in ("seed", "n_cells", "groups"))
    given = {name: value for name, value in options.items() if value is not None}
    for friendly, name, value in (("--n-cells", "batch_cells", n_cells), ("--groups", "group_prob", groups)):
        if value is not None and name in given:
            misuse(f"{friendly} and --{name.replace('_', '-')} say the same: give one of them.")
        if value is not None and value < 1:
            misuse(f"{friendly} {value}: give at least 1.")
    n_groups = groups or 3
    defaults = {**SIMULATED, "batch_cells": n_cells or 1000, "group_prob": [1 / n_groups] * n_groups}
    wanted = defaults | given
    if out.suffix.lower() == ".zarr" and not wanted.get("true_means"):
        from gnnimpute._simulated import write_simulated
        from gnnimpute._writers import in_place

        with in_place(out, suffix=".zarr") as beside:
            adata, found = write_simulated(beside, complete(wanted), seed)
    else:
        adata = gi.datasets.splatter(**wanted, rng=seed)
        found = adata.X.nnz, adata.layers["true_counts"].nnz
        gi.io.write(adata, out, overwrite=overwrite)
    if not quiet:
        from gnnimpute import _describe

        click.echo(_describe.simulated(adata, out, found))


def complete(given: dict[str, Any]) -> dict[str, Any]:
    """All parameters of the simulation, with the defaults of :func:`gnnimpute.datasets.splatter`."""
    from gnnimpute._splat_params import SplatParams

    defaults = {p.name: p.default for p in inspect.signature(gi.datasets.splatter).parameters.values()}
    return {field.name: given.get(field.name, defaults[field.name]) for field in fields(SplatParams)}
