"""The command ``gnnimpute evaluate``, and what stops ``impute`` where there is nothing to gain."""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import gnnimpute as gi
from gnnimpute import _keys
from gnnimpute._cli_read import read, reading_options
from gnnimpute._command import NO_GAIN, Command, Option, spelled
from gnnimpute._options import QUALITY_NAMES, check_report, config_of, graph_options, quality_options, settings

if TYPE_CHECKING:
    from anndata import AnnData

    from gnnimpute._config import Config

_log = logging.getLogger(__name__)

PATH = click.Path(path_type=Path)
GRAPH = ("n_neighbors", "n_pcs", "batch_key", "use_rep")

_option = partial(click.option, cls=Option)
_files = partial(_option, section="Files")
_judged = partial(_option, section="What is judged")
_run = partial(_option, section="Run")


@click.command(
    cls=Command,
    epilog="""
Examples:
  gnnimpute evaluate counts.h5ad
  gnnimpute evaluate counts.h5ad --estimate posterior --cluster-key cell_type --seeds 3 --time-limit 600
  gnnimpute impute counts.h5ad imputed.h5ad --refuse-if-no-gain    evaluates, then imputes if that helps
""",
)
@click.argument("source", metavar="IN", type=PATH)
@reading_options
@_files("--report", type=PATH, help="Write a page with pictures to this file (.html).")
@_files("--overwrite", is_flag=True, help="Replace the report if it exists.")
@_judged(
    "--estimate", type=click.Choice(["mean", "posterior"]), default="mean", show_default=True, help="As in `impute`."
)
@_judged("--held-out", type=click.FloatRange(0, 1, min_open=True, max_open=True), default=0.1, show_default=True,
         help="Probability that a molecule is hidden.")  # fmt: skip
@_judged("--cluster-key", help="Column of obs whose groups are looked at apart.  [default: k-means]")
@_judged("--max-cells", type=click.IntRange(min=1), default=5000, show_default=True, help="Most cells to look at.")
@quality_options
@graph_options
@_run("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="First seed.")
@_run("--seeds", type=click.IntRange(min=1), default=2, show_default=True, help="Number of seeds, each fitted anew.")
@_run("--time-limit", type=click.FloatRange(min=0), default=120, show_default=True,
      help="Seconds: no further seed is begun that is not likely to end before.")  # fmt: skip
@_run("--device", help="Where to compute: cpu, cuda, cuda:1, ...  [default: a GPU if there is one]")
@settings
def evaluate(source: Path, *, quiet: bool, report: Path | None, overwrite: bool, **options: Any) -> None:
    """Does imputation help these data? Say so in words, by molecules of IN that were hidden from it.

    A part of the molecules is hidden first; quality control, graph and training see the rest only. What is imputed is
    compared with what was hidden, and with what the counts, the mean of each gene and a mean of neighbours say; tests
    show whether imputation invents or loses signals. Nothing but the report is written. The verdict goes to stdout.
    """
    config = config_of(options, paper=False)
    check_report(report, overwrite=overwrite)
    adata = read(source, options)
    shown, held_out = False if quiet else None, options["held_out"]
    limits = {name: options[name] for name in ("time_limit", "max_cells", "cluster_key")}
    seeds = range(options["seed"], options["seed"] + options["seeds"])
    _evaluate(adata, options, config=config, held_out=held_out, seeds=seeds, progress=shown, **limits)
    click.echo(adata.uns[_keys.EVALUATION]["text"])
    if report is not None:
        taken = {
            name: options[name] for name in (*QUALITY_NAMES, "layer", "n_neighbors", "n_pcs", "batch_key", "device")
        }
        gi.pp.prepare(adata, **taken, rng=options["seed"])
        write_report(adata, report, source=source, cluster_key=options["cluster_key"])


def write_report(adata: AnnData, path: Path, *, source: Path, **options: Any) -> None:
    """Write the report, and say where it is."""
    gi.report.write(adata, path, source=source.name, command=spelled(), **options)
    click.echo(f"The report is {path}: open it in a browser.", err=True)


def evaluate_before(adata: AnnData, options: dict[str, Any], *, config: Config, progress: bool | None) -> None:
    """Evaluate what is to be imputed, say the verdict on stderr, and end with an exit code if it is asked for."""
    given = options["model"] is not None or options["neighbors_key"] is not None
    if given or options["estimate"] == "detected" or options["allow_non_counts"]:
        _log.info("Not evaluated: only mean and posterior of counts, with a graph and training of their own, are.")
        return
    from gnnimpute._inputs import counts_of

    counts_of(adata, options["layer"], allow_non_counts=False)  # of what is no count, `impute` can take some if told to
    seeds, checks = (options["seed"], options["seed"] + 1), options["report"] is not None
    judged = {"seeds": seeds, "checks": checks, "cluster_key": options["cluster_key"]}
    _evaluate(adata, options, config=config, progress=progress, **judged)
    found = adata.uns[_keys.EVALUATION]
    click.echo(found["text"], err=True)
    if options["refuse_if_no_gain"] and found["verdict"] != "helps":
        click.echo("Refused, because of --refuse-if-no-gain. Nothing was written.", err=True)
        raise click.exceptions.Exit(NO_GAIN)


def _evaluate(adata: AnnData, options: dict[str, Any], **others: Any) -> None:
    names = ("estimate", "layer", "device", *GRAPH)
    quality = {name: options[name] for name in QUALITY_NAMES}
    gi.tl.evaluate(adata, quality=quality, **{name: options[name] for name in names}, **others)
