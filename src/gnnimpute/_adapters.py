"""Which methods there are: those of the package, and a folder of scripts that say in their head how to run others."""

from __future__ import annotations

import json
import re
import tomllib
from typing import TYPE_CHECKING, Any

from gnnimpute._methods import NAMES, OURS
from gnnimpute._names import suggestion
from gnnimpute._peers import Method

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

# Inline script metadata, as PEP 723 defines it.
_BLOCK = re.compile(r"^# /// script[ \t]*\n((?:#(?:| .*)\n)+?)# ///[ \t]*$", re.MULTILINE)


def built_in(changes: Mapping[str, Any] | None = None) -> list[Method]:
    """Methods of the package; `changes` are settings of our networks that differ from their defaults."""
    given = ("--config", json.dumps(changes, sort_keys=True)) if changes else ()
    return [Method(name, given if name in OURS else ()) for name in NAMES]


def peers(folder: Path) -> list[Method]:
    """Methods of the scripts in a folder; one without ``[tool.gnnimpute.methods]`` in its head is none of them.

    Raises
    ------
    ValueError
        If the head of a script cannot be read, or two scripts give one name.
    FileNotFoundError
        If there is no such folder, or no script in it.
    """
    if not folder.is_dir():
        msg = f"There is no folder {folder} of adapters: clone the repository, and name its benchmarks/peers."
        raise FileNotFoundError(msg)
    scripts = sorted(path for path in folder.iterdir() if path.suffix in {".py", ".R"})
    methods = [method for script in scripts for method in _methods_of(script)]
    if not methods:
        msg = f"{folder} has no adapter: a script (.py, .R) with [tool.gnnimpute.methods] in its inline metadata."
        raise FileNotFoundError(msg)
    check_names([*built_in(), *methods])
    return methods


def chosen(methods: Sequence[Method], names: Iterable[str] | None) -> list[Method]:
    """Methods by their names, whatever the case; by default all.

    Raises
    ------
    ValueError
        If there is no such method.
    """
    if names is None:
        return list(methods)
    by_name = {method.name.lower(): method for method in methods}
    wanted = {name.strip().lower(): name.strip() for name in names}
    if unknown := [name for lowered, name in wanted.items() if lowered not in by_name]:
        known = [method.name for method in methods]
        msg = f"There is no method {unknown[0]!r}. {suggestion(unknown[0], known)} `--list` shows all."
        if all(method.adapter is None for method in methods):
            msg += " Methods of others, such as MAGIC, need --peers, a folder of adapters: benchmarks/peers of the "
            msg += "repository."
        raise ValueError(msg)
    return [by_name[name] for name in wanted]


def split_names(texts: Iterable[str], methods: Sequence[Method]) -> list[str]:
    """Names out of texts with commas between them; a name may hold commas itself."""
    known = {method.name.lower() for method in methods}
    names: list[str] = []
    for text in texts:
        parts = [part.strip() for part in text.split(",")]
        while parts:
            # The longest beginning that is a name; what is none stays one part, for the error.
            lengths = [n for n in range(len(parts), 0, -1) if ", ".join(parts[:n]).lower() in known]
            length = lengths[0] if lengths else 1
            names.append(", ".join(parts[:length]))
            parts = parts[length:]
    return [name for name in names if name]


def check_names(methods: Sequence[Method]) -> None:
    """Raise ValueError if a name stands twice."""
    seen: dict[str, Method] = {}
    for method in methods:
        if (other := seen.setdefault(method.name.lower(), method)) is not method:
            homes = [str(one.adapter or "the package") for one in (other, method)]
            msg = f"Two methods are called {method.name!r}, in {' and '.join(homes)}: rename one."
            raise ValueError(msg)


def metadata(script: Path) -> dict[str, Any]:
    """Inline metadata of a script; empty if it has none."""
    block = _BLOCK.search(script.read_text(encoding="utf-8"))
    if block is None:
        return {}
    lines = block.group(1).splitlines(keepends=True)
    try:
        return tomllib.loads("".join(line[2:] if line.startswith("# ") else line[1:] for line in lines))
    except tomllib.TOMLDecodeError as error:
        msg = f"The inline metadata of {script} is not TOML: {error}."
        raise ValueError(msg) from None


def _methods_of(script: Path) -> list[Method]:
    head = metadata(script)
    own = head.get("tool", {}).get("gnnimpute", {})
    in_r = script.suffix == ".R"
    install = own.get("install") or ("" if in_r else f"python {script.parent / 'install.py'} {script.stem}")
    packages = tuple(head.get("dependencies", ())) if in_r else ()
    methods = own.get("methods", {})
    for name, arguments in methods.items():
        if not isinstance(arguments, list) or not all(isinstance(argument, str) for argument in arguments):
            msg = f"{script}: the method {name!r} must have a list of texts, its arguments, not {arguments!r}."
            raise ValueError(msg)
    return [Method(name, tuple(arguments), script, packages, install) for name, arguments in methods.items()]
