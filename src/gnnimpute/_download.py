"""Have a published file at hand: from the cache folder, or downloaded into it, and the same bytes ever after."""

from __future__ import annotations

import hashlib
import logging
import sys
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tarfile import TarError
from typing import TYPE_CHECKING
from urllib.parse import quote

from gnnimpute._atomic import replacing

if TYPE_CHECKING:
    from collections.abc import Iterator

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Published:
    """A file as its authors published it, with a checksum where they give one."""

    name: str
    url: str
    sha256: str | None = None


def geo(accession: str, name: str) -> Published:
    """A supplementary file of the Gene Expression Omnibus, by https."""
    return Published(name, f"https://www.ncbi.nlm.nih.gov/geo/download/?acc={accession}&format=file&file={quote(name)}")


def fetch(file: Published, folder: str | Path | None) -> Path:
    """Path of a file in a cache folder: downloaded if it is not there, verified if its checksum is known.

    Parameters
    ----------
    file
        What to fetch.
    folder
        Cache folder; by default the one of the operating system for this package.

    Raises
    ------
    OSError
        If the file cannot be had, or is not the one whose checksum is known.
    """
    import pooch

    folder = Path(pooch.os_cache("gnnimpute") if folder is None else folder).expanduser().absolute()
    path = folder / file.name
    known = file.sha256 or _recorded(path)
    if path.exists():
        if known and (found := sha256(path)) != known:
            msg = f"{path} is not the known file: its sha256 is {found}, not {known}. Delete it to download it again."
            if not file.sha256:
                msg += f" If you mean to use it, delete the record of the one that was read before, {_record(path)}."
            raise OSError(msg)
        return path
    downloader = pooch.HTTPDownloader(progressbar=sys.stderr.isatty())
    try:
        pooch.retrieve(file.url, known_hash=known, fname=file.name, path=folder, downloader=downloader)
    except (OSError, ValueError) as error:  # ValueError: what came does not have the known checksum
        msg = (
            f"Could not download {file.url} ({error}). Without a network, fetch that address elsewhere, place the file "
            f"under the exact name {file.name} in the folder {folder} (or in another, given as folder=), and call this "
            "again."
        )
        raise OSError(msg) from error
    return path


@contextmanager
def reading(file: Published, path: Path) -> Iterator[None]:
    """Turn what goes wrong with the content of a file into an error that names it and says what to do."""
    try:
        yield
    except (FileNotFoundError, PermissionError):
        raise
    except (EOFError, OSError, TypeError, ValueError, TarError, zlib.error) as error:
        msg = (
            f"{path} is cut short, or is not what was published. Delete it and call this again, which downloads "
            f"{file.url}, or place a good copy there. What is wrong: {error}"
        )
        raise ValueError(msg) from error


def trust(path: Path) -> str:
    """Record the checksum of a file that was read and found good, for :func:`fetch` to verify from now on.

    The record lies beside the file, in the format of ``sha256sum``; in a folder that cannot be written to, none does.
    """
    if checksum := _recorded(path):
        return checksum
    checksum = sha256(path)
    try:
        with replacing(_record(path)) as record:
            record.write_text(f"{checksum}  {path.name}\n", encoding="utf-8")
    except OSError as error:
        _logger.info("No checksum is kept for %s: %s.", path, error)
    return checksum


def sha256(path: Path) -> str:
    """Checksum of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _record(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _recorded(path: Path) -> str | None:
    record = _record(path)
    words = record.read_text(encoding="utf-8").split() if record.exists() else []
    return words[0] if words else None
