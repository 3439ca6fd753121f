from __future__ import annotations

import logging

import anndata
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
import scipy.sparse as sp
from anndata import AnnData

from gnnimpute import Config, GNNImputer, pp, tl

TINY = Config(n_epochs=1, n_hidden=4, n_latent=2)
PREPARE = {"min_genes": 0, "max_mito_pct": None, "max_total": None, "n_pcs": 5}


@pytest.fixture
def adata(counts, rng):
    adata = AnnData(counts.copy())
    adata.obs_names = [f"cell{i}" for i in range(90)]
    adata.obs["donor"] = pd.Categorical(["a", "b"] * 44 + ["alone", "b"])
    adata.obsm["X_rep"] = rng.normal(size=(90, 3)).astype(np.float32)
    return adata


def warnings_of(caplog):
    found = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    caplog.clear()
    return found


@pytest.mark.parametrize("batch_key", [None, "donor"])
def test_cells_that_lost_neighbors_are_told(adata, caplog, tmp_path, batch_key):
    pp.prepare(adata, **PREPARE, batch_key=batch_key)
    tl.fit(adata, config=TINY)
    adata.write_h5ad(tmp_path / "whole.h5ad")
    tl.fit(anndata.read_h5ad(tmp_path / "whole.h5ad"), config=TINY)
    assert warnings_of(caplog) == []  # the one cell of its batch never had any
    some = adata[np.arange(90) % 5 > 0].copy()
    left = some.obsp["gnnimpute_neighbors_distances"]
    torn = int((np.diff(left.indptr) < 5).sum()) - (batch_key is not None and "cell88" in some.obs_names)
    tl.fit(some, config=TINY)
    assert 0 < torn < 72
    assert warnings_of(caplog) == [
        f"{torn} of 72 cells have lost neighbors, as after leaving out cells: run gi.pp.prepare(adata) again, which "
        "finds others."
    ]
    pp.prepare(some, **PREPARE, batch_key=batch_key)
    tl.fit(some, config=TINY)
    assert warnings_of(caplog) == []


def test_cells_that_are_filtered_take_no_neighbors_away(adata, caplog):
    adata.X = sp.csr_matrix(adata.X.multiply(np.arange(90)[:, None] > 8))
    pp.prepare(adata, **PREPARE, filter=True)
    assert adata.n_obs == 81
    tl.fit(adata, config=TINY)
    assert warnings_of(caplog) == []


def test_cells_alone_in_a_graph_of_ones_own_are_told(adata, caplog):
    sc.pp.neighbors(adata, n_neighbors=4, use_rep="X_rep", random_state=0)
    tl.fit(adata, config=TINY, neighbors_key="neighbors")
    assert warnings_of(caplog) == []
    few = adata[:12].copy()
    alone = int((np.diff(few.obsp["distances"].indptr) == 0).sum())
    assert alone > 0
    tl.fit(few, config=TINY, neighbors_key="neighbors")
    assert warnings_of(caplog) == [
        f"{alone} of 12 cells have no neighbors in adata.uns['neighbors'], as after leaving out cells: each is read "
        "alone. Make the graph anew."
    ]


def test_a_graph_without_edges_is_meant(adata, caplog):
    adata.obsp["none_connectivities"] = sp.csr_matrix((90, 90))
    tl.fit(adata, config=TINY, neighbors_key="none")
    assert warnings_of(caplog) == []


def test_marks_that_a_concatenation_has_lost_are_missed(adata):
    pp.prepare(adata, **PREPARE)
    both = anndata.concat([adata[:50], adata[50:]])
    assert "gnnimpute_pass" in both.obs
    with pytest.raises(ValueError, match=r"adata.var has not, as after anndata.concat.*gi.pp.prepare again"):
        tl.fit(both, config=TINY, use_rep="X_rep")


def test_an_imputer_is_to_read_what_it_was_fitted_with(adata, caplog, tmp_path):
    pp.prepare(adata, **PREPARE)
    graph = {"use_rep": "X_rep", "batch_key": "donor", "n_neighbors": 4}
    imputer = tl.fit(adata, config=TINY, **graph)
    imputer.save(tmp_path / "fitted.safetensors")
    loaded = GNNImputer.load(tmp_path / "fitted.safetensors")
    for given in (imputer, loaded):
        assert given.origin_["fitted_with"] == graph
        tl.impute(adata, imputer=given, **graph)
        assert dict(adata.uns["gnnimpute"]["fitted_with"]) == graph
        assert warnings_of(caplog) == []
        tl.impute(adata, imputer=given)
        assert warnings_of(caplog) == [
            "The imputer was fitted with neighbors by use_rep='X_rep', batch_key='donor', n_neighbors=4, and is to "
            "read those by neighbors_key='gnnimpute_neighbors', n_neighbors=5: give use_rep='X_rep', "
            "batch_key='donor', n_neighbors=4."
        ]
    for other in ({"use_rep": "X_rep", "n_neighbors": 4}, graph | {"n_neighbors": 5}):
        tl.impute(adata, imputer=imputer, **other)
        assert len(warnings_of(caplog)) == 1
    of_one = adata.copy()
    del of_one.obs["donor"]  # as cells of one donor, who need not be named
    tl.impute(of_one, imputer=imputer, use_rep="X_rep", n_neighbors=4)
    assert warnings_of(caplog) == []
    tl.impute(of_one[:4].copy(), imputer=imputer, use_rep="X_rep")  # there are no more neighbours to choose from
    assert warnings_of(caplog) == []
    del imputer.origin_["fitted_with"]["n_neighbors"]  # as of a model that was saved before they were kept
    tl.impute(of_one, imputer=imputer, use_rep="X_rep")
    assert warnings_of(caplog) == []


def test_batches_of_the_prepared_graph_are_remembered(adata, caplog):
    pp.prepare(adata, **PREPARE, batch_key="donor")
    imputer = tl.fit(adata, config=TINY)
    graph = {"neighbors_key": "gnnimpute_neighbors", "batch_key": "donor", "n_neighbors": 5}
    assert imputer.origin_["fitted_with"] == graph
    tl.impute(adata, imputer=imputer)
    assert warnings_of(caplog) == []
    pp.prepare(adata, **PREPARE)
    tl.impute(adata, imputer=imputer)
    (told,) = warnings_of(caplog)
    assert told.endswith(": run gi.pp.prepare(adata, batch_key='donor', n_neighbors=5) and give no other graph.")
    pp.prepare(adata, **PREPARE, batch_key="donor", n_neighbors=6)
    tl.impute(adata, imputer=imputer)
    (told,) = warnings_of(caplog)
    assert "n_neighbors=5, and is to read those by" in told


def test_neighbors_within_batches_are_told_of_by_an_imputer_without(adata, caplog):
    imputer = tl.fit(adata, config=TINY, use_rep="X_rep")
    tl.impute(adata, imputer=imputer, use_rep="X_rep", batch_key="donor")
    assert len(warnings_of(caplog)) == 1
    one = adata[adata.obs["donor"] == "a"].copy()  # then it does not matter
    tl.impute(one, imputer=imputer, use_rep="X_rep", batch_key="donor")
    batched = tl.fit(adata, config=TINY, use_rep="X_rep", batch_key="donor")
    tl.impute(one, imputer=batched, use_rep="X_rep")
    assert warnings_of(caplog) == []


def test_a_graph_without_its_description_is_taken(adata, caplog):
    pp.prepare(adata, **PREPARE)
    imputer = tl.fit(adata, config=TINY)
    del adata.uns["gnnimpute_neighbors"]
    tl.impute(adata, imputer=imputer, neighbors_key="gnnimpute_neighbors")
    assert warnings_of(caplog) == []


def test_marks_of_cells_alone_are_taken_where_nothing_was_prepared(adata):
    adata.obs["gnnimpute_pass"] = np.arange(90) > 3
    tl.impute(adata, config=TINY, use_rep="X_rep")
    assert adata.uns["gnnimpute"]["n_cells"] == 86
