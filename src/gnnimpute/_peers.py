"""Methods of a comparison, ours and others: each is a command, with one file in and one file out."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from gnnimpute import _child, _methods
from gnnimpute._exchange import write_answer_of_folder, write_folder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from anndata import AnnData

Status = Literal["ok", "absent", "failed", "timed out"]

ABSENT = 69
"""Exit code of an adapter whose program is not installed; the last line of its stderr says what to do."""

ENVIRONMENTS = ".environments"
"""Folder beside the adapters: a virtual environment for each that is Python, and ``R``, a library of R packages."""

_THREADS = (
    *(f"{name}_NUM_THREADS" for name in ("OMP", "MKL", "OPENBLAS", "NUMEXPR", "NUMBA")),
    "VECLIB_MAXIMUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
)
_MOST_SAID = 500  # characters


class Outcome(NamedTuple):
    """How the run of a method went."""

    status: Status
    message: str
    seconds: float = float("nan")
    peak_gb: float = float("nan")
    cpu_seconds: float = float("nan")


@dataclass(frozen=True)
class Method:
    """A method by its name in tables."""

    name: str
    arguments: tuple[str, ...] = ()
    """What its command is given besides files and seed."""
    adapter: Path | None = None
    """Script of a peer; `None` for methods of the package."""
    packages: tuple[str, ...] = ()
    """R packages that it needs."""
    install: str = ""
    """What to do where it is absent."""

    @property
    def in_r(self) -> bool:
        """Whether it is an R script."""
        return self.adapter is not None and self.adapter.suffix == ".R"

    @property
    def program(self) -> str | None:
        """What runs it; `None` if that is not there."""
        if self.adapter is None:
            return sys.executable
        if self.in_r:
            return shutil.which("Rscript")
        home = self.adapter.absolute().parent / ENVIRONMENTS / self.adapter.stem
        found = (home / "bin" / "python", home / "Scripts" / "python.exe")
        return next((str(path) for path in found if path.exists()), None)

    def is_installed(self) -> bool:
        """Whether its program is there; R is asked for its packages."""
        if self.program is None or not self.in_r:
            return self.program is not None
        ask = [self.program, "-e", "invisible(lapply(commandArgs(TRUE), find.package))", *self.packages]
        return not subprocess.run(ask, env=self.variables(threads=1), capture_output=True, check=False).returncode

    def command(self, source: Path, out: Path, *, seed: int) -> list[str]:
        """Program and arguments. Python runs with ``-P``, because an adapter may be called like what it imports."""
        files = [str(source), str(out)]
        if self.adapter is None:
            rest = ["-P", "-m", _methods.__name__, self.name, *files, "--seed", str(seed)]
        elif self.in_r:
            rest = [str(self.adapter), *files, str(seed)]
        else:
            rest = ["-P", str(self.adapter), *files, "--seed", str(seed)]
        return [str(self.program), *rest, *self.arguments]

    def variables(self, *, threads: int) -> dict[str, str]:
        """Its environment variables."""
        own = os.environ | dict.fromkeys(_THREADS, str(threads)) | {"OMP_WAIT_POLICY": "PASSIVE"}
        if self.adapter is not None:  # what is set for the Python of the package is not meant for that of others
            own = {name: value for name, value in own.items() if name not in {"PYTHONPATH", "PYTHONHOME"}}
        if self.in_r and self.adapter is not None:
            library = self.adapter.absolute().parent / ENVIRONMENTS / "R"
            own["R_LIBS"] = os.pathsep.join(filter(None, [str(library), os.environ.get("R_LIBS")]))
        return own

    def run(
        self,
        adata: AnnData,
        source: Path,
        out: Path,
        *,
        seed: int,
        time_limit: float,
        threads: int = 2,
        tick: Callable[[], None] = lambda: None,
    ) -> Outcome:
        """Run it in a process of its own. What goes wrong with it is an outcome, not an error.

        Parameters
        ----------
        adata
            Raw counts in `X`.
        source
            h5ad file of them. R is given, beside `out`, a folder that holds the same.
        out
            h5ad file that is written.
        seed
            Seed that the method is given.
        time_limit
            Seconds after which it is killed, with all of its processes.
        threads
            Threads that it is told to use, by the usual environment variables.
        tick
            Called a few times a second while it runs.
        """
        if self.program is None:
            return Outcome("absent", self.install)
        given, made = (out.with_name("r_in"), out.with_name("r_out")) if self.in_r else (source, out)
        try:
            if self.in_r:
                write_folder(adata, given)
                made.mkdir()
            ended = _child.run(
                self.command(given, made, seed=seed),
                time_limit=time_limit,
                environment=self.variables(threads=threads),
                tick=tick,
            )
            outcome = self._outcome(ended, time_limit)
            if self.in_r and outcome.status == "ok":
                write_answer_of_folder(made, out, adata)
        except (OSError, ValueError) as error:
            return Outcome("failed", str(error))
        finally:
            if self.in_r:
                for folder in (given, made):
                    shutil.rmtree(folder, ignore_errors=True)
        return outcome

    def _outcome(self, ended: _child.Ended, time_limit: float) -> Outcome:
        if ended.code == ABSENT:
            return Outcome("absent", last_lines(ended.stderr, 1) or self.install)
        measured = (ended.seconds, ended.peak_gb, ended.cpu_seconds)
        if ended.code is None:
            return Outcome("timed out", f"not done after {time_limit:g} s", *measured)
        if ended.code == 0:
            return Outcome("ok", "", *measured)
        said = last_lines(ended.stderr)
        if ended.code < 0:
            said = f"{_signal(-ended.code)} {said}".strip()
        return Outcome("failed", said or f"exit code {ended.code}, without a word", *measured)


def last_lines(text: str, most: int = 3) -> str:
    """The end of what a program said, on one line; of Python's tracebacks the error only."""
    lines = [line for line in text.splitlines() if line.strip()]
    if any(line.startswith("Traceback (most recent") for line in lines):
        lines = [line for line in lines if not line.startswith((" ", "Traceback"))]
    joined = " | ".join(line.strip() for line in lines[-most:])
    return joined if len(joined) <= _MOST_SAID else f"...{joined[-_MOST_SAID:]}"


def _signal(number: int) -> str:
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    return f"ended by {name}{', perhaps for want of memory' if name == 'SIGKILL' else ''}."
