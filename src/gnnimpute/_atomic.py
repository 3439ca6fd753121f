"""Write beside, then rename: a file is there whole or not at all. And keep others from writing there meanwhile."""

from __future__ import annotations

import errno
import os
import platform
import secrets
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LONGEST_NAME = 230
"""Most bytes of the name of a file: systems allow 255, and what is unfinished has a longer name than the file."""


def check_length(path: Path) -> None:
    """Raise ValueError for a name that is too long for what stands beside the file while it is written."""
    if (n_bytes := len(os.fsencode(path.name))) > LONGEST_NAME:
        msg = f"{path}: the name has {n_bytes} bytes, and {LONGEST_NAME} are the most: choose a shorter one."
        raise ValueError(msg)


def check_place(path: Path) -> None:
    """Whether a file can be written there, before work is spent on it.

    Raises
    ------
    IsADirectoryError
        If `path` is a folder.
    FileNotFoundError
        If the folder of `path` does not exist.
    ValueError
        If its name is too long.
    """
    check_length(path)
    if path.is_dir():
        msg = f"{path} is a folder: name a file in it."
        raise IsADirectoryError(msg)
    if not path.parent.is_dir():
        msg = f"{path} cannot be written: there is no folder {path.parent}."
        raise FileNotFoundError(msg)


def check_ending(path: Path, *endings: str, what: str) -> None:
    """Raise ValueError for a name of another ending than the first of these, or another of them, whatever its case."""
    if path.suffix.lower() not in endings:
        msg = f"{path}: the name of {what} ends in {endings[0]}."
        raise ValueError(msg)


_FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}


@contextmanager
def full_disk_named(path: Path, mend: str) -> Iterator[None]:
    """Say what was written where the disk, or one's share of it, is full, which the system does not; and the mend."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        msg = f"There was no space left while {path} was written to {path.absolute().parent}. {mend}"
        named = OSError(msg)
        named.errno = error.errno  # for those who have more to say
        raise named from error


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a new name beside the file `path`; rename it to `path` if all went well, else remove it.

    What stood at `path` before is untouched until then. Errors are those of :func:`check_place`.
    """
    check_place(path)
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with full_disk_named(path, "Free some space, or write to another disk."):
            yield beside
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


@contextmanager
def alone(lock: Path, what: str) -> Iterator[None]:
    """Keep all other processes out that ask for the same file `lock`, which is there until the end only.

    The system lets go of it when the process ends, however it does: a file that a crash has left is in nobody's way.
    Where files cannot be locked, as on Windows and some network disks, nobody is kept out.

    Raises
    ------
    FileExistsError
        If another process is at it; `what` names what both want to write.
    """
    descriptor = _locked(lock, what)
    try:
        yield
    finally:
        if descriptor is not None:
            try:
                lock.unlink(missing_ok=True)  # before it is let go: later, it may be that of another already
            finally:
                os.close(descriptor)


def _locked(lock: Path, what: str) -> int | None:
    """Descriptor of the file, locked; `None` where files cannot be."""
    if fcntl is None:
        return None
    while True:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 500).decode(errors="replace") or "process unknown"
            os.close(descriptor)
            msg = f"{what} is being written by another run ({holder}). Wait until it has ended, or name another."
            raise FileExistsError(msg) from None
        except OSError:  # of a disk that knows no locks
            os.close(descriptor)
            lock.unlink(missing_ok=True)
            return None
        if _is_there(descriptor, lock):
            with suppress(OSError):  # a full disk
                os.ftruncate(descriptor, 0)
                os.write(descriptor, f"process {os.getpid()} on {platform.node()}".encode())
            return descriptor
        os.close(descriptor)


def _is_there(descriptor: int, path: Path) -> bool:
    """Whether an open file still has its name: a run that ended meanwhile has removed it, and others lock the next."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


@contextmanager
def in_turn(path: Path) -> Iterator[None]:
    """Wait until no other process is in here for a file of the same folder: to read a file, and replace it.

    The folder is what is locked: a file is another one after it was replaced, and a file for the lock would stay. Where
    folders cannot be locked, as on Windows and some file servers, nobody waits.
    """
    check_place(path)
    if fcntl is None:
        yield
        return
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        with suppress(OSError):
            fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)  # which unlocks it
