from __future__ import annotations

import logging

import anndata as ad
import h5py
import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gnnimpute._counts import check_counts, totals

CELLS = ["c0", "c1", "c2"]
GENES = ["g0", "g1", "g2", "g3"]
PLAIN = np.array([[0, 3, 0, 1], [0, 0, 0, 0], [7, 0, 0, 2]])


def check(matrix, **options):
    return check_counts(matrix, where="adata.X", cell_names=CELLS, gene_names=GENES, **options)


def with_value(value, dtype=np.float64):
    matrix = PLAIN.astype(dtype)
    matrix[2, 3] = value
    return matrix


FORMATS = [np.asarray, np.asfortranarray, np.asmatrix]
FORMATS += [sp.csr_matrix, sp.csc_matrix, sp.coo_matrix, sp.lil_matrix, sp.csr_array, sp.csc_array, sp.coo_array]
DTYPES = [np.float32, np.float64, np.int64, np.int32, np.uint16, np.uint8]


@pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")
@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_formats_and_types_become_the_same_matrix(form, dtype):
    counts = check(form(PLAIN.astype(dtype)))
    assert type(counts) is sp.csr_matrix
    assert counts.dtype == np.float32
    assert counts.has_canonical_format
    assert counts.nnz == 4
    np.testing.assert_array_equal(counts.toarray(), PLAIN)


@pytest.mark.parametrize("dtype", [np.float16, ">f4", ">i8", np.longdouble])
def test_types_that_only_dense_arrays_have(dtype):
    np.testing.assert_array_equal(check(PLAIN.astype(dtype)).toarray(), PLAIN)


def test_booleans_are_counts():
    np.testing.assert_array_equal(check(PLAIN > 0).toarray(), PLAIN > 0)
    np.testing.assert_array_equal(check(sp.csr_matrix(PLAIN > 0)).toarray(), PLAIN > 0)


def test_arrays_on_disk_are_loaded(tmp_path):
    path = tmp_path / "a.h5ad"
    for matrix in (sp.csr_matrix(PLAIN.astype(np.float32)), PLAIN.astype(np.float32)):
        ad.AnnData(matrix).write_h5ad(path)
        backed = ad.read_h5ad(path, backed="r")
        np.testing.assert_array_equal(check(backed.X).toarray(), PLAIN)
        backed.file.close()
    with h5py.File(tmp_path / "b.h5", "w") as file:
        np.testing.assert_array_equal(check(file.create_dataset("x", data=PLAIN)).toarray(), PLAIN)


def test_dask_arrays_are_loaded():
    da = pytest.importorskip("dask.array")
    np.testing.assert_array_equal(check(da.from_array(PLAIN)).toarray(), PLAIN)


@st.composite
def messy_csr(draw):
    """Counts with duplicates, explicit zeros and indices in any order."""
    n = draw(st.integers(0, 30))
    row, column = (draw(hnp.arrays(np.int64, n, elements=st.integers(0, top))) for top in (4, 5))
    data = draw(hnp.arrays(np.float64, n, elements=st.integers(0, 9).map(float)))
    order = np.argsort(row, kind="stable")
    indptr = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=5))])
    return sp.csr_matrix(
        (data[order].astype(draw(st.sampled_from([np.float32, np.float64]))), column[order], indptr), (5, 6)
    )


@given(matrix=messy_csr())
def test_result_is_canonical_and_input_unchanged(matrix):
    before = [part.tobytes() for part in (matrix.data, matrix.indices, matrix.indptr)]
    dense = matrix.toarray()
    counts = check_counts(matrix, where="adata.X")
    assert [part.tobytes() for part in (matrix.data, matrix.indices, matrix.indptr)] == before
    np.testing.assert_array_equal(counts.toarray(), dense)
    fresh = sp.csr_matrix((counts.data, counts.indices, counts.indptr), counts.shape)  # flags may be stale
    assert fresh.has_canonical_format
    assert (counts.data != 0).all()
    np.testing.assert_array_equal(check_counts(counts, where="adata.X").toarray(), dense)


def test_dense_input_is_unchanged():
    matrix = with_value(2.00001)
    before = matrix.copy()
    check(matrix)
    np.testing.assert_array_equal(matrix, before)


def test_empty_cells_and_genes_are_fine():
    assert check(np.zeros((3, 4))).nnz == 0


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, -1.0, 0.5, 1e-6, 1e10, 1e300])
def test_the_offending_value_and_its_place_are_named(value):
    with pytest.raises(ValueError, match=r"^adata\.X is .* in cell 'c2', gene 'g3': ") as error:
        check(with_value(value))
    assert f"{value:.7g}" in str(error.value)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, -1.0, -0.5, 1e10])
def test_what_is_no_count_and_no_tpm_is_always_refused(value):
    with pytest.raises(ValueError, match="cell 'c2', gene 'g3'"):
        check(with_value(value), allow_non_counts=True)


def test_the_first_offending_value_is_named_and_numbers_stand_for_names():
    matrix = with_value(0.5)
    matrix[0, 1] = 0.25
    with pytest.raises(ValueError, match=r"is 0\.25 in cell number 0, gene number 1"):
        check_counts(sp.csc_matrix(matrix), where="adata.X")


def test_non_counts_pass_unchanged_when_allowed():
    counts = check(with_value(0.123), allow_non_counts=True)
    assert counts[2, 3] == np.float32(0.123)


def test_what_the_caller_cannot_take_is_no_remedy():
    with pytest.raises(ValueError, match=r"layer=, --layer\): molecules are to be hidden") as error:
        check(with_value(0.5), allow_non_counts=None)
    assert "allow" not in str(error.value)


def test_the_remedy_is_named():
    with pytest.raises(ValueError, match=r"layer=, --layer.*allow_non_counts=True.*--allow-non-counts"):
        check(with_value(0.5))


@pytest.mark.parametrize(("value", "whole"), [(2.00001, 2), (1.99995, 2), (123456.0078125, 123456), (0.99999, 1)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rounding_errors_become_whole_numbers(value, whole, dtype):
    counts = check(with_value(value, dtype))
    assert counts[2, 3] == whole


def test_counts_scaled_there_and_back_are_counts(counts):
    total = np.asarray(counts.sum(1)).ravel()
    scaled = counts.multiply(1 / total[:, None]).tocsr().astype(np.float32)
    scaled.data = np.log1p(1e4 * scaled.data)
    scaled.data = np.expm1(scaled.data) / 1e4
    back = scaled.multiply(total[:, None]).tocsr()
    np.testing.assert_array_equal(check_counts(back, where="adata.X").toarray(), counts.toarray())


def log_normalized(counts, log=np.log1p, target=1e4):
    matrix = sp.csr_matrix(counts.multiply(target / counts.sum(1)))
    matrix.data = log(matrix.data)
    return matrix.astype(np.float32)


@pytest.mark.parametrize("genes", [slice(None), slice(0, 30)], ids=["all genes", "variable genes"])
def test_log1p_is_recognised(counts, genes):
    with pytest.raises(ValueError, match=r"looks log1p-transformed.*raw counts"):
        check_counts(log_normalized(counts)[:, genes], where="adata.X")


def test_log1p_of_raw_counts_is_recognised(counts):
    with pytest.raises(ValueError, match="looks log1p-transformed"):
        check_counts(np.log1p(counts.toarray()), where="adata.X")


def test_log2_is_recognised(counts):
    with pytest.raises(ValueError, match=r"looks log2\(x \+ 1\)-transformed"):
        check_counts(log_normalized(counts, lambda x: np.log2(x + 1)), where="adata.X")


@pytest.mark.parametrize("target", [1e6, 1e4, 50.0])
def test_normalised_is_recognised(counts, target):
    with pytest.raises(ValueError, match=r"looks normalised.*allow_non_counts=True"):
        check_counts(log_normalized(counts, lambda x: x, target), where="adata.X")


def test_scaled_is_recognised(counts):
    dense = counts.toarray()
    scaled = (dense - dense.mean(0)) / (dense.std(0) + 1)
    with pytest.raises(ValueError, match="counts cannot be negative; the matrix looks scaled or centred"):
        check_counts(scaled, where="adata.X")


def test_values_of_unknown_origin_get_no_guess(rng):
    with pytest.raises(ValueError, match="not a count, for counts are whole numbers") as error:
        check_counts(rng.gamma(1, 5, size=(30, 20)), where="adata.X")
    assert "looks" not in str(error.value)


@pytest.mark.parametrize("most", [5, 500])
def test_a_few_values_that_are_not_whole_do_not_make_the_matrix_normalised(counts, most):
    matrix = np.minimum(counts.toarray(), most)
    matrix[3, 7] = 0.5
    n = np.count_nonzero(matrix)
    with pytest.raises(ValueError, match=f"cell number 3, gene number 7: .*; 1 of {n:,} non-zeros is not. ") as error:
        check_counts(matrix, where="adata.X")
    assert "looks" not in str(error.value)
    matrix[5] *= 0.5
    with pytest.raises(ValueError, match="non-zeros are not"):
        check_counts(matrix, where="adata.X")


def test_log2_of_raw_counts_is_recognised_though_most_values_are_whole(counts):
    with pytest.raises(ValueError, match=r"looks log2\(x \+ 1\)-transformed"):
        check_counts(np.log2(1 + np.minimum(counts.toarray(), 3)), where="adata.X")


def test_logarithms_are_warned_about_even_when_non_counts_are_allowed(counts, caplog):
    check_counts(log_normalized(counts), where="adata.X", allow_non_counts=True)
    assert "adata.X looks log1p-transformed. They are taken as they are" in caplog.text
    caplog.clear()
    check_counts(log_normalized(counts, lambda x: x, 1e6), where="adata.X", allow_non_counts=True)
    assert not caplog.text


def test_large_counts_become_the_nearest_float32_and_the_log_says_so(caplog):
    with caplog.at_level(logging.WARNING):
        counts = check(with_value(2**24 + 1))
    assert counts[2, 3] == 2**24
    assert "16777217" in caplog.text
    caplog.clear()
    assert check(with_value(2**24))[2, 3] == 2**24
    assert not caplog.text


@pytest.mark.parametrize("shape", [(0, 4), (3, 0), (0, 0)])
@pytest.mark.parametrize("form", [np.zeros, sp.csr_matrix])
def test_no_cells_or_no_genes_is_an_error(shape, form):
    with pytest.raises(ValueError, match="at least one of each, but its shape is"):
        check_counts(form(shape), where="adata.X")


def test_no_matrix_is_an_error():
    with pytest.raises(ValueError, match=r"adata\.X is empty"):
        check_counts(None, where="adata.X")


def test_one_dimension_is_an_error():
    with pytest.raises(ValueError, match="cells x genes"):
        check_counts(np.ones(4), where="adata.X")


@pytest.mark.parametrize("values", [np.array([["1", "2"]]), np.array([[1, 2]], dtype=object), np.array([[1j]])])
def test_other_types_are_an_error(values):
    with pytest.raises(TypeError, match="must hold numbers"):
        check_counts(values, where="adata.X")


def test_one_cell_and_one_gene():
    assert check_counts(np.array([[5]]), where="adata.X")[0, 0] == 5
    with pytest.raises(ValueError, match="not a count"):
        check_counts(np.array([[5.5]]), where="adata.X")


@pytest.mark.parametrize("name", ["PBMC_frozen_donorA", "Klein_subset_1000x900", "scmix_celseq2_5cl"])
def test_real_counts_pass_and_their_logarithms_do_not(data_dir, name):
    adata = ad.read_h5ad(data_dir / f"{name}.h5ad")
    counts = check_counts(adata.X, where="adata.X")
    assert (counts != adata.X).nnz == 0
    with pytest.raises(ValueError, match="looks log1p-transformed"):
        check_counts(log_normalized(counts), where="adata.X")
    with pytest.raises(ValueError, match="looks normalised"):
        check_counts(log_normalized(counts, lambda x: x, 1e6), where="adata.X")


def test_totals_are_exact_where_float32_is_not() -> None:
    counts = sp.csr_matrix(np.array([[2**24, 1, 1], [0, 0, 0]], np.float32))
    assert totals(counts).tolist() == [2**24 + 2, 0]
