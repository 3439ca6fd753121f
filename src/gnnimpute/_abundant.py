r"""What the genes with the most molecules say of each other's hidden non-zeros, all at once.

Pairs that covary (:mod:`gnnimpute._covarying`) are few: what many genes know a little of passes no test of a single
pair. Genes with many molecules have cells enough for a regression on all the others. Its weights :math:`\beta_{gh}`
are added to those of the pairs in the same equation,

.. math:: \min_{\beta_g} \sum_i (1 + \lambda_{ig}) \left(\frac{y_{ig} - \lambda_{ig}}{1 + \lambda_{ig}}
          - \frac{\lambda_{ig}}{1 + \lambda_{ig}} \sum_h (\beta^{\mathrm{pairs}}_{gh} + \beta_{gh}) u_{ih}\right)^2
          + \alpha_g \|\beta_g\|^2,

over non-zeros :math:`y` that were hidden, a fifth at a time, from what expects :math:`\lambda` of them: of values that
it has read, a network knows too much.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np
import torch

from gnnimpute._covarying import surprise
from gnnimpute._ridge import ridge
from gnnimpute._threads import side_by_side_map

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from numpy.typing import NDArray

    Floats = NDArray[np.floating[Any]]

N_GENES = 200
"""Genes that are predicted, and that predict: those with the most molecules."""
N_PARTS = 5
"""Parts of the non-zeros, each predicted from the others."""
N_FOLDS = 3
"""Folds of the cells that choose between penalties."""
_AT_ONCE = 16
"""Genes whose products are held at a time: 1 MB for each gene."""


class Part(NamedTuple):
    """Some non-zeros that were hidden, and those that were left; each (n_cells, n_genes)."""

    told: Floats
    """Surprise of those that were left; 0 elsewhere."""
    missed: Floats
    """Surprise of those that were hidden; 0 elsewhere."""
    mean: Floats
    """What is expected of those, :math:`\\lambda`; 0 elsewhere."""

    @classmethod
    def of(cls, expected: Floats, kept: Floats, hidden: Floats) -> Self:
        """From what is expected of a non-zero, and counts, 0 where there are none; each (n_cells, n_genes)."""
        told, missed = surprise(expected, kept), surprise(expected, hidden)
        return cls(np.where(kept > 0, told, 0), np.where(hidden > 0, missed, 0), np.where(hidden > 0, expected, 0))


def fit_abundant(parts: Sequence[Part], pairs: Floats) -> Floats:
    """Weights of the genes for each other, of shape (n_genes, n_genes), to be added to those of pairs.

    All 0 for a gene of which the others predict nothing in cells that were left out.

    Parameters
    ----------
    parts
        Non-zeros that were hidden, and those that were left.
    pairs
        Weights of pairs that covary, of shape (n_genes, n_genes).
    """
    n_genes = len(pairs)
    blocks = [np.arange(start, min(start + _AT_ONCE, n_genes)) for start in range(0, n_genes, _AT_ONCE)]

    def fitted(genes: NDArray[np.int64]) -> Floats:
        moments, products = np.zeros((N_FOLDS, len(genes), n_genes, n_genes)), np.zeros((N_FOLDS, n_genes, len(genes)))
        for j, g in enumerate(genes):
            for part in parts:
                for f in range(N_FOLDS):
                    x, y = _terms(part, pairs, g, slice(f, None, N_FOLDS))
                    moments[f, j] += x.T @ x
                    products[f, :, j] += x.T @ y
        return ridge(moments, products).T

    weights: Floats = np.concatenate([*side_by_side_map(fitted, blocks, torch.device("cpu")), np.empty((0, n_genes))])
    np.fill_diagonal(weights, 0)  # but for rounding it is
    return weights


def _terms(part: Part, pairs: Floats, gene: int, cells: slice) -> tuple[Floats, Floats]:
    """Surprises of the other genes, and what pairs leave of that of the gene, weighted by the root of its noise."""
    mean = part.mean[cells, gene].astype(np.float64)
    hidden = mean > 0
    told, mean = part.told[cells][hidden].astype(np.float64), mean[hidden]
    told[:, gene] = 0
    root, size = np.sqrt(1 + mean), mean / (1 + mean)  # size: how much of a factor shows in the surprise
    left = part.missed[cells, gene][hidden] - size * (told @ pairs[gene])
    return told * (root * size)[:, None], root * left
