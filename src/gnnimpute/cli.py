"""The command ``gnnimpute``: impute, simulate, and say what is in a file."""

from __future__ import annotations

import logging
import os
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, get_args

import click

import gnnimpute as gi
from gnnimpute import __version__, _describe, _keys
from gnnimpute._cli_benchmark import benchmark
from gnnimpute._command import Command, Option
from gnnimpute._config import Estimate, Output
from gnnimpute._options import MODEL, Limit, Names, check_files, config_of, parameters_of, settings

if TYPE_CHECKING:
    from anndata import AnnData

    from gnnimpute._config import Config
    from gnnimpute._imputer import GNNImputer

PATH = click.Path(path_type=Path)
_log = logging.getLogger(__name__)

SIMULATED: dict[str, Any] = {"n_genes": 2000, "lib_loc": 9, "dropout_type": "experiment", "dropout_mid": 1}
"""Defaults of ``simulate`` where they are not R's: few genes, of which counts are lost."""

_ABOVE = {"batch_cells": "see --n-cells", "group_prob": "see --groups"}

_option = partial(click.option, cls=Option)
_files = partial(_option, section="Files")
_quality = partial(_option, section="Quality control (what fails is not modelled, but kept and flagged)")
_graph = partial(_option, section="Neighbors")
_result = partial(_option, section="Result")
_run = partial(_option, section="Run")


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(__version__, prog_name="gnnimpute")
def main() -> None:
    """Recover dropouts in single-cell RNA-seq counts with graph attention.

    \b
    Begin with
      gnnimpute simulate counts.h5ad               counts to try it on, or take your own
      gnnimpute info counts.h5ad                   is it what you think it is?
      gnnimpute impute counts.h5ad imputed.h5ad    the result is layers["gnnimpute"] of the new file
    """  # noqa: D301 -- \b keeps click from wrapping the lines
    # PyTorch's threads wait for each other by spinning: where other programs want the same cores, four times slower.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


main.add_command(benchmark)


@main.command(
    cls=Command,
    epilog="""
Examples:
  gnnimpute impute counts.h5ad imputed.h5ad
  gnnimpute impute filtered_feature_bc_matrix imputed.h5ad --estimate posterior --output log1p
  gnnimpute impute atlas.h5ad imputed.zarr --use-rep X_scVI --save-model atlas.safetensors
  gnnimpute impute new.h5ad new_imputed.h5ad --model atlas.safetensors
""",
)
@click.argument("source", metavar="IN", type=PATH)
@click.argument("out", metavar="OUT", type=PATH)
@_result(
    "--estimate",
    type=click.Choice(get_args(Estimate)),
    default="mean",
    show_default=True,
    help="The question to answer. mean: how much does such a cell express? detected: how much, given that the gene was "
    "detected (the value behind a dropout)? posterior: how much, given this cell's own count too?",
)
@_result(
    "--output",
    type=click.Choice(get_args(Output)),
    default="normalized",
    show_default=True,
    help="Scale. normalized: each cell at the median total; counts: each at its own; log1p: log(1 + normalized).",
)
@_result("--genes", type=Names(), help="Impute only these, into obsm. OUT may then be a .csv of them.")
@_result("--key-added", default=_keys.ADDED, show_default=True, help="Name of what is added.")
@_files("--layer", help="Layer of the raw counts.  [default: counts if there is one, else X]")
@_files("--orientation", type=click.Choice(["cells_by_genes", "genes_by_cells"]), help="What rows x columns of IN are.")
@_files("--overwrite", is_flag=True, help="Replace OUT (and the file of --save-model) if it exists.")
@_quality("--min-genes", type=int, default=200, show_default=True, help="Least detected genes of a cell.")
@_quality("--min-cells", type=int, default=3, show_default=True, help="Least cells that a gene is detected in.")
@_quality("--max-genes", type=int, help="Most detected genes of a cell.  [default: no limit]")
@_quality("--max-mito-pct", type=Limit(), default="mad", show_default=True, help="Most mitochondrial counts, in %.")
@_quality("--max-total", type=Limit(), default="mad", show_default=True, help="Most counts of a cell.")
@_quality("--filter", is_flag=True, help="Drop what fails from OUT.")
@_quality("--allow-non-counts", is_flag=True, help="Take values that are not whole, such as TPM.")
@_graph("--n-neighbors", type=int, default=5, show_default=True, help="Nearest cells of a cell, without itself.")
@_graph("--n-pcs", type=int, default=50, show_default=True, help="Principal components to find them in.")
@_graph("--batch-key", help="Column of obs: neighbors are sought within each batch.")
@_graph("--use-rep", help="Embedding in obsm to find them in instead, such as X_pca_harmony or X_scVI.")
@_graph("--neighbors-key", help="Graph to use instead: a key of uns as sc.pp.neighbors writes it.")
@_run("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="The same seed gives the same numbers.")
@_run("--device", help="Where to compute: cpu, cuda, cuda:1, ...  [default: a GPU if there is one]")
@_run("--model", type=PATH, help="Use this saved model instead of training one.")
@_run("--save-model", type=PATH, help="Save the trained model to this file (.safetensors).")
@_run("--checkpoint", type=PATH, help="Write this file after every epoch; go on from it if it exists.")
@_run("--paper", is_flag=True, help="Start from the settings of Xu, Cai and Gao (2021) instead of the defaults.")
@settings
def impute(source: Path, out: Path, *, overwrite: bool, quiet: bool, **options: Any) -> None:
    """Impute the counts in IN and write the whole object, with the imputed layer, to OUT.

    IN: .h5ad, .zarr, 10x folder or .h5, .loom, .mtx, .csv, .tsv. OUT: .h5ad or .zarr; or, for R, .csv, .tsv or .mtx
    with the imputed values alone. Cells and genes stay the same and in the same order. Ctrl-C ends the training after
    the epoch; the best weights so far are then used.
    """
    started = time.monotonic()
    config = _checked(options, overwrite=overwrite)
    genes, key = options["genes"], options["key_added"]
    gi.io.check_writable(out, overwrite=overwrite)
    adata = gi.io.read(source, orientation=options["orientation"])
    n_columns = adata.n_vars if genes is None else len(genes)
    gi.io.check_writable(out, overwrite=overwrite, n_bytes=4.0 * adata.n_obs * n_columns)
    if genes is not None:
        _describe.require_genes(adata, genes)
    options["layer"] = _prepare(adata, options)
    progress = False if quiet else None
    shared = {name: options[name] for name in ("layer", "neighbors_key", "use_rep", "batch_key", "n_neighbors")}
    shared |= {"allow_non_counts": options["allow_non_counts"], "rng": options["seed"], "device": options["device"]}
    shared |= {"config": config, "progress": progress, "checkpoint": options["checkpoint"]}
    wanted = {name: options[name] for name in ("estimate", "output", "key_added", "genes")}
    gi.tl.impute(adata, imputer=_imputer(adata, options, shared), **wanted, **shared)
    _write(adata, out, overwrite=overwrite, key=key, genes=genes)
    if not quiet:
        seconds = time.monotonic() - started
        click.echo(_describe.summary(adata, out, key=key, genes=genes, seconds=seconds))


@main.command(
    cls=Command,
    epilog="""
Examples:
  gnnimpute simulate counts.h5ad
  gnnimpute simulate mixed.zarr --n-cells 500 --group-prob 0.8,0.15,0.05 --dropout-type none

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
    make a small data set in which a good half of the non-zeros are lost.
    """
    gi.io.check_writable(out, overwrite=overwrite)
    if out.suffix.lower() not in {".h5ad", ".zarr"}:
        _misuse(f"{out}: only .h5ad and .zarr hold the truth beside the counts.")
    seed, n_cells, groups = (options.pop(name) for name in ("seed", "n_cells", "groups"))
    given = {name: value for name, value in options.items() if value is not None}
    for friendly, name, value in (("--n-cells", "batch_cells", n_cells), ("--groups", "group_prob", groups)):
        if value is not None and name in given:
            _misuse(f"{friendly} and --{name.replace('_', '-')} say the same: give one of them.")
        if value is not None and value < 1:
            _misuse(f"{friendly} {value}: give at least 1.")
    n_groups = groups or 3
    defaults = {**SIMULATED, "batch_cells": n_cells or 1000, "group_prob": [1 / n_groups] * n_groups}
    adata = gi.datasets.splatter(**(defaults | given), rng=seed)
    gi.io.write(adata, out, overwrite=overwrite)
    if not quiet:
        click.echo(_describe.simulated(adata, out))


@main.command(cls=Command)
@click.argument("file", metavar="FILE", type=PATH)
def info(file: Path, *, quiet: bool) -> None:
    """Say what is in FILE: cells, genes, layers and what each looks like, and what has been imputed.

    FILE is anything that `impute` reads, or a saved model (.safetensors).
    """
    del quiet
    if file.suffix.lower() == MODEL:
        click.echo(_describe.model(file))
    else:
        click.echo(_describe.contents(gi.io.read(file), file))


def _checked(options: dict[str, Any], *, overwrite: bool) -> Config:
    """Refuse, before anything is read, what cannot work; takes the settings out of `options`."""
    own = [name for name in gi.Config.__dataclass_fields__ if options[name] is not None]
    config = config_of(options, paper=(paper := options.pop("paper")))
    if options["model"] is not None and (
        others := [*own, *(name for name in ("save_model", "checkpoint") if options[name])]
    ):
        _misuse(f"--model brings its own network and training: leave out --{others[0].replace('_', '-')}.")
    if options["model"] is not None and paper:
        _misuse("--model brings its own network and training: leave out --paper.")
    if options["estimate"] == "posterior" and config.hide != "molecules" and options["model"] is None:
        _misuse("--estimate posterior needs a model trained on hidden molecules: add --hide molecules.")
    if not (key := options["key_added"]) or "/" in key:
        _misuse(f"--key-added {key!r}: give a name without '/', which files cannot hold.")
    check_files(options, overwrite=overwrite)
    return config


def _prepare(adata: AnnData, options: dict[str, Any]) -> str | None:
    """Quality control and graph; gives the layer to impute."""
    if options["key_added"] in adata.uns:
        _log.warning("The result %r of an earlier run is replaced in the new file.", options["key_added"])
    layer: str | None = options["layer"] if _keys.COUNTS in adata.layers else None
    names = ("min_genes", "min_cells", "max_genes", "max_mito_pct", "max_total", "n_neighbors", "batch_key")
    taken = {name: options[name] for name in (*names, "layer", "filter", "allow_non_counts")}
    n_pcs = None if options["use_rep"] or options["neighbors_key"] else options["n_pcs"]
    if options["neighbors_key"] != _keys.NEIGHBORS:  # that one is of an earlier `prepare`, whose marks go with it
        gi.pp.prepare(adata, **taken, n_pcs=n_pcs, rng=options["seed"])
    return layer


def _imputer(adata: AnnData, options: dict[str, Any], shared: dict[str, Any]) -> GNNImputer | None:
    """The saved model, or a new one that is saved; `None` leaves it to `impute`."""
    if options["model"] is not None:
        return gi.GNNImputer.load(options["model"], device=options["device"])
    if options["save_model"] is None:
        return None
    imputer = gi.tl.fit(adata, **shared)
    imputer.save(options["save_model"])
    return imputer


def _write(adata: AnnData, out: Path, *, overwrite: bool, key: str, genes: list[str] | None) -> None:
    if genes is None or out.suffix.lower() in {".h5ad", ".zarr"}:
        gi.io.write(adata, out, key=key, overwrite=overwrite)
        return
    from anndata import AnnData

    gi.io.write(AnnData(adata.obsm[f"{key}_genes"]), out, key=None, overwrite=overwrite)


def _misuse(message: str) -> NoReturn:
    raise click.UsageError(message)
