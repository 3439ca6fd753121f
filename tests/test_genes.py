from __future__ import annotations

import logging

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from gnnimpute._genes import align, gene_names, positions, shared

# NumPy takes NUL at the end of a text for padding, and h5ad files cannot hold it.
NAMES = st.text(st.characters(exclude_characters="\0"), min_size=1, max_size=3)
MODEL = np.array(["CD3D", "CD3E", "MS4A1", "LYZ"])


@pytest.fixture
def matrix():
    return sp.csr_matrix(np.arange(1, 13, dtype=np.float32).reshape(3, 4))


@settings(deadline=None)
@given(st.lists(NAMES, min_size=1, max_size=8, unique=True), st.randoms())
def test_columns_follow_their_names_in_any_order(names, random):
    counts = sp.csr_matrix(np.arange(1, 1 + 2 * len(names), dtype=np.float32).reshape(2, -1))
    order = random.sample(range(len(names)), len(names))
    shuffled = [names[i] for i in order]
    aligned = align(counts[:, order], shuffled, np.array(names))
    np.testing.assert_array_equal(aligned.toarray(), counts.toarray())
    assert positions(shuffled, names).tolist() == np.argsort(order).tolist()


def test_missing_genes_are_zero_and_others_ignored_and_both_are_said(matrix, caplog):
    with caplog.at_level(logging.WARNING):
        aligned = align(matrix, ["LYZ", "ACTB", "CD3D", "GAPDH"], MODEL)
    np.testing.assert_array_equal(aligned.toarray(), [[3, 0, 0, 1], [7, 0, 0, 5], [11, 0, 0, 9]])
    assert aligned.dtype == np.float32
    assert "2 of the model's 4 genes are missing from the counts: cells are read without them" in caplog.text
    assert "2 genes of the counts are not among the model's and are ignored." in caplog.text


def test_nothing_is_said_where_all_match(matrix, caplog):
    assert align(matrix, None, MODEL) is matrix
    assert align(matrix, MODEL.tolist(), MODEL) is matrix
    align(matrix, MODEL[::-1], MODEL)
    assert not caplog.text


def test_a_model_for_other_genes_is_refused_with_examples(matrix):
    other = ["ENSG1", "ENSG2", "ENSG3", "ENSG4"]
    for call in (lambda: align(matrix, other, MODEL), lambda: shared(other, MODEL, preferred=np.arange(3))):
        with pytest.raises(ValueError, match=r"None of the model's 4 genes \(such as 'CD3D'\).*\(such as 'ENSG1'\)"):
            call()


def test_shared_genes_are_found_in_the_order_of_the_data():
    assert shared(["LYZ", "ACTB", "CD3D"], MODEL, preferred=np.arange(3)).tolist() == [0, 2]


def test_of_a_name_that_stands_twice_the_preferred_is_meant() -> None:
    names = ["LYZ", "CD3D", "LYZ"]
    assert shared(names, MODEL, preferred=np.array([1, 2])).tolist() == [1, 2]
    assert shared(names, MODEL, preferred=np.array([1])).tolist() == [0, 1, 2]  # `align` then says that one cannot tell


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda counts: align(counts, None, MODEL[:3]), "The model has 3 genes but the counts have 4: pass the names"),
        (lambda counts: align(counts, MODEL[:3], MODEL), "There are 3 gene names for 4 columns of counts"),
        (lambda counts: align(counts, ["a", "LYZ", "b", "a"], MODEL), "'a' stands more than once.*var_names_make_uniq"),
        (lambda _: positions(["a", "b", "b"], ["a"]), "'b' stands more than once"),
        (lambda _: gene_names(["a", "a"], 2), "'a' stands more than once"),
        (lambda _: gene_names(["a", "b"], 3), "There are 2 gene names for 3 columns of counts"),
    ],
)
def test_names_must_fit_and_be_unique(matrix, call, said):
    with pytest.raises(ValueError, match=said):
        call(matrix)


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (["cd3d", "LYZ"], r"Gene 'cd3d' is not there \(1 of 2 are not\). Did you mean 'CD3D'"),
        (["XIST"], r"Gene 'XIST' is not there \(1 of 1 are not\). There are: 'CD3D', 'CD3E', 'LYZ', 'MS4A1'\."),
    ],
    ids=["near", "far"],
)
def test_a_gene_that_is_not_there_suggests_others(wanted, said):
    with pytest.raises(KeyError, match=said):
        positions(MODEL, wanted)


def test_a_single_name_is_not_taken_for_its_letters():
    with pytest.raises(TypeError, match=r"genes='CD3D' is one name: give a list, \['CD3D'\]"):
        positions(MODEL, "CD3D")


def test_genes_without_names_are_numbered():
    assert gene_names(None, 3).tolist() == ["0", "1", "2"]
    assert gene_names(["b", "a"], 2).tolist() == ["b", "a"]
