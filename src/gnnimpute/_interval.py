"""How sure an imputer is: methods of :class:`gnnimpute.GNNImputer`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gnnimpute._arguments import check_level
from gnnimpute._infer import embed
from gnnimpute._uncertainty import expressions
from gnnimpute._values import Wanted, check_choices

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    import scipy.sparse as sp
    from numpy.typing import ArrayLike, NDArray

    from gnnimpute._config import Output
    from gnnimpute._graph import NeighborGraph
    from gnnimpute._imputer import GNNImputer
    from gnnimpute._uncertainty import Expression


def interval(
    self: GNNImputer,
    counts: ArrayLike | sp.spmatrix,
    graph: NeighborGraph,
    *,
    level: float = 0.9,
    names: Sequence[str] | None = None,
    genes: Sequence[str] | None = None,
    cells: ArrayLike | None = None,
    output: Output = "normalized",
    out: Any = (None, None),
) -> tuple[Any, Any]:
    """Lower and upper end of the interval that holds the expression with probability `level`, block by block.

    Central, and given the network and the cell's own counts, as ``estimate="posterior"`` is.

    Parameters
    ----------
    counts
        Molecule counts, of shape (n_cells, n_columns): the fitted cells or others.
    graph
        Neighbours among the same cells.
    level
        Probability, above 0 and below 1.
    names
        Gene name of each column; needed if the columns are not the fitted genes in the same order. Of fitted genes that
        are missing nothing is known: NaN.
    genes
        Names of the genes that are asked for; by default all fitted genes, in their order.
    cells
        Positions, or a mask, of the cells that are asked for; by default all.
    output
        Scale, as for :meth:`transform`.
    out
        Two arrays of shape (n_cells, n_genes) to write into, for example zarr arrays; by default new ones.

    Returns
    -------
    Two arrays of shape (n_cells, n_genes).

    Raises
    ------
    ValueError
        If `level` is no probability, or the network was not trained on hidden molecules.
    """
    check_level(level)
    wanted = wanted_of(self, graph, genes=genes, cells=cells, output=output)
    lower, upper = map(wanted.place, out)
    for c, expression in expressions_of(self, counts, graph, names=names, wanted=wanted):
        lower[c], upper[c] = expression.interval(level, output)
    return lower, upper


def redetection(
    self: GNNImputer,
    counts: ArrayLike | sp.spmatrix,
    graph: NeighborGraph,
    *,
    exposure: float = 1.0,
    names: Sequence[str] | None = None,
    genes: Sequence[str] | None = None,
    cells: ArrayLike | None = None,
    out: Any = None,
) -> Any:
    """Probability that another library of the same cell shows a gene at all; of a zero, that it is a dropout.

    Given the network and the cell's own counts. A zero that another library would most likely be too is no dropout but
    what the cell is like, whatever the reason.

    Parameters
    ----------
    counts, graph, names, genes, cells
        As for :meth:`interval`.
    exposure
        Depth of that other library, in depths of the cell's own.
    out
        Array of shape (n_cells, n_genes) to write into; by default a new one.

    Returns
    -------
    `out`, or a `float32` array of shape (n_cells, n_genes), from 0 to 1.

    Raises
    ------
    ValueError
        If `exposure` is not above 0, or the network was not trained on hidden molecules.
    """
    _check_exposure(exposure)
    wanted = wanted_of(self, graph, genes=genes, cells=cells)
    out = wanted.place(out)
    for c, expression in expressions_of(self, counts, graph, names=names, wanted=wanted):
        out[c] = expression.redetection(exposure)
    return out


def further(
    self: GNNImputer,
    counts: ArrayLike | sp.spmatrix,
    graph: NeighborGraph,
    *,
    exposure: float = 1.0,
    names: Sequence[str] | None = None,
    genes: Sequence[str] | None = None,
    cells: ArrayLike | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """What another library of a cell would count: negative binomial, given the network and the cell's own counts.

    What :func:`gnnimpute.metrics.coverage` judges by molecules that were held out.

    Parameters
    ----------
    counts, graph, names, genes, cells
        As for :meth:`interval`.
    exposure
        Depth of that other library, in depths of the cell's own; with a share r of the molecules held out, r / (1 - r).

    Returns
    -------
    Its mean and its size (the variance is mean + mean^2 / size), each of shape (n_cells, n_genes).

    Raises
    ------
    ValueError
        If `exposure` is not above 0, or the network was not trained on hidden molecules.
    """
    _check_exposure(exposure)
    wanted = wanted_of(self, graph, genes=genes, cells=cells)
    mean, size = wanted.place(None), wanted.place(None)
    for c, expression in expressions_of(self, counts, graph, names=names, wanted=wanted):
        mean[c], size[c] = expression.further(exposure)
    return mean, size


def further_log1p(
    self: GNNImputer,
    counts: ArrayLike | sp.spmatrix,
    graph: NeighborGraph,
    *,
    exposure: float = 1.0,
    total: float = 1e4,
    names: Sequence[str] | None = None,
    genes: Sequence[str] | None = None,
    cells: ArrayLike | None = None,
    out: Any = None,
) -> Any:
    """Expected log-normalised value of another library of the same cell: the mean of log1p(CP10k), not its log.

    What log-normalised data are on average, hence closest to them in squared error. It depends on the depth of that
    library: the shallower, the more of a gene's molecules are zeros, whose log is 0.

    Parameters
    ----------
    counts, graph, names, genes, cells, out
        As for :meth:`redetection`.
    exposure
        Depth of that other library, in depths of the cell's own; with a share r of the molecules held out, r / (1 - r).
    total
        What its counts are scaled to before the log.

    Returns
    -------
    `out`, or a `float32` array of shape (n_cells, n_genes): log1p of normalised values.

    Raises
    ------
    ValueError
        If `exposure` is not above 0, or the network was not trained on hidden molecules.
    """
    _check_exposure(exposure)
    wanted = wanted_of(self, graph, genes=genes, cells=cells)
    out = wanted.place(out)
    for c, expression in expressions_of(self, counts, graph, names=names, wanted=wanted):
        out[c] = expression.further_log1p(exposure, total)
    return out


def check_trained_on_molecules(*, can_be_posterior: bool) -> None:
    """Raise ValueError for a model that knows no spread of genes."""
    if not can_be_posterior:
        msg = (
            "Intervals, and what another library would show, need a model that was trained on hidden molecules, which "
            "that of estimate='detected' is not: gi.Config(hide='molecules') (--hide molecules)."
        )
        raise ValueError(msg)


def _check_exposure(exposure: float) -> None:
    if not exposure > 0:
        msg = f"exposure={exposure}: give the depth of another library in depths of the cell, above 0."
        raise ValueError(msg)


def wanted_of(
    imputer: GNNImputer,
    graph: NeighborGraph,
    *,
    genes: Sequence[str] | None,
    cells: ArrayLike | None = None,
    output: Output = "counts",
) -> Wanted:
    """Which values are asked for, of a model that has distributions of them."""
    imputer._check_fitted()
    check_choices("mean", output, can_be_posterior=True)
    check_trained_on_molecules(can_be_posterior=imputer.spread_ is not None)
    return Wanted.of(graph.n_cells, imputer.genes_, genes=genes, cells=cells)


def expressions_of(
    imputer: GNNImputer,
    counts: ArrayLike | sp.spmatrix,
    graph: NeighborGraph,
    *,
    names: Sequence[str] | None,
    wanted: Wanted,
) -> Iterator[tuple[slice, Expression]]:
    """Positions in the wanted cells, and the distributions of these, block by block."""
    made, rows = imputer._reading(counts, names, graph)
    return expressions(made._decoder, rows, embed(made.network_, rows, graph), wanted=wanted)
