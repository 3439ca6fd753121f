"""What the pictures of a report are drawn from: some cells, their groups and places, and values before and after."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp

from gnnimpute import _keys
from gnnimpute._blocks import by_cells, dense, is_lazy
from gnnimpute._canvas import depth_of
from gnnimpute._counts import divisors
from gnnimpute._evaluated import codes_of
from gnnimpute._groups import groups_of
from gnnimpute._inputs import layer_of, matrix_of
from gnnimpute._named_groups import labels_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from anndata import AnnData
    from numpy.typing import NDArray

    Values = NDArray[np.float64]

N_PLACED = 2000
"""Most cells in an embedding: drawn at random from more."""
N_MARKERS = 24
"""Most genes to choose from, and most groups in pictures that have a column for each."""
_MOST_NAMED, _LONGEST_NAME, _NUMBER = 12, 24, 4
"""Groups that have room for names of this length; of more there is for a number of so many letters."""
_LEAST_DETECTED = 0.25


@dataclass(frozen=True)
class Shown:
    """Cells that are shown, and what of them."""

    adata: AnnData
    key: str
    cells: NDArray[np.int64]
    """Positions of the cells that pass, or of some of them."""
    groups: NDArray[np.int64]
    """Group of each."""
    names: list[str]
    """Names of the groups."""
    markers: list[str]
    """Genes that tell the groups apart, or that vary most, those of the largest group first."""
    before: Values
    """Embedding of what neighbours were found in, of shape (n_cells, 2)."""
    after: Values | None
    """Embedding of the latent, of shape (n_cells, 2); `None` without an imputation."""
    n_without_group: int
    """Cells that pass, and are left out because they have no group."""
    are_tested: bool
    """Whether the evaluation, if there is one, was of these groups."""

    @property
    def tags(self) -> list[str]:
        """What pictures call the groups: their names or, where these are many or long, g1, g2 and so on."""
        longest = max(map(len, self.names))
        if longest <= (_LONGEST_NAME if len(self.names) <= _MOST_NAMED else _NUMBER):
            return self.names
        return [f"g{number + 1}" for number in range(len(self.names))]

    @property
    def drawn(self) -> NDArray[np.int64]:
        """Groups that have a column each."""
        return _largest(self.groups)

    @property
    def about(self) -> dict[str, Any] | None:
        """What is known of the imputation."""
        about: dict[str, Any] | None = self.adata.uns.get(self.key)
        return about

    def counts(self, genes: Sequence[str]) -> Values:
        """Observed counts of some genes at the median total, of shape (n_cells, n_genes)."""
        matrix = at_median_total(self.adata, self.cells, self.key)
        return np.asarray(matrix[:, self.adata.var_names.get_indexer(list(genes))].toarray(), dtype=np.float64)

    def imputed(self, genes: Sequence[str]) -> Values | None:
        """Imputed values of some genes at the median total; `None` where not all genes were imputed."""
        return self.layer(self.key, genes)

    def layer(self, name: str, genes: Sequence[str]) -> Values | None:
        """A layer on the scale of the imputed values, at the median total; `None` if there is none."""
        if self.about is None or name not in self.adata.layers:
            return None
        values = self.plain_layer(name, genes)
        if self.about["output"] == "log1p":
            return np.expm1(values)
        return values / self.depth[:, None] if self.about["output"] == "counts" else values

    def plain_layer(self, name: str, genes: Sequence[str]) -> Values:
        """A layer as it is."""
        columns = self.adata.var_names.get_indexer(list(genes))
        return dense(self.adata.layers[name][self.cells][:, columns])

    @property
    def depth(self) -> Values:
        """Counts of each cell in passing genes, relative to the total that values are scaled to."""
        return depths(self.adata, self.cells, self.key)


def shown(
    adata: AnnData,
    *,
    key: str,
    cluster_key: str | None,
    genes: Sequence[str] | None,
    rng: int = 0,
    groups: pd.DataFrame | None = None,
) -> Shown:
    """Choose cells, groups and genes, and place the cells.

    Parameters
    ----------
    adata
        Prepared, and perhaps imputed.
    key
        The `key_added` of the imputation.
    cluster_key
        Column of `obs` with the groups, whose cells are shown; by default those of `groups`, or else they are found.
    genes
        Genes to show; by default markers of the groups.
    rng
        Seed of what is drawn.
    groups
        ``group`` of cells by name, of an evaluation: pictures and tests are then of the same groups.
    """
    passing = np.flatnonzero(adata.obs[_keys.PASS].to_numpy(dtype=bool))
    labels = _labels(adata, passing, cluster_key, groups)
    n_without_group = 0 if labels is None else int((labels == "").sum())
    if labels is not None:
        passing, labels = passing[labels != ""], labels[labels != ""]
    chosen = np.sort(np.random.default_rng(rng).permutation(len(passing))[:N_PLACED])
    cells = passing[chosen]
    embedding = np.asarray(adata.obsm[_keys.PCA])[cells]
    if labels is None:
        codes = groups_of(embedding, rng=rng)
        names = [f"group {number}" for number in range(1, codes.max() + 2)]
    else:
        codes, names = codes_of(labels[chosen])
    latent = adata.obsm.get(key)
    return Shown(
        adata,
        key,
        cells,
        codes,
        names,
        list(genes) if genes is not None else markers(adata, cells, codes, key=key),
        _placed(embedding, rng),
        None if latent is None else _placed(np.nan_to_num(np.asarray(latent)[cells]), rng),
        n_without_group,
        groups is None or _alike(codes, _of(groups, adata, cells)),
    )


def _alike(codes: NDArray[np.int64], tested: NDArray[np.str_]) -> bool:
    """Whether cells are parted as in the evaluation, as far as it has them, whatever groups are called."""
    known = tested != ""
    pairs = set(zip(codes[known].tolist(), tested[known].tolist(), strict=True))
    return 0 < len(pairs) == len({code for code, _ in pairs}) == len({name for _, name in pairs})


def _labels(
    adata: AnnData, cells: NDArray[np.int64], cluster_key: str | None, groups: pd.DataFrame | None
) -> NDArray[np.str_] | None:
    """Name of the group of some cells, empty for those that have none; `None` where groups have to be found."""
    if cluster_key is not None:
        return labels_of(adata, cluster_key, cells)
    labels = _of(groups, adata, cells)
    return labels if (labels != "").any() else None


def _of(groups: pd.DataFrame | None, adata: AnnData, cells: NDArray[np.int64]) -> NDArray[np.str_]:
    """Name of the group that some cells had in an evaluation, empty for those that it had not."""
    if groups is None or not (adata.obs_names.is_unique and groups.index.is_unique):
        return np.full(len(cells), "")
    labels = groups["group"].astype(str).reindex(adata.obs_names[cells], fill_value="")
    return np.asarray(labels, dtype=np.str_)


def markers(adata: AnnData, cells: NDArray[np.int64], groups: NDArray[np.int64], *, key: str) -> list[str]:
    """Genes whose counts tell each group from the others, one group after another; of one group, what varies most."""
    genes = np.flatnonzero(adata.var[_keys.PASS].to_numpy(dtype=bool))
    values = at_median_total(adata, cells, key)[:, genes].log1p()
    of_group = [values[groups == group] for group in range(groups.max() + 1)]
    mean = np.vstack([np.asarray(part.mean(axis=0)).ravel() for part in of_group])
    if len(mean) == 1:
        variance = np.asarray(values.power(2).mean(axis=0)).ravel() - mean[0] ** 2
        return list(adata.var_names[genes[np.argsort(-variance, kind="stable")[:N_MARKERS]]])
    detected = np.vstack([np.asarray((part > 0).mean(axis=0)).ravel() for part in of_group])
    chosen: list[int] = []
    for group in _largest(groups):
        others = np.delete(mean, group, axis=0).max(axis=0)
        gain = np.where(detected[group] >= _LEAST_DETECTED, mean[group] - others, -np.inf)
        best = [gene for gene in np.argsort(-gain, kind="stable") if gene not in chosen]
        chosen += best[: max(1, N_MARKERS // len(mean))]
    return list(adata.var_names[genes[chosen[:N_MARKERS]]])


def _largest(groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """The groups with the most cells, in their order."""
    return np.sort(np.argsort(-np.bincount(groups), kind="stable")[:N_MARKERS])


def at_median_total(adata: AnnData, cells: NDArray[np.int64], key: str) -> sp.csr_matrix:
    """Counts of some cells on the scale of normalised values, of shape (n_cells, n_vars)."""
    counts = read_counts(adata, key)[cells]
    counts = sp.csr_matrix(counts.compute() if is_lazy(counts) else counts, dtype=np.float64)
    return sp.csr_matrix(sp.diags(1 / depths(adata, cells, key)) @ counts)


def read_counts(adata: AnnData, key: str) -> Any:
    """The counts that were imputed, or else would be."""
    layer = adata.uns[key]["layer"] if key in adata.uns else layer_of(adata, None) or _keys.COUNTS
    is_x = layer == _keys.COUNTS and layer not in adata.layers  # of Dask arrays there is no copy
    counts, where = matrix_of(adata, "X" if is_x else layer)
    return by_cells(counts, where=where, allow_non_counts=True) if is_lazy(counts) else counts


def depths(adata: AnnData, cells: NDArray[np.int64], key: str) -> Values:
    """What counts of some cells are divided by to be on the scale of normalised values, imputed or not."""
    if key in adata.uns:
        return depth_of(adata, key)[cells]
    return divisors(adata.obs[_keys.SIZE_FACTOR].to_numpy(dtype=np.float64)[cells])


def _placed(points: NDArray[Any], rng: int) -> Values:
    """Cells in two dimensions, by t-SNE; too few cells are left in their first two."""
    from sklearn.manifold import TSNE

    points = np.asarray(points, dtype=np.float32)
    if len(points) < 10 or not points.std(axis=0).any():
        return np.asarray(np.pad(points, ((0, 0), (0, 2)))[:, :2], dtype=np.float64)
    if points.shape[1] < 2:
        points = np.pad(points, ((0, 0), (0, 1)))
    perplexity = min(30.0, (len(points) - 1) / 3)
    method = "barnes_hut" if len(points) > 200 else "exact"
    placed = TSNE(init="pca", perplexity=perplexity, method=method, max_iter=500, random_state=rng).fit_transform(
        points
    )
    return np.asarray(placed, dtype=np.float64)
