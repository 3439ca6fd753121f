"""From the latent of cells to the values that were asked for, a few cells at a time."""

from __future__ import annotations

import logging
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

import numpy as np
import torch

from gnnimpute._cells import chosen_cells
from gnnimpute._config import Estimate, Output
from gnnimpute._counts import divisors
from gnnimpute._covarying import Covarying, fit_covarying, looked_at
from gnnimpute._estimates import detected, mean_of_detected, posterior
from gnnimpute._genes import positions
from gnnimpute._infer import cells_at_once, chunks
from gnnimpute._rows import Rows
from gnnimpute._spread import Spread, fit_spread
from gnnimpute._threads import side_by_side_map

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Sequence

    from numpy.typing import ArrayLike, NDArray

    from gnnimpute._config import Config
    from gnnimpute._masking import Split
    from gnnimpute._nn import Autoencoder

log = logging.getLogger(__name__)

_ALL = slice(None)

FIT_ON = 2048
"""Most cells that the spread of genes, and which of them covary, are fitted on."""


@dataclass(frozen=True)
class Decoder:
    """A trained network and what its values mean."""

    network: Autoencoder
    config: Config
    spread: Spread | None
    """How far cells differ from what is expected of them, for the posterior."""
    covarying: Covarying | None = None
    """Which genes covary, for the posterior and for values of hidden non-zeros."""

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
        if self._predicts_beyond_one:
            molecule = unit[:, None]
            value = 1 + value / molecule
            if estimate == "detected":
                value = value if own is None else np.maximum(self.given(value, own / molecule, columns), 1)
            else:
                value = mean_of_detected(value)
            value *= molecule
        elif estimate == "detected":
            value = detected(value)
        if estimate == "posterior" and own is not None and self.spread is not None:
            value = posterior(self.given(value, own, columns), own, self.spread.of(columns).known())
        if output != "counts":
            value /= depth
        return np.log1p(value) if output == "log1p" else value

    def needs_counts(self, estimate: Estimate) -> bool:
        """Whether values depend on the cell's counts beyond what its latent knows of them."""
        covary = self.covarying is not None and self.covarying.weights.nnz > 0
        return estimate == "posterior" or (estimate == "detected" and self._predicts_beyond_one and covary)

    def given(
        self, expected: NDArray[np.float32], own: NDArray[np.float32], columns: NDArray[np.int64] | slice = _ALL
    ) -> NDArray[np.float32]:
        """What is expected of cells, given their counts of genes that covary, of shape (n_cells, n_columns)."""
        if self.covarying is None:
            return expected
        return self.covarying.of(columns).given(expected, self._told(own, expected))

    def fit_covarying(self, rows: Rows, latent: torch.Tensor) -> Covarying:
        """Which genes covary; none do without a linear part, nor where no estimate makes use of it."""
        estimate: Estimate = "detected" if self._predicts_beyond_one else "mean"
        alone, cells = replace(self, covarying=None), _fitted_on(latent)
        with closing(alone.blocks(rows, latent, cells, estimate=estimate, output="counts")) as blocks:
            return self._covarying(rows, cells, blocks)

    def fit_posterior(self, split: Split, latent: torch.Tensor) -> tuple[Spread, Covarying]:
        """What the posterior takes besides the mean: the spread of each gene, and which genes covary.

        The latter are found by the counts that validation left, the former by the molecules that it held out.
        """
        rows, rate, cells = Rows.of(split.kept, self.network), self.config.validation_rate, _fitted_on(latent)
        with closing(self.blocks(rows, latent, cells, estimate="mean", output="counts")) as blocks:
            means = list(blocks)  # 160 MB at 20,000 genes, not to decode them twice
        covarying = self._covarying(rows, cells, means)
        counts = ((mean, split.kept[cells[c]].toarray(), split.held_out[cells[c]].toarray()) for c, mean in means)
        given = ((covarying.given(mean, own), own, held_out) for mean, own, held_out in counts)
        return fit_spread(given, split.kept.shape[1], ratio=rate / (1 - rate)), covarying

    def _covarying(
        self, rows: Rows, cells: NDArray[np.int64], blocks: Iterable[tuple[slice, NDArray[np.float32]]]
    ) -> Covarying:
        """Which genes covary, by what is expected of all genes of some cells."""
        if not self.config.n_components or not (self.config.hide == "molecules" or self._predicts_beyond_one):
            return Covarying.none(rows.counts.shape[1])
        counts = rows.counts[cells]
        genes = looked_at(counts)
        expected = np.empty((len(cells), len(genes)), dtype=np.float32)
        for c, block in blocks:
            expected[c] = block[:, genes]
        own = counts[:, genes].toarray()
        if self._predicts_beyond_one:
            expected, own = expected / rows.unit[cells, None], own / rows.unit[cells, None]
        return fit_covarying(expected, self._told(own, expected), genes=genes, n_genes=counts.shape[1])

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

    def _told(self, own: NDArray[np.float32], expected: NDArray[np.float32]) -> NDArray[np.float32]:
        """Counts, but that a zero, of which a network of non-zeros knows nothing, is as was expected."""
        return np.where(own > 0, own, expected) if self._predicts_beyond_one else own

    @property
    def _predicts_beyond_one(self) -> bool:
        """Squared error on hidden non-zeros gives their mean; the likelihoods are truncated and give that of all."""
        return self.config.loss == "squared_error" and self.config.hide == "nonzeros"


def _fitted_on(latent: torch.Tensor) -> NDArray[np.int64]:
    """Positions of the cells that the posterior is fitted on."""
    return np.sort(np.random.default_rng(0).permutation(len(latent))[:FIT_ON])


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
    """Where values go: `out`, which must have this shape, or a new array."""
    if out is None:
        return new_array(n_cells, n_genes)
    if tuple(out.shape) != (n_cells, n_genes):
        msg = f"`out` has shape {tuple(out.shape)}, but the result has {(n_cells, n_genes)}."
        raise ValueError(msg)
    return out


def new_array(n_cells: int, n_genes: int) -> NDArray[np.float32]:
    """Empty result; if it is large, its size and the way out are said first."""
    if (size := 4 * n_cells * n_genes / 1e9) > 2:
        log.warning(
            "The result is dense: %d cells x %d genes, %.1f GB. Less: `genes=[...]`, or `out=` a zarr array on disk.",
            n_cells,
            n_genes,
            size,
        )
    return np.empty((n_cells, n_genes), dtype=np.float32)
