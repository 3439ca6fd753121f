"""The command ``gnnimpute``: its parts, and what is in a file."""

from __future__ import annotations

import gc
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

import gnnimpute as gi
from gnnimpute._cli_benchmark import benchmark
from gnnimpute._cli_evaluate import evaluate
from gnnimpute._cli_explain import explain
from gnnimpute._cli_impute import impute
from gnnimpute._cli_read import orientation_option
from gnnimpute._cli_simulate import simulate
from gnnimpute._cli_tune import tune
from gnnimpute._command import OWN_PROCESS, Command
from gnnimpute._options import MODEL

if TYPE_CHECKING:
    from gnnimpute._orientation import Orientation


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(package_name="gnnimpute")
def main() -> None:
    """Recover dropouts in single-cell RNA-seq counts with graph attention.

    \b
    Begin with
      gnnimpute simulate counts.h5ad               counts to try it on, or take your own
      gnnimpute info counts.h5ad                   is it what you think it is?
      gnnimpute impute counts.h5ad imputed.h5ad    the result is layers["gnnimpute"] of the new file
      gnnimpute benchmark counts.h5ad --out r.csv  how well does each method do on these counts?
    """  # noqa: D301 -- \b keeps click from wrapping the lines
    # PyTorch's threads wait for each other by spinning: where other programs want the same cores, four times slower.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def run() -> None:
    """The command in a process of its own."""
    try:
        main(prog_name="gnnimpute", obj=OWN_PROCESS)
    finally:
        gc.freeze()  # all goes with the process: to look for garbage in it first takes half a second


for _command in (benchmark, evaluate, explain, impute, simulate, tune):
    main.add_command(_command)


@main.command(cls=Command)
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
@orientation_option
def info(file: Path, *, orientation: Orientation | None, quiet: bool) -> None:
    """Say what is in FILE: cells, genes, layers and what each looks like, and what has been imputed.

    FILE is anything that `impute` reads, or a saved model (.safetensors).
    """
    from gnnimpute import _describe

    del quiet
    if file.suffix.lower() == MODEL:
        click.echo(_describe.model(file))
    else:
        click.echo(_describe.contents(gi.io.read(file, orientation=orientation), file))
