"""Reads what an adapter says of itself: the block `# /// script` (PEP 723) at the top of a Python or R file."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PEERS = Path(__file__).resolve().parents[1]
ENVIRONMENTS = PEERS / ".environments"
BLOCK = re.compile(r"^# /// script\n((?:#(?: .*)?\n)+?)# ///$", re.MULTILINE)


@dataclass(frozen=True)
class Peer:
    """One adapter file, and what its block says."""

    path: Path
    dependencies: tuple[str, ...]
    """Requirements of a Python adapter (`name==version`), names of packages of an R adapter."""
    settings: dict[str, Any]
    """The table `[tool.gnnimpute]`."""

    @property
    def name(self) -> str:
        """Name of the adapter: its file without the suffix."""
        return self.path.stem

    @property
    def language(self) -> str:
        """`py` or `R`."""
        return self.path.suffix.lstrip(".")

    @property
    def without_dependencies(self) -> tuple[str, ...]:
        """Requirements that pip installs alone, since what they declare rules out versions that they run with."""
        return tuple(self.settings.get("without-dependencies", ()))

    @property
    def sources(self) -> tuple[str, ...]:
        """Files that no package index has; `install.py --sources FOLDER` takes them from a checkout."""
        return tuple(self.settings.get("sources", ()))

    @property
    def requirements(self) -> dict[str, str]:
        """Version of every package that a Python adapter asks for."""
        pinned = (line.split(";")[0].split("==") for line in (*self.without_dependencies, *self.dependencies))
        return {name.strip(): version.strip() for name, version in pinned}

    @property
    def install_line(self) -> str:
        """What a person without it should run."""
        return str(self.settings.get("install", f"python benchmarks/peers/install.py {self.name}"))


def read(path: Path) -> Peer:
    """Read one adapter's block."""
    text = path.read_text(encoding="utf-8")
    block = BLOCK.search(text)
    if block is None:
        msg = f"{path} has no block `# /// script` ... `# ///`: README.md beside it says what an adapter declares."
        raise ValueError(msg)
    content = tomllib.loads("".join(line[2:] or "\n" for line in block.group(1).splitlines(keepends=True)))
    settings = content.get("tool", {}).get("gnnimpute", {})
    return Peer(path=path, dependencies=tuple(content.get("dependencies", ())), settings=settings)


def find() -> dict[str, Peer]:
    """All adapters of this folder, by name."""
    paths = sorted([*PEERS.glob("*.py"), *PEERS.glob("*.R")], key=lambda path: path.stem)
    return {path.stem: read(path) for path in paths if BLOCK.search(path.read_text(encoding="utf-8"))}
