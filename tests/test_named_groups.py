from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from gnnimpute._named_groups import MOST_GROUPS, batches_of, check_groups, is_measure


@pytest.fixture
def adata(counts):
    adata = AnnData(counts.copy())
    adata.obs["donor"] = pd.Categorical(["b", "a", "c"] * 30)
    return adata


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
