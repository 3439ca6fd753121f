"""The command ``gnnimpute tune``."""

from __future__ import annotations

import shlex
from functools import partial
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

import gnnimpute as gi
from gnnimpute._atomic import check_place, replacing
from gnnimpute._cli_read import read, reading_options
from gnnimpute._command import Command, Option
from gnnimpute._options import QUALITY_NAMES, config_of, quality_options, settings

PATH = click.Path(path_type=Path)
_run = partial(click.option, cls=Option, section="Run")
_files = partial(click.option, cls=Option, section="Files")


@click.command(
    cls=Command,
    epilog="""
Examples:
  gnnimpute tune counts.h5ad
  gnnimpute tune counts.h5ad --time-limit 3600 --out trials.csv
""",
)
@click.argument("source", metavar="IN", type=PATH)
@reading_options
@_files("--out", type=PATH, help="CSV to write the trials to; it must not exist.")
@_run("--n-neighbors", type=int, default=5, show_default=True, help="Neighbors to begin with.")
@_run("--batch-key", help="Column of obs: neighbors are sought within each batch.")
@_run("--time-limit", type=click.FloatRange(min=0), default=600, show_default=True,
      help="Seconds: no further trial is begun that is not likely to end before.")  # fmt: skip
@_run("--max-cells", type=click.IntRange(min=1), default=3000, show_default=True, help="Most cells to try on.")
@_run("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed.")
@_run("--device", help="Where to compute: cpu, cuda, cuda:1, ...  [default: a GPU if there is one]")
@quality_options
@settings
def tune(source: Path, *, quiet: bool, out: Path | None, **options: Any) -> None:
    """Choose neighbours, latent size and when to stop for the counts in IN, by molecules of IN that were hidden.

    Each is halved and doubled in turn; what is surely better is kept. The trials and the command to use the result go
    to stdout.
    """
    del quiet
    config = config_of(options, paper=False)
    if out is not None:
        if out.exists():
            msg = f"{out} exists. Name another file with --out."
            raise FileExistsError(msg)
        check_place(out)
    adata = read(source, options)
    prepared = {name: options[name] for name in ("layer", "n_neighbors", "batch_key", "device", *QUALITY_NAMES)}
    prepared |= {"allow_non_counts": None}  # tuning needs counts, so no error is to advise it
    gi.pp.prepare(adata, **prepared, rng=options["seed"])
    limits = {name: options[name] for name in ("time_limit", "max_cells", "device")}
    tuned = gi.tl.tune(adata, layer=options["layer"], config=config, rng=options["seed"], **limits)
    if out is not None:
        with replacing(out) as beside:
            tuned.table.to_csv(beside, index=False)
    tried = (
        f"--n-neighbors {tuned.n_neighbors} --n-latent {tuned.config.n_latent} --tolerance {tuned.config.tolerance:g}"
    )
    click.echo(f"{tuned.table.to_string(index=False, float_format=lambda value: f'{value:.5g}')}")
    click.echo(f"Chosen: gnnimpute impute {shlex.quote(str(source))} OUT {' '.join([tried, *_others_given()])}")


_NOT_CHOSEN = {"source", "out", "time_limit", "max_cells", "quiet", "debug", "n_neighbors", "n_latent", "tolerance"}


def _others_given() -> list[str]:
    """Options of the command line under which was tried, as they were given."""
    ctx, given = click.get_current_context(), []
    for param in ctx.command.params:
        name = str(param.name)
        if name not in _NOT_CHOSEN and ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            value = ctx.params[name]
            given.append(param.opts[0] if value is True else f"{param.opts[0]} {shlex.quote(str(value))}")
    return given
