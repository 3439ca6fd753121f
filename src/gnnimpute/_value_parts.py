"""What the parts of a model have to do with one value of it."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from gnnimpute._explanation import LinearPart
from gnnimpute._infer import embed
from gnnimpute._keys import genes as genes_key
from gnnimpute._rows import Rows

if TYPE_CHECKING:
    import scipy.sparse as sp
    from anndata import AnnData

    from gnnimpute._graph import NeighborGraph
    from gnnimpute._imputer import GNNImputer

_log = logging.getLogger(__name__)

_CLOSE = 1e-2
"""Relative difference of values that are the same: stores may hold them with fewer digits."""


@torch.inference_mode()
def linear_part(
    imputer: GNNImputer, counts: sp.csr_matrix, graph: NeighborGraph, *, cell: int, gene: int
) -> LinearPart | None:
    """The linear part of one value, taken apart: what it says of a mean cell, and what changes that."""
    network = imputer.network_
    if network.linear is None or not network.linear.is_used:
        return None
    rows = Rows.of(counts, network)
    latent = embed(network, rows, graph)[cell : cell + 1]
    own_latent = latent[:, : network.n_latent]
    # Both parts are scaled alike, so that the shares of all genes sum to 1.
    whole = float(network.whole(network.decode(latent).exp())) if network.is_share else float(network.target_total)
    scale = float(rows.total[cell]) / whole
    decoded = network.decode(own_latent)[0]
    alone = (decoded.softmax(0) if network.is_share else decoded)[gene]
    z = latent[:, network.n_latent :]
    slope = network.linear.coefficients[gene]
    others = graph.neighbors_of(cell)
    x = torch.from_numpy(rows.normalized(np.concatenate([[cell], others])).toarray()).to(rows.device) - network.mean
    own = x[0] @ network.linear.own @ slope
    neighbors = x[1:].sum(0) @ network.linear.neighbors @ slope / max(len(others), 1)
    typical = network.linear.intercept[gene] + z[0] @ slope - own - neighbors
    parts = (alone, network.linear(z)[0, gene], typical, own, neighbors)
    group = math.prod(float(factor) for factor in network.group_factors(z, np.array([gene])))
    return LinearPart._make([float(network.linear.weight), *(scale * float(part) for part in parts), group])


def given_covarying(
    imputer: GNNImputer, counts: sp.csr_matrix, graph: NeighborGraph, *, cell: int, gene: int
) -> tuple[float, pd.DataFrame]:
    """What is expected given the genes that covary, and these: `weight`, `count` and `expected` of each."""
    weights = imputer.covarying_.weights[gene]
    genes = np.array([gene, *weights.indices])
    names = imputer.genes_[genes].tolist()
    mean, own = imputer.transform(counts, graph, genes=names, cells=[cell], output="counts"), counts[cell][:, genes]
    given = imputer.covarying_.of(genes).given(mean, own.toarray())[0, 0]
    columns = {"weight": weights.data, "count": own.toarray()[0, 1:], "expected": mean[0, 1:]}
    others = pd.DataFrame(columns, index=names[1:])
    return float(given), others.iloc[np.argsort(-np.abs(weights.data), kind="stable")]


def warn_if_another(
    adata: AnnData, imputer: GNNImputer, *, key: str, source: Any, at: tuple[int, int], cell: int, gene: str
) -> None:
    """Say so if the layer has another value `at` its cell and gene than the imputer gives to a cell of `source`."""
    about, some = adata.uns[key], adata.obsm.get(genes_key(key))
    if key not in adata.layers and (some is None or gene not in some):
        return
    stored = float(np.asarray(adata.layers[key][at] if key in adata.layers else some[gene].iloc[at[0]]))
    where = f"layers[{key!r}]" if key in adata.layers else f"obsm[{genes_key(key)!r}]"
    said: dict[str, Any] = {name: str(about[name]) for name in ("estimate", "output")}
    now = float(imputer.transform(*source, genes=[gene], cells=[cell], **said)[0, 0])
    if not math.isclose(stored, now, rel_tol=_CLOSE, abs_tol=_CLOSE * _CLOSE):
        _log.warning(
            "adata.%s has %.4g there, but by this imputer, these counts and this graph it is %.4g, which is "
            "what is explained. Another imputer, or cells that were left out since?",
            *(where, stored, now),
        )
