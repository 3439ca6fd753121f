"""What a network is trained on: all modelled cells, or, of many, a random sample of them with a graph of its own."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp

from gnnimpute._blocks import each

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from gnnimpute._graph import NeighborGraph
    from gnnimpute._modelled import Modelled

log = logging.getLogger(__name__)


def training_part(
    chosen: Modelled, most: int, rng: np.random.Generator
) -> tuple[sp.csr_matrix, NeighborGraph | Callable[[sp.csr_matrix], NeighborGraph]]:
    """Counts in memory, of at most that many cells, and their graph or what makes it.

    Where :func:`gnnimpute.pp.prepare` made the graph, that of the sample is made as of counts in memory. Of a graph
    that was given, the sample takes cells together with their neighbours, and edges out of it are left out.

    Parameters
    ----------
    chosen
        Counts, in memory or a Dask array, and what of them is modelled.
    most
        Most cells.
    rng
        Source of randomness; untouched if all cells are taken.
    """
    n_cells = len(chosen.cells)
    pick = np.arange(n_cells)
    if n_cells > most:
        log.info("Training on %d of %d cells, drawn at random (most_cells)", most, n_cells)
        pick = rng.permutation(n_cells)
        if chosen.blind is None:
            pick = np.unique(chosen.graph.indices[pick[: max(1, most // chosen.graph.indices.shape[1])]])
        else:
            pick = np.sort(pick[:most])
    taken = np.zeros(chosen.counts.shape[0], dtype=bool)
    taken[chosen.cells[pick]] = True
    counts = sp.vstack([*each(chosen.counts, _taken, chosen.genes, rows=[taken])], format="csr")
    if chosen.blind is None:
        return counts, chosen.graph.among(pick)
    batches = chosen.blind.keywords["batches"]
    return counts, partial(chosen.blind, batches=None if batches is None else batches[pick])


def _taken(counts: sp.csr_matrix, rows: NDArray[np.bool_], genes: NDArray[np.int64]) -> sp.csr_matrix:
    return counts[rows][:, genes]
