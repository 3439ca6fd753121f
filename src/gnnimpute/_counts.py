"""Counts as every step wants them, or an error that says which value is no count, where it is and what to do."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

_log = logging.getLogger(__name__)

WHOLE_WITHIN = 1e-4
"""Distance to a whole number that is taken for rounding, as when counts were scaled and scaled back."""

EXACT_UP_TO = 2**24
"""Whole numbers up to this one are exact in float32."""

LARGEST = 2**31 - 1
"""No cell holds more molecules of a gene than this."""

_ROWS = 2048
"""Rows that are summed at a time."""
_AT_ONCE = 2**18
"""Values that are looked at at a time: they stay in a core's own cache."""

_REMEDY = (
    "Pass raw counts (layer=, --layer) or, to impute values that are not counts but as linear, such as TPM, "
    "allow_non_counts=True (--allow-non-counts)."
)
_COUNTS_ONLY = "Pass raw counts (layer=, --layer)."
_MOLECULES = "Pass raw counts (layer=, --layer): molecules are to be hidden, and values such as TPM are none."
_TAKEN = "They are taken as they are, but the model is of counts: what it says of logarithms means little. Undo them."
_UNDO = "Pass raw counts (layer=, --layer); values on a logarithmic scale cannot be used."


def check_counts(
    matrix: Any,
    *,
    where: str,
    cell_names: Sequence[object] | None = None,
    gene_names: Sequence[object] | None = None,
    allow_non_counts: bool | None = False,
) -> sp.csr_matrix:
    """Counts as a sparse float32 matrix: indices sorted, no duplicates, no explicit zeros.

    Cells and genes without any count are fine here. Values within rounding error of a whole number become that number;
    counts above 2**24 become the nearest float32 (off by less than 1 in 16 million), which the log says.

    Parameters
    ----------
    matrix
        Array of shape (n_cells, n_genes): any SciPy sparse format or dense array of numbers or booleans, or an array
        on disk or of Dask, which is loaded. Never changed; the result may share its memory.
    where
        What to call the matrix in an error, for example ``"adata.X"``.
    cell_names
        Names of the cells, for an error; by default their numbers.
    gene_names
        Names of the genes, for an error; by default their numbers.
    allow_non_counts
        Take values that are not whole, such as TPM; `None` where they cannot be taken, and no error is to advise it.

    Raises
    ------
    TypeError
        If the values are not real numbers.
    ValueError
        If there is no cell or no gene, or a value is missing, infinite, negative, above 2**31 - 1, or, unless
        `allow_non_counts`, not whole. The error names the first such value with its cell and gene.
    """
    counts = _canonical(_as_csr(matrix, where))
    values = counts.data
    if _needs_nothing(values):
        return counts

    def refuse(wrong: NDArray[np.bool_], why: Callable[[], str]) -> None:
        if wrong.any():
            at = int(np.argmax(wrong))
            row = int(np.searchsorted(counts.indptr, at, side="right")) - 1
            cell, gene = _name(cell_names, row), _name(gene_names, int(counts.indices[at]))
            msg = f"{where} is {values[at]:.7g} in cell {cell}, gene {gene}: {why()}"
            raise ValueError(msg)

    refuse(~np.isfinite(values), lambda: "counts must be finite numbers. Remove such cells or genes, or set them to 0.")
    refuse(values < 0, lambda: f"counts cannot be negative; {_negative_suspect(values)}. {_COUNTS_ONLY}")
    if not np.array_equal(np.rint(values), values):
        if not allow_non_counts:
            wrong = ~_whole(values)
            remedy = _MOLECULES if allow_non_counts is None else _REMEDY
            refuse(wrong, lambda: _not_whole(counts, int(wrong.sum()), remedy))
        elif (kind := _transformation(counts)).startswith("log"):
            _log.warning("%s looks %s. %s", where, kind, _TAKEN)
    refuse(values > LARGEST, lambda: f"no cell holds so many molecules of a gene. {_COUNTS_ONLY}")
    if values.size and values.max() > EXACT_UP_TO:
        told = "%s holds counts up to %.0f: above %d they are rounded to float32"
        _log.warning(told, where, values.max(), EXACT_UP_TO)
    return _rounded(counts, whole=not allow_non_counts)


def totals(counts: sp.csr_matrix) -> NDArray[np.float64]:
    """Molecules of each cell, of shape (n_cells,)."""
    total = np.zeros(counts.shape[0])
    some = np.flatnonzero(np.diff(counts.indptr))
    for rows in np.split(some, range(_ROWS, len(some), _ROWS)) if len(some) else ():
        start, stop = counts.indptr[rows[0]], counts.indptr[rows[-1] + 1]
        # A copy in double precision of a few rows at a time: that of all would take twice the memory of the counts.
        values = counts.data[start:stop].astype(np.float64)
        total[rows] = np.add.reduceat(values, counts.indptr[rows] - start)
    return total


def divisors(total: NDArray[np.float64]) -> NDArray[np.float64]:
    """Totals of cells to divide by: 1 for cells without counts, which stay empty."""
    return np.where(total > 0, total, 1.0)


def depths(total: NDArray[np.float64], target_total: float) -> NDArray[np.float64]:
    """What counts of cells are divided by to be at a total: 1 for cells without any, whose other genes stay as seen."""
    return np.where(total > 0, total / target_total, 1.0)


def median_total(total: NDArray[np.float64]) -> float:
    """Median total of the cells that have counts: what cells are normalised to."""
    return float(np.median(total[total > 0])) if total.any() else 1.0


def moments(rows: sp.csr_matrix) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and variance of each column of rows, of shape (n_columns,) each."""
    return moments_of(power_sums(rows), rows.shape[0])


def power_sums(rows: sp.csr_matrix) -> NDArray[np.float64]:
    """Sums of each column and of its squares, of shape (2, n_columns); those of blocks of rows add up."""
    return np.stack([np.bincount(rows.indices, rows.data.astype(np.float64) ** p, rows.shape[1]) for p in (1, 2)])


def moments_of(sums: NDArray[np.float64], n_rows: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and variance of each column, from its :func:`power_sums`."""
    mean, square = sums / n_rows
    return mean, np.maximum(square - mean**2, 0)


def _as_csr(matrix: Any, where: str) -> sp.csr_matrix:
    """The matrix in memory as CSR, of floating point numbers; shares memory where it can."""
    if matrix is None:
        msg = f"{where} is empty: there is no matrix. {_COUNTS_ONLY}"
        raise ValueError(msg)
    if hasattr(matrix, "obsm"):
        msg = f"{where} is a whole AnnData: gi.tl.fit(adata) and gi.tl.impute(adata) take one. Or pass adata.X."
        raise TypeError(msg)
    if hasattr(matrix, "to_memory"):
        matrix = matrix.to_memory()
    elif hasattr(matrix, "compute"):
        matrix = matrix.compute()
    if not sp.issparse(matrix):
        matrix = np.asarray(matrix)
    if matrix.ndim != 2 or not all(matrix.shape):
        msg = f"{where} must be cells x genes with at least one of each, but its shape is {matrix.shape}."
        raise ValueError(msg)
    if matrix.dtype.kind not in "biuf":
        msg = f"{where} must hold numbers, but its values are of type {matrix.dtype}."
        raise TypeError(msg)
    if matrix.dtype not in (np.float32, np.float64):
        matrix = matrix.astype(np.float32 if matrix.dtype.itemsize <= 2 else np.float64)
    return sp.csr_matrix(matrix)


def _canonical(counts: sp.csr_matrix) -> sp.csr_matrix:
    if not counts.has_canonical_format:
        counts = counts.copy()
        counts.sum_duplicates()
    return counts


def _needs_nothing(values: NDArray[np.floating[Any]]) -> bool:
    """Whether all values are counts, none of them 0, as they should be: most are, and large ones are read just once."""
    return values.dtype == np.float32 and all(
        part.min() > 0 and part.max() <= EXACT_UP_TO and np.array_equal(np.rint(part), part)
        for part in np.split(values, range(_AT_ONCE, len(values), _AT_ONCE))
        if len(part)
    )


def _rounded(counts: sp.csr_matrix, *, whole: bool) -> sp.csr_matrix:
    values = (np.rint(counts.data) if whole else counts.data).astype(np.float32, copy=False)
    if values.all() and np.array_equal(values, counts.data) and counts.dtype == np.float32:
        return counts
    counts = sp.csr_matrix((values, counts.indices, counts.indptr), counts.shape)
    if not values.all():
        counts = counts.copy()
        counts.eliminate_zeros()
    return counts


def _whole(values: NDArray[np.floating[Any]]) -> NDArray[np.bool_]:
    nearest = np.rint(values)
    rounding = np.maximum(WHOLE_WITHIN, 4 * np.finfo(np.float32).eps * nearest)
    # A small value is no zero with a rounding error: zeros stay zeros under any scaling.
    whole: NDArray[np.bool_] = (np.abs(values - nearest) <= rounding) & ((nearest > 0) | (values == 0))
    return whole


def _name(names: Sequence[object] | None, number: int) -> str:
    if isinstance(names, range):  # of a part of the cells
        return f"number {names[number]}"
    return f"number {number}" if names is None else repr(str(names[number]))


def _negative_suspect(values: NDArray[np.floating[Any]]) -> str:
    if _whole(np.abs(values)).all():
        return "something was subtracted"
    return "the matrix looks scaled or centred"


def _not_whole(counts: sp.csr_matrix, n_wrong: int, remedy: str) -> str:
    kind = _transformation(counts)
    few = f"{n_wrong:,} of {np.count_nonzero(counts.data):,} non-zeros {'is' if n_wrong == 1 else 'are'} not"
    suspect = f"and the matrix looks {kind}." if kind else f"for counts are whole numbers; {few}."
    return f"not a count, {suspect} {_UNDO if kind.startswith('log') else remedy}"


def _transformation(counts: sp.csr_matrix) -> str:
    """What was done to counts that are not whole, judged by a few cells; empty if that cannot be told."""
    cells = np.flatnonzero(np.diff(counts.indptr) > 1)
    sample = [counts.data[slice(*counts.indptr[c : c + 2])].astype(float) for c in cells[:: max(1, len(cells) // 50)]]
    mostly_whole = not sample or float(np.mean(_whole(np.concatenate(sample)))) > 0.5
    # Whole counts alone cannot tell: 2^k - 1 is whole too, and they are multiples of 1.
    sample = [values for values in sample if not _whole(values).all()]
    if counts.data.max() < 30:  # e^30 - 1 molecules would be too many, and 2^30 - 1 as well
        if _looks_scaled([np.expm1(values) for values in sample]):
            return "log1p-transformed"
        if _looks_scaled([np.exp2(values) - 1 for values in sample]):
            return "log2(x + 1)-transformed"
    return "normalised (each cell divided by its size)" if not mostly_whole and _looks_scaled(sample) else ""


def _looks_scaled(cells: Sequence[NDArray[np.floating[Any]]]) -> bool:
    """Whether the cells hold counts times a number of their own: same totals, or whole multiples of the least value."""
    sums = np.array([values.sum() for values in cells])
    if len(sums) > 2 and np.ptp(sums) < 1e-3 * sums.mean():
        return True
    multiples = [ratio for ratio in (values / values.min() for values in cells) if ratio.max() > 1.5]
    whole = [np.mean(np.abs(ratio - np.rint(ratio)) < 1e-2) > 0.95 for ratio in multiples]
    return len(whole) > 0 and float(np.mean(whole)) > 0.5
