"""The encoder over counts that are a Dask array: read once, a few cells at a time; what is held is what it reads."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import scipy.sparse as sp
import torch

from gnnimpute._absent import reader
from gnnimpute._blocks import each, n_workers
from gnnimpute._cells import Cells, with_normalizers
from gnnimpute._counts import totals
from gnnimpute._genes import align
from gnnimpute._infer import attend
from gnnimpute._rows import Rows, units
from gnnimpute._sparse_rows import SparseRows

if TYPE_CHECKING:
    import dask.array as da
    from numpy.typing import NDArray

    from gnnimpute._graph import NeighborGraph
    from gnnimpute._imputer import GNNImputer
    from gnnimpute._nn import Autoencoder
    from gnnimpute._values import Decoder


class FirstLayer(NamedTuple):
    """What the first layer needs to read a block of counts."""

    network: Autoencoder
    genes: NDArray[np.int64]
    """Modelled genes, as positions among the columns of the counts."""
    names: NDArray[np.str_]
    """Their names."""
    order: NDArray[np.str_]
    """Names of the genes of the network."""
    dense: bool
    """Whether products go through dense blocks."""


class Read(NamedTuple):
    """What is taken from a block of counts."""

    projected: NDArray[np.float32]
    """(n_modelled, n_read) what is taken of each cell alone."""
    total: NDArray[np.float64]
    unit: NDArray[np.float32]
    unmodelled: sp.csr_matrix
    """(n_cells, n_vars) the counts of cells and genes that are not modelled, and no others."""


def for_workers(network: Autoencoder) -> Autoencoder:
    """The network as it may be sent to workers, who need not have the GPU that is here: then on the CPU."""
    return copy.deepcopy(network).cpu() if n_workers() and network.mean.device.type != "cpu" else network


def decoder_for_workers(imputer: GNNImputer) -> Decoder:
    """The same of what decodes."""
    return replace(imputer._decoder, network=for_workers(imputer.network_))


def encode(
    imputer: GNNImputer, counts: da.Array, graph: NeighborGraph, *, cells: NDArray[np.int64], genes: NDArray[np.int64],
    names: NDArray[np.str_],
) -> tuple[Cells, sp.csr_matrix]:  # fmt: skip
    """What stands for the values of all cells, and the counts of what is not modelled.

    Parameters
    ----------
    imputer
        A fitted imputer.
    counts
        Counts of shape (n_obs, n_vars), in blocks of cells.
    graph
        Neighbours of the modelled cells.
    cells
        Positions of the modelled cells.
    genes
        Positions of the modelled genes.
    names
        Names of the modelled genes.
    """
    network, (n_obs, _) = reader(imputer, names).network_.eval(), counts.shape
    modelled = np.zeros(n_obs, dtype=bool)
    modelled[cells] = True
    some = counts.blocks[0].compute()
    align(some[:, genes], names, imputer.genes_)  # says once which genes are missing, not of every block
    layer = FirstLayer(for_workers(network), genes, names, imputer.genes_, Rows(some, 1.0).is_dense)
    h = torch.empty(len(cells), network.n_read, device=network.mean.device)
    parts: list[tuple[NDArray[np.float64], NDArray[np.float32], sp.csr_matrix]] = []
    done = 0
    for read in each(counts, _read, layer, rows=[modelled]):
        h[done : done + len(read.projected)] = torch.from_numpy(read.projected)
        done += len(read.projected)
        # Not `read` itself, nor a part of its projections, which would hold all of them a second time.
        parts.append((read.total, read.unit, read.unmodelled))
    found, normalizers = with_normalizers(network, attend(network, h, graph))
    latent = np.full((n_obs, found.shape[1]), np.nan, dtype=np.float32)
    normalizer = np.full(n_obs, np.nan, dtype=np.float32)
    latent[cells], normalizer[cells] = found, normalizers
    total, unit, unmodelled = zip(*parts, strict=True)
    return Cells(latent, normalizer, np.concatenate(total), np.concatenate(unit)), sp.vstack(unmodelled, format="csr")


@torch.inference_mode()
def _read(counts: sp.csr_matrix, modelled: NDArray[np.bool_], layer: FirstLayer) -> Read:
    inside = counts[:, layer.genes]
    aligned = align(inside[modelled], layer.names, layer.order, log=None)
    rows = Rows(aligned, float(layer.network.target_total), seen=layer.network.seen)
    x = SparseRows(rows.normalized(slice(None)), device=layer.network.mean.device, dense=layer.dense)
    depth = torch.from_numpy(rows.log_depth).to(x.device)
    projected: NDArray[np.float32] = layer.network.read(x, depth).cpu().numpy()
    return Read(projected, totals(inside) / layer.network.seen, units(inside), _without(counts, modelled, layer.genes))


def _without(counts: sp.csr_matrix, cells: NDArray[np.bool_], genes: NDArray[np.int64]) -> sp.csr_matrix:
    inside = np.isin(np.arange(counts.shape[1]), genes)[counts.indices] & np.repeat(cells, np.diff(counts.indptr))
    ends = np.concatenate([[0], np.cumsum(~inside)])[counts.indptr]
    return sp.csr_matrix((counts.data[~inside], counts.indices[~inside], ends), counts.shape)
