"""The imputer: learn from counts and a graph, then give expected expression. Arrays in, arrays out."""

from __future__ import annotations

import logging
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, get_args

import numpy as np
import torch

from gnnimpute import _checkpoint, _infer
from gnnimpute._config import Config, Estimate, Output
from gnnimpute._counts import check_counts
from gnnimpute._genes import align, positions
from gnnimpute._nn import Autoencoder
from gnnimpute._rows import Rows
from gnnimpute._train import hide, train
from gnnimpute._values import Decoder

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import scipy.sparse as sp
    from numpy.typing import ArrayLike, NDArray

    from gnnimpute._graph import NeighborGraph

log = logging.getLogger(__name__)


class GNNImputer:
    """Graph attention autoencoder that recovers dropouts :cite:p:`Xu2021`.

    Parameters
    ----------
    config
        Settings of the network and its training.
    device
        Where to compute, as PyTorch names it; by default a GPU if there is one.

    Attributes
    ----------
    genes_
        Names of the modelled genes, of shape (n_genes,).
    network_
        The trained network.
    dispersion_
        Dispersion of each gene, of shape (n_genes,), for ``estimate="posterior"``; `None` without hidden molecules.
    history_
        ``training`` and ``validation`` loss of each epoch.
    """

    def __init__(self, config: Config = Config(), *, device: str | None = None) -> None:  # noqa: B008
        self.config = config
        self.device = device

    def fit(
        self,
        counts: ArrayLike | sp.spmatrix,
        graph: NeighborGraph | Callable[[sp.csr_matrix], NeighborGraph],
        *,
        genes: Sequence[str] | None = None,
        rng: np.random.Generator | int | None = 0,
        progress: bool | None = None,
        checkpoint: str | Path | None = None,
    ) -> Self:
        """Learn to predict hidden molecules from a cell's own other molecules and those of its neighbours.

        Parameters
        ----------
        counts
            Molecule counts, of shape (n_cells, n_genes).
        graph
            Neighbours of the cells. Or a function that makes them from counts: it is then called without the molecules
            that validation holds out, so that the choice of the epoch is blind.
        genes
            Names of the genes, of shape (n_genes,); by default ``"0"``, ``"1"``, ...
        rng
            Seed or generator. The same seed, data and number of threads give the same numbers on a CPU.
        progress
            Show a bar; by default, if the output is a terminal.
        checkpoint
            File to write after every epoch, and to go on from if it exists.

        Raises
        ------
        ValueError
            If `counts` are not counts, or `graph` has other cells.
        """
        matrix = check_counts(counts, where="counts", gene_names=genes, allow_non_counts=True)
        self.genes_ = np.arange(matrix.shape[1]).astype(str) if genes is None else np.asarray(genes, dtype=str)
        positions(self.genes_, self.genes_)  # names must be unique to be matched later
        rng = np.random.default_rng(rng)
        split = hide(matrix, self.config.validation_rate, self.config, rng)
        made = graph(split.kept) if callable(graph) else graph
        _check_cells(made, matrix)
        trained = train(
            split,
            made,
            self.config,
            rng=rng,
            device=self._torch_device(),
            progress=progress,
            checkpoint=None if checkpoint is None else Path(checkpoint),
        )
        self.network_ = trained.network
        self.history_ = trained.history
        self.best_epoch_ = trained.best_epoch
        self.dispersion_ = None
        if self.config.hide == "molecules":
            decoder = Decoder(self.network_, self.config, None)
            self.dispersion_ = decoder.fit_dispersion(split, self._latent(split.kept, made))
        return self

    def transform(
        self,
        counts: ArrayLike | sp.spmatrix,
        graph: NeighborGraph,
        *,
        names: Sequence[str] | None = None,
        genes: Sequence[str] | None = None,
        cells: ArrayLike | None = None,
        estimate: Estimate = "mean",
        output: Output = "normalized",
        out: Any = None,
    ) -> Any:
        """Impute, block by block.

        Parameters
        ----------
        counts
            Molecule counts, of shape (n_cells, n_columns): the fitted cells or others.
        graph
            Neighbours among the same cells.
        names
            Gene name of each column; needed if the columns are not the fitted genes in the same order.
        genes
            Names of the genes to impute; by default all fitted genes, in their order.
        cells
            Positions, or a mask, of the cells to impute; by default all.
        estimate
            ``mean``: expected expression. ``detected``: expected value given that the gene was detected, the value
            behind a dropout. ``posterior``: expected expression given the cell's own count too.
        output
            ``normalized``: scaled to the median total of the fitted cells. ``counts``: at each cell's own depth.
            ``log1p``: log(1 + normalized).
        out
            Array of shape (n_cells, n_genes) to write into, for example a zarr array; by default a new one.

        Returns
        -------
        `out`, or a `float32` array of shape (n_cells, n_genes).
        """
        self._check_choices(estimate, output)
        matrix = self._aligned(counts, names)
        _check_cells(graph, matrix)
        if genes is not None and np.array_equal(np.asarray(genes, dtype=str), self.genes_):
            genes = None
        columns = positions(self.genes_, self.genes_ if genes is None else genes)
        wanted = np.arange(graph.n_cells) if cells is None else np.arange(graph.n_cells)[np.asarray(cells)]
        if out is None:
            out = new_array(len(wanted), len(columns))
        elif tuple(out.shape) != (len(wanted), len(columns)):
            msg = f"`out` has shape {tuple(out.shape)}, but the result has {(len(wanted), len(columns))}."
            raise ValueError(msg)
        decoder = Decoder(self.network_, self.config, self.dispersion_)
        for c, block in decoder.blocks(matrix, self._latent(matrix, graph), wanted, estimate=estimate, output=output):
            out[c] = block if genes is None else block[:, columns]
        return out

    def embed(
        self, counts: ArrayLike | sp.spmatrix, graph: NeighborGraph, *, names: Sequence[str] | None = None
    ) -> NDArray[np.float32]:
        """Latent of each cell, of shape (n_cells, n_latent); parameters as for :meth:`transform`."""
        matrix = self._aligned(counts, names)
        _check_cells(graph, matrix)
        latent: NDArray[np.float32] = self._latent(matrix, graph).cpu().numpy()
        return latent

    def attention(
        self, counts: ArrayLike | sp.spmatrix, graph: NeighborGraph, *, names: Sequence[str] | None = None
    ) -> sp.csr_matrix:
        """Weight that each cell's counts have in each other's latent; parameters as for :meth:`transform`.

        Returns
        -------
        Sparse matrix of shape (n_cells, n_cells), whose rows sum to 1: two steps of attention, heads averaged.
        """
        matrix = self._aligned(counts, names)
        _check_cells(graph, matrix)
        return _infer.attention(self.network_, self._rows(matrix), graph)

    def save(self, path: str | Path) -> None:
        """Write the fitted imputer to one file (safetensors with a JSON header; loading runs no code)."""
        self._check_fitted()
        tensors = {f"network.{name}": value for name, value in self.network_.state_dict().items()}
        if self.dispersion_ is not None:
            tensors["dispersion"] = torch.from_numpy(self.dispersion_)
        about = {
            "version": version("gnnimpute"),
            "config": self.config.to_dict(),
            "genes": self.genes_.tolist(),
            "history": self.history_,
            "best_epoch": self.best_epoch_,
        }
        _checkpoint.write_tensors(Path(path), tensors, about)

    @classmethod
    def load(cls, path: str | Path, *, device: str | None = None) -> Self:
        """Read what :meth:`save` wrote."""
        tensors, about = _checkpoint.read_tensors(Path(path), what="model")
        if "config" not in about or "genes" not in about:
            msg = f"{path} is not a saved model but a checkpoint: pass it to `fit(checkpoint=)` to go on training."
            raise ValueError(msg)
        imputer = cls(Config.from_dict(about["config"]), device=device)
        imputer.genes_ = np.asarray(about["genes"], dtype=str)
        imputer.network_ = Autoencoder(len(imputer.genes_), imputer.config)
        imputer.network_.load_state_dict(_checkpoint.part(tensors, "network."))
        imputer.network_.to(imputer._torch_device()).eval()
        imputer.dispersion_ = tensors["dispersion"].numpy() if "dispersion" in tensors else None
        imputer.history_, imputer.best_epoch_ = about["history"], about["best_epoch"]
        return imputer

    def summary(self) -> dict[str, Any]:
        """What describes the fit, as plain values and arrays that AnnData can write."""
        self._check_fitted()
        return {
            "version": version("gnnimpute"),
            "params": self.config.to_dict(),
            "loss": {name: np.asarray(values) for name, values in self.history_.items()},
            "best_epoch": self.best_epoch_,
            "target_total": self.target_total_,
        }

    @property
    def target_total_(self) -> float:
        """Median total of the fitted cells: the total that ``output="normalized"`` is scaled to."""
        self._check_fitted()
        return float(self.network_.target_total)

    def _rows(self, matrix: sp.csr_matrix) -> Rows:
        return Rows(matrix, self.target_total_, self._torch_device())

    def _latent(self, matrix: sp.csr_matrix, graph: NeighborGraph) -> torch.Tensor:
        return _infer.embed(self.network_, self._rows(matrix), graph)

    def _aligned(self, counts: ArrayLike | sp.spmatrix, names: Sequence[str] | None) -> sp.csr_matrix:
        self._check_fitted()
        matrix = check_counts(counts, where="counts", gene_names=names, allow_non_counts=True)
        return align(matrix, names, self.genes_)

    def _check_fitted(self) -> None:
        if not hasattr(self, "network_"):
            msg = "This imputer is not fitted yet: call `fit(counts, graph)` first, or `GNNImputer.load(path)`."
            raise ValueError(msg)

    def _check_choices(self, estimate: str, output: str) -> None:
        for name, value, choices in (("estimate", estimate, get_args(Estimate)), ("output", output, get_args(Output))):
            if value not in choices:
                msg = f"{name}={value!r}: choose one of {', '.join(map(repr, choices))}."
                raise ValueError(msg)
        self._check_fitted()
        if estimate == "posterior" and self.dispersion_ is None:
            msg = "estimate='posterior' needs a model that was trained on hidden molecules: Config(hide='molecules')."
            raise ValueError(msg)

    def _torch_device(self) -> torch.device:
        name = self.device or ("cuda" if torch.cuda.is_available() else "cpu")
        try:
            device = torch.device(name)
        except RuntimeError as error:
            msg = f"device={name!r} is no device of PyTorch: use 'cpu' or 'cuda'."
            raise ValueError(msg) from error
        if device.type == "cuda" and not torch.cuda.is_available():
            msg = f"device={name!r}, but PyTorch finds no GPU here: use device='cpu'."
            raise ValueError(msg)
        return device


def _check_cells(graph: NeighborGraph, counts: sp.csr_matrix) -> None:
    if graph.n_cells != counts.shape[0]:
        msg = f"The graph has {graph.n_cells} cells, the counts have {counts.shape[0]}: make it from the same cells."
        raise ValueError(msg)


def new_array(n_cells: int, n_genes: int) -> NDArray[np.float32]:
    """Empty result; if it is large, its size and the way out are said first."""
    if (size := 4 * n_cells * n_genes / 1e9) > 2:
        log.warning(
            "The result is dense: %d cells x %d genes, %.1f GB. Less: `genes=[...]`, or `out=` a zarr array on disk.",
            n_cells,
            n_genes,
            size,
        )
    return np.empty((n_cells, n_genes), dtype=np.float32)
