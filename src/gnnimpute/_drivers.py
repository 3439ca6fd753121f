"""Genes that set groups of cells apart in the latent."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from gnnimpute._arguments import check_imputer
from gnnimpute._attribution import integrated_gradients
from gnnimpute._fit import read_by
from gnnimpute._modelled import as_imputed, modelled
from gnnimpute._named_groups import check_groups, groups_of
from gnnimpute._rows import Rows

if TYPE_CHECKING:
    from anndata import AnnData

    from gnnimpute._imputer import GNNImputer


def drivers(
    adata: AnnData,
    groupby: str,
    *,
    imputer: GNNImputer,
    key: str | None = None,
    layer: str | None = None,
    neighbors_key: str | None = None,
    use_rep: str | None = None,
    batch_key: str | None = None,
    n_neighbors: int = 5,
    allow_non_counts: bool = False,
) -> pd.DataFrame:
    """Genes that set each group of cells apart in the latent, by integrated gradients through the encoder.

    Each group has a direction, from the mean latent of the other cells to its own. A gene's share is what its
    expression, in the cells and in their neighbours, adds to the distance of the group's cells from mean cells in that
    direction :cite:p:`Sundararajan2017`. It says what the network looks at, not what is regulated: confirm it in the
    raw counts.

    Parameters
    ----------
    adata
        Cells x genes, with raw counts and a graph of the cells. It is not changed.
    groupby
        Column of `obs`.
    imputer
        What imputes, from :func:`fit` or :meth:`gnnimpute.GNNImputer.load`.
    key
        The `key_added` of an imputation; by default ``"gnnimpute"``, or the only one there is.
    layer, neighbors_key, use_rep, batch_key, n_neighbors, allow_non_counts
        As for :func:`fit`, but by default what the imputation was made from, if there is one.

    Returns
    -------
    Table of genes x groups: the share of each gene. ``drivers[group].nlargest(10)`` are the strongest; those below 0
    pull the group back.

    Raises
    ------
    KeyError
        If there is no such column, imputation, layer or graph.
    ValueError
        If there is only one group or none, or the column holds many different numbers.
    """
    check_imputer(imputer)
    check_groups(adata, groupby)
    named = {"layer": layer, "neighbors_key": neighbors_key, "use_rep": use_rep}
    chosen = modelled(
        adata,
        **as_imputed(adata, **named, batch_key=batch_key, n_neighbors=n_neighbors, key=key),
        allow_non_counts=allow_non_counts,
        device=imputer.device,
        to_fit=False,
    )
    imputer, (counts, graph) = read_by(imputer, adata, chosen)
    groups, names = groups_of(adata, groupby, chosen.cells)
    known = np.unique(groups[groups >= 0])
    if len(known) < 2:
        msg = f"adata.obs[{groupby!r}] has one group: nothing sets it apart. Name a column with two or more."
        raise ValueError(msg)
    latent = imputer.embed(counts, graph)
    normalized = Rows.of(counts, imputer.network_).normalized(slice(None))
    network = copy.deepcopy(imputer.network_).cpu()
    shares = {}
    for group in known:
        inside = groups == group
        away = latent[inside].mean(0) - latent[~inside].mean(0)
        direction = inside[:, None] * (away / max(float(np.linalg.norm(away)), 1e-12) / inside.sum())
        shares[names[group]], _ = integrated_gradients(
            network, normalized, graph, direction=direction.astype(np.float32)
        )
    return pd.DataFrame(shares, index=imputer.genes_)
