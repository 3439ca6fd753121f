"""Hold-outs: what a method may see, and a truth that only scores can open."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Never, Self

import numpy as np
import scipy.sparse as sp

from ._counts import check_counts, divisors, median_total, totals
from ._masking import hide_molecules, hide_nonzeros_by_gene, with_data

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


class Sealed:
    """The truth of a hold-out. It is no array, and whatever makes arrays out of things is refused."""

    __slots__ = ("_factor", "_truth")

    def __init__(self, truth: sp.csr_matrix, factor: NDArray[np.float64]) -> None:
        self._truth = truth
        self._factor = factor

    def __repr__(self) -> str:
        return "<truth of a hold-out, opened by gnnimpute.metrics.score only>"

    def _refuse(self, *_: Any, **__: Any) -> Never:
        msg = "The truth of a hold-out cannot be read: give `.train` to a method, and its result to `metrics.score`."
        raise TypeError(msg)

    __array__ = __len__ = __iter__ = __getitem__ = __float__ = __int__ = __bool__ = __reduce__ = _refuse


@dataclass(frozen=True, eq=False)
class HoldOut:
    """A blind hold-out: nothing of what is hidden is in `train`, so no graph, PCA, scaling or training can see it.

    Make one with :meth:`thin` or :meth:`mask`, before quality control and everything else; judge what a method makes
    of `train` with :func:`score`.
    """

    protocol: ClassVar[Literal["blind"]] = "blind"

    train: sp.csr_matrix
    """Counts that a method may see, of shape (n_cells, n_genes)."""
    truth: Sealed
    """What is hidden; for :func:`score` only."""
    kind: Literal["molecules", "nonzeros"]
    """Whether molecules are hidden or whole non-zeros."""
    rate: float
    """Share of them that is hidden."""

    @classmethod
    def thin(cls, counts: sp.csr_matrix | ArrayLike, rate: float, *, rng: np.random.Generator | int) -> Self:
        """Hide each molecule with probability `rate` (binomial thinning, molecular cross-validation).

        Parameters
        ----------
        counts
            Molecule counts of shape (n_cells, n_genes).
        rate
            Probability that a molecule is hidden.
        rng
            Seed or generator.
        """
        counts = _checked(counts, rate, allow_non_counts=None)
        train, hidden = hide_molecules(counts, rate, np.random.default_rng(rng))
        return cls(train, Sealed(hidden, np.full(counts.shape[0], rate / (1 - rate))), "molecules", rate)

    @classmethod
    def mask(
        cls,
        counts: sp.csr_matrix | ArrayLike,
        rate: float,
        *,
        rng: np.random.Generator | int,
        scale: ArrayLike | None = None,
    ) -> Self:
        """Hide the same share of every gene's non-zeros (genes with <= 3 left alone) :cite:p:`Xu2021`, blind.

        Parameters
        ----------
        counts
            Array of shape (n_cells, n_genes).
        rate
            Share of each gene's non-zeros to hide, rounded down.
        rng
            Seed or generator.
        scale
            Array of shape (n_cells,): errors are measured on counts times this. By default what brings each cell of
            `counts` to the median total, the scale of the paper's errors. Estimates stay on the scale of `train`.
        """
        counts = _checked(counts, rate, allow_non_counts=True)
        factor = _to_median_total(counts) if scale is None else np.asarray(scale, dtype=np.float64)
        if factor.shape != counts.shape[:1] or not np.isfinite(factor).all():
            msg = f"`scale` must hold a number for each of {counts.shape[0]} cells, but its shape is {factor.shape}."
            raise ValueError(msg)
        train, hidden = hide_nonzeros_by_gene(counts, rate, np.random.default_rng(rng))
        return cls(train, Sealed(sp.csr_matrix(sp.diags(factor) @ hidden), factor), "nonzeros", rate)


class CellSplit(NamedTuple):
    """Cells of the three parts: sorted positions, each cell in one part."""

    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    test: NDArray[np.int64]


def split_cells(n_cells: int, *, train_fraction: float = 0.6, rng: np.random.Generator | int) -> CellSplit:
    """Split cells at random: 6:2:2 as in the paper, or another labelled share with the rest halved.

    Parameters
    ----------
    n_cells
        Number of cells.
    train_fraction
        Share of the training (labelled) cells, rounded up: 0.8 to 0.1 in the paper's figure 8.
    rng
        Seed or generator.
    """
    n_train = int(np.ceil(n_cells * train_fraction - 1e-9))
    n_test = (n_cells - n_train) // 2
    if min(n_train, n_test) < 1:
        msg = f"{n_cells} cells with train_fraction={train_fraction} leave a part empty: each needs a cell."
        raise ValueError(msg)
    order = np.random.default_rng(rng).permutation(n_cells)
    return CellSplit(*map(np.sort, np.split(order, [n_train, n_cells - n_test])))


@dataclass(frozen=True, eq=False)
class LabelledHoldOut:
    """The paper's hold-out, for comparison with its tables: the unmasked values of training cells are targets.

    No user has such targets, so this is another type than :class:`HoldOut`: what takes the one cannot take the other,
    and results say which `protocol` they come from. The truth, masked values of test cells, is sealed here too.
    """

    protocol: ClassVar[Literal["labelled"]] = "labelled"

    train: sp.csr_matrix
    """Masked values, the input of a method, of shape (n_cells, n_genes)."""
    labels: sp.csr_matrix
    """Unmasked values of training and validation cells, of shape (n_cells, n_genes); test cells are empty."""
    split: CellSplit
    """Training, validation and test cells."""
    truth: Sealed
    """Masked values of the test cells; for :func:`score` only."""
    rate: float
    """Share of every gene's non-zeros that is masked."""
    kind: Literal["nonzeros"] = "nonzeros"
    """What is hidden."""

    @classmethod
    def mask(
        cls, normalized: sp.csr_matrix | ArrayLike, rate: float, *, split: CellSplit, rng: np.random.Generator | int
    ) -> Self:
        """Mask the same share of every gene's non-zeros (genes with <= 3 left alone) in a normalised matrix.

        Parameters
        ----------
        normalized
            Filtered and normalised values of shape (n_cells, n_genes), not log-transformed: the scale of the errors.
        rate
            Share of each gene's non-zeros to mask, rounded down.
        split
            Cells of the three parts: see :func:`split_cells`.
        rng
            Seed or generator.
        """
        values = _checked(normalized, rate, allow_non_counts=True)
        if not np.array_equal(np.sort(np.concatenate(split)), np.arange(values.shape[0])):
            msg = f"`split` must name each of {values.shape[0]} cells once: `split_cells({values.shape[0]}, rng=0)`."
            raise ValueError(msg)
        train, hidden = hide_nonzeros_by_gene(values, rate, np.random.default_rng(rng))
        labels = _only(values, np.concatenate([split.train, split.validation]))
        return cls(train, labels, split, Sealed(_only(hidden, split.test), np.ones(values.shape[0])), rate)


def unseal(hold_out: HoldOut | LabelledHoldOut) -> tuple[sp.csr_matrix, NDArray[np.float64]]:
    """Open a truth, for scores only: hidden values, and what brings a cell's estimate in `train` to their scale."""
    return hold_out.truth._truth, hold_out.truth._factor


def _checked(counts: sp.csr_matrix | ArrayLike, rate: float, *, allow_non_counts: bool | None) -> sp.csr_matrix:
    if not 0 < rate < 1:
        msg = f"rate={rate}: give the share to hide, above 0 and below 1."
        raise ValueError(msg)
    return check_counts(counts, where="the matrix to hold out from", allow_non_counts=allow_non_counts)


def _to_median_total(counts: sp.csr_matrix) -> NDArray[np.float64]:
    total = totals(counts)
    return median_total(total) / divisors(total)


def _only(matrix: sp.csr_matrix, cells: NDArray[np.int64]) -> sp.csr_matrix:
    """The same matrix with all other cells empty."""
    keep = np.zeros(matrix.shape[0], dtype=bool)
    keep[cells] = True
    return with_data(matrix, matrix.data * np.repeat(keep, np.diff(matrix.indptr)))
