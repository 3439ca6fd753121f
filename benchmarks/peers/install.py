"""Installs the peers: an environment of its own for each Python adapter, one R library for the R adapters.

    python benchmarks/peers/install.py                              every Python adapter; says what the others need
    python benchmarks/peers/install.py magic scvi                   these only
    python benchmarks/peers/install.py knn_smoothing --sources DIR  DIR holds the file that no package index has
    python benchmarks/peers/install.py --r-sources DIR              DIR holds the checked-out sources of R packages

All goes to `.environments` in this folder. What is already there is completed, not made again.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "shared"))
from peer_metadata import ENVIRONMENTS, Peer, find

PYTHON = (3, 11)
R_LIBRARY = ENVIRONMENTS / "R"


class NotInstalledError(Exception):
    """An adapter that cannot be installed as things are; the text says what to do."""


def run(command: list[str], *, environment: dict[str, str] | None = None) -> None:
    """Run a command in sight of the user; its failure is this adapter's failure."""
    print("$", shlex.join(command), flush=True)
    done = subprocess.run(command, check=False, env=os.environ | (environment or {}))
    if done.returncode:
        msg = f"`{shlex.join(command)}` ended with exit code {done.returncode}; what it says is above."
        raise NotInstalledError(msg)


def install_python(peer: Peer, sources: Path | None, python: str) -> None:
    """Make or complete the environment of a Python adapter."""
    home = ENVIRONMENTS / peer.name
    wanted = [file for file in peer.sources if sources or not any(home.glob(f"lib/*/site-packages/{file}"))]
    files = {file: source_file(peer, file, sources=sources) for file in wanted}
    inside = home / "bin" / "python"
    if not inside.exists():
        run([python, "-m", "venv", str(home)])
    pip = [str(inside), "-m", "pip", "install", "--disable-pip-version-check", "--quiet"]
    run([*pip, *peer.dependencies])
    if peer.without_dependencies:
        run([*pip, "--no-deps", *peer.without_dependencies])
    for file, path in files.items():
        where = subprocess.check_output(
            [inside, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], text=True
        )
        shutil.copyfile(path, Path(where.strip()) / file)


def source_file(peer: Peer, file: str, *, sources: Path | None) -> Path:
    """Path of a file that no package index has."""
    if sources is not None and (sources / file).is_file():
        return sources / file
    reason = "--sources is not given" if sources is None else f"there is none in {sources}"
    msg = f"needs {file}, and {reason}: {peer.install_line}"
    raise NotInstalledError(msg)


def install_r(peer: Peer, sources: Path | None) -> None:
    """Install the packages of an R adapter that lie in a folder of sources."""
    if sources is None:
        if all((R_LIBRARY / name).is_dir() for name in peer.dependencies):
            return
        msg = f"is an R script: {peer.install_line}, or give its sources with --r-sources"
        raise NotInstalledError(msg)
    described = {path.parent: path.read_text(encoding="utf-8") for path in sources.glob("*/DESCRIPTION")}
    found = {package_name(text): folder for folder, text in described.items()}
    if absent := [name for name in peer.dependencies if name not in found]:
        msg = f"needs the sources of {', '.join(absent)} in a folder of {sources}: {peer.install_line}"
        raise NotInstalledError(msg)
    R_LIBRARY.mkdir(parents=True, exist_ok=True)
    asks = {
        name: set(re.findall(r"[\w.]+", described[found[name]])) & set(found) - {name} for name in peer.dependencies
    }
    for name in TopologicalSorter(asks).static_order():
        command = ["R", "CMD", "INSTALL", f"--library={R_LIBRARY}", str(found[name])]
        run(command, environment={"R_LIBS": str(R_LIBRARY)})


def package_name(description: str) -> str:
    """Name of an R package, whatever its folder is called."""
    found = re.search(r"^Package:\s*(\S+)", description, re.MULTILINE)
    return found.group(1) if found else ""


def interpreter(given: str) -> str:
    """A Python that the adapters run with."""
    asked = [given, "-c", "import sys; print(*sys.version_info[:2])"]
    version = tuple(int(part) for part in subprocess.check_output(asked, text=True).split())
    if version != PYTHON:
        msg = f"{given} is Python {version[0]}.{version[1]}; the peers need 3.11: give one with --python PATH."
        sys.exit(msg)
    return given


def chosen(peers: dict[str, Peer], arguments: argparse.Namespace) -> list[Peer]:
    """The adapters that were asked for: by name, those of the sources, or all."""
    if unknown := sorted(set(arguments.methods) - set(peers)):
        sys.exit(f"No adapter is called {', '.join(unknown)}. There are: {', '.join(peers)}.")
    if arguments.methods:
        return [peers[name] for name in arguments.methods]
    if arguments.r_sources:
        return [peer for peer in peers.values() if peer.language == "R"]
    return list(peers.values())


def main() -> None:
    """Install what was asked for; one that fails does not keep the others from it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("methods", nargs="*", metavar="METHOD", help="names of adapters (default: all)")
    parser.add_argument("--sources", type=Path, help="folder with files that no package index has")
    parser.add_argument("--r-sources", type=Path, help="folder of the checked-out sources of R packages")
    parser.add_argument("--python", default=sys.executable, help="a Python 3.11 (default: the one that runs this)")
    arguments = parser.parse_args()
    missing = []
    for peer in chosen(find(), arguments):
        print(f"== {peer.name}", flush=True)
        try:
            if peer.language == "R":
                install_r(peer, arguments.r_sources)
            else:
                install_python(peer, arguments.sources, interpreter(arguments.python))
        except NotInstalledError as error:
            print(f"{peer.name} {error}", file=sys.stderr)
            missing.append(peer.name)
    if missing:
        sys.exit(f"Not installed: {', '.join(missing)}; what each needs is above.")


if __name__ == "__main__":
    main()
