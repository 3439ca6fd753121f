"""Options made from `Config` and from the parameters of the simulation."""

from __future__ import annotations

import inspect
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import click
import pytest
from click.testing import CliRunner

import gnnimpute as gi
from gnnimpute._options import Limit, Names, Numbers, check_files, config_of, described, parameters_of, settings

if TYPE_CHECKING:
    from pathlib import Path


def options_of(decorate: Any, args: list[str]) -> dict[str, Any]:
    """What a command with these options is given."""
    got: dict[str, Any] = {}
    command = click.command()(decorate(lambda **options: got.update(options)))
    done = CliRunner().invoke(command, args)
    assert done.exit_code == 0, done.output
    return got


def test_every_setting_has_an_option_with_its_description() -> None:
    command = click.command()(settings(lambda **_: None))
    by_name = {option.name: option for option in command.params}
    for field in fields(gi.Config):
        assert field.metadata["about"] in by_name[field.name].help
        assert f"[default: {field.default}]" in by_name[field.name].help
    assert list(by_name) == [field.name for field in fields(gi.Config)]


@pytest.mark.parametrize("field", fields(gi.Config), ids=lambda field: field.name)
def test_every_setting_arrives(field: Any) -> None:
    names = {"attention": "mean", "hide": "nonzeros", "loss": "squared_error", "reads": "genes"}
    value = names.get(field.name, field.metadata["low"])
    value = int(max(value, 1)) if isinstance(field.default, int) else value
    options = options_of(settings, [f"--{field.name.replace('_', '-')}", str(value)])
    assert config_of(options, paper=False) == gi.Config(**{field.name: value})
    assert options == {}


def test_what_is_given_wins_over_the_paper() -> None:
    assert config_of(options_of(settings, []), paper=True) == gi.Config.paper()
    assert config_of(options_of(settings, ["--n-heads", "5"]), paper=True) == gi.Config.paper(n_heads=5)


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="n_hidden=0"):
        config_of(options_of(settings, ["--n-hidden", "0"]), paper=False)


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (Limit(), "mad", "mad"),
        (Limit(), "MAD", "mad"),
        (Limit(), "none", None),
        (Limit(), "12.5", 12.5),
        (Numbers(float), "0.5", 0.5),
        (Numbers(float), "0.5,1", [0.5, 1.0]),
        (Numbers(int), "3,4", [3, 4]),
        (Names(), "CD3D, CD3E", ["CD3D", "CD3E"]),
    ],
)
def test_values_are_read(kind: click.ParamType, text: str, value: object) -> None:
    assert kind.convert(text, None, None) == value
    assert kind.convert(value, None, None) == value


@pytest.mark.parametrize(
    ("kind", "text"),
    [(Limit(), "much"), (Numbers(int), "1.5"), (Numbers(float), "1,,2"), (Names(), ","), (Names(), "@/no/such/file")],
)
def test_values_that_make_no_sense_are_misuse(kind: click.ParamType, text: str) -> None:
    with pytest.raises(click.BadParameter, match=text.removeprefix("@")):
        kind.convert(text, None, None)


def test_names_come_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "genes.txt").write_text("CD3D\n\n MS4A1 \r\n", encoding="utf-8")
    assert Names().convert(f"@{tmp_path / 'genes.txt'}", None, None) == ["CD3D", "MS4A1"]
    (tmp_path / "genes.txt").write_text("B2M\nMS4A1\n", encoding="utf-8-sig")  # as spreadsheets write it
    assert Names().convert(f"@{tmp_path / 'genes.txt'}", None, None) == ["B2M", "MS4A1"]


def test_every_parameter_of_the_simulation_has_an_option() -> None:
    decorate = parameters_of(gi.datasets.splatter, defaults={"n_genes": 7}, section="")
    command = click.command()(decorate(lambda **_: None))
    parameters = inspect.signature(gi.datasets.splatter).parameters
    assert [option.name for option in command.params] == [name for name in parameters if name != "rng"]
    for option in command.params:
        default = 7 if option.name == "n_genes" else parameters[option.name].default
        assert option.help.endswith(f"[default: {default}]")
        assert len(option.help) > len("  [default: ]") + len(str(default)), f"{option.name} is not described"
    options = options_of(
        decorate, ["--de-prob", "0.1,0.2", "--lib-norm", "--dropout-type", "cell", "--batch-cells", "5"]
    )
    given = {name: value for name, value in options.items() if value is not None}
    assert given == {"de_prob": [0.1, 0.2], "lib_norm": True, "dropout_type": "cell", "batch_cells": 5}


def test_descriptions_are_those_of_the_docstring() -> None:
    def function() -> None:
        """Do.

        Parameters
        ----------
        a
            The ``first``
            one.
        b, c
            Two more.

        Returns
        -------
        Nothing.
        """

    assert described(function) == {"a": "The first one.", "b": "Two more.", "c": "Two more."}
    assert described(lambda: None) == {}


def test_files_that_could_not_be_written_are_refused(tmp_path: Path) -> None:
    nothing: dict[str, Any] = {"save_model": None, "checkpoint": None}
    check_files(nothing, overwrite=False)
    model = tmp_path / "model.safetensors"
    model.write_bytes(b"")
    with pytest.raises(FileExistsError, match="--overwrite"):
        check_files(nothing | {"save_model": model}, overwrite=False)
    check_files(nothing | {"save_model": model, "checkpoint": model}, overwrite=True)
    with pytest.raises(click.UsageError, match="the name of a model"):
        check_files(nothing | {"save_model": tmp_path / "model.pt"}, overwrite=False)
    with pytest.raises(PermissionError, match="does not exist"):
        check_files(nothing | {"checkpoint": tmp_path / "none" / "a"}, overwrite=False)
