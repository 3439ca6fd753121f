"""Run a command as a process of its own: how long it takes, how much memory it needs, and an end to it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

_LONGEST_PAUSE = 0.2
_TAIL = 4000  # bytes of stderr that are kept
_PROC = Path("/proc")
_SHELL = Path("/bin/sh")


class Ended(NamedTuple):
    """How a command ended."""

    code: int | None
    """Exit code, below 0 for a signal; `None` if the time limit ended it."""
    seconds: float
    peak_gb: float
    """Most memory of the process and its children together; nan where the system does not say."""
    stderr: str
    """The end of what it wrote to stderr."""
    cpu_seconds: float = float("nan")
    """Of the process and of those of its children that it waited for; nan where the system does not say."""


def run(
    command: Sequence[str],
    *,
    time_limit: float,
    environment: Mapping[str, str],
    tick: Callable[[], None] = lambda: None,
) -> Ended:
    """Run a command in a process group of its own; none of its processes outlives it, this call, or this process.

    That they do not outlive this process, even if it is killed, is seen to where there is a POSIX shell.

    Parameters
    ----------
    command
        Program and arguments.
    time_limit
        Seconds after which it is killed.
    environment
        Its environment variables.
    tick
        Called a few times a second while it runs.

    Raises
    ------
    OSError
        If the program cannot be started.
    """
    started = time.monotonic()
    with tempfile.TemporaryFile() as errors:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            env=environment,
            start_new_session=True,
        )
        memory = _Memory(child.pid)
        try:
            with _killed_with_this_process(child.pid):
                in_time = _wait(child, memory, started + time_limit, tick)
                seconds = time.monotonic() - started
        finally:
            _kill_all(child)
        errors.seek(max(0, errors.seek(0, os.SEEK_END) - _TAIL))
        tail = errors.read().decode(errors="replace")
    return Ended(child.returncode if in_time else None, seconds, memory.peak_gb, tail, memory.cpu_seconds)


@contextmanager
def _killed_with_this_process(group: int) -> Iterator[None]:
    """Let a shell end a process group once this process is gone: its end of a pipe is then closed, whatever ended it.

    Linux can tell a process that its parent has died, but not the processes that it has started itself, and to ask for
    that between fork and exec is not safe where there are threads.
    """
    if not _SHELL.exists():
        yield
        return
    command = [str(_SHELL), "-c", 'read -r _; kill -s KILL -- "-$1"', "sh", str(group)]
    # In a session of its own, no signal of the terminal ends it first.
    watch = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        yield
    finally:
        watch.kill()  # before its pipe is closed
        watch.communicate()


def _wait(child: subprocess.Popen[bytes], memory: _Memory, deadline: float, tick: Callable[[], None]) -> bool:
    """Whether the process ended by itself before the deadline."""
    pause = 0.005
    while not memory.ended(child):
        if time.monotonic() > deadline:
            return False
        memory.look()
        tick()
        time.sleep(pause)
        pause = min(1.5 * pause, _LONGEST_PAUSE)
    return True


def _kill_all(child: subprocess.Popen[bytes]) -> None:
    """End what is left of the group: the process itself, or what it left behind."""
    if hasattr(os, "killpg"):
        with suppress(ProcessLookupError, PermissionError):  # macOS: no permission for a group of zombies
            os.killpg(child.pid, signal.SIGKILL)
    elif child.poll() is None:
        child.kill()
    child.wait()


class _Memory:
    """Peak memory of a process group, and its processor time.

    Linux: looked up while it runs, in /proc. What `wait4` says is not used there: a process starts its account with the
    memory of whoever started it. Elsewhere `wait4` is all there is, and gives the largest process, not their sum.
    """

    def __init__(self, group: int) -> None:
        self._group = group
        self._most: dict[str, int] = {}  # each process alone, which no look can miss
        self._together = 0
        self.peak_gb = self.cpu_seconds = float("nan")

    def look(self) -> None:
        """Take note of what the group uses now."""
        if not _PROC.is_dir():
            return
        now = 0
        for process in _PROC.iterdir():
            with suppress(OSError, IndexError, ValueError):  # processes end while they are looked at
                if process.name.isdigit() and _group_of(process) == self._group:
                    peak, current = _kilobytes(process)
                    self._most[process.name] = max(peak, self._most.get(process.name, 0))
                    now += current
        self._together = max(self._together, now)
        if most := max([self._together, *self._most.values()]):
            self.peak_gb = most * 1024 / 1e9

    def ended(self, child: subprocess.Popen[bytes]) -> bool:
        """Whether the process has ended; then its exit code is known."""
        if not hasattr(os, "wait4"):
            return child.poll() is not None
        pid, status, usage = os.wait4(child.pid, os.WNOHANG)
        if not pid:
            return False
        child.returncode = os.waitstatus_to_exitcode(status)
        self.cpu_seconds = usage.ru_utime + usage.ru_stime
        if not _PROC.is_dir():
            self.peak_gb = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e9
        return True


def _group_of(process: Path) -> int:
    # The name, in parentheses, may hold anything; then state, parent, group.
    return int((process / "stat").read_text().rpartition(")")[2].split()[2])


def _kilobytes(process: Path) -> tuple[int, int]:
    """Peak and present resident memory of one process."""
    lines = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines() if ":" in line)
    peak, current = (lines.get(key, "0 kB") for key in ("VmHWM", "VmRSS"))
    return int(peak.split()[0]), int(current.split()[0])
