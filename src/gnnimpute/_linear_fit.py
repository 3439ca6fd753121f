"""Closed-form weights of the linear part: what was hidden, predicted from components of what was kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from gnnimpute._counts import totals
from gnnimpute._line import Cells, Line, combined, loadings_of
from gnnimpute._linear_nonzeros import nonzero_line
from gnnimpute._masking import hide_molecules
from gnnimpute._ridge import ridge

if TYPE_CHECKING:
    from typing import Any

    import scipy.sparse as sp
    from numpy.typing import NDArray

    from gnnimpute._graph import NeighborGraph
    from gnnimpute._linear import Linear
    from gnnimpute._masking import Labels

    Floats = NDArray[np.floating[Any]]

FIT_ON = 8192
"""Most cells that the regression is fitted on."""
N_FOLDS = 3
"""Folds of the cells that choose between penalties."""


@torch.no_grad()
def fit_linear(
    linear: Linear,
    counts: sp.csr_matrix,
    graph: NeighborGraph,
    *,
    target_total: float,
    beyond_one: bool,
    labels: Labels | None = None,
    rng: np.random.Generator,
    device: torch.device | str = "cpu",
) -> None:
    """Set the weights of `linear`.

    Parameters
    ----------
    linear
        The module to set.
    counts
        Counts of shape (n_cells, n_genes).
    graph
        Their neighbours.
    target_total
        What cells are normalised to.
    beyond_one
        Predict what is beyond one molecule in non-zeros, instead of each gene's share of the cell.
    labels
        Further non-zeros to predict, and what cells were normalised to before.
    rng
        Source of randomness.
    device
        Where sparse rows are multiplied; all else is done on the CPU, where `linear` is.
    """
    chosen = np.sort(rng.permutation(graph.n_cells)[:FIT_ON])
    needed, neighbors = np.unique(graph.indices[chosen], return_inverse=True)
    cells = Cells(
        counts[needed], neighbors.reshape(len(chosen), -1), target_total, device, is_normalized=labels is not None
    )
    n_components = linear.own.shape[1]
    if beyond_one:
        intercept, line = nonzero_line(
            cells, labels if labels is None else labels.values[chosen], rng=rng, n_folds=N_FOLDS
        )
        lines = [line]
    else:
        intercept, lines = _molecule_lines(cells, n_components, rng)
    for name, value in combined(cells, lines, intercept, n_components=n_components)._asdict().items():
        # Few cells, and non-zeros always, have fewer components than there is room for.
        getattr(linear, name)[tuple(slice(n) for n in value.shape)] = torch.from_numpy(value.astype(np.float32))


def _molecule_lines(cells: Cells, n_components: int, rng: np.random.Generator) -> tuple[Floats, list[Line]]:
    """Mean share of each gene, and two regressions: half of the molecules predict the other half, and in turn.

    Components that were found in the molecules that they are to predict would promise too much.
    """
    halves = hide_molecules(cells.counts, 0.5, rng)
    rows = cells.rows()
    logged, depth, weight = rows.normalized(), rows.log_depth, rows.total
    lines = []
    for kept, hidden in (halves, halves[::-1]):
        half = cells.rows(kept).normalized()
        loadings = loadings_of(half, n_components, rng, device=cells.device)
        features = cells.features(half, loadings, np.zeros(kept.shape[0]))
        line = _shares(features, hidden[cells.own], loadings)
        # Logs of halves are lower than those of all counts, which the line is to read.
        center = np.average(cells.features(logged, loadings, depth), axis=0, weights=weight[cells.own])
        lines.append(line._replace(center=center))
    share = np.asarray(cells.counts[cells.own].sum(0), dtype=np.float64).ravel() + 1e-3
    return share / share.sum(), lines


def _shares(features: Floats, hidden: sp.csr_matrix, loadings: Floats) -> Line:
    """Regression of the share of each gene in a cell, cells weighted with their molecules."""
    exposure = totals(hidden)
    mean = np.asarray(hidden.sum(0)).ravel() / max(exposure.sum(), 1)
    center = exposure @ features / max(exposure.sum(), 1)
    x = features - center
    moments, products = [], []
    for fold in (np.arange(len(x)) % N_FOLDS == f for f in range(N_FOLDS)):
        weighted = exposure[fold, None] * x[fold]
        moments.append(x[fold].T @ weighted)
        with_molecules = hidden[fold].T @ x[fold].astype(np.float32)
        products.append(with_molecules.T - np.outer(weighted.sum(0), mean).astype(np.float32))
    return Line(loadings, center, ridge(np.stack(moments), np.stack(products)))
