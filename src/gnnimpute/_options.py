"""Options made from what they set: `Config` and the parameters of the simulation. Each is described in one place."""

from __future__ import annotations

import inspect
import os
import re
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, get_args, get_type_hints

import click

from gnnimpute._atomic import check_length, check_place
from gnnimpute._command import Option
from gnnimpute._config import Config

if TYPE_CHECKING:
    from collections.abc import Callable

    Decorated = TypeVar("Decorated", bound=Callable[..., Any])


MODEL = ".safetensors"
"""Ending of saved models."""


QUALITY = "Quality control (what fails is not modelled, but kept and flagged)"
GRAPH = "Neighbors"
"""Sections of the help."""

QUALITY_NAMES = ("min_genes", "min_cells", "max_genes", "max_mito_pct", "max_total")
"""Options of :func:`quality_options`."""

_graph = partial(click.option, cls=Option, section=GRAPH, show_default=True)


class Limit(click.ParamType):  # type: ignore[type-arg]  # click < 8.3 has no such argument
    """``mad``, ``none``, or a number."""

    name = "mad|none|number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """What :func:`gnnimpute.pp.prepare` takes."""
        if not isinstance(value, str) or value.lower() == "mad":
            return value if not isinstance(value, str) else "mad"
        if value.lower() == "none":
            return None
        try:
            return float(value)
        except ValueError:
            self.fail(f"{value!r} is neither 'mad', 'none' nor a number.", param, ctx)


class Numbers(click.ParamType):  # type: ignore[type-arg]  # click < 8.3 has no such argument
    """A number, or several with commas between them."""

    name = "number[,...]"

    def __init__(self, kind: type[int] | type[float]) -> None:
        self.kind = kind

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """A number, or a list of them."""
        if not isinstance(value, str):
            return value
        try:
            numbers = [self.kind(part) for part in value.split(",")]
        except ValueError:
            kind = "whole numbers" if self.kind is int else "numbers"
            self.fail(f"{value!r} is not made of {kind} with commas between them.", param, ctx)
        return numbers[0] if len(numbers) == 1 else numbers


class Names(click.ParamType):  # type: ignore[type-arg]  # click < 8.3 has no such argument
    """Names with commas between them, or ``@`` and a file with a name on each line."""

    name = "A,B,C|@file"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """List of the names."""
        if not isinstance(value, str):
            return value
        try:
            text = (
                Path(value[1:]).read_text(encoding="utf-8-sig") if value.startswith("@") else value.replace(",", "\n")
            )
        except (OSError, UnicodeDecodeError) as error:
            self.fail(f"the file {value[1:]} cannot be read ({error}).", param, ctx)
        names = [name.strip() for name in text.splitlines() if name.strip()]
        if not names:
            self.fail(f"{value!r} names nothing.", param, ctx)
        return names


def misuse(message: str) -> NoReturn:
    """End with the usage of the command and what is wrong with it."""
    raise click.UsageError(message)


def quality_options(command: Decorated, *, section: str = QUALITY) -> Decorated:
    """Add the limits of quality control."""
    quality = partial(click.option, cls=Option, section=section, show_default=True)
    for option in reversed(
        [
            quality("--min-genes", type=int, default=200, help="Least detected genes of a cell."),
            quality("--min-cells", type=int, default=3, help="Least cells that a gene is detected in."),
            quality("--max-genes", type=int, show_default="no limit", help="Most detected genes of a cell."),
            quality("--max-mito-pct", type=Limit(), default="mad", help="Most mitochondrial counts, in %."),
            quality("--max-total", type=Limit(), default="mad", help="Most counts of a cell."),
        ]
    ):
        command = option(command)
    return command


def graph_options(command: Decorated) -> Decorated:
    """Add what makes the graph."""
    for option in reversed(
        [
            _graph("--n-neighbors", type=int, default=5, help="Nearest cells of a cell, without itself."),
            _graph("--n-pcs", type=int, default=50, help="Principal components to find them in."),
            _graph("--batch-key", help="Column of obs: neighbors are sought within each batch."),
            _graph("--use-rep", help="Embedding in obsm to find them in instead, such as X_pca_harmony or X_scVI."),
        ]
    ):
        command = option(command)
    return command


def settings(command: Decorated) -> Decorated:
    """Add an option for each field of `Config`; one that is not given is `None`."""
    hints = get_type_hints(Config)
    for field in reversed(fields(Config)):
        choices = get_args(hints[field.name])
        command = click.option(
            _spelled(field.name),
            cls=Option,
            type=click.Choice(choices) if choices else hints[field.name],
            help=f"{field.metadata['about']}  [default: {field.default}]",
            section="Network and training (the fields of gnnimpute.Config)",
        )(command)
    return command


def config_of(options: dict[str, Any], *, paper: bool) -> Config:
    """Take the fields of `Config` out of `options`: those of the estimate or of the paper, and what was given."""
    given = {field.name: options.pop(field.name) for field in fields(Config)}
    changes = {name: value for name, value in given.items() if value is not None}
    return Config.paper(**changes) if paper else Config.of(options.get("estimate", "mean"), **changes)


def check_report(path: Path | None, *, overwrite: bool) -> None:
    """Refuse a report that could not be written, before any work is done."""
    if path is None:
        return
    if path.suffix.lower() not in {".html", ".htm"}:
        misuse(f"--report {path}: the name of a report ends in .html.")
    if path.exists() and not overwrite:
        msg = f"{path} exists. Name another with --report, or replace it with --overwrite."
        raise FileExistsError(msg)
    check_place(path)


def check_files(options: dict[str, Any], *, overwrite: bool) -> None:
    """Refuse a model or a checkpoint that could not be written, before any work is done."""
    if (path := options["save_model"]) is not None:
        if path.suffix.lower() != MODEL:
            msg = f"--save-model {path}: the name of a model ends in {MODEL}."
            misuse(msg)
        check_length(path)
        if path.exists() and not overwrite:
            msg = f"{path} exists. Name another with --save-model, or replace it with --overwrite."
            raise FileExistsError(msg)
    for name in ("save_model", "checkpoint"):
        if (path := options[name]) is not None and not os.access(folder := path.absolute().parent, os.W_OK | os.X_OK):
            why = "cannot be written to" if folder.is_dir() else "does not exist"
            msg = f"{path} cannot be written: its folder {folder} {why}. Name another folder."
            raise PermissionError(msg)


def parameters_of(
    function: Callable[..., Any], *, defaults: dict[str, Any], section: str
) -> Callable[[Decorated], Decorated]:
    """Make a decorator that adds an option for each parameter but `rng`, described as in the docstring.

    The value of an option that is not given is `None`; `defaults` are those that differ from the function's.
    """
    texts = described(function)
    parameters = [p for p in inspect.signature(function).parameters.values() if p.name != "rng"]

    def decorate(command: Decorated) -> Decorated:
        for parameter in reversed(parameters):
            command = click.option(
                _spelled(parameter.name),
                cls=Option,
                help=f"{texts.get(parameter.name, '')}  [default: {defaults.get(parameter.name, parameter.default)}]",
                section=section,
                **_kind(parameter),
            )(command)
        return command

    return decorate


def described(function: Callable[..., Any]) -> dict[str, str]:
    """Text of each parameter in a numpydoc docstring, on one line."""
    section = re.search(r"^Parameters\n-+\n(.*?)\n\n", inspect.getdoc(function) or "", re.DOTALL | re.MULTILINE)
    texts: dict[str, str] = {}
    for block in re.split(r"\n(?=\S)", section.group(1)) if section else []:
        names, _, text = block.partition("\n")
        plain = " ".join(text.split()).replace("`", "")
        texts |= dict.fromkeys((name.strip() for name in names.split(",")), plain)
    return texts


def _kind(parameter: inspect.Parameter) -> dict[str, Any]:
    """How click is to read a parameter, from its annotation."""
    annotation = str(parameter.annotation)
    if annotation.startswith("Literal"):
        return {"type": click.Choice(re.findall(r"['\"](\w+)['\"]", annotation))}
    if annotation == "bool":
        return {"is_flag": True, "default": None}
    kind = int if annotation.startswith("int") else float
    return {"type": Numbers(kind) if "Sequence" in annotation else kind}


def _spelled(name: str) -> str:
    return f"--{name.replace('_', '-')}"
