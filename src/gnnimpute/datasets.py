"""Data to try things on: simulated counts with known truth, and the four sets of the paper.

A set of the paper is downloaded once into a cache folder, or read from there where it was placed by hand. No checksum
by its publisher is known, so what guards it is this: a file is read to its end, which verifies the checksum of its
compression, and must hold whole counts for the published numbers of cells and genes; its sha256 is then recorded beside
it and verified whenever it is loaded or downloaded again. ``uns["source"]`` has it too, to compare between machines.
"""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    from anndata import AnnData

__all__ = ["campbell", "chen", "klein", "pbmc", "splatter"]


def splatter(
    *,
    n_genes: int = 10_000,
    batch_cells: int | Sequence[int] = 100,
    batch_fac_loc: float | Sequence[float] = 0.1,
    batch_fac_scale: float | Sequence[float] = 0.1,
    batch_rm_effect: bool = False,
    mean_shape: float = 0.6,
    mean_rate: float = 0.3,
    lib_loc: float = 11,
    lib_scale: float = 0.2,
    lib_norm: bool = False,
    out_prob: float = 0.05,
    out_fac_loc: float = 4,
    out_fac_scale: float = 0.5,
    group_prob: float | Sequence[float] = 1,
    de_prob: float | Sequence[float] = 0.1,
    de_down_prob: float | Sequence[float] = 0.5,
    de_fac_loc: float | Sequence[float] = 0.1,
    de_fac_scale: float | Sequence[float] = 0.4,
    bcv_common: float = 0.1,
    bcv_df: float = 60,
    dropout_type: Literal["none", "experiment", "batch", "group", "cell"] = "none",
    dropout_mid: float | Sequence[float] = 0,
    dropout_shape: float | Sequence[float] = -1,
    true_means: bool = False,
    rng: int | np.random.Generator = 0,
) -> AnnData:
    """Simulate counts with known truth: the Splat model of the R package Splatter :cite:p:`Zappia2017`.

    Names and defaults are those of R: ``n_genes`` is its ``nGenes``, ``batch_cells`` its ``batchCells``,
    ``de_fac_scale`` its ``de.facScale``. Distributions are R's too; its random numbers are not, so no seed gives its
    counts. The two-group data of the paper is ``splatter(n_genes=20_000, batch_cells=4000, group_prob=[0.5, 0.5],
    de_fac_scale=0.25, dropout_type="experiment", dropout_mid=5)``. Paths (R's ``path.*``) are not simulated. A sequence
    has one value for each batch, group or cell; a single value is for all.

    Parameters
    ----------
    n_genes
        Number of genes.
    batch_cells
        Number of cells of each batch.
    batch_fac_loc, batch_fac_scale
        Log-normal factors between batches: mean and standard deviation of the logarithm.
    batch_rm_effect
        Leave out the factors between batches, all else equal.
    mean_shape, mean_rate
        Gamma distribution of the gene means.
    lib_loc, lib_scale
        Log-normal distribution of the expected total counts: mean and standard deviation of the logarithm.
    lib_norm
        Make it a normal distribution with that mean and standard deviation, in counts.
    out_prob
        Probability that a gene is an outlier.
    out_fac_loc, out_fac_scale
        Log-normal factor of an outlier over the median mean: mean and standard deviation of the logarithm.
    group_prob
        Probability of each group of cells; as many groups as values, one group without any difference by default.
    de_prob
        Probability that a gene is differentially expressed in a group.
    de_down_prob
        Probability that it is then lower, not higher.
    de_fac_loc, de_fac_scale
        Log-normal factor of such a gene: mean and standard deviation of the logarithm.
    bcv_common
        Biological coefficient of variation of high genes; that of a gene with mean m is ``bcv_common + 1 / sqrt(m)``.
    bcv_df
        Degrees of freedom of the inverse chi-squared factor between genes on that trend; infinity is none.
    dropout_type
        Whether counts are lost, by one `dropout_mid` and `dropout_shape`, or one for each batch, group or cell.
    dropout_mid, dropout_shape
        Logistic probability that a count is lost, over the log of its mean: midpoint, and slope (low counts: < 0).
    true_means
        Keep the mean of every count too: dense, 4 bytes each.
    rng
        Seed or generator. The same seed gives the same numbers; in one batch, more cells leave the first as they are.

    Returns
    -------
    Cells x genes, counts after dropout in ``X`` (sparse, float32), and the truth:

    ``layers["true_counts"]``, ``layers["true_means"]``
        Counts before dropout (sparse, float32); the means they were drawn with, if `true_means` (dense, float32).
    ``obs["group"]``, ``obs["batch"]``, ``obs["expected_library_size"]``
        Labels, and the total that is expected before dropout.
    ``var["mean"]``, ``var["base_mean"]``, ``var["outlier_factor"]``, ``var["bcv_factor"]``
        Mean of the gene, what it was before outliers, its factor if it is an outlier, and its variation over the trend.
    ``var["de_factor_Group1"]`` ..., ``var["batch_factor_Batch1"]`` ...
        Factors of each group and batch. A cell expects its library size times a gene's share in mean x these factors.
    ``uns["splatter"]``: all parameters.

    Raises
    ------
    ValueError
        If a parameter is outside its range, or has not as many values as there are batches, groups or cells.
    """
    given = locals()
    from gnnimpute._simulated import simulated
    from gnnimpute._splat_params import SplatParams

    settings = {field.name: given[field.name] for field in fields(SplatParams)}
    return simulated(settings, rng, true_means=true_means)


def pbmc(*, folder: str | Path | None = None) -> AnnData:
    """Human blood cells, 10x Genomics: 2900 cells x 32,738 genes, not labelled.

    The paper's 2843 cells have 200 to 1999 genes and < 5 % mitochondrial counts, its 13,003 genes are in >= 3 of them.

    Parameters
    ----------
    folder
        Where the file is or will be; by default this package's folder among the caches of the system.

    Returns
    -------
    Counts (sparse, float32), genes named by symbol (made unique), ``var["gene_ids"]`` and ``uns["source"]``.

    Raises
    ------
    OSError
        If a file is not there and cannot be downloaded, or is not what was read before.
    ValueError
        If a file is cut short or is not what was published.
    """
    from gnnimpute import _published

    return _published.load(_published.PBMC, folder)


def klein(*, folder: str | Path | None = None) -> AnnData:
    """Mouse embryonic stem cells, GSE65525: 2717 cells x 24,175 genes, labelled by days without LIF.

    Parameters
    ----------
    folder
        Where the files are or will be; by default this package's folder among the caches of the system.

    Returns
    -------
    Counts (sparse, float32), ``obs["day"]`` (d0, d2, d4, d7) and ``uns["source"]``.

    Raises
    ------
    OSError
        If a file is not there and cannot be downloaded, or is not what was read before.
    ValueError
        If a file is cut short or is not what was published.
    """
    from gnnimpute import _published

    return _published.load(_published.KLEIN, folder)


def chen(*, folder: str | Path | None = None) -> AnnData:
    """Mouse hypothalamus, GSE87544: 14,437 cells x 23,284 genes, labelled.

    Parameters
    ----------
    folder
        Where the files are or will be; by default this package's folder among the caches of the system.

    Returns
    -------
    Counts (sparse, float32), ``obs["cell_type"]`` (``zothers``: in none of the clusters) and ``uns["source"]``.

    Raises
    ------
    OSError
        If a file is not there and cannot be downloaded, or is not what was read before.
    ValueError
        If a file is cut short or is not what was published.
    """
    from gnnimpute import _published

    return _published.load(_published.CHEN, folder)


def campbell(*, folder: str | Path | None = None) -> AnnData:
    """Mouse arcuate hypothalamus, GSE93374: 21,086 cells x 26,774 genes, labelled. Reading takes minutes.

    Parameters
    ----------
    folder
        Where the files are or will be; by default this package's folder among the caches of the system.

    Returns
    -------
    Counts (sparse, float32), the authors' labels (``obs["Diet"]``, ``obs["clust_all"]`` and others; 165 cells are in no
    cluster), ``obs["cell_type"]`` (names of ``clust_all``) and ``uns["source"]``.

    Raises
    ------
    OSError
        If a file is not there and cannot be downloaded, or is not what was read before.
    ValueError
        If a file is cut short or is not what was published.
    """
    from gnnimpute import _published

    return _published.load(_published.CAMPBELL, folder)
