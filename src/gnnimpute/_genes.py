"""Match genes by name, and say what is missing."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp

from gnnimpute._names import suggestion

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

log = logging.getLogger(__name__)


def gene_names(genes: Sequence[str] | None, n_genes: int) -> NDArray[np.str_]:
    """Names of all genes, of shape (n_genes,); by default ``"0"``, ``"1"``, ...

    Raises
    ------
    ValueError
        If there are more or fewer names than genes, or one stands twice.
    """
    names = np.arange(n_genes).astype(str) if genes is None else np.asarray(genes, dtype=str)
    if len(names) != n_genes:
        msg = f"There are {len(names)} gene names for {n_genes} columns of counts."
        raise ValueError(msg)
    _where(names)
    return names


def positions(
    names: Sequence[str] | NDArray[np.str_], wanted: Sequence[str] | NDArray[np.str_], *, of_model: bool = False
) -> NDArray[np.int64]:
    """Where each wanted name is among `names`, those of a model if an error is to say so.

    Raises
    ------
    ValueError
        If a name stands twice in `names`: one could not tell which is meant.
    KeyError
        If a wanted name is not there.
    TypeError
        If `wanted` is a single name.
    """
    if isinstance(wanted, str):
        msg = f"genes={wanted!r} is one name: give a list, [{wanted!r}]."
        raise TypeError(msg)
    where, wanted = _where(names), list(wanted)  # a generator can be gone through once only
    if missing := [str(w) for w in wanted if str(w) not in where]:
        there = "among the genes of the model, which passed quality control" if of_model else "there"
        hint = suggestion(missing[0], map(str, names))
        msg = f"Gene {missing[0]!r} is not {there} ({len(missing)} of {len(wanted)} are not). {hint}"
        raise KeyError(msg)
    return np.array([where[str(w)] for w in wanted], dtype=np.int64)


def align(
    counts: sp.csr_matrix,
    names: Sequence[str] | NDArray[np.str_] | None,
    genes: NDArray[np.str_],
    *,
    log: logging.Logger | None = log,
) -> sp.csr_matrix:
    """Columns of `counts` in the order of `genes`: genes that are missing become zeros, others are left out.

    Parameters
    ----------
    counts
        Counts of shape (n_cells, n_columns).
    names
        Gene name of each column; `None` if the columns are `genes` already.
    genes
        Names of the genes that are asked for.
    log
        What is told of genes that are missing or left out; `None` to say nothing.

    Raises
    ------
    ValueError
        If the names do not fit the columns, one stands twice, or none is asked for.
    """
    if names is not None and len(names) != counts.shape[1]:
        msg = f"There are {len(names)} gene names for {counts.shape[1]} columns of counts."
        raise ValueError(msg)
    if names is None or np.array_equal(np.asarray(names, dtype=str), genes):
        if counts.shape[1] != len(genes):
            msg = f"The model has {len(genes)} genes but the counts have {counts.shape[1]}: pass the names of theirs."
            raise ValueError(msg)
        return counts
    where = _where(names)
    source = np.array([where.get(gene, -1) for gene in genes])
    found = np.flatnonzero(source >= 0)
    if not len(found):
        raise ValueError(_none_shared(names, genes))
    if log is not None and (n_missing := len(genes) - len(found)):
        log.warning(
            "%d of the model's %d genes are missing from the counts: cells are read without them.",
            n_missing, len(genes),
        )  # fmt: skip
    if log is not None and (n_extra := counts.shape[1] - len(found)):
        log.warning("%d genes of the counts are not among the model's and are ignored.", n_extra)
    pick = sp.csr_matrix(
        (np.ones(len(found), counts.dtype), (source[found], found)), shape=(counts.shape[1], len(genes))
    )
    return sp.csr_matrix(counts @ pick)


def shared(
    names: Sequence[str] | NDArray[np.str_], genes: NDArray[np.str_], *, preferred: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Where the genes of a model are among `names`, in the order of `names`.

    Of a name that stands twice only those at `preferred` count, if there are any.

    Raises
    ------
    ValueError
        If none is there.
    """
    names = np.asarray(names, dtype=str)
    is_preferred = np.isin(np.arange(len(names)), preferred)
    found = np.flatnonzero(np.isin(names, genes) & (is_preferred | ~np.isin(names, names[preferred])))
    if not len(found):
        raise ValueError(_none_shared(names, genes))
    if others := int(np.isin(preferred, found, invert=True).sum()):
        log.info("%d genes that pass are none of the model's: of these, observed values are kept", others)
    return found


def _none_shared(names: Sequence[str] | NDArray[np.str_], genes: NDArray[np.str_]) -> str:
    return (
        f"None of the model's {len(genes)} genes (such as {str(genes[0])!r}) is among the {len(names)} genes "
        f"of the counts (such as {str(names[0])!r}): the model is for other genes, or names are of another kind."
    )


def _where(names: Sequence[str] | NDArray[np.str_]) -> dict[str, int]:
    where = {str(name): i for i, name in enumerate(names)}
    if len(where) < len(names):
        seen, double = set(), ""
        for name in map(str, names):
            if name in seen:
                double = name
                break
            seen.add(name)
        mend = "adata.var_names_make_unique() (--unique-names)"
        msg = f"Gene name {double!r} stands more than once. Make the names unique: {mend}."
        raise ValueError(msg)
    return where
