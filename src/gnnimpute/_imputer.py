"""The imputer: learn from counts and a graph, then give expected expression. Arrays in, arrays out."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from gnnimpute import _checkpoint, _distributed, _infer, _interval, _latent, _on_demand
from gnnimpute._absent import reader
from gnnimpute._arguments import check_config
from gnnimpute._blas import one_thread_of_openblas
from gnnimpute._config import Config, Estimate, Output
from gnnimpute._counts import check_counts
from gnnimpute._device import device_named
from gnnimpute._genes import align, gene_names
from gnnimpute._masking import hide
from gnnimpute._posterior_fit import covarying_of, posterior_of
from gnnimpute._rows import Rows, check_learnable
from gnnimpute._train import train
from gnnimpute._training import given_seed
from gnnimpute._values import Decoder, Wanted, check_choices

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import scipy.sparse as sp
    from numpy.typing import ArrayLike

    from gnnimpute._cells import Cells
    from gnnimpute._graph import NeighborGraph


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
    spread_, average_
        For ``estimate="posterior"``: ``dispersion`` and ``fano`` of a gene, how far cells differ from what is expected,
        and its average, its ``share`` in all molecules and its ``weight``. `None` if whole non-zeros were hidden.
    covarying_
        Which genes covary, with ``weights``, a sparse matrix of shape (n_genes, n_genes): for ``posterior``, and for
        ``detected`` of hidden non-zeros.
    cells_
        What stands for the cells that :meth:`keep` keeps; `None` if it was not called.
    history_, best_epoch_
        ``training`` and ``validation`` loss of each epoch, and which of them is used: 0 is the first.
    origin_
        ``seed``, ``blind_validation`` (graph made without held-out molecules), ``interrupted`` (stopped by hand),
        ``version`` if loaded; of :func:`gnnimpute.tl.fit` ``fitted_with`` (where neighbours were from) and ``threads``.
    """

    def __init__(self, config: Config = Config(), *, device: str | None = None) -> None:  # noqa: B008
        check_config(config)
        self.config, self.device = config, device
        self.cells_: Cells | None = None
        self.origin_: dict[str, Any] = {}

    @one_thread_of_openblas()
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
            Molecule counts, of shape (n_cells, n_genes). Values that are not whole, such as TPM, are taken too.
        graph
            Neighbours of the cells. Or a function that makes them from counts: it is then called without the molecules
            that validation holds out, so that the choice of the epoch is blind.
        genes
            Names of the genes, of shape (n_genes,); by default ``"0"``, ``"1"``, ...
        rng
            Seed or generator. The same seed, data and number of threads give the same numbers on the same kind of CPU.
        progress
            Show a bar; by default, if the output is a terminal.
        checkpoint
            File to write after every epoch, and to go on from if it exists.

        Raises
        ------
        ValueError
            If a count is negative or not finite, or `graph` has other cells.
        """
        matrix = check_counts(counts, where="counts", gene_names=genes, allow_non_counts=True)
        names = gene_names(genes, matrix.shape[1])
        seed, rng = given_seed(rng), _distributed.join().same_random(np.random.default_rng(rng))
        split = hide(matrix, self.config.validation_rate, self.config, rng=rng)
        check_learnable(split)
        made = graph(split.kept) if callable(graph) else graph
        _infer.check_cells(made, matrix)
        device, path = device_named(self.device), None if checkpoint is None else Path(checkpoint)
        trained = train(split, made, self.config, rng=rng, device=device, progress=progress, checkpoint=path)
        rows = Rows.of(split.kept if self.config.hide == "molecules" else matrix, trained.network)
        latent = _infer.embed(trained.network, rows, made)
        decoder, spread, average = Decoder(trained.network, self.config), None, None
        if self.config.hide == "molecules":
            spread, average, covarying = posterior_of(decoder, split, latent)
        else:
            covarying = covarying_of(decoder, rows, latent, graph=made)
        # At once: whoever interrupts the above has the former fit, if there was one.
        self.genes_, self.network_, self.cells_ = names, trained.network, None
        self.spread_, self.average_, self.covarying_ = spread, average, covarying
        self.history_, self.best_epoch_ = trained.history, trained.best_epoch
        self.origin_ = {"seed": seed, "blind_validation": callable(graph), "interrupted": trained.interrupted}
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
            Gene name of each column; needed if the columns are not the fitted genes in the same order. Genes that are
            missing are read as the others let expect (as average, if the model is of hidden non-zeros), and imputed
            too: the posterior of these is the mean.
        genes
            Names of the genes to impute; by default all fitted genes, in their order.
        cells
            Positions, or a mask, of the cells to impute; by default all.
        estimate
            ``mean``: expected expression. ``detected``: likely count given that the gene was detected, what is
            behind a dropout. ``posterior``: expected expression given the cell's own counts too.
        output
            ``normalized``: scaled to the median total of the fitted cells. ``counts``: at each cell's own depth.
            ``log1p``: log(1 + normalized).
        out
            Floating array of shape (n_cells, n_genes) to write into, such as of zarr; by default a new one.

        Returns
        -------
        `out`, or a `float32` array of shape (n_cells, n_genes).
        """
        made, rows = self._reading(counts, names, graph)
        check_choices(estimate, output, can_be_posterior=self.spread_ is not None)
        wanted = Wanted.of(graph.n_cells, self.genes_, genes=genes, cells=cells)
        out, latent = wanted.place(out), _infer.embed(made.network_, rows, graph)
        for c, block in made._decoder.blocks(rows, latent, wanted.cells, estimate=estimate, output=output):
            out[c] = block[:, wanted.columns]
        return out

    embed, attention, keep, values = _latent.embed, _latent.attention, _on_demand.keep, _on_demand.values
    interval, redetection = _interval.interval, _interval.redetection
    further, further_log1p = _interval.further, _interval.further_log1p

    def save(self, path: str | Path) -> None:
        """Write the fitted imputer to one file (safetensors with a JSON header; loading runs no code).

        Parameters
        ----------
        path
            File to write (.safetensors). It is there whole or not at all, and replaced if it exists.
        """
        self._check_fitted()
        learnt = self.genes_, self.network_, self.spread_, self.average_, self.covarying_
        training = self.history_, self.best_epoch_, self.origin_
        _checkpoint.save_model(Path(path), _checkpoint.Model(self.config, *learnt, *training, self.cells_))

    @classmethod
    def load(cls, path: str | Path, *, device: str | None = None) -> Self:
        """Read what :meth:`save` wrote.

        Parameters
        ----------
        path
            File to read.
        device
            Where to compute, as PyTorch names it; by default a GPU if there is one.
        """
        model = _checkpoint.load_model(Path(path))
        imputer = cls(model.config, device=device)
        imputer.network_ = model.network.to(device_named(device)).eval()
        imputer.genes_, imputer.cells_ = model.genes, model.cells
        imputer.spread_, imputer.average_, imputer.covarying_ = model.spread, model.average, model.covarying
        imputer.history_, imputer.best_epoch_, imputer.origin_ = model.history, model.best_epoch, model.origin
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
            "linear_share": 0.0 if self.network_.linear is None else float(self.network_.linear.weight),
            "n_covarying": len(np.unique(self.covarying_.weights.nonzero()[0])),
            **self.origin_,
        }

    @property
    def target_total_(self) -> float:
        """Median total of the fitted cells, what ``output="normalized"`` is scaled to, by what is not held out."""
        self._check_fitted()
        return float(self.network_.target_total)

    @property
    def _decoder(self) -> Decoder:
        return Decoder(self.network_, self.config, self.spread_, self.average_, self.covarying_)

    def _reading(self, counts: Any, names: Sequence[str] | None, graph: NeighborGraph) -> tuple[GNNImputer, Rows]:
        """These counts, and the imputer as it reads them."""
        self._check_fitted()
        matrix = check_counts(counts, where="counts", gene_names=names, allow_non_counts=True)
        _infer.check_cells(graph, matrix)
        made = reader(self, names)
        return made, Rows.of(align(matrix, names, self.genes_), made.network_)

    def _check_fitted(self) -> None:
        if not hasattr(self, "network_"):
            msg = "This imputer is not fitted yet: call `fit(counts, graph)` first, or `GNNImputer.load(path)`."
            raise ValueError(msg)
