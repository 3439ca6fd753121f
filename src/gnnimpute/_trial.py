"""One blind trial: hide molecules, do everything else with the rest, and keep the errors of each estimate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gnnimpute import _controls, _keys, metrics
from gnnimpute._blind import visible
from gnnimpute._exchange import fill_by_rows
from gnnimpute._imputer import GNNImputer
from gnnimpute._modelled import modelled
from gnnimpute._tally import Tally
from gnnimpute._verdict import GENE_MEAN, NEIGHBOR_MEAN, OTHER, OURS, RAW

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import scipy.sparse as sp
    from anndata import AnnData
    from numpy.typing import NDArray

    from gnnimpute._config import Config, Estimate
    from gnnimpute._graph import NeighborGraph


class Trial(NamedTuple):
    """What one seed says."""

    seed: int
    estimate: Estimate
    """The estimate that is judged."""
    tallies: dict[str, Tally]
    """Errors by method; ours come first, with the estimate that is judged."""
    cells: NDArray[np.int64]
    """Positions of the modelled cells in the data."""
    genes: NDArray[np.int64]
    """Positions of the modelled genes in the data."""
    kept: AnnData
    """What was not hidden, prepared."""
    imputer: GNNImputer
    """Fitted to `kept`."""
    graph: NeighborGraph
    """Neighbours among the cells of `kept`."""
    hold_out: metrics.HoldOut
    """What was hidden, sealed."""
    embedding: NDArray[np.float32]
    """What they were found in, of shape (n_cells, n_dimensions)."""

    def values(self, genes: Sequence[str]) -> NDArray[np.float32]:
        """Imputed expression of some genes at the median total, of shape (n_cells, n_genes)."""
        imputed: NDArray[np.float32] = self.imputer.transform(
            self.kept.X, self.graph, genes=genes, estimate=self.estimate
        )
        return imputed


def try_once(
    adata: AnnData,
    counts: sp.csr_matrix,
    *,
    seed: int,
    rate: float,
    estimate: Estimate,
    config: Config,
    quality: Mapping[str, Any],
    graph: Mapping[str, Any],
    device: str | None = None,
    progress: bool | None = None,
) -> Trial:
    """Hide, prepare, fit, and tally the errors of ours and of what is simpler.

    Parameters
    ----------
    adata
        Names, and the columns and embeddings that `graph` names.
    counts
        Counts of its cells and genes.
    seed
        Seed of the hiding, the graph and the training.
    rate
        Share of the molecules to hide.
    estimate
        Which of our estimates to judge.
    config
        Settings of the network.
    quality
        Limits of :func:`gnnimpute.pp.prepare`.
    graph
        ``n_neighbors``, ``n_pcs``, ``batch_key`` and ``use_rep`` of :func:`gnnimpute.tl.evaluate`.
    device, progress
        As for :func:`gnnimpute.tl.fit`.
    """
    hold_out = metrics.HoldOut.thin(counts, rate, rng=seed)
    use_rep, batch_key = graph["use_rep"], graph["batch_key"]
    kept, cells, genes, _ = visible(
        adata,
        hold_out.train,
        obs=() if batch_key is None else (batch_key,),
        obsm=() if use_rep is None else (use_rep,),
        quality=quality,
        n_pcs=graph["n_pcs"],
        n_neighbors=graph["n_neighbors"],
        batch_key=batch_key,
        rng=seed,
        device=device,
    )
    own: dict[str, Any] = {name: None if use_rep is None else graph[name] for name in ("use_rep", "batch_key")}
    chosen = modelled(
        kept, layer=None, neighbors_key=None, n_neighbors=graph["n_neighbors"], allow_non_counts=False, device=device,
        **own,
    )  # fmt: skip
    imputer = GNNImputer(config, device=device)
    imputer.fit(kept.X, chosen.blind or chosen.graph, genes=kept.var_names, rng=seed, progress=progress)
    if imputer.origin_["interrupted"]:
        raise KeyboardInterrupt
    mean = np.asarray(kept.X.mean(axis=0), dtype=np.float64).ravel() * rate / (1 - rate)
    ours: dict[str, Estimate] = {OURS: estimate}
    if config.hide == "molecules":
        other: Estimate = "mean" if estimate == "posterior" else "posterior"
        ours[OTHER.format(other)] = other
    tallies = {
        name: Tally(hold_out, cells=cells, genes=genes, weight=1 / mean)
        for name in (*ours, RAW, GENE_MEAN, NEIGHBOR_MEAN)
    }
    for name, which in ours.items():
        imputer.transform(kept.X, chosen.graph, estimate=which, output="counts", out=tallies[name])
    controls = {
        RAW: _controls.no_imputation,
        GENE_MEAN: _controls.gene_mean,
        NEIGHBOR_MEAN: _controls.neighbor_and_gene_mean,
    }
    for name, control in controls.items():
        fill_by_rows(control(kept.X, seed).rows, tallies[name])
    embedding = np.asarray(kept.obsm[use_rep or _keys.PCA])
    return Trial(seed, estimate, tallies, cells, genes, kept, imputer, chosen.graph, hold_out, embedding)
