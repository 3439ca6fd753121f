"""Counts that are a Dask array: read and worked on a few cells at a time, here or on the workers of a cluster."""

from __future__ import annotations

import sys
from functools import partial
from importlib.util import find_spec
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp

from gnnimpute._counts import check_counts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import dask.array as da
    from numpy.typing import NDArray

BLOCK = 2048
"""Cells that are read at a time. Fixed, so that results do not depend on the machine."""


WINDOW = 16
"""Blocks whose results, which are small, may be waiting."""

_SEND = {"distributed.admin.large-graph-warning-threshold": "1 TiB"}
"""No advice to send less to the workers: what is sent they need, and it is sent once."""


class AbsentError(ImportError):
    """A package is not installed that only some of what is done needs: its user can mend it."""


def require_dask(what: str, otherwise: str = "") -> None:
    """Raise AbsentError, with the command that mends it and what else does, where Dask is not installed."""
    if missing := [name for name in ("dask", "distributed") if find_spec(name) is None]:
        msg = f"{what} needs {' and '.join(missing)}: pip install 'gnnimpute[dask]'{otherwise}."
        raise AbsentError(msg)


def is_lazy(matrix: object) -> bool:
    """Whether a matrix is a Dask array; that is told without Dask."""
    return hasattr(matrix, "to_delayed") and hasattr(matrix, "chunks")


def require_in_memory(counts: object) -> None:
    """Raise TypeError for what is not written to work on blocks."""
    if is_lazy(counts):
        msg = "This needs counts in memory, but they are a Dask array. Take some cells first: adata[cells].to_memory()."
        raise TypeError(msg)


def dense(part: Any) -> NDArray[np.float64]:
    """Part of a matrix as an array in memory, whatever it is kept as."""
    part = part.compute() if is_lazy(part) else part
    return np.asarray(part.toarray() if sp.issparse(part) else part, dtype=np.float64)


def n_workers() -> int:
    """Workers of the cluster that the user has a client of; 0 without one."""
    if "distributed" not in sys.modules:
        return 0
    from distributed import default_client

    try:
        return len(default_client().nthreads())
    except ValueError:  # there is no client
        return 0


def by_cells(matrix: da.Array, *, where: str, allow_non_counts: bool | None = False) -> da.Array:
    """The same counts in blocks of whole cells, each checked by :func:`check_counts` when it is read.

    Raises
    ------
    ValueError
        If they are stored by genes (CSC), of which cells cannot be read without reading all.
    """
    if getattr(matrix._meta, "format", None) == "csc":
        msg = (
            f"{where} is stored by genes (csc_matrix), of which no cells can be read without reading all. Write it by "
            f"cells, {where} = {where}.tocsr(), or read all of it into memory (--in-memory)."
        )
        raise ValueError(msg)
    cells_of_blocks = matrix.chunks[0]
    if len(matrix.chunks[1]) > 1 or max(cells_of_blocks) > BLOCK:
        matrix = matrix.rechunk((min(BLOCK, max(cells_of_blocks)), -1))
    check = partial(_checked, where=where, allow_non_counts=allow_non_counts)
    empty = sp.csr_matrix((0, 0), dtype=np.float32)
    return matrix.map_blocks(check, dtype=np.float32, meta=empty)


def starts(counts: da.Array) -> NDArray[np.int64]:
    """First cell of each block, and the number of cells."""
    bounds: NDArray[np.int64] = np.concatenate([[0], np.cumsum(counts.chunks[0])])
    return bounds


def each(
    counts: sp.csr_matrix | da.Array,
    function: Callable[..., Any],
    *shared: Any,
    rows: Sequence[NDArray[Any]] = (),
    window: int = WINDOW,
) -> Iterator[Any]:
    """``function(block, *rows_of_block, *shared)`` of every block, in order; counts in memory are one block.

    Parameters
    ----------
    counts
        Counts of shape (n_cells, n_genes).
    function
        What is done with a block. Blocks may be worked on at the same time, and by other processes.
    *shared
        Further arguments, the same for all blocks.
    rows
        Arrays of shape (n_cells, ...), of which each block is given its own rows.
    window
        Blocks whose results may be waiting.
    """
    if not is_lazy(counts):
        yield function(counts, *rows, *shared)
        return
    import dask

    for some in batched(tasks(counts, function, *shared, rows=rows), window):
        # Without workers `distributed` may not be loaded, and would then find its settings replaced by this one.
        with dask.config.set(_SEND if n_workers() else {}):
            results = dask.compute(*some)
        yield from results


def tasks(
    counts: da.Array, function: Callable[..., Any], *shared: Any, rows: Sequence[NDArray[Any]] = ()
) -> Iterator[Any]:
    """The same, to be computed later."""
    import dask

    run, constant = dask.delayed(function), [dask.delayed(value, traverse=False) for value in shared]
    if n_workers():
        # Else they would go along with every batch. Scattered values would be lost with the worker that has them;
        # those of tasks are made again.
        with dask.config.set(_SEND):
            constant = list(dask.persist(*constant))
    bounds = starts(counts)
    for block, start, stop in zip(counts.to_delayed().ravel(), bounds, bounds[1:], strict=False):
        yield run(block, *(array[start:stop] for array in rows), *constant)


def _checked(block: Any, *, where: str, allow_non_counts: bool | None, block_info: Any = None) -> sp.csr_matrix:
    if not all(block.shape):
        return sp.csr_matrix(block, dtype=np.float32)
    first, last = block_info[0]["array-location"][0]
    return check_counts(block, where=where, cell_names=range(first, last), allow_non_counts=allow_non_counts)


def batched(items: Iterator[Any], size: int) -> Iterator[list[Any]]:
    """Lists of that many items."""
    while some := list(islice(items, size)):
        yield some
