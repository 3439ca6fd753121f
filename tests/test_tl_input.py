"""What people pass by mistake, and what is as small as can be: an error that helps, or a result, and nothing lost."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from anndata import AnnData
from anndata.tests.helpers import assert_equal

from gnnimpute import GNNImputer, pp, tl
from gnnimpute._config import Config

TINY = Config(n_hidden=8, n_latent=4, n_epochs=2, patience=2)
UNFILTERED = {"min_genes": 0, "min_cells": 0, "max_mito_pct": None, "max_total": None}


@pytest.fixture
def adata(counts, rng):
    adata = AnnData(counts.copy())
    adata.obs_names, adata.var_names = [f"cell{i}" for i in range(90)], [f"gene{i}" for i in range(60)]
    adata.obsm["X_rep"] = rng.normal(size=(90, 3))
    return adata


@pytest.fixture
def imputer(adata):
    return tl.fit(adata, config=TINY, use_rep="X_rep")


@pytest.fixture
def no_training(monkeypatch):
    """Fail if anything is trained: what can be known before is said before."""
    monkeypatch.setattr("gnnimpute._train._epoch", lambda *_: pytest.fail("trained in vain"))


@pytest.mark.usefixtures("no_training")
@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"estimate": "median"}, (ValueError, "estimate='median': choose one of 'mean'")),
        ({"output": "raw"}, (ValueError, "output='raw': choose one of 'normalized'")),
        ({"estimate": "posterior", "config": Config.paper()}, (ValueError, "Config.hide='molecules'")),
        ({"genes": ["Gene5"]}, (KeyError, "Did you mean 'gene5'")),
        ({"genes": "gene5"}, (TypeError, "give a list")),
        ({"layer": "counts"}, (KeyError, "adata.layers has no 'counts'")),
        ({"out": np.zeros((90, 59))}, (ValueError, r"shape \(90, 59\), but the result has \(90, 60\)")),
        ({"out": np.zeros((90, 60)), "genes": ["gene5"]}, (ValueError, r"but the result has \(90, 1\)")),
        ({"out": np.zeros((90, 60), dtype=int)}, (TypeError, "`out` holds int64, which cuts values: give .* floating")),
        (
            {"genes": np.array(["gene5", "gene5"])},
            (ValueError, r"genes=\['gene5', 'gene5'\] names a gene more than once"),
        ),
        ({"key_added": "X_rep"}, (ValueError, r"would replace adata.obsm\['X_rep'\]")),
        ({"device": "quantum"}, (ValueError, "'quantum' is no device")),
        ({"imputer": GNNImputer(TINY)}, (ValueError, "not fitted yet")),
        ({"use_rep": None}, (KeyError, r"call gi.pp.prepare\(adata\) first")),
    ],
    ids=lambda value: str(list(value)) if isinstance(value, dict) else "",
)
def test_a_mistake_costs_no_training_and_changes_nothing(adata, options, problem):
    before = adata.copy()
    error, said = problem
    with pytest.raises(error, match=said):
        tl.impute(adata, **({"use_rep": "X_rep", "config": TINY} | options))
    assert_equal(adata, before, exact=True)


@pytest.mark.parametrize("step", ["transform", "embed", "attention"])
def test_a_failure_in_the_middle_changes_nothing(adata, imputer, monkeypatch, step):
    before = adata.copy()
    monkeypatch.setattr(GNNImputer, step, lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        tl.impute(adata, imputer=imputer, use_rep="X_rep")
    assert_equal(adata, before, exact=True)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda x: x * np.where(np.arange(60) == 7, np.nan, 1), "adata.X is nan in cell 'cell0', gene 'gene7'"),
        (lambda x: x + np.where(np.arange(60) == 7, np.inf, 0), "adata.X is inf in cell 'cell0', gene 'gene7'"),
        (lambda x: x - 1, "adata.X is -1 in cell .* negative"),
        (np.log1p, "adata.X is .* looks log1p-transformed"),
        (lambda x: 1e4 * x / x.sum(1, keepdims=True), "looks normalised"),
        (lambda x: (x - x.mean(0)) / (x.std(0) + 1), "looks scaled or centred"),
        (lambda x: 0 * x, "All counts are zero, of 90 cells x 60 genes"),
    ],
    ids=["nan", "inf", "negative", "log", "normalised", "scaled", "zero"],
)
def test_what_are_no_counts_is_said_with_cell_and_gene(adata, spoil, said):
    adata.X = spoil(adata.X.toarray())
    before = adata.copy()
    with pytest.raises(ValueError, match=said):
        tl.fit(adata, config=TINY, use_rep="X_rep")
    np.testing.assert_array_equal(adata.X, before.X)


def test_values_that_are_not_whole_are_taken_if_allowed(adata, rng):
    adata.X = adata.X.toarray() * rng.uniform(1, 9, size=60)
    adata.X *= 1e6 / adata.X.sum(1, keepdims=True)  # TPM
    with pytest.raises(ValueError, match="allow_non_counts=True"):
        tl.impute(adata, config=TINY, use_rep="X_rep")
    tl.impute(adata, config=TINY, use_rep="X_rep", allow_non_counts=True)
    values = adata.layers["gnnimpute"]
    assert np.isfinite(values).all()
    assert values.min() >= 0
    np.testing.assert_allclose(values.sum(1), adata.uns["gnnimpute"]["target_total"], rtol=1e-4)


def test_names_that_stand_twice_are_refused_where_they_are_modelled(adata):
    adata.var_names = ["same", "same", *adata.var_names[2:]]
    with pytest.raises(ValueError, match=r"'same' stands more than once.*var_names_make_unique"):
        tl.impute(adata, config=TINY, use_rep="X_rep")
    adata.var["gnnimpute_pass"] = np.arange(60) > 0
    tl.impute(adata, config=TINY, use_rep="X_rep")
    assert np.isfinite(adata.layers["gnnimpute"]).all()


def test_cells_of_the_same_name_are_kept_apart(adata):
    adata.obs_names = ["cell"] * 90
    tl.impute(adata, config=TINY, use_rep="X_rep", genes=["gene3", "gene1"])
    assert adata.obsm["gnnimpute_genes"].shape == (90, 2)


def test_a_model_for_other_genes_is_refused(adata, imputer):
    other = AnnData(adata.X, obsm={"X_rep": adata.obsm["X_rep"]})
    other.var_names = [f"ENSG{i:011d}" for i in range(60)]
    with pytest.raises(ValueError, match=r"None of the model's 60 genes \(such as 'gene0'\).*'ENSG00000000000'"):
        tl.impute(other, imputer=imputer, use_rep="X_rep")
    assert not other.layers


def test_a_model_that_knows_some_genes_says_how_many(adata, imputer, caplog):
    some = adata[:, 50:].copy()
    tl.impute(some, imputer=imputer, use_rep="X_rep")
    assert caplog.text.count("50 of the model's 60 genes are missing") == 1
    assert some.layers["gnnimpute"].shape == (90, 10)


@pytest.mark.parametrize(
    "shape",
    [(90, 1), (90, 2), (2, 60), (3, 60), (4, 3)],
    ids=["one gene", "two genes", "two cells", "fewer cells than neighbors", "few"],
)
def test_small_data_gives_finite_values(adata, shape):
    small = adata[: shape[0], : shape[1]].copy()
    pp.prepare(small, **UNFILTERED)
    tl.impute(small, config=TINY)
    for estimate, output in (("posterior", "counts"), ("detected", "log1p")):
        tl.impute(small, config=TINY, estimate=estimate, output=output, key_added=estimate)
    for key in ("gnnimpute", "posterior", "detected"):
        assert small.layers[key].shape == shape
        assert np.isfinite(small.layers[key]).all()
        assert small.layers[key].min() >= 0


def test_one_cell_is_too_few(adata):
    with pytest.raises(ValueError, match="only one cell"):
        tl.impute(adata[:1].copy(), config=TINY, use_rep="X_rep")


def test_equal_cells_get_equal_values(adata):
    equal = AnnData(sp.csr_matrix(np.tile(adata.X[0].toarray(), (30, 1))))
    pp.prepare(equal, **UNFILTERED)
    tl.impute(equal, config=TINY, output="counts")
    values = equal.layers["gnnimpute"]
    np.testing.assert_allclose(values, values[:1].repeat(30, 0), rtol=1e-5)
    np.testing.assert_allclose(equal.obsp["gnnimpute_attention"].sum(1), 1, rtol=1e-5)


@pytest.mark.parametrize("graph", ["prepared", "embedding"])
def test_empty_cells_and_genes_stay_empty(adata, graph):
    keep = np.ones((90, 60))
    keep[[0, 44]] = 0
    keep[:, [5, 59]] = 0
    adata.X = sp.csr_matrix(adata.X.toarray() * keep)
    if graph == "prepared":
        pp.prepare(adata, **UNFILTERED)
    tl.impute(adata, config=TINY, use_rep=None if graph == "prepared" else "X_rep")
    values = adata.layers["gnnimpute"]
    assert np.isfinite(values).all()
    if graph == "prepared":
        assert not values[[0, 44]].any()
        assert not values[:, [5, 59]].any()
    else:  # modelled like all others: an empty cell is expected to look like its neighbors, an empty gene to be rare
        assert values[:, [5, 59]].max() < 0.05 * values.max()


def test_a_view_becomes_a_copy_and_its_parent_stays(adata):
    before = adata.copy()
    view = adata[:40]
    with pytest.warns(UserWarning, match="view"):
        tl.impute(view, config=TINY, use_rep="X_rep")
    assert view.layers["gnnimpute"].shape == (40, 60)
    assert_equal(adata, before, exact=True)


@pytest.mark.parametrize("call", [pp.prepare, tl.impute, tl.fit, tl.evaluate])
def test_a_path_is_to_be_read_first(call):
    with pytest.raises(TypeError, match=r"adata is a str, not an AnnData: .*adata = gi\.io\.read\('x.h5ad'\)"):
        call("x.h5ad")
