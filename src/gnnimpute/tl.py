"""Tools: fit an imputer to an AnnData, and impute it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from gnnimpute import _keys
from gnnimpute._config import Config
from gnnimpute._genes import align, positions, shared
from gnnimpute._imputer import GNNImputer
from gnnimpute._modelled import modelled
from gnnimpute._result import UNITS, Surrounded, check_key, place, spread, spread_graph
from gnnimpute._values import check_choices

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from anndata import AnnData

    from gnnimpute._config import Estimate, Output
    from gnnimpute._modelled import Modelled

__all__ = ["fit", "impute"]


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
        Layer of the raw counts. By default ``layers["counts"]`` if there is one, else `X`.
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
        Seed or generator. The same seed, data and number of threads give the same numbers on a CPU.
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
    chosen = modelled(
        adata,
        layer=layer,
        neighbors_key=neighbors_key,
        use_rep=use_rep,
        batch_key=batch_key,
        n_neighbors=n_neighbors,
        allow_non_counts=allow_non_counts,
    )
    names = adata.var_names[chosen.genes]
    return _fitted(chosen, names, config, rng=rng, device=device, progress=progress, checkpoint=checkpoint)


def impute(
    adata: AnnData,
    *,
    imputer: GNNImputer | None = None,
    estimate: Estimate = "mean",
    output: Output = "normalized",
    key_added: str = _keys.ADDED,
    genes: Sequence[str] | None = None,
    out: Any = None,
    layer: str | None = None,
    neighbors_key: str | None = None,
    use_rep: str | None = None,
    batch_key: str | None = None,
    n_neighbors: int = 5,
    allow_non_counts: bool = False,
    config: Config | None = None,
    rng: np.random.Generator | int | None = 0,
    device: str | None = None,
    progress: bool | None = None,
    checkpoint: str | Path | None = None,
) -> None:
    """Impute dropouts with a graph attention autoencoder :cite:p:`Xu2021`.

    `X`, `raw`, names, order and shape are never touched. Cells and genes that were not modelled keep their observed
    values, on the same scale, and stay marked by ``obs["gnnimpute_pass"]`` and ``var["gnnimpute_pass"]``.

    Parameters
    ----------
    adata
        Cells x genes, with raw counts and a graph of the cells.
    imputer
        A fitted imputer to use, whose genes are matched by name; by default :func:`fit` makes one.
    estimate
        ``mean``: expected expression. ``detected``: expected value given that the gene was detected, the value behind a
        dropout. ``posterior``: expected expression given the cell's own count too.
    output
        ``normalized``: scaled to the median total of the fitted cells. ``counts``: at each cell's own depth. ``log1p``:
        log(1 + normalized).
    key_added
        Key of what is added.
    genes
        Impute only these genes, into ``obsm[f"{key_added}_genes"]``.
    out
        Array of shape (n_obs, n_vars), or (n_obs, n_genes) with `genes`, to write to instead, for example a zarr array.
    layer
        Layer of the raw counts. By default ``layers["counts"]`` if there is one, else `X`.
    neighbors_key
        Graph to use: a key of `uns` as :func:`scanpy.pp.neighbors` writes it. By default that of
        :func:`gnnimpute.pp.prepare`.
    use_rep
        Embedding in `obsm` to find neighbours in instead, for example ``"X_pca_harmony"`` or ``"X_scVI"``.
    batch_key
        Column of `obs`; with `use_rep`, neighbours are sought within each batch.
    n_neighbors
        With `use_rep`, number of neighbours of a cell, not counting the cell itself.
    allow_non_counts
        Take values that are not whole, such as TPM.
    config
        Settings, as for :func:`fit`; by default `Config()`, and :meth:`Config.detected` for that estimate.
    rng, device, progress, checkpoint
        As for :func:`fit`.

    Raises
    ------
    KeyError
        If the layer, the graph, the embedding or a gene does not exist.
    ValueError
        If the matrix does not hold counts, names of modelled genes stand twice, `imputer` has none of the genes, or
        `key_added` would replace what is not a result of this function.

    Returns
    -------
    `None`. Sets the following fields:

    `adata.layers[key_added]` : :class:`numpy.ndarray` (`float32`, n_obs x n_vars)
        Imputed values; neither with `genes` nor with `out`.
    `adata.obsm[f"{key_added}_genes"]` : :class:`pandas.DataFrame` (`float32`, n_obs x n_genes)
        Imputed values of `genes`, if given; not with `out`.
    `adata.obsm[key_added]` : :class:`numpy.ndarray` (`float32`, n_obs x n_latent)
        Latent representation; NaN for cells that are not modelled.
    `adata.obsp[f"{key_added}_attention"]` : :class:`scipy.sparse.csr_matrix` (`float32`, n_obs x n_obs)
        Weight that each cell's counts have in each other's latent; rows of modelled cells sum to 1.
    `adata.uns[key_added]` : :class:`dict`
        ``estimate``, ``output``, ``unit``, ``target_total``, ``params``, ``loss``, ``best_epoch``, ``version``, and
        what was used: ``layer``, ``neighbors_key``, ``use_rep``, ``n_cells``, ``n_genes``.
    """
    check_key(adata, key_added)
    columns = np.arange(adata.n_vars) if genes is None else positions(adata.var_names, genes)
    values = place(out, adata.n_obs, len(columns))
    chosen = modelled(
        adata,
        layer=layer,
        neighbors_key=neighbors_key,
        use_rep=use_rep,
        batch_key=batch_key,
        n_neighbors=n_neighbors,
        allow_non_counts=allow_non_counts,
    )
    training: dict[str, Any] = {}
    if imputer is None:
        config = config or Config.of(estimate)
        check_choices(estimate, output, can_be_posterior=config.hide == "molecules")
        names = adata.var_names[chosen.genes]
        imputer = _fitted(chosen, names, config, rng=rng, device=device, progress=progress, checkpoint=checkpoint)
        seed = int(rng) if isinstance(rng, (int, np.integer)) else "a generator"
        training = {"seed": seed, "blind_validation": chosen.blind is not None}
        about = imputer.summary()
    else:
        about = imputer.summary()  # an error if it is not fitted
        chosen = chosen._replace(genes=shared(adata.var_names, imputer.genes_))
    names = adata.var_names[chosen.genes]
    source = (align(chosen.counts[chosen.cells][:, chosen.genes], names, imputer.genes_), chosen.graph)
    imputer.transform(
        *source,
        genes=adata.var_names[columns[np.isin(columns, chosen.genes)]],
        estimate=estimate,
        output=output,
        out=Surrounded(values, chosen, columns, output=output, target_total=imputer.target_total_),
    )
    latent, attention = imputer.embed(*source), imputer.attention(*source)

    # From here on nothing can go wrong: an error leaves `adata` as it was.
    if out is None and genes is not None:
        adata.obsm[f"{key_added}_genes"] = pd.DataFrame(values, index=adata.obs_names, columns=list(genes))
    elif out is None:
        adata.layers[key_added] = values
    adata.obsm[key_added] = spread(latent, chosen.cells, adata.n_obs)
    adata.obsp[_keys.attention(key_added)] = spread_graph(attention, chosen.cells, adata.n_obs)
    adata.uns[key_added] = {
        **about,
        "estimate": estimate,
        "output": output,
        "unit": UNITS[output].format(imputer.target_total_),
        **chosen.source,
        "n_cells": len(chosen.cells),
        "n_genes": len(chosen.genes),
        **training,
    }


def _fitted(
    chosen: Modelled, names: Sequence[str], config: Config, *, device: str | None, **options: Any
) -> GNNImputer:
    counts = chosen.counts[chosen.cells][:, chosen.genes]
    return GNNImputer(config, device=device).fit(counts, chosen.blind or chosen.graph, genes=names, **options)
