"""Recover dropouts in single-cell RNA-seq counts with graph attention.

Everything below is imported when it is first used, so that ``import gnnimpute`` stays light.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

    from gnnimpute import datasets, io, metrics, pl, pp, report, tl
    from gnnimpute._config import Config
    from gnnimpute._graph import NeighborGraph
    from gnnimpute._imputer import GNNImputer

    __version__: str

__all__ = [
    "Config",
    "GNNImputer",
    "NeighborGraph",
    "__version__",
    "datasets",
    "io",
    "metrics",
    "pl",
    "pp",
    "report",
    "tl",
]

_HOMES = {"Config": "_config", "GNNImputer": "_imputer", "NeighborGraph": "_graph"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        msg = f"module 'gnnimpute' has no attribute {name!r}: it has {', '.join(__all__)}."
        raise AttributeError(msg)
    if name == "__version__":
        from importlib.metadata import version  # costs as much as all else of this import

        return version("gnnimpute")
    module = import_module(f"gnnimpute.{_HOMES.get(name, name)}")
    return getattr(module, name) if name in _HOMES else module


def __dir__() -> list[str]:
    return list(__all__)
