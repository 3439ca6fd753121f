"""The data sets: files of a folder, the downloads of the package, or simulated counts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import scipy.sparse as sp

import gnnimpute as gi
from gnnimpute._components import principal_components

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from anndata import AnnData

    from experiments.setting import Setting


@dataclass(frozen=True)
class Source:
    """Where a data set is, and what passes quality control."""

    file: str | None = None
    """Name in the folder of the data."""
    download: Callable[[], AnnData] | None = None
    label: tuple[str, ...] = ()
    """Columns of `obs` that may hold what cells are."""
    quality: dict[str, Any] = field(default_factory=dict)
    """Limits of :func:`gnnimpute.pp.prepare` that differ from its defaults."""


PBMC, KLEIN, LINES = "PBMC", "Klein", "five cell lines"
SOURCES = {
    # These limits give the 2843 cells x 13,003 genes of the paper.
    PBMC: Source("PBMC_frozen_donorA.h5ad", gi.datasets.pbmc,
                 quality={"max_genes": 1999, "max_mito_pct": 5, "max_total": None}),
    KLEIN: Source("Klein_subset_1000x900.h5ad", gi.datasets.klein, ("cell_type", "day")),
    "Chen": Source(None, gi.datasets.chen, ("cell_type",)),
    "Campbell": Source(None, gi.datasets.campbell, ("cell_type",)),
    LINES: Source("scmix_celseq2_5cl.h5ad", None, ("cell_line_demuxlet",)),
    "RNA mixtures": Source("scmix_RNAmix_celseq2.h5ad", None, ("mix_label",)),
    "CITE-seq blood": Source("CITEseq_citefuse500.h5ad"),
    "sorted blood": Source("PBMC_facs_zheng.h5ad", None, ("subpop",)),
    "stimulated blood": Source("Kang_ifnb_PBMC_14k.h5ad", None, ("cell_type",)),
}  # fmt: skip


class Absent(Exception):  # noqa: N818 -- not an error: the others go on
    """A data set is not at hand."""


class Values(NamedTuple):
    """Filtered and normalised counts, not log-transformed: the truth of the paper's protocol."""

    normalized: sp.csr_matrix
    labels: np.ndarray | None
    """What each cell is, if that is known."""


def at_hand(setting: Setting) -> list[str]:
    """Names of the sets to look for: with a folder, those that are in it, and those that it may lack by mistake."""
    if setting.data is None:
        return [name for name, source in SOURCES.items() if source.download]
    return [name for name, source in SOURCES.items() if name == PBMC or _file(setting, name)]


def counts_of(setting: Setting, name: str) -> Path | AnnData:
    """File of a data set, or the set itself if it was downloaded.

    Raises
    ------
    Absent
        If it is in no folder and cannot be downloaded; the text says what to do.
    """
    if path := _file(setting, name):
        return path
    source = SOURCES[name]
    if source.download is None:
        msg = f"{name} is not at hand: there is no {source.file} in {setting.data or 'a folder of data (--data)'}."
        raise Absent(msg)
    print(f"  {name}: from the downloads of gnnimpute.datasets", flush=True)
    try:
        return source.download()
    except OSError as error:
        msg = f"{name} is not at hand: {error}"
        raise Absent(msg) from None


def read(setting: Setting, name: str) -> AnnData:
    """Counts of the cells and genes that pass quality control."""
    found = counts_of(setting, name)
    adata = gi.io.read(found) if not hasattr(found, "obs") else found
    gi.pp.prepare(adata, filter=True, n_pcs=None, **SOURCES[name].quality)
    return adata


def labels_of(name: str, adata: AnnData) -> np.ndarray | None:
    """What each cell is."""
    column = next((column for column in SOURCES[name].label if column in adata.obs), None)
    return None if column is None else adata.obs[column].astype(str).to_numpy()


def values_of(setting: Setting, name: str) -> Values:
    """What the paper calls the truth."""
    adata = read(setting, name)
    return Values(normalized(adata.layers["counts"]), labels_of(name, adata))


def normalized(counts: sp.csr_matrix) -> sp.csr_matrix:
    """Each cell scaled to the median total."""
    counts = sp.csr_matrix(counts, dtype=np.float64)
    total = np.asarray(counts.sum(axis=1)).ravel()
    factor = np.divide(np.median(total[total > 0]), total, out=np.zeros_like(total), where=total > 0)
    return sp.csr_matrix(sp.diags(factor) @ counts, dtype=np.float32)


def neighbors(values: sp.csr_matrix, seed: int) -> gi.NeighborGraph:
    """Graph of the paper: five nearest cells in 50 principal components."""
    points = principal_components(values, n_pcs=50, rng=seed)
    return gi.NeighborGraph.from_embedding(points, n_neighbors=5, rng=seed)


def _file(setting: Setting, name: str) -> Path | None:
    file = SOURCES[name].file
    path = None if setting.data is None or file is None else setting.data / file
    return path if path is not None and path.is_file() else None
