from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import scipy.sparse as sp
from anndata import AnnData

from gnnimpute._result import Surrounded, check_key, spread
from gnnimpute._values import place

TARGET = 20.0


@pytest.fixture
def chosen(rng):
    counts = rng.poisson(3, (6, 5)).astype(np.float32)
    counts[3, [0, 3]] = 0  # a cell without counts in the modelled genes
    return SimpleNamespace(counts=sp.csr_matrix(counts), cells=np.array([1, 2, 4]), genes=np.array([0, 3]))


def expected(chosen, columns, output):
    counts = chosen.counts.toarray()
    total = counts[:, chosen.genes].sum(1, keepdims=True)
    depth = np.where(total > 0, total / TARGET, 1)
    values = (counts if output == "counts" else counts / depth)[:, columns]
    values = np.log1p(values) if output == "log1p" else values
    imputed = np.isin(columns, chosen.genes)
    values[np.ix_(chosen.cells, imputed)] = -1
    return values


@pytest.mark.parametrize("output", ["normalized", "counts", "log1p"])
@pytest.mark.parametrize("columns", [[0, 1, 2, 3, 4], [4, 3, 0], [0, 3], [1, 2]], ids=str)
@pytest.mark.parametrize("step", [1, 2, 3])
def test_what_was_not_modelled_passes_through_on_the_same_scale(chosen, output, columns, step):
    out = np.full((6, len(columns)), np.nan, np.float32)
    surrounded = Surrounded(out, chosen, np.array(columns), output=output, target_total=TARGET)
    n_imputed = int(np.isin(columns, chosen.genes).sum())
    assert surrounded.shape == (3, n_imputed)
    for start in range(0, 3, step):
        part = slice(start, min(start + step, 3))
        surrounded[part] = np.full((part.stop - start, n_imputed), -1, np.float32)
    np.testing.assert_allclose(out, expected(chosen, columns, output), rtol=1e-6)


def test_a_cell_without_counts_stays_empty(chosen):
    chosen.counts = sp.csr_matrix(chosen.counts.multiply(np.arange(6)[:, None] > 0))
    out = np.full((6, 5), np.nan, np.float32)
    Surrounded(out, chosen, np.arange(5), output="normalized", target_total=TARGET)[0:3] = np.ones((3, 2), np.float32)
    assert not out[0].any()


@pytest.mark.parametrize("key", ["", "a/b", "/"])
def test_a_key_that_files_cannot_hold_is_refused(key):
    with pytest.raises(ValueError, match=rf"key_added='{key}' \(--key-added\): give a name without '/'"):
        check_key(AnnData(np.ones((2, 3))), key)


def test_rows_are_spread_among_all_cells():
    np.testing.assert_array_equal(
        spread(np.ones((2, 2), np.float32), np.array([1, 3]), 4), [[np.nan] * 2, [1, 1], [np.nan] * 2, [1, 1]]
    )


def test_a_place_must_have_the_shape_of_the_values():
    out = np.zeros((3, 2))
    assert place(out, 3, 2) is out
    assert place(None, 3, 2).shape == (3, 2)
    with pytest.raises(ValueError, match=r"`out` has shape \(3, 2\), but the result has \(2, 3\)"):
        place(out, 2, 3)


@pytest.mark.parametrize(
    ("slot", "name", "value"),
    [
        ("layers", "key", np.ones((3, 2))),
        ("obsm", "key", np.ones((3, 2))),
        ("obsm", "key_genes", np.ones((3, 2))),
        ("obsp", "key_attention", np.ones((3, 3))),
        ("uns", "key", "mine"),
        ("uns", "key", {"estimate": "of my own"}),
    ],
)
def test_what_a_user_brought_is_not_replaced(slot, name, value):
    adata = AnnData(np.ones((3, 2)))
    check_key(adata, "key")
    getattr(adata, slot)[name] = value
    with pytest.raises(ValueError, match=rf"key_added='key' would replace adata.{slot}\['{name}'\]: choose another"):
        check_key(adata, "key")
    adata.uns["key"] = {"estimate": "mean", "unit": "counts"}
    check_key(adata, "key")
