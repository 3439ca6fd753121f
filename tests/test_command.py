"""Help in sections, messages, errors and exit codes."""

from __future__ import annotations

import errno
import gc
import logging
import os
import signal
import time
import warnings
from functools import partial
from typing import TYPE_CHECKING

import click
import pytest
from click.testing import CliRunner

from gnnimpute._blocks import AbsentError
from gnnimpute._command import BUG, INTERRUPTED, MISUSE, OWN_PROCESS, Command, Option, explain, importing
from gnnimpute._writers import in_place

if TYPE_CHECKING:
    from pathlib import Path


def failing(error: BaseException) -> Command:
    def fail(**_: bool) -> None:
        raise error

    return Command("fail", callback=fail)


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (ValueError("the count is wrong"), MISUSE, "Error: the count is wrong\n"),
        (KeyError("adata.layers has no 'x'."), MISUSE, "Error: adata.layers has no 'x'.\n"),
        (KeyError("x"), MISUSE, "Error: KeyError: x. --debug shows where.\n"),
        (TypeError("no number there"), MISUSE, "Error: no number there\n"),
        (FileNotFoundError("there is no a"), MISUSE, "Error: there is no a\n"),
        (FileExistsError("a exists"), MISUSE, "Error: a exists\n"),
        (PermissionError("not allowed"), MISUSE, "Error: not allowed\n"),
        (OSError(errno.ENOSPC, "No space left on device"), MISUSE, "No space left"),
        (MemoryError(), MISUSE, "not enough memory"),
        (FloatingPointError("The loss became nan"), MISUSE, "Error: The loss became nan\n"),
        (ValueError(), MISUSE, "ValueError"),
        (AbsentError("This needs dask: pip install dask."), MISUSE, "Error: This needs dask: pip install dask.\n"),
        (
            ImportError("cannot import name 'x'."),
            BUG,
            "ImportError: cannot import name 'x'. This is a bug in gnnimpute",
        ),
        (RuntimeError("shapes differ"), BUG, "RuntimeError: shapes differ. This is a bug in gnnimpute"),
        (AssertionError(), BUG, "--debug"),
        (KeyboardInterrupt(), INTERRUPTED, "Interrupted"),
        (click.UsageError("no such thing"), 2, "no such thing"),
    ],
)
def test_errors_end_with_a_line_and_a_code(error: BaseException, code: int, said: str) -> None:
    done = CliRunner().invoke(failing(error), [])
    assert done.exit_code == code
    assert said in done.stderr
    assert "Traceback" not in done.output
    assert done.stdout == ""


@pytest.mark.parametrize(("error", "code"), [(ValueError("the count is wrong"), MISUSE), (RuntimeError("odd"), BUG)])
def test_debug_shows_where(error: Exception, code: int) -> None:
    done = CliRunner().invoke(failing(error), ["--debug"])
    assert done.exit_code == code
    assert "Traceback" in done.stderr
    assert "test_command.py" in done.stderr
    assert f"Error: {explain(error)[0]}" in done.stderr


def test_running_out_of_gpu_memory_is_no_bug() -> None:
    error = type("OutOfMemoryError", (RuntimeError,), {})("CUDA out of memory")
    message, code = explain(error)
    assert code == MISUSE
    assert "--batch-size" in message


@pytest.mark.parametrize(("args", "shown"), [([], ["told", "Warning: beware"]), (["--quiet"], ["Warning: beware"])])
def test_log_is_shown_while_the_command_runs_only(args: list[str], shown: list[str]) -> None:
    logger = logging.getLogger("gnnimpute")
    before = (list(logger.handlers), logger.level)

    def talk(**_: bool) -> None:
        logging.getLogger("gnnimpute.pp").info("told")
        logging.getLogger("gnnimpute.pp").warning("beware")
        logging.getLogger("somebody").warning("not ours")
        warnings.warn("clutter of a library", FutureWarning, stacklevel=1)

    done = CliRunner().invoke(Command("talk", callback=talk), args)
    assert done.exit_code == 0
    assert done.stderr.splitlines() == shown
    assert (list(logger.handlers), logger.level) == before


def test_log_is_put_back_after_an_error() -> None:
    logger = logging.getLogger("gnnimpute")
    before = (list(logger.handlers), logger.level)
    CliRunner().invoke(failing(ValueError("the count is wrong")), [])
    assert (list(logger.handlers), logger.level) == before


SIGNALS = [pytest.param(getattr(signal, name, None), id=name) for name in ("SIGINT", "SIGTERM", "SIGHUP")]


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX")
@pytest.mark.parametrize("how", SIGNALS)
@pytest.mark.usefixtures("no_signal_ignored")
def test_whatever_ends_a_command_leaves_nothing_half_written(tmp_path: Path, how: signal.Signals) -> None:
    others = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)]

    def write(**_: bool) -> None:
        with in_place(tmp_path / "out.zarr", suffix=".zarr") as beside:
            beside.mkdir()
            os.kill(os.getpid(), how)
            time.sleep(5)

    done = CliRunner().invoke(Command("write", callback=write), [])
    assert done.exit_code == INTERRUPTED
    assert "Interrupted" in done.stderr
    assert not list(tmp_path.iterdir())
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)] == others


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX")
def test_a_command_under_nohup_goes_on(request: pytest.FixtureRequest) -> None:
    request.addfinalizer(partial(signal.signal, signal.SIGHUP, signal.signal(signal.SIGHUP, signal.SIG_IGN)))
    done = CliRunner().invoke(Command("go", callback=lambda **_: os.kill(os.getpid(), signal.SIGHUP)), [])
    assert done.exit_code == 0, done.output
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def test_help_is_in_sections_in_the_order_of_the_options() -> None:
    options = [Option(["--b"], section="First"), Option(["--a"], section="Second"), Option(["--c"], section="First")]
    command = Command("x", params=options, epilog="Examples:\n  x --a 1\n  x --b 2")
    help_text = CliRunner().invoke(command, ["--help"]).output
    places = [help_text.index(part) for part in ("First:", "--b", "--c", "Second:", "--a", "Messages:", "--debug")]
    assert places == sorted(places)
    assert help_text.endswith("Examples:\n  x --a 1\n  x --b 2\n")


@pytest.mark.parametrize(("own", "is_frozen"), [(OWN_PROCESS, True), (None, False)])
def test_only_a_command_with_a_process_to_itself_stops_looking_through_libraries(own, is_frozen):
    @click.command()
    def command():
        with importing():
            assert not gc.isenabled()
        assert gc.isenabled()

    assert not gc.get_freeze_count()
    try:
        assert CliRunner().invoke(command, obj=own).exit_code == 0
        assert bool(gc.get_freeze_count()) == is_frozen
    finally:
        gc.unfreeze()
