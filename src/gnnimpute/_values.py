"""From the latent of cells to the values that were asked for, a few cells at a time."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

import numpy as np
import torch

from gnnimpute._cells import chosen_cells
from gnnimpute._config import Estimate, Output
from gnnimpute._counts import divisors
from gnnimpute._estimates import detected, likely_count, mean_of_detected, posterior
from gnnimpute._genes import positions
from gnnimpute._infer import cells_at_once, chunks
from gnnimpute._threads import side_by_side_map

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from numpy.typing import ArrayLike, NDArray

    from gnnimpute._config import Config
    from gnnimpute._covarying import Covarying
    from gnnimpute._nn import Autoencoder
    from gnnimpute._prior import Average, Spread
    from gnnimpute._rows import Rows

log = logging.getLogger(__name__)

_ALL = slice(None)

_LARGE = 2e9
"""Bytes of a dense result that is told of before it is made."""


@dataclass(frozen=True)
class Decoder:
    """A trained network and what its values mean."""

    network: Autoencoder
    config: Config
    spread: Spread | None = None
    """How far cells differ from what is expected of them, for the posterior."""
    average: Average | None = None
    """What the average of each gene has to say, for the posterior."""
    covarying: Covarying | None = None
    """Which genes covary, for the posterior and for values of hidden non-zeros."""
    likely: bool = True
    """Whether ``detected`` is a likely count; else it is the expected one, which other estimates are made of."""

    def blocks(
        self,
        rows: Rows,
        latent: torch.Tensor,
        cells: NDArray[np.int64],
        *,
        estimate: Estimate,
        output: Output,
    ) -> Generator[tuple[slice, NDArray[np.float32]]]:
        """Positions in `cells` and their imputed values, of shape (n_cells_in_block, n_genes)."""
        counts, total, unit = rows.counts, rows.total, rows.unit

        def block(c: slice) -> tuple[slice, NDArray[np.float32]]:
            here = cells[c]
            decoded = self.decoded(latent[torch.from_numpy(here).to(latent.device)])
            own = counts[here].toarray() if self.needs_counts(estimate) else None
            return c, self.scaled(decoded, total[here], unit[here], own=own, estimate=estimate, output=output)

        return side_by_side_map(block, chunks(len(cells), cells_at_once(counts.shape[1])), latent.device)

    def scaled(
        self,
        decoded: NDArray[np.float32],
        total: NDArray[np.float64],
        unit: NDArray[np.float32],
        *,
        own: NDArray[np.float32] | None,
        estimate: Estimate,
        output: Output,
        columns: NDArray[np.int64] | slice = _ALL,
    ) -> NDArray[np.float32]:
        """Decoded cells as the estimate and on the scale that were asked for, of shape (n_cells, n_columns).

        `total` and `unit` of the cells are theirs; `own` are their counts, if the estimate needs them.
        """
        depth = (divisors(total) / float(self.network.target_total)).astype(np.float32)[:, None]
        value = decoded * depth
        count = likely_count if self.likely else np.asarray
        if self.predicts_beyond_one:
            molecule = unit[:, None]
            value = 1 + value / molecule
            if own is not None and estimate == "detected":
                value = np.maximum(self.given(value, own / molecule, columns), 1)
            value = molecule * (count(value) if estimate == "detected" else mean_of_detected(value))
        elif estimate == "detected":
            value = count(detected(value))
        if estimate == "posterior" and own is not None and self.spread is not None:
            prior = self.prior(value, own, total=divisors(total)[:, None], columns=columns)
            value = posterior(prior, own, self.spread.of(columns).known())
        if output != "counts":
            value /= depth
        return np.log1p(value) if output == "log1p" else value

    def needs_counts(self, estimate: Estimate) -> bool:
        """Whether values depend on the cell's counts beyond what its latent knows of them."""
        covary = self.covarying is not None and self.covarying.weights.nnz > 0
        return estimate == "posterior" or (estimate == "detected" and self.predicts_beyond_one and covary)

    def given(
        self, expected: NDArray[np.float32], own: NDArray[np.float32], columns: NDArray[np.int64] | slice = _ALL
    ) -> NDArray[np.float32]:
        """What is expected of cells, given their counts of genes that covary, of shape (n_cells, n_columns)."""
        if self.covarying is None:
            return expected
        return self.covarying.of(columns).given(expected, self.told(own, expected))

    def prior(
        self,
        expected: NDArray[np.float32],
        own: NDArray[np.float32],
        *,
        total: NDArray[np.floating[Any]],
        columns: NDArray[np.int64] | slice = _ALL,
    ) -> NDArray[np.float32]:
        """Mean of the prior, of shape (n_cells, n_columns): what is expected, given genes that covary, and the average.

        `total` are the molecules of the cells, of shape (n_cells, 1).
        """
        given = self.given(expected, own, columns)
        return given if self.average is None else self.average.of(columns).mixed_with(given, total)

    @torch.inference_mode()
    def decoded(
        self,
        latent: torch.Tensor,
        columns: NDArray[np.int64] | slice = _ALL,
        log_normalizer: torch.Tensor | None = None,
    ) -> NDArray[np.float32]:
        """What the network says, scaled to the median total; of some genes, given the normaliser of all."""
        if self.network.is_share:
            decoded = self.network.shares(latent, columns, log_normalizer) * self.network.target_total
        else:
            decoded = self.network.decode(latent, columns)
        normalized: NDArray[np.float32] = decoded.cpu().numpy()
        return normalized

    def told(self, own: NDArray[np.float32], expected: NDArray[np.float32]) -> NDArray[np.float32]:
        """Counts, but that a zero, of which a network of non-zeros knows nothing, is as was expected."""
        return np.where(own > 0, own, expected) if self.predicts_beyond_one else own

    @property
    def predicts_beyond_one(self) -> bool:
        """Squared error on hidden non-zeros gives their mean; the likelihoods are truncated and give that of all."""
        return self.config.loss == "squared_error" and self.config.hide == "nonzeros"


class Wanted(NamedTuple):
    """Which values are asked for."""

    cells: NDArray[np.int64]
    """Positions of the cells."""
    columns: NDArray[np.int64] | slice
    """Positions of the genes."""

    @classmethod
    def of(
        cls, n_cells: int, names: NDArray[np.str_], *, genes: Sequence[str] | None, cells: ArrayLike | None
    ) -> Wanted:
        """From names of genes and positions, or a mask, of cells; `None` is all."""
        rows = np.arange(n_cells)[chosen_cells(cells)]
        if genes is None or np.array_equal(np.asarray(genes, dtype=str), names):
            return cls(rows, slice(0, len(names)))
        return cls(rows, positions(names, genes, of_model=True))

    def place(self, out: Any) -> Any:
        """Where values go: `out`, which must have their shape, or a new array."""
        n_genes = self.columns.stop if isinstance(self.columns, slice) else len(self.columns)
        return place(out, len(self.cells), n_genes)


def check_choices(estimate: str, output: str, *, can_be_posterior: bool) -> None:
    """Raise ValueError for an estimate or output that is none, or that the model cannot give."""
    for name, value, choices in (("estimate", estimate, get_args(Estimate)), ("output", output, get_args(Output))):
        if value not in choices:
            msg = f"{name}={value!r}: choose one of {', '.join(map(repr, choices))}."
            raise ValueError(msg)
    if estimate == "posterior" and not can_be_posterior:
        msg = "estimate='posterior' needs a model that was trained on hidden molecules: Config(hide='molecules')."
        raise ValueError(msg)


def place(out: Any, n_cells: int, n_genes: int) -> Any:
    """Where values go: `out`, which must have this shape and floating numbers, or a new array."""
    if out is None:
        return new_array(n_cells, n_genes)
    if not hasattr(out, "shape"):
        msg = f"`out` is {out!r}, no array: give one of shape {(n_cells, n_genes)}, such as zarr.create_array(...)."
        raise TypeError(msg)
    if tuple(out.shape) != (n_cells, n_genes):
        msg = f"`out` has shape {tuple(out.shape)}, but the result has {(n_cells, n_genes)}."
        raise ValueError(msg)
    if np.dtype(dtype := getattr(out, "dtype", np.float32)).kind != "f":
        msg = f"`out` holds {dtype}, which cuts values: give an array of floating numbers, such as numpy.float32."
        raise TypeError(msg)
    return out


def new_array(n_cells: int, n_genes: int) -> NDArray[np.float32]:
    """Empty result; if it is large, its size and the way out are said first."""
    warn_if_large(n_cells, n_genes)
    return np.empty((n_cells, n_genes), dtype=np.float32)


def warn_if_large(n_cells: int, n_genes: int, *, n_arrays: int = 1) -> None:
    """Say how large a dense result will be, and the way out."""
    if (size := 4 * n_arrays * n_cells * n_genes) > _LARGE:
        shape = f"{n_cells} cells x {n_genes} genes" + (f", {n_arrays} times" if n_arrays > 1 else "")
        less = (
            "`genes=` (--genes), or `out=` a zarr array on disk (--out-of-core)"
            if n_arrays == 1
            else "leave out `interval=`"
        )
        log.warning("The result is dense: %s, %.1f GB. Less: %s.", shape, size / 1e9, less)
