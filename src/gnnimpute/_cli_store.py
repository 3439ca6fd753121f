"""The options of ``gnnimpute impute`` for stores that are larger than memory."""

from __future__ import annotations

import time
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

import click

from gnnimpute import _processes
from gnnimpute._command import Option
from gnnimpute._options import QUALITY_NAMES, misuse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from gnnimpute._config import Config

LARGE, LARGE_LAYER = 200_000_000, 500_000_000
"""Stored values, and cells times genes, from which a store is read a few cells at a time: counts of 2 GB in memory, and
an imputed layer of 2 GB, each thrice that with copies. Fixed, so that results do not depend on the machine."""

_REFUSED = ("genes", "orientation", "interval", "refuse_if_no_gain", "report", "checkpoint")
_store = partial(click.option, cls=Option, section="Larger than memory (.zarr or .h5ad to .zarr)")


def store_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options."""
    for option in reversed(
        [
            _store(
                "--out-of-core/--in-memory",
                default=None,
                help="Read, impute and write a few thousand cells at a time; the same command goes on where it was "
                "interrupted.  [default: from 200 million counts, or 500 million cells x genes, on]",
            ),
            _store(
                "--dtype",
                type=click.Choice(["float32", "float16"]),
                default="float32",
                show_default=True,
                help="How values are stored. float16: three digits in half the space.",
            ),
            _store("--sparse-below", type=float, help="Store values below this as zero, and the layer sparse."),
            _store("--scheduler", help="Address of a Dask scheduler, such as tcp://host:8786, whose workers share IN."),
        ]
    ):
        command = option(command)
    return command


def is_out_of_core(source: Path, out: Path, options: dict[str, Any]) -> bool:
    """Whether to go out of core; refuses options that go with one way alone."""
    suffixes = source.suffix.lower(), out.suffix.lower()
    stores = suffixes[0] in {".zarr", ".h5ad"} and suffixes[1] == ".zarr"
    wanted = options["out_of_core"]
    needs = _needs(options)
    if wanted is None:
        wanted = bool(needs) or (stores and not any(options[name] for name in _REFUSED) and _is_large(source))
    if not wanted:
        if needs:
            misuse(f"--{needs[0].replace('_', '-')} goes with --out-of-core.")
        return False
    if not stores:
        named = f"--{needs[0].replace('_', '-')} goes with --out-of-core, and that" if needs else "--out-of-core"
        misuse(f"{named} reads .zarr or .h5ad and writes .zarr, but this is {source.name} to {out.name}.")
    if others := [name for name in _REFUSED if options.get(name)]:
        misuse(f"--{others[0].replace('_', '-')} needs all counts in memory: leave it out, or add --in-memory.")
    if _processes.place().n_processes > 1:
        _refuse_torchrun(source, needs[0] if needs else "out_of_core" if options["out_of_core"] else None)
    if options["dtype"] == "float16" and options["sparse_below"] is not None:
        misuse("--dtype float16 is for dense layers: sparse ones have no such type. Leave out one of the two.")
    return True


def _needs(options: dict[str, Any]) -> list[str]:
    """What of the options goes with --out-of-core alone."""
    needs = [name for name in ("sparse_below", "scheduler") if options[name] is not None]
    return [*needs, *(["dtype"] if options["dtype"] != "float32" else [])]


def _refuse_torchrun(source: Path, given: str | None) -> NoReturn:
    """Say what of the command needs one process: an option, or the size of the store where none was given."""
    if given is None:
        misuse(f"{source.name} is so large that one process alone reads it: leave out torchrun, or add --in-memory.")
    option = f"--{given.replace('_', '-')}"
    misuse(f"{option} works in one process only: leave out torchrun, or leave out {option} and add --in-memory.")


def _is_large(source: Path) -> bool:
    from gnnimpute._lazy import n_nonzeros, n_values

    return source.exists() and (n_nonzeros(source) >= LARGE or n_values(source) >= LARGE_LAYER)


def impute_stores(
    source: Path, out: Path, options: dict[str, Any], *, config: Config, overwrite: bool, quiet: bool
) -> bool:
    """Do it and say what has been done, if it is to be done out of core; gives whether it was."""
    if not is_out_of_core(source, out, options):
        return False
    from gnnimpute import _describe, _keys
    from gnnimpute._blocks import require_dask
    from gnnimpute._out_of_core import impute_store
    from gnnimpute._stored_layer import Stored

    require_dask(f"Reading {source} a few cells at a time", "" if _needs(options) else ", or add --in-memory")
    started = time.monotonic()
    names = (*QUALITY_NAMES, "n_neighbors", "batch_key", "layer")
    prepare = {name: options[name] for name in (*names, "filter", "allow_non_counts", "device")}
    prepare["rng"] = options["seed"]
    prepare["n_pcs"] = None if options["use_rep"] or options["neighbors_key"] else options["n_pcs"]
    fit = {name: options[name] for name in ("layer", "neighbors_key", "use_rep", "n_neighbors", "allow_non_counts")}
    fit |= {"batch_key": options["batch_key"] if options["use_rep"] else None, "rng": options["seed"]}
    fit |= {"device": options["device"], "progress": False if quiet else None}
    with _client(options["scheduler"]):
        adata = impute_store(
            source,
            out,
            config=config,
            estimate=options["estimate"],
            output=options["output"],
            key=options["key_added"],
            stored=Stored(options["dtype"], options["sparse_below"]),
            prepare={} if options["neighbors_key"] == _keys.NEIGHBORS else prepare,
            fit=fit,
            model=options["model"],
            save_model=options["save_model"],
            unique_names=options["unique_names"],
            overwrite=overwrite,
        )
    if not quiet:
        seconds = time.monotonic() - started
        click.echo(_describe.summary(adata, out, key=options["key_added"], genes=None, seconds=seconds))
    return True


@contextmanager
def _client(scheduler: str | None) -> Iterator[None]:
    """A client of the cluster, if one is named."""
    if scheduler is None:
        yield
        return
    from distributed import Client

    with Client(scheduler):
        yield
