"""The command ``gnnimpute benchmark``."""

from __future__ import annotations

import json
import logging
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gnnimpute._atomic import check_place, replacing
from gnnimpute._cli_read import orientation_option
from gnnimpute._command import INTERRUPTED, Command, Option
from gnnimpute._options import QUALITY_NAMES, quality_options

if TYPE_CHECKING:
    import pandas as pd

    from gnnimpute._judge import Protocol
    from gnnimpute._peers import Method

_log = logging.getLogger(__name__)

PATH = click.Path(path_type=Path)
_ENDINGS = {"table": (".md", ".txt"), "figure": (".png", ".pdf", ".svg")}

_option = partial(click.option, cls=Option)
_files = partial(_option, section="Files")
_compared = partial(_option, section="What is compared")
_hidden = partial(_option, section="What is hidden")
_run = partial(_option, section="Run")


def _rates(_: click.Context, param: click.Parameter, value: tuple[float, ...]) -> tuple[float, ...]:
    if wrong := [rate for rate in value if not 0 < rate < 1]:
        msg = f"{wrong[0]:g} is no share above 0 and below 1."
        raise click.BadParameter(msg, param=param)
    return tuple(dict.fromkeys(value))


def _config(_: click.Context, param: click.Parameter, value: str | None) -> dict[str, Any]:
    from gnnimpute._config import Config

    try:
        changes = json.loads(value or "{}")
        Config(**changes)
    except (TypeError, ValueError) as error:
        msg = f"{value} is not JSON of fields of gnnimpute.Config: {error}"
        raise click.BadParameter(msg, param=param) from None
    return dict(changes)


@click.command(
    cls=Command,
    epilog="""
Examples:
  gnnimpute benchmark counts.h5ad --out results.csv
  gnnimpute benchmark *.h5ad --out results.csv --table results.md --figure results.png --seeds 3 --thin 0.1 \\
      --mask 0.1
  gnnimpute benchmark counts.h5ad --out results.csv --methods "gnnimpute,gene mean,MAGIC" --peers benchmarks/peers
  gnnimpute benchmark --list --peers benchmarks/peers
""",
)
@click.argument("data", metavar="DATA...", type=PATH, nargs=-1)
@_files("--out", type=PATH, help="CSV of the results; what it holds already is not done again.")
@_files("--cells", type=PATH, help="CSV of the loss of each cell (--thin): adds paired differences to the tables.")
@_files("--table", type=PATH, help="Write the tables to this file too, in Markdown (.md, .txt).")
@_files("--figure", type=PATH, help="Draw the results to this file (.png, .pdf, .svg).")
@_files("--layer", help="Layer of the raw counts, or X, or raw.  [default: counts if there is one, else X]")
@orientation_option
@_compared("--methods", multiple=True, help="Names, as --list shows them, with commas between.  [default: all]")
@_compared("--peers", type=PATH, help="Folder of adapters of other methods: benchmarks/peers of the repository.")
@_compared("--list", "listing", is_flag=True, help="Show all methods, and how to install what is absent.")
@_hidden("--thin", type=float, multiple=True, callback=_rates,
         help="Hide each molecule with this probability; judge by this. May be given again.  [default: 0.1, if no "
         "--mask is given]")  # fmt: skip
@_hidden("--mask", type=float, multiple=True, callback=_rates,
         help="Hide this share of each gene's non-zeros, and no molecules unless --thin is given too. May be given "
         "again.")  # fmt: skip
@_hidden("--seeds", type=click.IntRange(min=1), default=1, show_default=True, help="Number of seeds, from 0.")
@partial(quality_options, section="Quality control (after hiding; what fails is left out)")
@_run("--time-limit", type=click.FloatRange(min=0, min_open=True), default=1200, show_default=True,
      help="Seconds after which a method is stopped.")  # fmt: skip
@_run("--threads", type=click.IntRange(min=1), default=2, show_default=True, help="Threads of each method.")
@_run("--epochs", type=click.IntRange(min=1), help="Most epochs of our networks: short for --config.")
@_run("--config", callback=_config, metavar="JSON",
      help="""Settings of our networks to change, as '{"n_heads": 3}'.  [default: as in impute]""")  # fmt: skip
@_run("--retry", is_flag=True, help="Do again what failed or was stopped.")
def benchmark(data: tuple[Path, ...], *, out: Path | None, quiet: bool, **options: Any) -> None:
    """Compare methods on your own data, by how well each predicts counts that were hidden from it.

    A part of the counts in DATA is hidden first; quality control, graph and training see the rest only. Every method
    is a process of its own: one that crashes, is absent or takes too long is a row of the results and stops nothing.
    Stop whenever you like, and go on with the same command. The tables go to stdout.
    """
    methods = _methods(options)
    if options["listing"]:
        click.echo(_listed(methods))
        return
    if not data or out is None:
        msg = "Name the data and a file for the results: gnnimpute benchmark DATA... --out results.csv"
        raise click.UsageError(msg)
    _check_files(data, {"out": out} | {name: options[name] for name in ("cells", "table", "figure")})
    if options["cells"] is not None and not any(protocol.kind == "thin" for protocol in _protocols(options)):
        msg = "--cells is for the loss on hidden molecules, and --mask alone hides none: add --thin 0.1."
        raise click.UsageError(msg)
    try:
        results = _compare(data, methods, out, quiet=quiet, options=options)
    except KeyboardInterrupt:
        click.echo(f"Interrupted. What was done is in {out}: the same command goes on from there.", err=True)
        raise click.exceptions.Exit(INTERRUPTED) from None
    _report(results, cells=options["cells"], table=options["table"], figure=options["figure"])


def _check_files(data: tuple[Path, ...], written: dict[str, Path | None]) -> None:
    """Refuse files that cannot be written, or would be in place of what is to be kept, before any work is done."""
    roles = {path.resolve(): "the data" for path in data}
    for name, path in written.items():
        if path is None:
            continue
        if name in _ENDINGS and path.suffix.lower() not in _ENDINGS[name]:
            msg = f"--{name} {path}: its ending must be one of {', '.join(_ENDINGS[name])}."
            raise click.UsageError(msg)
        check_place(path)
        if (role := roles.setdefault(path.resolve(), f"--{name}")) != f"--{name}":
            msg = f"--{name} {path} is {role} too: name another file with --{name}."
            raise click.UsageError(msg)
    # Those of an earlier call are written anew; what else ends in .md is somebody's text.
    if (table := written["table"]) is not None and table.exists() and not _holds_tables(table):
        msg = f"{table} exists and does not begin with a table of a benchmark: name another file with --table."
        raise FileExistsError(msg)


def _holds_tables(path: Path) -> bool:
    from gnnimpute._benchmark_table import begins_like_summary

    with path.open("rb") as file:
        return begins_like_summary(file.read(1000).decode(errors="replace"))


def _methods(options: dict[str, Any]) -> list[Method]:
    from gnnimpute import _adapters

    epochs = {} if options["epochs"] is None else {"n_epochs": options["epochs"]}
    methods = _adapters.built_in(options["config"] | epochs)
    if options["peers"] is not None:
        methods += _adapters.peers(options["peers"])
    elif not options["methods"]:
        _log.info("Methods of others: clone the repository, and add --peers benchmarks/peers.")
    return _adapters.chosen(methods, _adapters.split_names(options["methods"], methods) or None)


def _listed(methods: list[Method]) -> str:
    lines = []
    for method in methods:
        installed = method.is_installed()
        lines.append(f"{method.name}: {'installed' if installed else f'absent. To install it: {method.install}'}")
    return "\n".join(lines)


def _compare(
    data: tuple[Path, ...], methods: list[Method], out: Path, *, quiet: bool, options: dict[str, Any]
) -> pd.DataFrame:
    from gnnimpute import _benchmark, _results
    from gnnimpute._judge import Budget

    rows = _benchmark.run(
        data,
        methods=methods,
        protocols=_protocols(options),
        seeds=range(options["seeds"]),
        out=out,
        cells=options["cells"],
        budget=Budget(time_limit=options["time_limit"], threads=options["threads"]),
        retry=options["retry"],
        layer=options["layer"],
        orientation=options["orientation"],
        quality={name: options[name] for name in QUALITY_NAMES},
        progress=False if quiet else None,
    )
    for _ in rows:
        pass
    return _results.read(out)


def _protocols(options: dict[str, Any]) -> list[Protocol]:
    from gnnimpute._judge import Protocol

    thin = options["thin"] or (() if options["mask"] else (0.1,))
    return [*(Protocol("thin", rate) for rate in thin), *(Protocol("mask", rate) for rate in options["mask"])]


def _report(results: pd.DataFrame, *, cells: Path | None, table: Path | None, figure: Path | None) -> None:
    from gnnimpute import _benchmark_plots, _benchmark_table
    from gnnimpute._paired import CellLosses

    text = _benchmark_table.summary(results, CellLosses(cells))
    click.echo(text, nl=False)
    if table is not None:
        with replacing(table) as beside:
            beside.write_text(text, encoding="utf-8")
    if figure is not None:
        _benchmark_plots.save(results, figure)
