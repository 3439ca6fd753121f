"""Controls of a comparison: what costs nothing, and what a method must beat. Counts in, expected counts out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from gnnimpute._components import principal_components
from gnnimpute._counts import divisors, median_total, totals
from gnnimpute._graph import NeighborGraph
from gnnimpute._masking import hide_molecules
from gnnimpute._molecules import entry_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    Values = NDArray[np.float64]
    Rows = Callable[[slice], Values]
    """Expected counts of some cells, at each cell's own total: of shape (n_rows, n_genes)."""

N_NEAREST = 30
"""Cells in a mean of neighbours, the cell itself being one."""
N_PCS = 50
RANKS = (0, 1, 2, 3, 5, 8, 12, 20, 30, 50)
"""Numbers of principal components to choose from."""
HELD_OUT = 0.2
"""Share of the molecules by which the number is chosen."""
LEAST = 0.2
"""Share of a gene's mean below which no principal components take an estimate: nothing seen is impossible."""

_BLOCK = 512  # cells at a time
_NO_VARIANCE = 1e-9  # rounding error


class Control(NamedTuple):
    """What a control estimates, and what it chose."""

    rows: Rows
    settings: dict[str, Any]


def no_imputation(counts: sp.csr_matrix, seed: int) -> Control:
    """The counts themselves."""
    del seed
    return Control(lambda rows: _dense(counts[rows]), {})


def gene_mean(counts: sp.csr_matrix, seed: int) -> Control:
    """A gene's share of all molecules, times the cell's total."""
    del seed
    total, share = totals(counts), _shares(counts)
    return Control(lambda rows: total[rows, None] * share, {})


def nonzero_mean(counts: sp.csr_matrix, seed: int) -> Control:
    """Mean imputation: each zero becomes the mean of its gene's non-zeros; what was observed stays.

    The mean is one of counts at the median total, brought to the total of the cell.
    """
    del seed
    depth, mean = _depth(counts), _nonzero_means(_normalized(counts))

    def rows(part: slice) -> Values:
        observed = _dense(counts[part])
        return np.where(observed > 0, observed, depth[part, None] * mean)

    return Control(rows, {"replaced": "zeros"})


def neighbor_mean(counts: sp.csr_matrix, seed: int) -> Control:
    """Mean share of each gene among the nearest cells, times the cell's total."""
    near, total = _nearest(counts, seed), totals(counts)
    shares = sp.csr_matrix(sp.diags(1 / divisors(total)) @ counts)
    mean = sp.csr_matrix(sp.diags(1 / totals(near)) @ near)
    return Control(lambda rows: _dense(mean[rows] @ shares) * total[rows, None], _graph_settings())


def neighbor_and_gene_mean(counts: sp.csr_matrix, seed: int) -> Control:
    """The former with the gene's mean as one more cell, so that a gene that no neighbour shows is not impossible."""
    near, everywhere = neighbor_mean(counts, seed), gene_mean(counts, seed)
    weight = 1 / (N_NEAREST + 1)
    return Control(
        lambda rows: (1 - weight) * near.rows(rows) + weight * everywhere.rows(rows),
        near.settings | {"gene_mean_weight": weight},
    )


def neighbor_nonzero_mean(counts: sp.csr_matrix, seed: int) -> Control:
    """Mean of a gene's non-zeros among the nearest cells: what is expected of a count that is known not to be zero.

    Of counts at the median total, brought to the total of the cell. Where no neighbour shows the gene, the mean of all
    its non-zeros.
    """
    near, depth, normalized = _nearest(counts, seed), _depth(counts), _normalized(counts)
    detected = sp.csr_matrix(normalized.astype(bool), dtype=np.float64)
    mean = _nonzero_means(normalized)

    def rows(part: slice) -> Values:
        total, number = _dense(near[part] @ normalized), _dense(near[part] @ detected)
        values = np.divide(total, number, out=np.tile(mean, (len(total), 1)), where=number > 0)
        return np.asarray(values * depth[part, None])

    return Control(rows, _graph_settings())


def pca(counts: sp.csr_matrix, seed: int) -> Control:
    """Reconstruction from principal components of square roots, as many as predict hidden molecules best.

    Square roots of counts at the median total are reconstructed and squared; none is below a fifth of the gene's mean,
    and each gene is scaled to the molecules it has. The number of components is chosen on a fifth of the molecules,
    which the components do not see, by the Poisson loss.
    """
    rank, losses = _best_rank(counts, np.random.default_rng(seed))
    part = _Components(counts, rank, seed)
    scale = _shares(counts) * counts.sum() / np.maximum(sum(b[-1].sum(axis=0) for _, b in part.blocks((rank,))), 1e-12)
    settings = {"transform": "square root", "rank": rank, "held_out": HELD_OUT, "losses": losses}

    def rows(where: slice) -> Values:
        start, stop, _ = where.indices(counts.shape[0])
        return np.asarray(part.expected(slice(start, stop), (rank,))[0] * scale)

    return Control(rows, settings)


class _Components:
    """Principal components of the square roots of normalised counts."""

    def __init__(self, counts: sp.csr_matrix, n_components: int, seed: int) -> None:
        roots = _normalized(counts).sqrt()
        self._depth, self._floor = _depth(counts), LEAST * _shares(counts) * _target(counts)
        self._mean = np.asarray(roots.mean(axis=0), dtype=np.float64).ravel()
        spread = np.asarray(roots.multiply(roots).mean(axis=0)).ravel() - self._mean**2
        self.n_used = min(n_components, min(roots.shape) - 1) if spread.max() > _NO_VARIANCE else 0
        self._scores, self._loadings = _components(roots, self.n_used, seed)

    def expected(self, rows: slice, ranks: tuple[int, ...]) -> list[Values]:
        """Expected counts of some cells from the first components, for each of the increasing `ranks`."""
        reconstructed = np.tile(self._mean, (len(self._scores[rows]), 1))
        results, before = [], 0
        for rank in ranks:
            reconstructed += self._scores[rows, before:rank] @ self._loadings[before:rank]
            values = np.maximum(np.square(np.maximum(reconstructed, 0)), self._floor)
            results.append(values * self._depth[rows, None])
            before = rank
        return results

    def blocks(self, ranks: tuple[int, ...]) -> Iterator[tuple[slice, list[Values]]]:
        """All cells, some at a time."""
        for start in range(0, len(self._scores), _BLOCK):
            rows = slice(start, min(start + _BLOCK, len(self._scores)))
            yield rows, self.expected(rows, ranks)


def _best_rank(counts: sp.csr_matrix, rng: np.random.Generator) -> tuple[int, dict[str, float]]:
    """Number of components that predicts hidden molecules best, and the loss of each, up to a constant."""
    kept, held_out = hide_molecules(counts, HELD_OUT, rng)
    part = _Components(kept, RANKS[-1], int(rng.integers(2**31)))
    ranks = tuple(rank for rank in RANKS if rank <= part.n_used)
    sums = np.zeros((len(ranks), counts.shape[1]))
    guesses: list[Values] = []
    for rows, expected in part.blocks(ranks):
        sums += [values.sum(axis=0) for values in expected]
        hidden = held_out[rows]
        guesses.append(np.stack([values[entry_rows(hidden), hidden.indices] for values in expected]))
    # Each gene is scaled to its molecules, so the sum of what is expected is the same for all ranks.
    scale = np.asarray(kept.sum(axis=0), dtype=np.float64) / np.maximum(sums, 1e-12)
    logs = np.log(np.maximum(np.concatenate(guesses, axis=1) * scale[:, held_out.indices], 1e-6))
    losses = -(logs @ held_out.data.astype(np.float64)) / counts.shape[0] / counts.shape[1]
    return ranks[int(np.argmin(losses))], dict(zip(map(str, ranks), losses.round(6).tolist(), strict=True))


def _components(matrix: sp.csr_matrix, n_components: int, seed: int) -> tuple[Values, Values]:
    """Scores of cells and loadings of genes."""
    import scanpy as sc

    if n_components < 1:
        return np.zeros((matrix.shape[0], 0)), np.zeros((0, matrix.shape[1]))
    # The iterative solver needs many more cells and genes than components.
    small = min(matrix.shape) <= 2 * n_components
    scores, loadings, *_ = sc.pp.pca(
        matrix.toarray() if small else matrix,
        n_comps=n_components,
        svd_solver="full" if small else "arpack",
        random_state=seed,
        return_info=True,
    )
    return scores.astype(np.float64), loadings.astype(np.float64)


def _nearest(counts: sp.csr_matrix, seed: int) -> sp.csr_matrix:
    """1 for each of the nearest cells of a cell, of shape (n_cells, n_cells)."""
    embedding = principal_components(sp.csr_matrix(counts, dtype=np.float32), n_pcs=N_PCS, rng=seed)
    n_others = min(N_NEAREST, len(embedding)) - 1
    indices = NeighborGraph.from_embedding(embedding, n_neighbors=n_others, rng=seed).indices
    starts = np.arange(0, indices.size + 1, indices.shape[1])
    return sp.csr_matrix((np.ones(indices.size), indices.ravel(), starts), shape=(len(indices), len(indices)))


def _graph_settings() -> dict[str, Any]:
    return {"n_nearest": N_NEAREST, "n_pcs": N_PCS}


def _shares(counts: sp.csr_matrix) -> Values:
    per_gene = np.asarray(counts.sum(axis=0, dtype=np.float64)).ravel()
    return np.asarray(per_gene / max(per_gene.sum(), 1))


def _target(counts: sp.csr_matrix) -> float:
    total = totals(counts)
    return median_total(total)


def _depth(counts: sp.csr_matrix) -> Values:
    """What brings counts at the median total to the total of each cell."""
    return totals(counts) / _target(counts)


def _normalized(counts: sp.csr_matrix) -> sp.csr_matrix:
    depth = _depth(counts)
    scale = np.divide(1, depth, out=np.zeros_like(depth), where=depth > 0)
    return sp.csr_matrix(sp.diags(scale) @ counts.astype(np.float64))


def _nonzero_means(normalized: sp.csr_matrix) -> Values:
    number = np.bincount(normalized.indices, minlength=normalized.shape[1])
    total = np.asarray(normalized.sum(axis=0)).ravel()
    return np.asarray(np.divide(total, number, out=np.zeros_like(total), where=number > 0))


def _dense(rows: sp.csr_matrix) -> Values:
    return np.asarray(rows.toarray(), dtype=np.float64)
