"""What all Python adapters do alike: command line, absent packages, counts in, expected counts out."""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from peer_metadata import PEERS, Peer, read

if TYPE_CHECKING:
    from collections.abc import Callable

    import anndata
    import numpy as np
    from numpy.typing import NDArray

ABSENT = 69
THREADS = min(2, int(os.environ.get("OMP_NUM_THREADS") or 2))

# A script's folder comes first where modules are looked for: there `magic` would be our adapter, not the package.
sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != PEERS]
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(variable, str(THREADS))


@dataclass(frozen=True)
class Answer:
    """What a method gave."""

    mean: NDArray[np.float32]
    """Expected counts, of shape (n_cells, n_genes), each cell on the scale of its own counts."""
    version: str
    settings: dict[str, Any] = field(default_factory=dict)
    """All that was set, and what the method settled on."""
    note: str = ""


def command(description: str) -> argparse.ArgumentParser:
    """Command line of every adapter; an adapter adds the options of its variants."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("input", type=Path, help="AnnData file: X holds raw counts, cells x genes")
    parser.add_argument("output", type=Path, help='AnnData file to write: layers["mean"] holds expected counts')
    parser.add_argument("--seed", type=int, default=0)
    return parser


def run(
    script: str, impute: Callable[[anndata.AnnData, argparse.Namespace], Answer], parser: argparse.ArgumentParser
) -> None:
    """Run a method on the cells and genes that have counts, and write what it gives for all."""
    arguments = parser.parse_args()
    peer = read(Path(script).resolve())
    packages = versions(peer)
    import anndata
    import numpy as np

    everything = anndata.read_h5ad(arguments.input)
    cells = np.flatnonzero(np.asarray(everything.X.sum(axis=1)).ravel() > 0)
    genes = np.flatnonzero(np.asarray(everything.X.sum(axis=0)).ravel() > 0)
    counts = everything[cells][:, genes].copy()
    answer = impute(counts, arguments)
    check(answer.mean, shape=counts.shape)
    mean = np.zeros(everything.shape, dtype=np.float32)  # what shows no molecule at all is expected to show none
    mean[np.ix_(cells, genes)] = answer.mean
    result = anndata.AnnData(obs=everything.obs[[]], var=everything.var[[]], layers={"mean": mean})
    settings = answer.settings | {"seed": arguments.seed, "packages": packages}
    result.uns["method"] = {"version": answer.version, "settings": json.dumps(settings), "note": answer.note}
    write(result, arguments.output)


def versions(peer: Peer) -> dict[str, str]:
    """Installed version of each package that the adapter asks for; ends the process where something is absent."""
    found = {}
    for file in peer.sources:
        if find_spec(Path(file).stem) is None:
            absent(peer, f"{peer.name}: {file} is not installed for {sys.executable}. Install it with:")
    for name in peer.requirements:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            absent(peer, f"{peer.name}: the package {name} is not installed for {sys.executable}. Install it with:")
    return found


def absent(peer: Peer, reason: str) -> None:
    """End the process as the contract says, the install line last."""
    print(reason, peer.install_line, sep="\n", file=sys.stderr)
    sys.exit(ABSENT)


def totals(counts: anndata.AnnData) -> NDArray[np.float64]:
    """Molecules of each cell, of shape (n_cells, 1)."""
    import numpy as np

    return np.asarray(counts.X.sum(axis=1, dtype=np.float64)).reshape(-1, 1)


def check(mean: NDArray[np.float32], *, shape: tuple[int, int]) -> None:
    """Refuse what cannot be expected counts."""
    import numpy as np

    if mean.shape != shape:
        msg = f"The method gave an array of shape {mean.shape} for counts of shape {shape}."
        raise ValueError(msg)
    if wrong := int(np.sum(~np.isfinite(mean) | (mean < 0))):
        msg = f"The method gave {wrong} of {mean.size} values that are negative, infinite or no number."
        raise ValueError(msg)


def write(result: anndata.AnnData, path: Path) -> None:
    """Write beside, then rename: a file that is there is whole."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        result.write_h5ad(beside)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
