"""Set what the posterior takes besides the mean: the prior of each gene, and which genes covary."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from gnnimpute._abundant import N_GENES, N_PARTS, Part, fit_abundant
from gnnimpute._covarying import Covarying, fit_covarying, looked_at
from gnnimpute._infer import chunks, embed
from gnnimpute._masking import hide_molecules, with_data
from gnnimpute._prior_fit import fit_prior
from gnnimpute._rows import Rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from gnnimpute._config import Estimate
    from gnnimpute._graph import NeighborGraph
    from gnnimpute._masking import Split
    from gnnimpute._prior import Average, Spread
    from gnnimpute._values import Decoder

FIT_ON = 2048
"""Most cells that all this is fitted on, but for genes with many molecules."""
ABUNDANT_ON = 8192
"""Most cells that what those say of each other is fitted on: each has its own regression, of non-zeros alone."""


class Posterior(NamedTuple):
    """What the posterior takes besides the mean."""

    spread: Spread
    average: Average
    covarying: Covarying


def posterior_of(decoder: Decoder, split: Split, latent: torch.Tensor) -> Posterior:
    """By the counts that validation left, and by the molecules that it held out.

    Parameters
    ----------
    decoder
        The trained network and its settings.
    split
        Counts that it read, and counts that were held out.
    latent
        Latent of all cells, from the former.
    """
    rows, rate, cells = Rows.of(split.kept, decoder.network), decoder.config.validation_rate, _fitted_on(latent)
    with closing(decoder.blocks(rows, latent, cells, estimate="mean", output="counts")) as blocks:
        means = list(blocks)  # 160 MB at 20,000 genes, not to decode them twice
    covarying = _covarying(decoder, rows, cells, means)
    counts, held_out = split.kept[cells], split.held_out[cells]
    half, _ = hide_molecules(counts, 0.5, np.random.default_rng(0))

    def given() -> Iterator[tuple[NDArray[np.float32], ...]]:
        for c, mean in means:
            own, *others = (part[c].toarray() for part in (counts, half, held_out))
            yield covarying.given(mean, own), own, *others

    share = np.asarray(split.kept.sum(0)).ravel() / max(float(split.kept.sum()), 1.0)
    spread, average = fit_prior(given(), share.astype(np.float32), ratio=rate / (1 - rate))
    # Of all molecules: what was held out has taken apart some of those that come several at a time.
    return Posterior(spread._replace(fano=spread.fano / np.float32(1 - rate)), average, covarying)


def covarying_of(decoder: Decoder, rows: Rows, latent: torch.Tensor, *, graph: NeighborGraph) -> Covarying:
    """Which genes covary; none do without a linear part, nor where no estimate makes use of it."""
    estimate: Estimate = "detected" if decoder.predicts_beyond_one else "mean"
    alone, cells = replace(decoder, covarying=None, likely=False), _fitted_on(latent)
    with closing(alone.blocks(rows, latent, cells, estimate=estimate, output="counts")) as blocks:
        pairs = _covarying(decoder, rows, cells, blocks)
    if not (decoder.config.n_components and decoder.predicts_beyond_one):
        return pairs
    cells = _fitted_on(latent, ABUNDANT_ON)
    genes = looked_at(rows.counts[cells], N_GENES)
    parts = list(_parts(alone, rows, graph, cells=cells, genes=genes))
    return pairs.plus(genes, fit_abundant(parts, pairs.of(genes).weights.toarray()))


def _parts(
    alone: Decoder, rows: Rows, graph: NeighborGraph, *, cells: NDArray[np.int64], genes: NDArray[np.int64]
) -> Iterator[Part]:
    """Non-zeros of some cells and genes, a part at a time, and what is expected of them without that part."""
    counts, unit = rows.counts, rows.unit[cells]
    part = np.random.default_rng(0).integers(N_PARTS, size=counts.nnz)
    for p in range(N_PARTS):
        kept, hidden = (with_data(counts, counts.data * chosen) for chosen in (part != p, part == p))
        read = replace(rows, counts=kept, kept_share=rows.kept_share * (1 - 1 / N_PARTS), molecule=rows.unit)
        latent, total = embed(alone.network, read, graph), read.total[cells]
        expected = [
            alone.scaled(
                alone.decoded(latent[torch.from_numpy(cells[c]).to(latent.device)], genes),
                total[c], unit[c], own=None, estimate="detected", output="counts", columns=genes,
            ) for c in chunks(len(cells))
        ]  # fmt: skip
        own = (matrix[cells][:, genes].toarray() for matrix in (kept, hidden))
        yield Part.of(*(values / unit[:, None] for values in (np.concatenate(expected), *own)))


def _covarying(
    decoder: Decoder, rows: Rows, cells: NDArray[np.int64], blocks: Iterable[tuple[slice, NDArray[np.float32]]]
) -> Covarying:
    """Which genes covary, by what is expected of all genes of some cells."""
    config, beyond_one = decoder.config, decoder.predicts_beyond_one
    if not config.n_components or not (config.hide == "molecules" or beyond_one):
        return Covarying.none(rows.counts.shape[1])
    counts = rows.counts[cells]
    genes = looked_at(counts)
    expected = np.empty((len(cells), len(genes)), dtype=np.float32)
    for c, block in blocks:
        expected[c] = block[:, genes]
    own = counts[:, genes].toarray()
    if beyond_one:
        expected, own = expected / rows.unit[cells, None], own / rows.unit[cells, None]
    return fit_covarying(expected, decoder.told(own, expected), genes=genes, n_genes=counts.shape[1])


def _fitted_on(latent: torch.Tensor, most: int = FIT_ON) -> NDArray[np.int64]:
    """Positions of the cells that this is fitted on."""
    return np.sort(np.random.default_rng(0).permutation(len(latent))[:most])
