"""From the latent of cells to the values that were asked for, a few cells at a time."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

import numpy as np
import torch

from gnnimpute._config import Estimate, Output
from gnnimpute._estimates import detected, fit_dispersion, mean_of_detected, posterior
from gnnimpute._infer import chunks
from gnnimpute._rows import totals, units

if TYPE_CHECKING:
    from collections.abc import Iterator

    import scipy.sparse as sp
    from numpy.typing import NDArray

    from gnnimpute._config import Config
    from gnnimpute._masking import Split
    from gnnimpute._nn import Autoencoder

log = logging.getLogger(__name__)

DECODE = 512
"""Cells decoded at a time: n_genes x 512 floats are held, not n_genes x n_cells."""
FIT_ON = 2048
"""Most cells that the dispersions are fitted on."""


@dataclass(frozen=True)
class Decoder:
    """A trained network and what its values mean."""

    network: Autoencoder
    config: Config
    dispersion: NDArray[np.float32] | None
    """(n_genes,) dispersion of each gene, for the posterior."""

    def blocks(
        self,
        counts: sp.csr_matrix,
        latent: torch.Tensor,
        cells: NDArray[np.int64],
        *,
        estimate: Estimate,
        output: Output,
    ) -> Iterator[tuple[slice, NDArray[np.float32]]]:
        """Positions in `cells` and their imputed values, of shape (n_cells_in_block, n_genes)."""
        target_total = float(self.network.target_total)
        depth = (np.maximum(totals(counts), 1) / target_total).astype(np.float32)
        unit = units(counts)
        for c in chunks(len(cells), DECODE):
            here = cells[c]
            value = self._decoded(latent[torch.from_numpy(here).to(latent.device)]) * depth[here][:, None]
            if self._predicts_beyond_one:
                value = 1 + value / unit[here][:, None]
                value = (value if estimate == "detected" else mean_of_detected(value)) * unit[here][:, None]
            elif estimate == "detected":
                value = detected(value)
            if estimate == "posterior" and self.dispersion is not None:
                value = posterior(value, counts[here].toarray(), self.dispersion)
            if output != "counts":
                value /= depth[here][:, None]
            yield c, np.log1p(value) if output == "log1p" else value

    def fit_dispersion(self, split: Split, latent: torch.Tensor) -> NDArray[np.float32]:
        """Dispersion of each gene, of shape (n_genes,), by the molecules that validation held out."""
        cells = np.sort(np.random.default_rng(0).permutation(len(latent))[:FIT_ON])
        blocks = (
            (mean, split.kept[cells[c]].toarray(), split.held_out[cells[c]].toarray())
            for c, mean in self.blocks(split.kept, latent, cells, estimate="mean", output="counts")
        )
        rate = self.config.validation_rate
        return fit_dispersion(blocks, split.kept.shape[1], ratio=rate / (1 - rate))

    @torch.inference_mode()
    def _decoded(self, latent: torch.Tensor) -> NDArray[np.float32]:
        """What the network says, scaled to the median total."""
        decoded = self.network.decode(latent)
        if self.network.is_share:
            decoded = torch.softmax(decoded, 1) * self.network.target_total
        normalized: NDArray[np.float32] = decoded.cpu().numpy()
        return normalized

    @property
    def _predicts_beyond_one(self) -> bool:
        """Squared error on hidden non-zeros gives their mean; the likelihoods are truncated and give that of all."""
        return self.config.loss == "squared_error" and self.config.hide == "nonzeros"


def check_choices(estimate: str, output: str, *, can_be_posterior: bool) -> None:
    """Raise ValueError for an estimate or output that is none, or that the model cannot give."""
    for name, value, choices in (("estimate", estimate, get_args(Estimate)), ("output", output, get_args(Output))):
        if value not in choices:
            msg = f"{name}={value!r}: choose one of {', '.join(map(repr, choices))}."
            raise ValueError(msg)
    if estimate == "posterior" and not can_be_posterior:
        msg = "estimate='posterior' needs a model that was trained on hidden molecules: Config(hide='molecules')."
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
