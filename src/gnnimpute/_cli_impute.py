"""The command ``gnnimpute impute``."""

from __future__ import annotations

import logging
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

import gnnimpute as gi
from gnnimpute import _keys, _processes
from gnnimpute._cli_evaluate import evaluate_before, write_report
from gnnimpute._cli_out import check_apart, check_columns
from gnnimpute._cli_read import read, reading_options
from gnnimpute._cli_store import impute_stores, store_options
from gnnimpute._command import Command, Option, importing
from gnnimpute._config import Estimate, Output
from gnnimpute._options import (
    GRAPH,
    QUALITY,
    QUALITY_NAMES,
    Names,
    check_files,
    check_report,
    config_of,
    graph_options,
    misuse,
    quality_options,
    settings,
)

if TYPE_CHECKING:
    from anndata import AnnData

    from gnnimpute._config import Config
    from gnnimpute._imputer import GNNImputer

PATH = click.Path(path_type=Path)
_log = logging.getLogger(__name__)

_option = partial(click.option, cls=Option)
_files = partial(_option, section="Files")
_quality = partial(_option, section=QUALITY)
_graph = partial(_option, section=GRAPH)
_result = partial(_option, section="Result")
_trust = partial(_option, section="Trust")
_run = partial(_option, section="Run")


@click.command(
    cls=Command,
    epilog="""
Examples:
  gnnimpute impute counts.h5ad imputed.h5ad
  gnnimpute impute filtered_feature_bc_matrix imputed.h5ad --estimate posterior --output log1p
  gnnimpute impute atlas.h5ad imputed.zarr --use-rep X_scVI --save-model atlas.safetensors
  gnnimpute impute new.h5ad new_imputed.h5ad --model atlas.safetensors
  gnnimpute impute big.zarr big_imputed.zarr --out-of-core --dtype float16
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
    "detected (the value behind a dropout)? posterior: how much, given this cell's own counts too?",
)
@_result(
    "--output",
    type=click.Choice(get_args(Output)),
    default="normalized",
    show_default=True,
    help="Scale. normalized: each cell at the median total; counts: each at its own; log1p: log(1 + normalized).",
)
@_result("--genes", type=Names(), help="Impute only these, into obsm. OUT may then be a .csv of them.")
@_result(
    "--interval",
    type=float,
    help="Add layers with the ends of the interval that holds the expression with this probability, such as 0.9, and "
    "with the probability that another library would show the gene: of a zero, that it is a dropout.",
)
@_result("--key-added", default=_keys.ADDED, show_default=True, help="Name of what is added.")
@reading_options
@_files("--overwrite", is_flag=True, help="Replace OUT (and the file of --save-model) if it exists.")
@quality_options
@_quality("--filter", is_flag=True, help="Drop what fails from OUT.")
@_quality("--allow-non-counts", is_flag=True, help="Take values that are not whole, such as TPM.")
@store_options
@graph_options
@_graph("--neighbors-key", help="Graph to use instead: a key of uns as sc.pp.neighbors writes it.")
@_trust("--report", type=PATH, help="Evaluate, and write a page with verdict, tests and pictures to this .html file.")
@_trust("--refuse-if-no-gain", is_flag=True,
        help="Evaluate first, as `evaluate` does, and stop with exit code 3 if there is no clear gain.")  # fmt: skip
@_trust("--cluster-key", help="Column of obs whose groups these two look at apart.  [default: k-means]")
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
    check_apart(source, out)
    check_columns(out, options["genes"])
    config = _checked(options, overwrite=overwrite)
    with importing():
        import anndata  # noqa: F401 -- all that is needed below

        from gnnimpute import _describe, io, pp, tl  # noqa: F401
        from gnnimpute._result import check_key
    _check_kinds(options)
    if impute_stores(source, out, options, config=config, overwrite=overwrite, quiet=quiet):
        return
    genes, key = options["genes"], options["key_added"]
    gi.io.check_writable(out, overwrite=overwrite)
    if options["interval"] is not None and out.suffix.lower() not in {".h5ad", ".zarr"}:
        misuse(f"{out} holds the imputed values alone: only .h5ad and .zarr hold the layers of --interval.")
    adata = read(source, options)
    check_key(adata, key)
    n_columns = adata.n_vars if genes is None else len(genes)
    gi.io.check_writable(out, overwrite=overwrite, n_bytes=4.0 * adata.n_obs * n_columns)
    if genes is not None:
        _describe.require_genes(adata, genes)
    progress = False if quiet else None
    if options["refuse_if_no_gain"] or options["report"] is not None:
        evaluate_before(adata, options, config=config, progress=progress)  # before quality control of all counts
    options["layer"] = _prepare(adata, options)
    shared = {name: options[name] for name in ("layer", "neighbors_key", "use_rep", "batch_key", "n_neighbors")}
    shared |= {"allow_non_counts": options["allow_non_counts"], "rng": options["seed"], "device": options["device"]}
    if options["use_rep"] is None:  # the graph is made by `prepare`, which knows the batches
        shared["batch_key"] = None
    shared |= {"config": config, "progress": progress, "checkpoint": options["checkpoint"]}
    if not _processes.place().is_first:  # it helps to train, and writes nothing
        if options["model"] is None:
            gi.tl.fit(adata, **shared)
        return
    wanted = {name: options[name] for name in ("estimate", "output", "interval", "key_added", "genes")}
    if (imputer := _imputer(adata, options, shared)) is not None:
        shared["config"] = None  # it has its own
    gi.tl.impute(adata, imputer=imputer, **wanted, **shared)
    _write(adata, out, overwrite=overwrite, key=key, genes=genes)
    if options["report"] is not None:
        write_report(adata, options["report"], source=source, key=key, cluster_key=options["cluster_key"])
    if not quiet:
        seconds = time.monotonic() - started
        click.echo(_describe.summary(adata, out, key=key, genes=genes, seconds=seconds))


def _checked(options: dict[str, Any], *, overwrite: bool) -> Config:
    """Refuse, before anything is read, what cannot work; takes the settings out of `options`."""
    own = [name for name in gi.Config.__dataclass_fields__ if options[name] is not None]
    config = config_of(options, paper=(paper := options.pop("paper")))
    if options["model"] is not None and (
        others := [*own, *(name for name in ("save_model", "checkpoint") if options[name])]
    ):
        misuse(f"--model brings its own network and training: leave out --{others[0].replace('_', '-')}.")
    if options["model"] is not None and paper:
        misuse("--model brings its own network and training: leave out --paper.")
    if options["refuse_if_no_gain"] and (options["model"] is not None or options["neighbors_key"] is not None):
        misuse("--refuse-if-no-gain trains anew on its own graph: leave out --model and --neighbors-key.")
    if options["cluster_key"] is not None and options["report"] is None and not options["refuse_if_no_gain"]:
        misuse("--cluster-key is for --report and --refuse-if-no-gain: add one of them.")
    if options["refuse_if_no_gain"] and (options["estimate"] == "detected" or options["allow_non_counts"]):
        misuse("--refuse-if-no-gain judges --estimate mean and posterior, of counts, only.")
    if options["estimate"] == "posterior" and config.hide != "molecules" and options["model"] is None:
        misuse("--estimate posterior needs a model trained on hidden molecules: add --hide molecules.")
    if options["interval"] is not None:
        from gnnimpute._layers import check_interval

        can_be_posterior = config.hide == "molecules" or options["model"] is not None
        check_interval(options["interval"], is_layer=options["genes"] is None, can_be_posterior=can_be_posterior)
    _keys.check_name(options["key_added"])
    check_files(options, overwrite=overwrite)
    check_report(options["report"], overwrite=overwrite)
    return config


def _check_kinds(options: dict[str, Any]) -> None:
    """Refuse a model or a checkpoint that is none, by the heads of the files."""
    from gnnimpute._checkpoint import check_checkpoint, check_model

    if options["model"] is not None:
        check_model(options["model"])
    if options["checkpoint"] is not None:
        check_checkpoint(options["checkpoint"])


def _prepare(adata: AnnData, options: dict[str, Any]) -> str | None:
    """Quality control and graph; gives the layer to impute."""
    if options["key_added"] in adata.uns:
        _log.warning("The result %r of an earlier run is replaced in the new file.", options["key_added"])
    layer: str | None = options["layer"]
    names = (*QUALITY_NAMES, "n_neighbors", "batch_key")
    taken = {name: options[name] for name in (*names, "layer", "filter", "allow_non_counts", "device")}
    n_pcs = None if options["use_rep"] or options["neighbors_key"] else options["n_pcs"]
    if options["neighbors_key"] != _keys.NEIGHBORS:  # that one is of an earlier `prepare`, whose marks go with it
        has_counts = _keys.COUNTS in adata.layers
        gi.pp.prepare(adata, **taken, n_pcs=n_pcs, rng=options["seed"])
        layer = layer if has_counts else None  # what it has just made a copy of
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

    gi.io.write(AnnData(adata.obsm[_keys.genes(key)]), out, key=None, overwrite=overwrite)
