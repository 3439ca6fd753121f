"""Impute an AnnData."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from gnnimpute import _keys
from gnnimpute._arguments import check_asked
from gnnimpute._blocks import is_lazy
from gnnimpute._cell_graph import warn_if_torn
from gnnimpute._config import Config
from gnnimpute._connectivities import spread_graph
from gnnimpute._counts import depths
from gnnimpute._fit import fitted, read_by, warn_of_another_graph
from gnnimpute._genes import shared
from gnnimpute._inputs import genes_of, require_writable
from gnnimpute._layers import check_interval, forget, uncertainty
from gnnimpute._lazy_impute import as_dask, check_no_interval, on_demand
from gnnimpute._modelled import modelled
from gnnimpute._result import Surrounded, check_key, spread, unit_of, warn_if_useless
from gnnimpute._values import check_choices, place, warn_if_large

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import scipy.sparse as sp
    from anndata import AnnData
    from numpy.typing import NDArray

    from gnnimpute._config import Estimate, Output
    from gnnimpute._imputer import GNNImputer
    from gnnimpute._modelled import Modelled


def impute(
    adata: AnnData,
    *,
    imputer: GNNImputer | None = None,
    estimate: Estimate = "mean",
    output: Output = "normalized",
    interval: float | None = None,
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
    values, on the same scale, and are marked by ``obs["gnnimpute_pass"]`` and ``var[f"{key_added}_modelled"]``.

    Parameters
    ----------
    adata
        Cells x genes, with raw counts and a graph of the cells.
    imputer
        A fitted imputer, whose genes are matched by name; by default :func:`fit` makes one. Give its graph too.
    estimate
        ``mean``: expected expression. ``detected``: likely count given that the gene was detected, what is behind a
        dropout. ``posterior``: expected expression given the cell's own counts too.
    output
        ``normalized``: scaled to the median total of the fitted cells. ``counts``: at each cell's own depth. ``log1p``:
        log(1 + normalized).
    interval
        Add the interval that the expression lies in with this probability, such as 0.9, given the cell's own counts
        too, and the probability that another library shows the gene: of a zero, that it is a dropout.
    key_added
        Key of what is added; all that an earlier call has put under it goes.
    genes
        Impute only these genes, into ``obsm[f"{key_added}_genes"]``.
    out
        Floating array of shape (n_obs, n_vars), or (n_obs, n_genes) with `genes`, to write to instead, such as of zarr.
    config
        Settings, as for :func:`fit`; by default `Config()`, and :meth:`Config.detected` for that estimate. An `imputer`
        has its own.
    layer, neighbors_key, use_rep, batch_key, n_neighbors, allow_non_counts, rng, device, progress, checkpoint
        As for :func:`fit`.

    Raises
    ------
    KeyError
        If the layer, the graph, the embedding or a gene does not exist.
    ValueError
        If the matrix does not hold counts, names of modelled genes stand twice, `imputer` has none of the genes or
        `config` is given beside it, or `key_added` would replace what is not a result of this function.

    Returns
    -------
    `None`. Sets the following fields:

    `adata.layers[key_added]` : :class:`numpy.ndarray` (`float32`, n_obs x n_vars)
        Imputed values; neither with `genes` nor with `out`. Of counts that are a Dask array, a Dask array too: what is
        sliced is decoded when it is computed, and nothing is held.
    `adata.layers[f"{key_added}_lower"]`, ``_upper``, ``_redetection`` : :class:`numpy.ndarray` (the same)
        Ends of the intervals, on the scale of `output`, and probabilities, with `interval`; NaN for cells and genes
        that are not modelled.
    `adata.obsm[f"{key_added}_genes"]` : :class:`pandas.DataFrame` (`float32`, n_obs x n_genes)
        Imputed values of `genes`, if given; not with `out`.
    `adata.obsm[key_added]` : :class:`numpy.ndarray` (`float32`, n_obs x n_latent)
        Latent representation; NaN for cells that are not modelled.
    `adata.obsp[f"{key_added}_attention"]` : :class:`scipy.sparse.csr_matrix` (`float32`, n_obs x n_obs)
        Weight that each cell's counts have in each other's latent; rows of modelled cells sum to 1. Not for counts that
        are a Dask array.
    `adata.var[f"{key_added}_modelled"]` : :class:`pandas.Series` (`bool`)
        Which genes are the model's: those that passed quality control, or those of an `imputer` that are there.
    `adata.obs[f"{key_added}_depth"]` : :class:`pandas.Series` (`float64`)
        What counts of a cell are divided by to be on the scale of normalised values: its total in the genes that were
        read, over ``target_total`` (of which genes that are not there have a share); 1 if it has none in them.
    `adata.uns[key_added]` : :class:`dict`
        ``estimate``, ``output``, ``unit``, ``target_total``, ``params``, ``loss`` (of each epoch), ``best_epoch`` (0 is
        the first), ``version``, ``linear_share`` (of the linear part in the values; with 1 the network has no say),
        ``n_covarying`` (genes that others say something of), and what was used: ``layer``, ``neighbors_key``,
        ``use_rep`` (``batch_key``, ``n_neighbors``), ``interval``, ``n_cells``, ``n_genes``, and what `origin_` has.
    """
    require_writable(adata)
    check_asked(config=config, imputer=imputer, rng=rng)
    check_key(adata, key_added, interval=interval, genes=genes)
    warn_if_useless(adata, estimate)
    genes = genes if genes is None or isinstance(genes, str) else [*map(str, genes)]
    columns = np.arange(adata.n_vars) if genes is None else genes_of(adata, genes)
    if len(np.unique(columns)) < len(columns):  # columns of a table, which AnnData cannot write if two have one name
        msg = f"genes={genes} names a gene more than once."
        raise ValueError(msg)
    wanted = _Wanted(columns, estimate, output, interval, key_added, is_layer=out is None and genes is None)
    if out is not None:
        place(out, adata.n_obs, len(columns))  # refused before any work
    chosen = modelled(
        adata,
        layer=layer,
        neighbors_key=neighbors_key,
        use_rep=use_rep,
        batch_key=batch_key,
        n_neighbors=n_neighbors,
        allow_non_counts=allow_non_counts,
        device=device,
        to_fit=imputer is None,
    )
    warn_if_torn(adata, chosen)
    if is_lazy(chosen.counts):
        check_no_interval(interval)
    elif out is None:
        warn_if_large(adata.n_obs, len(columns), n_arrays=1 if interval is None else 4)
    if imputer is None:
        config = config or Config.of(estimate)
        wanted.check(can_be_posterior=config.hide == "molecules")
        imputer = fitted(chosen, adata, config, rng=rng, device=device, progress=progress, checkpoint=checkpoint)
    else:
        wanted.check(can_be_posterior=imputer.spread_ is not None)
        chosen = chosen._replace(genes=shared(adata.var_names, imputer.genes_, preferred=chosen.genes))
    made = (_lazily if is_lazy(chosen.counts) else _in_memory)(adata, imputer, chosen, wanted, out)

    # From here on nothing can go wrong: an error leaves `adata` as it was.
    forget(adata, key_added)
    if out is None and genes is not None:
        adata.obsm[_keys.genes(key_added)] = pd.DataFrame(made.imputed, index=adata.obs_names, columns=genes)
    elif out is None:
        adata.layers[key_added] = made.imputed
    adata.layers.update(made.uncertainty)
    adata.obs[_keys.depth(key_added)] = made.depth
    adata.var[_keys.modelled(key_added)] = np.isin(np.arange(adata.n_vars), chosen.genes)
    adata.obsm[key_added] = made.latent
    if made.attention is not None:
        adata.obsp[_keys.attention(key_added)] = made.attention
    adata.uns[key_added] = {
        **imputer.summary(),
        "estimate": estimate,
        "output": output,
        "unit": unit_of(output, imputer.target_total_, seen=made.seen),
        **chosen.source,
        "interval": interval or 0.0,
        "n_cells": len(chosen.cells),
        "n_genes": len(chosen.genes),
    }


class _Wanted(NamedTuple):
    """What is asked for."""

    columns: NDArray[np.int64]
    """Positions of the genes."""
    estimate: Estimate
    output: Output
    interval: float | None
    key: str
    is_layer: bool
    """Whether all genes go to a layer."""

    def check(self, *, can_be_posterior: bool) -> None:
        """Raise ValueError for what the network cannot say."""
        check_choices(self.estimate, self.output, can_be_posterior=can_be_posterior)
        check_interval(self.interval, is_layer=self.is_layer, can_be_posterior=can_be_posterior)


class _Made(NamedTuple):
    """What was made of all cells."""

    imputed: Any
    latent: NDArray[np.float32]
    depth: NDArray[np.float64]
    """What counts of a cell are divided by to be normalised."""
    seen: float
    """Share of the molecules that genes of the model which are there have."""
    attention: sp.csr_matrix | None = None
    uncertainty: dict[str, NDArray[np.float32]] = {}  # noqa: RUF012 -- never written to


def _in_memory(adata: AnnData, imputer: GNNImputer, chosen: Modelled, wanted: _Wanted, out: Any) -> _Made:
    values = np.empty((adata.n_obs, len(wanted.columns)), dtype=np.float32) if out is None else out
    made, source = read_by(imputer, adata, chosen)
    target_total = made.target_total_ * made.network_.seen  # of the genes that are there
    surrounded = Surrounded(values, chosen, wanted.columns, output=wanted.output, target_total=target_total)
    made.transform(
        *source,
        genes=adata.var_names[wanted.columns[np.isin(wanted.columns, chosen.genes)]],
        estimate=wanted.estimate,
        output=wanted.output,
        out=surrounded,
    )
    layers = uncertainty(
        adata, made, chosen, source=source, level=wanted.interval, output=wanted.output, key=wanted.key
    )
    latent = spread(made.embed(*source), chosen.cells, adata.n_obs)
    attention = spread_graph(made.attention(*source), chosen.cells, adata.n_obs)
    return _Made(values, latent, surrounded.depth, made.network_.seen, attention, layers)


def _lazily(adata: AnnData, imputer: GNNImputer, chosen: Modelled, wanted: _Wanted, out: Any) -> _Made:
    warn_of_another_graph(imputer, adata, chosen)
    lazy = on_demand(imputer, chosen, adata.var_names.to_numpy(str), estimate=wanted.estimate, output=wanted.output)
    latent, seen = lazy.cells.latent[:, : imputer.config.n_latent], lazy.values.decoder.network.seen  # noqa: PD011
    about = latent, depths(lazy.cells.total, imputer.target_total_), seen
    if wanted.is_layer:
        return _Made(as_dask(lazy), *about)
    return _Made(lazy.fill(place(out, adata.n_obs, len(wanted.columns)), wanted.columns), *about)
