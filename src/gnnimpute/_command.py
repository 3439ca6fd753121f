"""What all commands share: help in sections, a log on the terminal, and errors that end with the right code."""

from __future__ import annotations

import errno
import gc
import logging
import shlex
import signal
import sys
import threading
import traceback
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from gnnimpute import _processes

if TYPE_CHECKING:
    from collections.abc import Iterator

MISUSE, BUG, NO_GAIN, INTERRUPTED = 2, 1, 3, 130
"""Exit codes: bad usage or bad input, an error that nobody foresaw, imputation would not help, and Ctrl-C."""

OWN_PROCESS = object()
"""Object of the root context of a command that has its process to itself."""

_ARGUMENTS = "gnnimpute.arguments"
_EXPECTED = (ValueError, LookupError, TypeError, OSError, MemoryError, FloatingPointError)


class Option(click.Option):
    """An option that stands in a section of the help."""

    def __init__(self, *args: Any, section: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.section = section


class Command(click.Command):
    """A command with ``--quiet`` and ``--debug``."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params += [
            Option(["--quiet"], is_flag=True, help="Only warnings and errors.", section="Messages"),
            Option(["--debug"], is_flag=True, help="Show where in the code an error arose.", section="Messages"),
        ]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keep the arguments as they were given, for :func:`spelled`."""
        ctx.meta[_ARGUMENTS] = list(args)
        return super().parse_args(ctx, args)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options section by section, in the order in which they are declared."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            if (record := param.get_help_record(ctx)) is not None and isinstance(param, click.Option):
                sections.setdefault(getattr(param, "section", "Messages"), []).append(record)
        for title, records in sections.items():
            with formatter.section(title):
                formatter.write_dl(records)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples as they are."""
        del ctx
        if self.epilog:
            formatter.write(f"\n{self.epilog.strip()}\n")

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; what goes wrong becomes a line on stderr and an exit code."""
        debug = ctx.params.pop("debug")
        try:
            with _messages(quiet=ctx.params["quiet"] or not _processes.place().is_first), _ended_like_interrupted():
                return super().invoke(ctx)
        except click.exceptions.ClickException:
            raise
        except KeyboardInterrupt:
            click.echo("Interrupted. The result was not written.", err=True)
            ctx.exit(INTERRUPTED)
        except Exception as error:
            if isinstance(error, click.exceptions.Exit) or getattr(error, "errno", None) == errno.EPIPE:
                raise
            if debug:
                click.echo(traceback.format_exc(), err=True)
            message, code = explain(error)
            click.echo(f"Error: {message}", err=True)
            ctx.exit(code)


@contextmanager
def importing() -> Iterator[None]:
    """Import large libraries without looking for garbage, a hundred times, where there is none.

    In a process of its own, a command does not look through them later either.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
        if click.get_current_context().find_root().obj is OWN_PROCESS:
            gc.freeze()
    finally:
        if was_enabled:
            gc.enable()


def spelled() -> str:
    """The command that is running, as one would type it."""
    context = click.get_current_context()
    return shlex.join(["gnnimpute", str(context.info_name), *context.meta[_ARGUMENTS]])


def explain(error: Exception) -> tuple[str, int]:
    """Line to show for an error, and the exit code."""
    text = str(error.args[0]) if isinstance(error, LookupError) and error.args else str(error)
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        cure = "Impute fewer genes (--genes), take a smaller --batch-size, or a machine with more memory."
        return f"There is not enough memory ({text or 'out of memory'}). {cure}", MISUSE
    where = "--debug shows where."
    if not isinstance(error, _EXPECTED) and not _is_absence(error):
        return f"{type(error).__name__}: {text.rstrip('.')}. This is a bug in gnnimpute, not your mistake: {where}", BUG
    if " " not in text:  # of a library, which says too little
        return f"{type(error).__name__}: {text or 'without a message'}. {where}", MISUSE
    return text, MISUSE


def _is_absence(error: Exception) -> bool:
    """Whether a package is absent that the user was told to install; of others that cannot be imported no one was."""
    if not isinstance(error, ImportError):
        return False
    from gnnimpute._blocks import AbsentError

    return isinstance(error, AbsentError)


@contextmanager
def _ended_like_interrupted() -> Iterator[None]:
    """Let SIGTERM, as `timeout` and cluster schedulers send it, and SIGHUP, of a terminal that is closed, end all.

    Methods that run are ended then, and what is half written is removed. What is ignored, as under `nohup`, stays so;
    processes that help the first write nothing, and end at once.
    """
    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    if threading.current_thread() is not threading.main_thread() or not _processes.place().is_first:
        numbers = []
    ours = [number for number in numbers if signal.getsignal(number) is signal.SIG_DFL]
    for number in ours:
        signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


class _Terminal(logging.Handler):
    """Writes to stderr, above a progress bar if there is one."""

    def emit(self, record: logging.LogRecord) -> None:
        from tqdm import tqdm

        level = "" if record.levelno < logging.WARNING else f"{record.levelname.capitalize()}: "
        tqdm.write(level + self.format(record), file=sys.stderr)


@contextmanager
def _messages(*, quiet: bool) -> Iterator[None]:
    """Show the log of this package while a command runs, and nothing that other libraries warn of."""
    logger, handler = logging.getLogger("gnnimpute"), _Terminal()
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.WARNING if quiet else logging.INFO)
    try:
        with warnings.catch_warnings():
            if not sys.warnoptions:
                warnings.simplefilter("ignore")
            yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)
