"""Options that say how counts are read, and the reading."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import click

import gnnimpute as gi
from gnnimpute._command import Option

if TYPE_CHECKING:
    from pathlib import Path

    from anndata import AnnData

    from gnnimpute._options import Decorated

_files = partial(click.option, cls=Option, section="Files")

orientation_option = _files(
    "--orientation", type=click.Choice(["cells_by_genes", "genes_by_cells"]), help="What rows x columns of a file are."
)
"""How a table or matrix without names that tell is read."""


def reading_options(command: Decorated) -> Decorated:
    """Add how the counts are read: what :func:`read` takes."""
    for option in reversed(
        [
            _files("--layer", help="Layer of the raw counts, or X, or raw.  [default: counts if there is one, else X]"),
            orientation_option,
            _files(
                "--unique-names",
                is_flag=True,
                help="Number the names that genes or cells have in common: ACTB, ACTB-1.",
            ),
        ]
    ):
        command = option(command)
    return command


def read(source: Path, options: dict[str, Any]) -> AnnData:
    """Read the counts as the options say."""
    return gi.io.read(source, orientation=options["orientation"], unique_names=options["unique_names"])
