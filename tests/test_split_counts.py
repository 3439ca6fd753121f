"""Parts of split counts: together the counts, apart independent."""

from __future__ import annotations

from typing import Any

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from anndata import AnnData
from anndata.tests.helpers import assert_equal

from gnnimpute import pp


@pytest.fixture
def adata(counts: sp.csr_matrix) -> AnnData:
    adata = AnnData(counts.copy(), layers={"log": np.log1p(counts.toarray())})
    adata.obs["donor"] = pd.Categorical(["a", "b"] * 45)
    adata.obsm["X_pca"] = np.ones((90, 2))
    pp.prepare(adata, min_genes=0, min_cells=0, max_mito_pct=None, max_total=None, n_pcs=5)
    return adata


@pytest.mark.parametrize("dispersion", [None, 2.0, np.inf, np.geomspace(1e-2, 1e4, 60)])
def test_the_parts_are_the_counts(adata: AnnData, dispersion: Any) -> None:
    adata.uns["other"] = {"estimate": "mean", "unit": "counts"}  # what an imputation with another key_added leaves
    adata.obs["other_depth"], adata.var["other_modelled"] = 1.0, True
    before = adata.copy()
    first, second = pp.split_counts(adata, share=0.7, inverse_dispersion=dispersion, rng=3)
    assert_equal(adata, before, exact=True)
    assert (adata.layers["counts"] != (first.X + second.X)).nnz == 0
    for part in (first, second):
        assert part.X.dtype == np.float32
        assert (part.X.data > 0).all()
        assert np.array_equal(part.X.data, np.rint(part.X.data))
        assert list(part.obs) == ["donor"]
        assert part.obs["donor"].equals(adata.obs["donor"])
        assert list(part.var) == []
        assert part.obs_names.equals(adata.obs_names)
        assert part.var_names.equals(adata.var_names)
        assert not any(len(slot) for slot in (part.layers, part.obsm, part.obsp, part.uns))
        assert part.raw is None
    assert first.X.sum() / adata.layers["counts"].sum() == pytest.approx(0.7, abs=0.05)
    again, _ = pp.split_counts(adata, share=0.7, inverse_dispersion=dispersion, rng=3)
    assert (again.X != first.X).nnz == 0
    other, _ = pp.split_counts(adata, share=0.7, inverse_dispersion=dispersion, rng=4)
    assert (other.X != first.X).nnz


def test_inverse_dispersions_go_by_the_names_of_genes(adata: AnnData) -> None:
    sizes = pd.Series(np.geomspace(1e-2, 1e4, 60), index=adata.var_names)
    first, _ = pp.split_counts(adata, inverse_dispersion=sizes, rng=0)
    for given in (sizes.to_numpy(), sizes[::-1]):
        other, _ = pp.split_counts(adata, inverse_dispersion=given, rng=0)
        assert (first.X != other.X).nnz == 0
    with pytest.raises(ValueError, match="inverse_dispersion is nan for gene '7'"):
        pp.split_counts(adata, inverse_dispersion=sizes.drop("7"))


def correlated(counts: np.ndarray, **options: Any) -> float:
    first, second = (part.X.toarray() for part in pp.split_counts(AnnData(sp.csr_matrix(counts)), **options))
    pairs = zip(first.T, second.T, strict=True)
    return float(np.mean([np.corrcoef(one, other)[0, 1] for one, other in pairs]))


@pytest.mark.parametrize("share", [0.5, 0.8])
def test_parts_are_independent_if_the_counts_are_as_said(share: float) -> None:
    rng, mean, size = np.random.default_rng(0), np.geomspace(0.5, 20, 40), 1.5
    poisson = rng.poisson(mean, size=(4000, 40)).astype(np.float32)
    negative = rng.poisson(rng.gamma(size, mean / size, size=(4000, 40))).astype(np.float32)
    least = 3 / np.sqrt(4000 * 40)  # three standard deviations of a mean of 40 correlations
    assert abs(correlated(poisson, share=share)) < least
    assert abs(correlated(poisson, share=share, inverse_dispersion=np.inf)) < least
    assert abs(correlated(negative, share=share, inverse_dispersion=size)) < least
    # Cells that differ have this in common, and Poisson counts that are split as if cells differed, the contrary.
    assert correlated(negative, share=share) > 0.3
    assert correlated(poisson, share=share, inverse_dispersion=size) < -0.3


@pytest.mark.parametrize("share", [0.5, 0.8])
def test_each_part_is_negative_binomial_too(share: float) -> None:
    rng, mean, size = np.random.default_rng(1), 6.0, 2.0
    counts = rng.poisson(rng.gamma(size, mean / size, size=(50_000, 1))).astype(np.float32)
    first, _ = pp.split_counts(AnnData(sp.csr_matrix(counts)), share=share, inverse_dispersion=size)
    part = first.X.toarray()
    assert part.mean() == pytest.approx(share * mean, rel=0.02)
    assert part.var() == pytest.approx(share * mean + share * mean**2 / size, rel=0.05)  # of size share * size


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"share": 1}, "share=1: give the share of the molecules that the first part gets"),
        ({"share": "half"}, "share='half': give the share of the molecules that the first part gets"),
        (
            {"inverse_dispersion": [1.0, 2.0]},
            r"inverse_dispersion has shape \(2,\): give a number, or one for each of 60 genes",
        ),
        ({"inverse_dispersion": 0}, "inverse_dispersion is 0 for gene '0': give 1 over a dispersion, or infinity"),
        ({"inverse_dispersion": [np.nan, *[1.0] * 59]}, "inverse_dispersion is nan for gene '0'"),
        ({"layer": "log"}, "not a count"),
    ],
)
def test_what_makes_no_sense_is_refused(adata: AnnData, options: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        pp.split_counts(adata, **options)


def test_a_name_is_no_dispersion(adata: AnnData) -> None:
    with pytest.raises(TypeError, match=r"'dispersions' is a name: give the numbers, such as 1 / adata\.var"):
        pp.split_counts(adata, inverse_dispersion="dispersions")


def test_counts_that_are_not_in_memory_are_refused(adata: AnnData) -> None:
    array = pytest.importorskip("dask.array")
    lazy = AnnData(array.from_array(adata.X, chunks=(30, -1)))
    with pytest.raises(TypeError, match="to_memory"):
        pp.split_counts(lazy)


def test_a_file_that_is_not_read_yet(adata: AnnData, tmp_path: Any) -> None:
    adata.write_h5ad(tmp_path / "counts.h5ad")
    backed = anndata.read_h5ad(tmp_path / "counts.h5ad", backed="r")
    first, second = pp.split_counts(backed)
    backed.file.close()
    assert (adata.layers["counts"] != (first.X + second.X)).nnz == 0
