"""Explain an imputed value: whose counts led to it, and how sure it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from gnnimpute._arguments import check_imputer, check_level
from gnnimpute._counts import divisors, totals
from gnnimpute._explanation import Explanation
from gnnimpute._fit import read_by
from gnnimpute._genes import positions, shared
from gnnimpute._modelled import as_imputed, imputation_of, modelled
from gnnimpute._names import suggestion
from gnnimpute._rows import Rows
from gnnimpute._value_parts import given_covarying, linear_part, warn_if_another

if TYPE_CHECKING:
    from anndata import AnnData

    from gnnimpute._imputer import GNNImputer


def explain(
    adata: AnnData,
    cell: str,
    gene: str,
    *,
    imputer: GNNImputer,
    level: float = 0.9,
    key: str | None = None,
    layer: str | None = None,
    neighbors_key: str | None = None,
    use_rep: str | None = None,
    batch_key: str | None = None,
    n_neighbors: int = 5,
    allow_non_counts: bool = False,
) -> Explanation:
    """Say why an imputed value is what it is: which neighbours, with which weights and counts, and how sure it is.

    The network does not average the neighbours' counts of the gene: it reads all their genes, weighs the cells, and
    decodes what such a cell expresses. The neighbours' counts of the gene are shown beside it, so that one can see
    whether they bear it out. The linear part beside the network weighs all neighbours alike; what it adds for them and
    for the cell itself is said apart.

    Parameters
    ----------
    adata
        Cells x genes, with raw counts and a graph of the cells. It is not changed.
    cell
        Name of the cell.
    gene
        Name of the gene.
    imputer
        What imputes, from :func:`fit` or :meth:`gnnimpute.GNNImputer.load`.
    level
        Probability that the interval is to have.
    key
        The `key_added` of the imputation; by default ``"gnnimpute"``, or the only one there is.
    layer, neighbors_key, use_rep, batch_key, n_neighbors, allow_non_counts
        As for :func:`fit`, but by default what the imputation was made from, if there is one.

    Returns
    -------
    Numbers that read as text when printed: a :class:`gnnimpute.tl.Explanation`.

    Raises
    ------
    KeyError
        If there is no such cell, gene, imputation, layer or graph, or it is not modelled.
    ValueError
        If the imputer was not trained on hidden molecules: it then has no interval. If several modelled cells have this
        name.
    """
    check_imputer(imputer)
    check_level(level)
    named = {"layer": layer, "neighbors_key": neighbors_key, "use_rep": use_rep}
    chosen = modelled(
        adata,
        **as_imputed(adata, **named, batch_key=batch_key, n_neighbors=n_neighbors, key=key),
        allow_non_counts=allow_non_counts,
        device=imputer.device,
        to_fit=False,
    )
    at = _row(adata, adata.obs_names[chosen.cells], cell)
    reached = chosen.graph.block(np.array([at])).cells  # no others have a say
    chosen = chosen._replace(cells=chosen.cells[reached], graph=chosen.graph.among(reached))
    names, here = adata.obs_names[chosen.cells], int(np.searchsorted(reached, at))
    imputer, (counts, graph) = read_by(imputer, adata, chosen)
    column = _column(adata, imputer, adata.var_names[chosen.genes], gene)
    source: dict[str, Any] = {"genes": [gene], "cells": [here]}
    ends = imputer.interval(counts, graph, level=level, output="counts", **source)  # says what such a model lacks
    mean, posterior = (
        float(imputer.transform(counts, graph, estimate=e, output="counts", **source)[0, 0])
        for e in ("mean", "posterior")
    )
    if stored := imputation_of(adata, key):
        genes = shared(adata.var_names, imputer.genes_, preferred=chosen.genes)
        there = int(chosen.cells[here]), int(genes[adata.var_names[genes] == gene][0])
        warn_if_another(adata, imputer, key=stored, source=(counts, graph), at=there, cell=here, gene=gene)
    weights = imputer.attention(counts, graph)[here].tocoo()
    others = weights.col != here
    order = np.argsort(-weights.data[others], kind="stable")
    cells = weights.col[others][order]
    own = np.asarray(counts[:, column].todense()).ravel()
    total, target_total = totals(counts), imputer.target_total_ * imputer.network_.seen  # of the genes that are there
    neighbors = pd.DataFrame(
        {
            "weight": weights.data[others][order],
            "count": own[cells],
            "total": total[cells],
            "normalized": own[cells] * target_total / divisors(total[cells]),
        },
        index=names[cells],
    )
    given, covarying = given_covarying(imputer, counts, graph, cell=here, gene=column)
    assert imputer.spread_ is not None  # or there were no interval
    assert imputer.average_ is not None
    this = np.array([column])
    spread, average = imputer.spread_.of(this), imputer.average_.of(this)
    depth = divisors(Rows.of(counts, imputer.network_).total[[here]])
    prior = average.mixed_with(np.array([given]), depth)
    ratio = float(spread.variance_over_mean(prior)[0])
    return Explanation(
        cell=cell,
        gene=gene,
        count=float(own[here]),
        total=float(total[here]),
        mean=mean,
        posterior=posterior,
        lower=float(ends[0][0, 0]),
        upper=float(ends[1][0, 0]),
        level=level,
        redetection=float(imputer.redetection(counts, graph, **source)[0, 0]),
        own_weight=float(weights.data[~others].sum()),
        own_pull=ratio / (1 + ratio),
        target_total=target_total,
        neighbors=neighbors,
        linear=linear_part(imputer, counts, graph, cell=here, gene=column),
        given=given,
        covarying=covarying,
        average=float(depth[0] * average.share[0]),
        average_weight=float(average.weight[0]),
        prior=float(prior[0]),
    )


def _column(adata: AnnData, imputer: GNNImputer, names: pd.Index, gene: str) -> int:
    """Where a gene is among those of the model; `names` are those of the genes that passed quality control here."""
    is_there = gene in adata.var_names
    if is_there and gene not in imputer.genes_ and gene not in names:
        msg = f"Gene {gene!r} did not pass quality control and is not modelled: nothing is imputed there."
        raise KeyError(msg)
    column = int(positions(imputer.genes_, [gene], of_model=True)[0])
    if not is_there:
        msg = f"Gene {gene!r} is one of the model, but not of these counts: there is no value of it to explain."
        raise KeyError(msg)
    return column


def _row(adata: AnnData, names: pd.Index, cell: str) -> int:
    if cell not in adata.obs_names:
        msg = f"There is no cell {cell!r}. {suggestion(cell, adata.obs_names)}"
        raise KeyError(msg)
    if cell not in names:
        msg = f"Cell {cell!r} did not pass quality control and is not modelled: nothing is imputed there."
        raise KeyError(msg)
    where = np.flatnonzero(names == cell)
    if len(where) > 1:
        mend = "adata.obs_names_make_unique() (--unique-names)"
        msg = f"Cell name {cell!r} stands {len(where)} times. Make the names unique: {mend}."
        raise ValueError(msg)
    return int(where[0])
