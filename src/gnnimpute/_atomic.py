"""Write beside, then rename: a file is there whole or not at all."""

from __future__ import annotations

import secrets
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def check_place(path: Path) -> None:
    """Whether a file can be written there, before work is spent on it.

    Raises
    ------
    IsADirectoryError
        If `path` is a folder.
    FileNotFoundError
        If the folder of `path` does not exist.
    """
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


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a new name beside the file `path`; rename it to `path` if all went well, else remove it.

    What stood at `path` before is untouched until then. Errors are those of :func:`check_place`.
    """
    check_place(path)
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        yield beside
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
