"""Where OUT may be, and what it can hold: seen before anything is read."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from gnnimpute._atomic import LONGEST_NAME
from gnnimpute._options import misuse

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_NO_COLUMNS = {"", ".", "..", "_index"}
"""What no column of a table in a store, of either kind, can be named."""


def check_apart(source: Path, out: Path) -> None:
    """Refuse an OUT that would take IN with it when it is replaced, or be written into it.

    Into a folder of 10x, which holds some files by their names, it may be.
    """
    read, written = source.resolve(), out.resolve()
    if written == read:
        misuse(f"OUT is IN, {source}, whose counts would be lost or rewritten: name another OUT.")
    if written in read.parents:
        misuse(f"OUT, {out}, holds IN, {source}, whose counts would be lost with what is replaced: name another OUT.")
    if read in written.parents and _is_store(read):
        misuse(f"OUT, {out}, is inside IN, {source}, a store that is not written to: name another OUT.")


def _is_store(path: Path) -> bool:
    from gnnimpute._writers import ZARR_FILES

    return path.suffix.lower() == ".zarr" or any((path / name).exists() for name in ZARR_FILES)


def check_columns(out: Path, genes: Sequence[str] | None) -> None:
    """Refuse names of ``--genes`` that OUT cannot hold as columns of a table, each of which is a folder in a zarr."""
    kind = out.suffix.lower()
    if kind not in {".h5ad", ".zarr"}:
        return
    for gene in genes or ():
        no_folder = kind == ".zarr" and ("/" in gene or len(os.fsencode(gene)) > LONGEST_NAME)
        if no_folder or gene in _NO_COLUMNS or gene.startswith("/"):
            other = "name OUT .h5ad or .csv" if no_folder else "name OUT .csv"
            misuse(f"--genes: a {kind} cannot hold a column {gene!r}: {other}, or leave out --genes to impute all.")
