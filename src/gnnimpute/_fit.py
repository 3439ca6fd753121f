"""Fit an imputer to an AnnData."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from gnnimpute import _keys
from gnnimpute._absent import reader
from gnnimpute._arguments import check_config, check_rng
from gnnimpute._blocks import require_in_memory
from gnnimpute._cell_graph import warn_if_torn
from gnnimpute._config import Config
from gnnimpute._genes import align, shared
from gnnimpute._imputer import GNNImputer
from gnnimpute._inputs import require_anndata, warn_of_other_counts
from gnnimpute._modelled import modelled
from gnnimpute._sample import training_part
from gnnimpute._training import given_seed

if TYPE_CHECKING:
    from pathlib import Path

    import scipy.sparse as sp
    from anndata import AnnData

    from gnnimpute._graph import NeighborGraph
    from gnnimpute._modelled import Modelled

_log = logging.getLogger(__name__)


def fit(
    adata: AnnData,
    *,
    config: Config = Config(),  # noqa: B008 -- frozen
    layer: str | None = None,
    neighbors_key: str | None = None,
    use_rep: str | None = None,
    batch_key: str | None = None,
    n_neighbors: int = 5,
    allow_non_counts: bool = False,
    rng: np.random.Generator | int | None = 0,
    device: str | None = None,
    progress: bool | None = None,
    checkpoint: str | Path | None = None,
) -> GNNImputer:
    """Train an imputer on the cells and genes that passed :func:`gnnimpute.pp.prepare`; `adata` is not changed.

    The result can be saved, and given to :func:`impute` for these cells or others.

    Parameters
    ----------
    adata
        Cells x genes, with raw counts and a graph of the cells.
    config
        Settings of the network and its training.
    layer
        Layer of the raw counts. By default ``layers["counts"]`` if there is one, else what
        :func:`gnnimpute.pp.prepare` was given, else `X`.
    neighbors_key
        Graph to use: a key of `uns` as :func:`scanpy.pp.neighbors` writes it. By default that of
        :func:`gnnimpute.pp.prepare`, which is made anew without the molecules that validation holds out.
    use_rep
        Embedding in `obsm` to find neighbours in instead, for example ``"X_pca_harmony"`` or ``"X_scVI"``.
    batch_key
        Column of `obs`; with `use_rep`, neighbours are sought within each batch.
    n_neighbors
        With `use_rep`, number of neighbours of a cell, not counting the cell itself.
    allow_non_counts
        Take values that are not whole, such as TPM.
    rng
        Seed or generator. The same seed, data and number of threads give the same numbers on the same kind of CPU.
    device
        Where to compute, as PyTorch names it; by default a GPU if there is one.
    progress
        Show a bar; by default, if the output is a terminal.
    checkpoint
        File to write after every epoch, and to go on from if it exists.

    Returns
    -------
    The fitted imputer.

    Raises
    ------
    KeyError
        If the layer, the graph or the embedding does not exist.
    ValueError
        If the matrix does not hold counts, or names of modelled genes stand twice.
    """
    require_anndata(adata)
    check_config(config)
    check_rng(rng)
    warn_of_other_counts(adata, layer)
    chosen = modelled(
        adata,
        layer=layer,
        neighbors_key=neighbors_key,
        use_rep=use_rep,
        batch_key=batch_key,
        n_neighbors=n_neighbors,
        allow_non_counts=allow_non_counts,
        device=device,
    )
    warn_if_torn(adata, chosen)
    return fitted(chosen, adata, config, rng=rng, device=device, progress=progress, checkpoint=checkpoint)


def fitted(
    chosen: Modelled, adata: AnnData, config: Config, *, device: str | None, rng: Any, **options: Any
) -> GNNImputer:
    """An imputer of the modelled cells and genes."""
    seed, rng = given_seed(rng), np.random.default_rng(rng)
    counts, graph = training_part(chosen, config.most_cells, rng)
    names = adata.var_names[chosen.genes]
    imputer = GNNImputer(config, device=device).fit(counts, graph, genes=names, rng=rng, **options)
    imputer.origin_ |= {"seed": seed, "threads": torch.get_num_threads(), "fitted_with": chosen.where(adata)}
    return imputer


def warn_of_another_graph(imputer: GNNImputer, adata: AnnData, chosen: Modelled) -> None:
    """Say so if the imputer is to read neighbours of another kind than those that it was fitted with."""
    before, now = dict(imputer.origin_.get("fitted_with", {})), chosen.where(adata)
    if not chosen.has_batches(adata, before.get("batch_key")):
        before.pop("batch_key", None)
    unknown = {"n_neighbors"} - (before.keys() & now.keys())  # of another tool's graph, or not yet kept
    if before and before | dict.fromkeys(unknown) != now | dict.fromkeys(unknown):
        was, now_is = (", ".join(f"{name}={value!r}" for name, value in where.items()) for where in (before, now))
        mend = f"give {was}"
        if before.get("neighbors_key") == _keys.NEIGHBORS:
            options = "".join(f", {name}={before[name]!r}" for name in ("batch_key", "n_neighbors") if name in before)
            mend = f"run gi.pp.prepare(adata{options}) and give no other graph"
        _log.warning("The imputer was fitted with neighbors by %s, and is to read those by %s: %s.", was, now_is, mend)


def read_by(
    imputer: GNNImputer, adata: AnnData, chosen: Modelled
) -> tuple[GNNImputer, tuple[sp.csr_matrix, NeighborGraph]]:
    """An imputer as it reads the modelled cells, and their counts, of its genes in its order, and graph."""
    imputer.summary()  # an error if it is not fitted
    warn_of_another_graph(imputer, adata, chosen)
    require_in_memory(chosen.counts)
    genes = shared(adata.var_names, imputer.genes_, preferred=chosen.genes)
    names = adata.var_names[genes]
    return reader(imputer, names), (align(chosen.counts[chosen.cells][:, genes], names, imputer.genes_), chosen.graph)
