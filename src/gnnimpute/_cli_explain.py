"""The command ``gnnimpute explain``."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import click

import gnnimpute as gi
from gnnimpute import _keys
from gnnimpute._cli_read import read, reading_options
from gnnimpute._command import Command, Option
from gnnimpute._options import QUALITY, QUALITY_NAMES, quality_options

PATH = click.Path(path_type=Path)
_asked = partial(click.option, cls=Option, section="What is explained")
_files = partial(click.option, cls=Option, section="Files")
_allowed = click.option("--allow-non-counts", cls=Option, section=QUALITY, is_flag=True,
                        help="Take values that are not whole, such as TPM, if `impute` was told so.")  # fmt: skip


@click.command(
    cls=Command,
    epilog="""
Examples:
  gnnimpute impute counts.h5ad imputed.h5ad --save-model model.safetensors
  gnnimpute explain imputed.h5ad --model model.safetensors --cell AAACATACAACCAC-1 --gene CD3D --figure why.png
""",
)
@click.argument("source", metavar="IN", type=PATH)
@_asked("--cell", required=True, help="Name of the cell.")
@_asked("--gene", required=True, help="Name of the gene.")
@_asked("--level", type=float, default=0.9, show_default=True, help="Probability that the interval is to have.")
@_asked("--key", help="The --key-added of the imputation.  [default: gnnimpute, or the only one there is]")
@_files("--model", type=PATH, required=True, help="Model that `impute --save-model` has written (.safetensors).")
@_files("--figure", type=PATH, help="Picture to write too: .png, .svg or .pdf.")
@_files("--overwrite", is_flag=True, help="Replace the picture if it exists.")
@reading_options
@quality_options
@_allowed
@_files("--neighbors-key", help="Graph to use: a key of uns.  [default: that of `impute`, or one made as it does]")
@_files("--use-rep", help="Embedding in obsm to find neighbors in instead.  [default: that of `impute`]")
def explain(source: Path, *, figure: Path | None, overwrite: bool, quiet: bool, **options: Any) -> None:
    """Say why one imputed value is what it is.

    Which cells it is made from, with which weights and counts, how far the cell's own counts matter, the interval, and
    how likely a zero is a dropout. IN: what `impute` has written, or the counts, with the limits of
    quality control that it was given.
    """
    from gnnimpute._modelled import as_imputed

    del quiet
    if figure is not None and figure.exists() and not overwrite:
        msg = f"{figure} exists. Name another file, or replace it with --overwrite."
        raise FileExistsError(msg)
    imputer = gi.GNNImputer.load(options["model"])
    adata = read(source, options)
    made_from = as_imputed(adata, **{name: options[name] for name in ("layer", "neighbors_key", "use_rep", "key")})
    graph = made_from["use_rep"] or made_from["neighbors_key"]
    allowed = {"allow_non_counts": options["allow_non_counts"]}
    prepared = {name: options[name] for name in QUALITY_NAMES} | {"layer": made_from["layer"]} | allowed
    if graph is None and _keys.NEIGHBORS not in adata.uns:
        gi.pp.prepare(adata, **prepared)
    elif graph not in {None, _keys.NEIGHBORS} and _keys.PASS not in adata.obs:
        gi.pp.prepare(adata, **prepared, n_pcs=None)
    asked = {"imputer": imputer, "level": options["level"], "key": options["key"], **made_from, **allowed}
    explanation = gi.tl.explain(adata, options["cell"], options["gene"], **asked)
    if figure is not None:
        _draw(explanation, figure)
    click.echo(str(explanation))


def _draw(explanation: gi.tl.Explanation, path: Path) -> None:
    from matplotlib.figure import Figure

    from gnnimpute._atomic import replacing

    canvas = Figure(figsize=(8, 6), layout="constrained")
    gi.pl.explain(explanation, ax=canvas.add_subplot())
    with replacing(path) as beside:
        canvas.savefig(beside, dpi=150, format=path.suffix[1:].lower() or "png")
