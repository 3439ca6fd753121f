"""What went in: quality control with what it set aside, the graph, and how the network was trained."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp

from gnnimpute import _keys
from gnnimpute._blocks import each
from gnnimpute.report._figure import BLUE, GREY, ORANGE, Picture, blank, picture
from gnnimpute.report._shown import read_counts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anndata import AnnData
    from numpy.typing import NDArray

    from gnnimpute.report._shown import Shown

_BATCHES = ("batch", "sample", "donor")
"""Columns that are looked at if they are there: is the graph cut along them?"""

Rows = list[tuple[str, str]]
"""A table of two columns."""


def quality_rows(adata: AnnData, key: str) -> Rows:
    """Cells and genes, and what each rule set aside."""
    passing, modelled = (frame[_keys.PASS].to_numpy(dtype=bool) for frame in (adata.obs, adata.var))
    counts = read_counts(adata, key)
    seen = sum(each(counts, _n_seen))
    rows = [
        ("cells", f"{passing.sum():,} of {adata.n_obs:,} are modelled"),
        ("genes", f"{modelled.sum():,} of {adata.n_vars:,} are modelled"),
        ("zeros", f"{1 - seen / max(np.prod(counts.shape), 1):.1%} of all counts"),
        ("molecules of a cell", f"{np.median(adata.obs['gnnimpute_total_counts'][passing]):,.0f} in the median"),
    ]
    about = adata.uns.get(_keys.QUALITY, {})
    reasons = zip(about.get("reasons", ()), about.get("n_cells", ()), strict=True)
    return rows + [("set aside", f"{number:,} cells with {reason}") for reason, number in reasons if number]


def _n_seen(counts: Any) -> int:
    return int(counts.nnz if sp.issparse(counts) else np.count_nonzero(counts))


def quality(adata: AnnData) -> Iterator[Picture]:
    """Cells by counts, genes and mitochondrial share, those that were set aside in another colour."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    passing = adata.obs[_keys.PASS].to_numpy(dtype=bool)
    total = adata.obs["gnnimpute_total_counts"].to_numpy()
    against = {"gnnimpute_n_genes": "detected genes", "gnnimpute_pct_mito": "mitochondrial counts, %"}
    for column, label in against.items():
        if column not in adata.obs:
            continue
        figure, ax = blank()
        for chosen, color, marker, name in ((passing, BLUE, "o", "modelled"), (~passing, ORANGE, "x", "set aside")):
            style: dict[str, Any] = {"linewidths": 0} if marker == "o" else {"linewidths": 0.8}
            ax.scatter(total[chosen], adata.obs[column].to_numpy()[chosen], s=6 if marker == "o" else 14, c=color,
                       marker=marker, alpha=0.6, label=f"{name}: {chosen.sum():,}", **style)  # fmt: skip
        ax.set(xlabel="counts of a cell", ylabel=label, xscale="log")
        ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        ax.xaxis.set_minor_formatter(NullFormatter())
        ax.legend(frameon=False, fontsize=8)
        yield picture(figure, f"Quality: {label}", "Each dot is a cell.", points=True)


def graph(adata: AnnData, shown: Shown) -> tuple[Rows, list[Picture]]:
    """How many cells listen to each cell, connected parts, and how far neighbours are of one group and batch."""
    matrix = _graph_of(adata, shown)
    if matrix is None:
        return [], []
    passing = np.flatnonzero(adata.obs[_keys.PASS].to_numpy(dtype=bool))
    matrix = matrix[passing][:, passing]
    degree = np.asarray((matrix != 0).sum(axis=1)).ravel()
    listened = np.asarray((matrix != 0).sum(axis=0)).ravel()
    n_parts, part = sp.csgraph.connected_components(matrix, directed=False)
    rows = [
        ("neighbours of a cell", f"{np.median(degree):.0f}, without the cell itself"),
        ("connected parts", f"{n_parts:,}; the largest has {np.bincount(part).max() / len(part):.0%} of the cells"),
        ("cells that are neighbours of none", f"{(listened == 0).mean():.1%}"),
        ("most cells with one neighbour in common", f"{listened.max():,}"),
    ]
    group = np.full(len(adata.obs), -1)
    group[shown.cells] = shown.groups
    if len(shown.names) > 1:
        rows.append(("neighbours of the same group", _alike(matrix, group[passing])))
    batch_key = adata.uns.get(_keys.NEIGHBORS, {}).get("params", {}).get("batch_key")
    for key in dict.fromkeys([*([batch_key] if batch_key else []), *(k for k in _BATCHES if k in adata.obs)]):
        codes = np.unique(adata.obs[key].astype(str).to_numpy()[passing], return_inverse=True)[1]
        rows.append((f"neighbours of the same {key}", _alike(matrix, codes)))
    figure, ax = blank(height=2.8)
    ax.hist(listened, bins=list(np.arange(-0.5, min(listened.max(), 60) + 1.5)), color=BLUE)
    ax.set(xlabel="cells that have a cell as their neighbour", ylabel="cells")
    caption = "Cells on the far right shape many others: doublets and deep cells may be among them."
    return rows, [picture(figure, "How often cells are neighbours", caption)]


def training(about: dict[str, Any]) -> Picture:
    """Loss of each epoch."""
    history, best = about["loss"], int(about["best_epoch"])
    figure, ax = blank(height=3.0)
    epochs = 1 + np.arange(len(history["validation"]))
    ax.plot(
        epochs, history["validation"], color=BLUE, marker="." if len(epochs) < 3 else "", label="held-out molecules"
    )
    ax.plot(epochs[best], history["validation"][best], "o", color=ORANGE, label=f"best: epoch {best + 1}")
    right = ax.twinx()
    right.plot(epochs, history["training"], color=GREY, linestyle="--", label="training (right axis)")
    ax.set(xlabel="epoch", ylabel="validation loss")
    right.set_ylabel("training loss", color=GREY)
    lines = [*ax.get_lines(), *right.get_lines()]
    above: dict[str, Any] = {"loc": "lower center", "bbox_to_anchor": (0.5, 1.0), "ncols": 2}
    ax.legend(handles=lines, frameon=False, fontsize=8, **above)
    caption = "A validation loss that falls and then stays: trained long enough, and not too long."
    return picture(figure, "Training", caption)


def _graph_of(adata: AnnData, shown: Shown) -> sp.csr_matrix | None:
    """The graph that was used: distances, or else the connectivities, or else who attends to whom."""
    key = (shown.about or {}).get("neighbors_key") or _keys.NEIGHBORS
    for name in (f"{key}_distances", f"{key}_connectivities", _keys.attention(shown.key)):
        if name in adata.obsp:
            return sp.csr_matrix(adata.obsp[name])
    return None


def _alike(matrix: sp.csr_matrix, codes: NDArray[np.int64]) -> str:
    """Share of neighbours with the same code, beside what chance would give."""
    one, other = matrix.nonzero()
    known = (codes[one] >= 0) & (codes[other] >= 0)
    share = np.bincount(codes[codes >= 0]) / max((codes >= 0).sum(), 1)
    same = (codes[one] == codes[other])[known].mean() if known.any() else float("nan")
    return f"{same:.0%} (by chance {np.square(share).sum():.0%})"
