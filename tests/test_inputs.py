from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from anndata import AnnData

from gnnimpute._inputs import (
    MOST_GROUPS,
    batches_of,
    check_groups,
    counts_of,
    embedding_of,
    is_measure,
    warn_if_selected,
)


@pytest.fixture
def adata(counts):
    adata = AnnData(counts.copy())
    adata.obs["donor"] = pd.Categorical(["b", "a", "c"] * 30)
    return adata


def test_counts_come_from_the_named_layer_then_from_counts_then_from_x(adata):
    assert counts_of(adata, None, allow_non_counts=False)[0].sum() == adata.X[0].sum()
    adata.layers["counts"] = 2 * adata.X
    adata.layers["spliced"] = 3 * adata.X
    for layer, times in ((None, 2), ("counts", 2), ("spliced", 3)):
        assert counts_of(adata, layer, allow_non_counts=False)[0].sum() == times * adata.X[0].sum()


def test_another_layer_than_counts_is_warned_about(adata, caplog):
    adata.layers["counts"] = adata.layers["spliced"] = adata.X
    counts_of(adata, "spliced", allow_non_counts=False)
    assert "layer='spliced'" in caplog.text


def test_a_layer_that_does_not_exist_suggests_near_names(adata):
    adata.layers["counts"] = adata.X
    with pytest.raises(KeyError, match=r"adata.layers has no 'count'. Did you mean 'counts'\?"):
        counts_of(adata, "count", allow_non_counts=False)


def test_errors_name_the_matrix_the_cell_and_the_gene(adata):
    adata.layers["log"] = np.log1p(adata.X.toarray())
    with pytest.raises(ValueError, match=r"^adata\.layers\['log'\] is .* in cell '0', gene '0': .*log1p"):
        counts_of(adata, "log", allow_non_counts=False)


def test_raw_counts_are_pointed_at(adata):
    adata.raw = adata
    adata.X = np.log1p(adata.X.toarray())
    with pytest.raises(ValueError, match=r"^adata\.X is .*log1p.*adata\.raw\.to_adata\(\)"):
        counts_of(adata, None, allow_non_counts=False)
    adata.raw = adata
    with pytest.raises(ValueError, match="log1p") as error:
        counts_of(adata, None, allow_non_counts=False)
    assert "raw.to_adata" not in str(error.value)


def test_raw_counts_are_pointed_at_where_raw_is_asked_for_as_a_layer(adata):
    with pytest.raises(KeyError, match="has no 'raw'") as error:
        counts_of(adata, "raw", allow_non_counts=False)
    assert "to_adata" not in str(error.value)
    adata.raw = adata
    with pytest.raises(KeyError, match=r"adata\.layers has no 'raw'.*adata\.raw\.to_adata\(\)"):
        counts_of(adata, "raw", allow_non_counts=False)


def test_an_embedding_is_dense_numbers(adata, rng):
    points = rng.poisson(1, (90, 4))
    adata.obsm["X_lsi"] = sp.csr_matrix(points)
    np.testing.assert_array_equal(embedding_of(adata, "X_lsi"), points)
    adata.obsm["words"] = pd.DataFrame({"a": ["x"] * 90}, index=adata.obs_names)
    with pytest.raises(TypeError, match=r"adata\.obsm\['words'\] must be a matrix of numbers"):
        embedding_of(adata, "words")
    with pytest.raises(KeyError, match="Did you mean 'X_lsi'"):
        embedding_of(adata, "X_lsa")


def test_batches_are_numbered(adata):
    assert batches_of(adata, "donor")[:3].tolist() == [1, 0, 2]
    adata.obs["lane"] = [10, 2, 10] * 30
    assert batches_of(adata, "lane")[:3].tolist() == [1, 0, 1]


def test_a_batch_column_that_does_not_exist_suggests_near_names(adata):
    with pytest.raises(KeyError, match=r"adata.obs has no 'Donors'. Did you mean 'donor'\?"):
        batches_of(adata, "Donors")


def test_cells_without_a_batch_are_named(adata):
    adata.obs.loc["4", "donor"] = np.nan
    with pytest.raises(ValueError, match=r"adata.obs\['donor'\] is missing for 1 cells, first for '4'"):
        batches_of(adata, "donor")


def test_a_quantity_is_told_from_groups(adata):
    many = np.arange(90) % (MOST_GROUPS + 1)
    adata.obs["total"] = many
    for column in (many, many / 7, pd.array(many, dtype="Int64")):
        assert is_measure(pd.Series(column))
    for column in (many % MOST_GROUPS, many > 3, many.astype(str), pd.Categorical(many)):
        assert not is_measure(pd.Series(column))
    with pytest.raises(ValueError, match=r"obs\['total'\] holds 43 different numbers, too many for groups"):
        check_groups(adata, "total")
    with pytest.raises(KeyError, match=r"no 'totals'. Did you mean 'total'"):
        check_groups(adata, "totals")


def test_names_of_cells_are_no_groups() -> None:
    adata = AnnData(
        np.ones((30, 2)),
        obs=pd.DataFrame({"barcode": [f"AC{i}" for i in range(30)]}, index=[f"c{i}" for i in range(30)]),
    )
    with pytest.raises(ValueError, match=r"obs\['barcode'\] is another in each of 30 cells: name a column of groups"):
        check_groups(adata, "barcode")
    check_groups(adata[:10], "barcode")


def test_genes_of_high_variance_alone_are_told(counts, caplog):
    adata = AnnData(counts.copy())
    adata.var["highly_variable"] = np.arange(adata.n_vars) > 0
    warn_if_selected(adata)
    assert not caplog.records
    warn_if_selected(adata[:, 1:])
    assert [record.getMessage() for record in caplog.records] == [
        "All 59 genes are marked as highly variable: the depth of a cell, and what it expresses, are then of these "
        "genes alone. Keep all genes, and impute some: gi.tl.impute(adata, genes=[...])."
    ]
