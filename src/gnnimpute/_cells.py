"""What stands for the values of cells: some forty numbers each, instead of one for each gene."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from gnnimpute._infer import chunks

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from gnnimpute._nn import Autoencoder


class Cells(NamedTuple):
    """What stands for the values of some cells."""

    latent: NDArray[np.float32]
    """(n_cells, n) what is decoded, NaN for cells that are not modelled."""
    log_normalizer: NDArray[np.float32]
    """(n_cells,) logarithm of what the shares of a cell's genes are divided by; NaN for cells that are not modelled."""
    total: NDArray[np.float64]
    """(n_cells,) molecules in modelled genes."""
    unit: NDArray[np.float32]
    """(n_cells,) the least that a non-zero can be."""

    def part(self, rows: Any) -> Cells:
        """Some of the cells."""
        return Cells(*(array[rows] for array in self))


@torch.inference_mode()
def log_normalizers(network: Autoencoder, latent: torch.Tensor) -> NDArray[np.float32]:
    """Of each cell, of shape (n_cells,); with it, the share of one gene takes no other gene. Zero without shares."""
    if not network.is_share:
        return np.zeros(len(latent), dtype=np.float32)
    parts = [torch.logsumexp(network.decode(latent[c]), 1) for c in chunks(len(latent), 512)]
    sums: NDArray[np.float32] = torch.cat(parts).cpu().numpy()
    return sums


def chosen_cells(cells: ArrayLike | None) -> Any:
    """An index: positions or a mask of cells, all of them, or none of them."""
    if cells is None:
        return slice(None)
    return np.asarray(cells) if np.size(cells) else np.zeros(0, dtype=np.int64)
