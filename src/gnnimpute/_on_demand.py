"""Values that are decoded where they are asked for: some ninety numbers of a cell stand for all its genes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from gnnimpute._cells import Cells, chosen_cells, with_normalizers
from gnnimpute._counts import depths
from gnnimpute._genes import positions
from gnnimpute._infer import cells_at_once, chunks, embed
from gnnimpute._values import Decoder, check_choices

if TYPE_CHECKING:
    from collections.abc import Sequence

    import scipy.sparse as sp
    from numpy.typing import ArrayLike, NDArray

    from gnnimpute._config import Estimate, Output
    from gnnimpute._graph import NeighborGraph
    from gnnimpute._imputer import GNNImputer

_ALL = slice(None)


@dataclass(frozen=True)
class Values:
    """How the values of cells are made, the same for all cells."""

    decoder: Decoder
    columns: NDArray[np.int64]
    """(n_vars,) number that the model has given to each gene; -1 for genes that are not modelled."""
    estimate: Estimate
    output: Output

    def of(self, cells: Cells, observed: sp.csr_matrix | None = None, genes: Any = _ALL) -> NDArray[np.float32]:
        """Values of shape (n_cells, n_genes): imputed where modelled, else observed, on the same scale.

        Parameters
        ----------
        cells
            The cells.
        observed
            Their counts, of shape (n_cells, n_vars): of all genes if the estimate needs them, else of what is not
            modelled. Without any, what is not modelled is NaN.
        genes
            Positions of the genes; by default all.
        """
        columns = self.columns[genes]
        there, rows = np.flatnonzero(columns >= 0), np.flatnonzero(np.isfinite(cells.log_normalizer))
        counts = None if observed is None else observed[:, genes]
        if len(there) < len(columns) or len(rows) < len(cells.latent):
            values = self._observed(cells, counts, len(columns))
        else:
            values = np.empty((len(rows), len(columns)), dtype=np.float32)
        asked, of_asked = columns[there], None
        if observed is not None and self.decoder.needs_counts(self.estimate):
            asked = self._with_partners(asked)
            of_asked = observed[:, self._place[asked]]
        for c in chunks(len(rows), cells_at_once(len(asked))):
            own = None if of_asked is None else of_asked[rows[c]].toarray()
            values[np.ix_(rows[c], there)] = self._imputed(cells.part(rows[c]), asked, own)[:, : len(there)]
        return values

    def _with_partners(self, columns: NDArray[np.int64]) -> NDArray[np.int64]:
        """These genes, and those others that their posterior depends on."""
        if self.decoder.covarying is None:
            return columns
        others = self.decoder.covarying.partners(columns)
        return np.concatenate([columns, others[self._place[others] >= 0]])

    @cached_property
    def _place(self) -> NDArray[np.int64]:
        """(n_genes,) position of each gene of the model among the columns; -1 of those that are not there."""
        place = np.full(len(self.decoder.network.mean), -1)
        modelled = np.flatnonzero(self.columns >= 0)
        place[self.columns[modelled]] = modelled
        return place

    def _imputed(
        self, cells: Cells, columns: NDArray[np.int64], own: NDArray[np.float32] | None
    ) -> NDArray[np.float32]:
        # PyTorch's own memory: the last bit of a product varies with how NumPy's is aligned.
        latent = torch.tensor(cells.latent, device=self.decoder.network.mean.device)
        normalizer = torch.from_numpy(cells.log_normalizer).to(latent.device)
        few = 2 * len(columns) < len(self.decoder.network.mean)
        decoded = self.decoder.decoded(latent, columns if few else _ALL, normalizer)
        decoded = decoded if few else decoded[:, columns]
        return self.decoder.scaled(
            decoded, cells.total, cells.unit, columns=columns, own=own, estimate=self.estimate, output=self.output
        )

    def _observed(self, cells: Cells, counts: sp.csr_matrix | None, n_columns: int) -> NDArray[np.float32]:
        if counts is None:
            return np.full((len(cells.latent), n_columns), np.nan, dtype=np.float32)
        depth = depths(cells.total, float(self.decoder.network.target_total))
        scale = (np.ones_like(depth) if self.output == "counts" else 1 / depth).astype(np.float32)
        values: NDArray[np.float32] = counts.toarray() * scale[:, None]
        return np.log1p(values) if self.output == "log1p" else values


def numbers(genes: NDArray[np.str_], names: NDArray[np.str_], modelled: NDArray[np.int64]) -> NDArray[np.int64]:
    """Number that a model of `genes` has given to each of the `names`; -1 for those that are not at `modelled`."""
    number = {str(gene): i for i, gene in enumerate(genes)}
    columns = np.full(len(names), -1, dtype=np.int64)
    columns[modelled] = [number.get(str(names[i]), -1) for i in modelled]
    return columns


@dataclass(frozen=True)
class OnDemand:
    """Cells x genes that are computed when they are sliced: what Dask makes a lazy array of."""

    values: Values
    cells: Cells
    observed: Any
    """Counts, of shape (n_cells, n_vars), in memory or a Dask array; see :meth:`Values.of`."""
    dtype = np.dtype(np.float32)
    ndim = 2

    @property
    def shape(self) -> tuple[int, int]:
        """Number of cells and of genes."""
        return len(self.cells.latent), len(self.values.columns)

    def fill(self, out: Any, genes: NDArray[np.int64]) -> Any:
        """Some genes of all cells, a few cells at a time, into an array."""
        for c in chunks(self.shape[0]):
            out[c] = self[c, genes]
        return out

    def __getitem__(self, key: tuple[Any, Any]) -> NDArray[np.float32]:
        rows, genes = (np.atleast_1d(k) if not isinstance(k, slice) else k for k in key)
        observed = self.observed[rows]
        if hasattr(observed, "compute"):
            observed = observed.compute()
        values = self.values.of(self.cells.part(rows), observed, genes)
        # As NumPy does, a single row or column is no axis of the result.
        return values[tuple(slice(None) if isinstance(k, slice) or np.ndim(k) else 0 for k in key)]


def keep(
    self: GNNImputer, counts: ArrayLike | sp.spmatrix, graph: NeighborGraph, *, names: Sequence[str] | None = None
) -> GNNImputer:
    """Keep what stands for the values of cells, some ninety numbers each, so that :meth:`values` can decode them.

    It is saved with the model, in place of what was kept before.

    Parameters
    ----------
    counts
        Molecule counts, of shape (n_cells, n_columns): the fitted cells or others.
    graph
        Neighbours among the same cells.
    names
        Gene name of each column; needed if the columns are not the fitted genes in the same order.

    Returns
    -------
    The imputer itself.
    """
    made, rows = self._reading(counts, names, graph)
    latent, normalizer = with_normalizers(made.network_, embed(made.network_, rows, graph))
    self.cells_ = Cells(latent, normalizer, rows.total, rows.unit)
    return self


def values(
    self: GNNImputer,
    *,
    cells: ArrayLike | None = None,
    genes: Sequence[str] | None = None,
    estimate: Estimate = "mean",
    output: Output = "normalized",
) -> NDArray[np.float32]:
    """Values of some cells and genes, decoded from what is kept of the cells: neither counts nor graph are needed.

    :meth:`keep` keeps cells, :func:`gnnimpute.tl.impute` too if the counts are a Dask array; they are saved with the
    model. A few genes of a million cells take seconds.

    Parameters
    ----------
    cells
        Positions, or a mask, of the cells; by default all.
    genes
        Names of the genes; by default all fitted genes, in their order.
    estimate
        ``mean`` or ``detected``, as for :meth:`transform`. ``posterior`` needs the counts of the cells, and so does
        ``detected`` of hidden non-zeros if genes were found to covary.
    output
        As for :meth:`transform`.

    Returns
    -------
    `float32` array of shape (n_cells, n_genes), NaN for cells that are not modelled.

    Raises
    ------
    ValueError
        If no cells are kept, or `estimate` needs their counts.
    """
    check_choices(estimate, output, can_be_posterior=self.spread_ is not None)
    if self.cells_ is None:
        msg = "This imputer keeps no cells: call `keep(counts, graph)` first, or `transform(counts, graph)`."
        raise ValueError(msg)
    if self._decoder.needs_counts(estimate):
        msg = f"estimate={estimate!r} needs the counts of the cells: use `transform(counts, graph)`."
        raise ValueError(msg)
    made = Values(self._decoder, np.arange(len(self.genes_)), estimate, output)
    some = _ALL if genes is None else positions(self.genes_, genes, of_model=True)
    return made.of(self.cells_.part(chosen_cells(cells)), None, some)
