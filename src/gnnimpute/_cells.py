"""What stands for the values of cells: some ninety numbers each, instead of one for each gene."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from gnnimpute._infer import cells_at_once, chunks

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
def with_normalizers(network: Autoencoder, latent: torch.Tensor) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Latent and `log_normalizer` of :class:`Cells`; with both, the share of one gene takes no other gene."""
    blocks = chunks(len(latent), cells_at_once(len(network.mean), latent.device))
    latents, normalizers = zip(*(network.with_normalizers(latent[c]) for c in blocks), strict=True)
    return torch.cat(latents).cpu().numpy(), torch.cat(normalizers).cpu().numpy()


def chosen_cells(cells: ArrayLike | None) -> Any:
    """An index: positions or a mask of cells, all of them, or none of them."""
    if cells is None:
        return slice(None)
    return np.asarray(cells) if np.size(cells) else np.zeros(0, dtype=np.int64)
