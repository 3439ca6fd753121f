from __future__ import annotations

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from anndata import AnnData

from gnnimpute import Config, pp, tl
from gnnimpute._inputs import (
    counts_of,
    embedding_of,
    genes_of,
    warn_if_selected,
    warn_of_other_counts,
    warn_of_other_features,
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


def test_the_copy_of_a_layer_is_no_other(adata, caplog):
    adata.layers["spliced"] = adata.X
    for _ in range(2):
        pp.prepare(adata, layer="spliced", min_genes=0, max_total=None)
    assert "impute with" not in caplog.text


def test_another_layer_than_counts_is_warned_about(adata, caplog):
    adata.layers["counts"] = adata.layers["spliced"] = adata.X
    warn_of_other_counts(adata, "spliced")
    assert "layer='spliced'" in caplog.text


def test_a_layer_that_does_not_exist_suggests_near_names(adata):
    adata.layers["counts"] = adata.X
    with pytest.raises(KeyError, match=r"adata.layers has no 'count'. Did you mean 'counts'\?"):
        counts_of(adata, "count", allow_non_counts=False)


def test_errors_name_the_matrix_the_cell_and_the_gene(adata):
    adata.layers["log"] = np.log1p(adata.X.toarray())
    with pytest.raises(ValueError, match=r"^adata\.layers\['log'\] is .* in cell '0', gene '0': .*log1p"):
        counts_of(adata, "log", allow_non_counts=False)


def test_counts_of_the_same_genes_in_raw_are_read_if_asked_for(adata):
    adata.raw = adata
    adata.X = np.log1p(adata.X.toarray())
    with pytest.raises(ValueError, match=r"^adata\.X is .*log1p.*adata\.raw\.X does hold counts: layer='raw'") as error:
        counts_of(adata, None, allow_non_counts=False)
    assert "(--layer raw)" in str(error.value)
    assert (counts_of(adata, "raw", allow_non_counts=False) != adata.raw.X).nnz == 0
    adata.layers["raw"] = 2 * adata.raw.X  # a layer of this name goes before
    assert (counts_of(adata, "raw", allow_non_counts=False) != 2 * adata.raw.X).nnz == 0
    del adata.layers["raw"]
    adata.raw = adata
    with pytest.raises(ValueError, match="log1p") as error:
        counts_of(adata, None, allow_non_counts=False)
    assert "raw" not in str(error.value).partition("log1p")[2].replace("raw counts", "")


def test_counts_of_other_genes_in_raw_are_pointed_at(adata):
    with pytest.raises(KeyError, match="has no 'raw'") as error:
        counts_of(adata, "raw", allow_non_counts=False)
    assert "to_adata" not in str(error.value)
    adata.raw = adata
    other = adata[:, ::-1].copy()
    with pytest.raises(
        KeyError, match=r"in another order: adata.layers\['counts'\] = adata.raw\[:, adata.var_names\].X"
    ):
        counts_of(other, "raw", allow_non_counts=False)
    other.layers["counts"] = other.raw[:, other.var_names].X
    assert (counts_of(other, None, allow_non_counts=False) != other.X).nnz == 0
    some = adata[:, :20].copy()
    with pytest.raises(KeyError, match=r"adata\.layers has no 'raw'.*of 60 genes: adata\.raw\.to_adata\(\)"):
        counts_of(some, "raw", allow_non_counts=False)
    some.X = np.log1p(some.X.toarray())
    with pytest.raises(ValueError, match=r"^adata\.X is .*log1p.*adata\.raw\.to_adata\(\)"):
        counts_of(some, None, allow_non_counts=False)


def test_where_counts_are_is_told_of_a_dask_array_without_reading_all(counts):
    from dask import array

    def first_only(block, block_info):
        assert block_info[0]["chunk-location"] == (0, 0)
        return block

    tall = sp.vstack([counts, counts]).tocsr()
    lazy = {name: array.from_array(values, chunks=(100, -1)).map_blocks(first_only, dtype=np.float32, meta=tall[:0])
            for name, values in (("X", tall.log1p()), ("raw", tall))}  # fmt: skip
    adata = AnnData(lazy["X"], layers={"raw": lazy["raw"]}, obs=pd.DataFrame(index=[f"cell{i}" for i in range(180)]))
    with pytest.raises(
        ValueError, match=r"in cell 'cell0', .*log1p.*adata\.layers\['raw'\] does hold counts: layer='raw'"
    ):
        counts_of(adata, None, allow_non_counts=False)


def test_an_embedding_is_dense_numbers(adata, rng):
    points = rng.poisson(1, (90, 4))
    adata.obsm["X_lsi"] = sp.csr_matrix(points)
    np.testing.assert_array_equal(embedding_of(adata, "X_lsi"), points)
    adata.obsm["words"] = pd.DataFrame({"a": ["x"] * 90}, index=adata.obs_names)
    with pytest.raises(TypeError, match=r"adata\.obsm\['words'\] must be a matrix of numbers"):
        embedding_of(adata, "words")
    with pytest.raises(KeyError, match="Did you mean 'X_lsi'"):
        embedding_of(adata, "X_lsa")


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


@pytest.mark.parametrize(
    ("genes", "kinds"),
    [("Gene Expression", ["Antibody Capture"]), ("gene expression", ["Peaks"]), ("GEX", ["ATAC", "ADT"])],
)
@pytest.mark.parametrize("dtype", ["category", "string", object])
def test_proteins_among_the_genes_are_told(counts, caplog, genes, kinds, dtype):
    """The call that is given keeps the genes, however few they are, and what nobody says what it is."""
    adata = AnnData(counts.copy())
    adata.var["feature_types"] = pd.Series(
        [genes] * 5 + [None] * 3 + [kinds[i % len(kinds)] for i in range(52)], index=adata.var_names, dtype=dtype
    )
    warn_of_other_features(adata)
    (said,) = [record.getMessage() for record in caplog.records]
    assert f"has 5 {genes!r}, " in said
    caplog.clear()
    warn_of_other_features(left := eval(said.rpartition("adata = ")[2].rstrip("."), {"adata": adata}))
    assert left.var_names.tolist() == [str(i) for i in range(8)]
    assert not caplog.records


def test_which_features_are_genes_is_not_guessed(counts, caplog):
    adata = AnnData(counts.copy())
    adata.var["feature_types"] = [1, 2] * 30
    warn_of_other_features(adata)
    assert caplog.records[0].getMessage().endswith("Leave out what is no gene.")
    adata.var["feature_types"] = "Gene Expression"
    adata.var.loc["3", "feature_types"] = None
    caplog.clear()
    warn_of_other_features(adata)
    assert not caplog.records


def test_spike_ins_among_the_genes_are_told(counts, caplog):
    adata = AnnData(counts.copy())
    adata.var_names = [*(f"gene{i}" for i in range(56)), "ERCC1", "ERCC2", "ERCC-00002", "mix_ercc.00096"]
    warn_of_other_features(adata)
    (said,) = [record.getMessage() for record in caplog.records]
    assert said.startswith("2 spike-ins, such as 'ERCC-00002', count in the depth of cells.")
    caplog.clear()
    warn_of_other_features(genes := eval(said.rpartition("adata = ")[2].rstrip("."), {"adata": adata}))
    assert genes.var_names[-2:].tolist() == ["ERCC1", "ERCC2"]
    assert not caplog.records


def test_a_symbol_in_another_column_is_found(adata):
    adata.var["feature_name"] = pd.Categorical([f"SYMBOL{i}" for i in range(60)])
    assert genes_of(adata, ["3", "1"]).tolist() == [3, 1]
    with pytest.raises(KeyError, match=r"'SYMBOL7' is not there.*adata.var\['feature_name'\] has 'SYMBOL7' for '7'"):
        genes_of(adata, ["3", "SYMBOL7"])
    with pytest.raises(KeyError, match="'SYMBOL' is not there") as error:
        genes_of(adata, ["SYMBOL"])
    assert "feature_name" not in str(error.value)


@pytest.mark.parametrize(
    "call",
    [
        lambda adata: pp.prepare(adata, min_genes=0),
        lambda adata: tl.impute(adata, use_rep="X_rep", config=Config(n_epochs=1)),
        lambda adata: tl.evaluate(adata, quality={"min_genes": 0}),
    ],
)
def test_nothing_is_added_to_a_part_of_a_file(adata, tmp_path, call):
    adata.obsm["X_rep"] = np.ones((90, 2), dtype=np.float32)
    adata.write_h5ad(tmp_path / "counts.h5ad")
    backed = anndata.read_h5ad(tmp_path / "counts.h5ad", backed="r")
    with pytest.raises(ValueError, match=r"a part of a file.*adata\.to_memory\(\) first"):
        call(backed[:50])
    backed.file.close()
