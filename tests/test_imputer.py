from __future__ import annotations

import itertools
import logging
from typing import get_args

import numpy as np
import pytest
import scipy.sparse as sp
import zarr
from anndata import AnnData

from gnnimpute import _imputer, _infer, _values
from gnnimpute._config import Attention, Config, Hide, Loss
from gnnimpute._graph import NeighborGraph
from gnnimpute._imputer import GNNImputer

SMALL = Config(n_hidden=8, n_latent=4, n_epochs=2, patience=2)
NAMES = [f"gene{i}" for i in range(60)]


def settings(**changes):
    return Config(**(SMALL.to_dict() | changes))


def nearest(counts):
    return NeighborGraph.from_embedding(np.log1p(counts.toarray()), n_neighbors=4)


@pytest.fixture
def graph(counts):
    return nearest(counts)


@pytest.fixture
def fitted(counts, graph):
    return GNNImputer(SMALL).fit(counts, graph, genes=NAMES)


@pytest.mark.parametrize(
    ("loss", "hide", "attention"),
    [*itertools.product(get_args(Loss), get_args(Hide), get_args(Attention))],
)
def test_every_kind_gives_finite_values_that_are_not_negative(counts, graph, loss, hide, attention):
    config = settings(loss=loss, hide=hide, attention=attention, n_heads=2)
    imputer = GNNImputer(config).fit(counts, graph)
    estimates = ["mean", "detected", "posterior"] if hide == "molecules" else ["mean", "detected"]
    for estimate, output in itertools.product(estimates, ["normalized", "counts", "log1p"]):
        values = imputer.transform(counts, graph, estimate=estimate, output=output)
        assert values.dtype == np.float32
        assert values.shape == counts.shape
        assert np.isfinite(values).all()
        assert values.min() >= 0
    assert np.isfinite(imputer.embed(counts, graph)).all()
    if hide == "nonzeros":
        assert imputer.spread_ is None
        assert imputer.average_ is None
        with pytest.raises(ValueError, match=r"estimate='posterior' needs .* Config\(hide='molecules'\)"):
            imputer.transform(counts, graph, estimate="posterior")


def test_scales_agree(fitted, counts, graph):
    normalized, at_depth, log = (fitted.transform(counts, graph, output=o) for o in ("normalized", "counts", "log1p"))
    totals = np.asarray(counts.sum(1))
    np.testing.assert_allclose(at_depth, normalized * totals / fitted.target_total_, rtol=1e-5)
    np.testing.assert_allclose(log, np.log1p(normalized), rtol=1e-6)
    np.testing.assert_allclose(at_depth.sum(1, keepdims=True), totals, rtol=1e-4)
    detected = fitted.transform(counts, graph, output="counts", estimate="detected")
    assert detected.min() >= 1 - 1e-5
    assert (detected >= at_depth - 1e-5).all()


def test_the_deeper_cells_are_the_more_they_learn_to_attend_to_themselves():
    rng = np.random.default_rng(0)
    place = rng.normal(size=(160, 6))
    rate = np.exp(0.6 * place @ rng.normal(size=(6, 60)))
    graph = NeighborGraph.from_embedding(place, n_neighbors=5)
    own = {}
    for depth in (100, 10_000):
        counts = sp.csr_matrix(rng.poisson(depth * rate / rate.sum(1, keepdims=True)).astype(np.float32))
        learnt, flat = (GNNImputer(Config(n_epochs=40, self_rate=r)).fit(counts, graph) for r in (30.0, 0.0))
        own[depth] = learnt.attention(counts, graph).diagonal().mean()
        assert own[depth] > flat.attention(counts, graph).diagonal().mean() + 0.1
        assert min(learnt.history_["validation"]) < min(flat.history_["validation"])
    assert own[10_000] > own[100] + 0.1


def test_genes_and_cells_are_columns_and_rows_of_the_whole(fitted, counts, graph):
    whole = fitted.transform(counts, graph)
    np.testing.assert_array_equal(fitted.transform(counts, graph, genes=["gene7", "gene0"]), whole[:, [7, 0]])
    mask = np.arange(90) % 7 == 3
    for cells in ([80, 2, 2], mask, slice_ := np.arange(5, 9), []):
        rows = fitted.transform(counts, graph, cells=cells)
        np.testing.assert_allclose(rows, whole[np.asarray(cells, dtype=bool if cells is mask else int)], rtol=1e-5)
    assert fitted.transform(counts, graph, cells=slice_, genes=NAMES[::-1]).shape == (4, 60)
    with pytest.raises(IndexError):
        fitted.transform(counts, graph, cells=[90])


def test_blocks_make_no_difference(fitted, counts, graph, monkeypatch):
    whole = fitted.transform(counts, graph)
    monkeypatch.setattr(_infer, "AT_ONCE", 7 * 60)
    np.testing.assert_allclose(fitted.transform(counts, graph), whole, rtol=1e-5)


def test_out_is_written_and_returned(fitted, counts, graph, tmp_path, monkeypatch):
    monkeypatch.setattr(_infer, "AT_ONCE", 32 * 60)
    options = {"genes": NAMES[10:13], "cells": np.arange(5, 80)}
    stored = zarr.create_array(tmp_path / "out.zarr", shape=(75, 3), chunks=(20, 3), dtype="float32")
    for out in (np.zeros((75, 3), np.float32), stored):
        assert fitted.transform(counts, graph, out=out, **options) is out
        np.testing.assert_array_equal(out[:], fitted.transform(counts, graph, **options))


def test_out_of_another_shape_is_refused(fitted, counts, graph):
    with pytest.raises(ValueError, match=r"`out` has shape \(90, 59\), but the result has \(90, 60\)"):
        fitted.transform(counts, graph, out=np.zeros((90, 59)))


def test_a_large_result_says_its_size_and_the_way_out(caplog):
    _values.new_array(100_000, 20_000)  # memory is taken when it is written to
    assert "100000 cells x 20000 genes, 8.0 GB" in caplog.text
    assert "`out=`" in caplog.text


@pytest.mark.parametrize(
    "form", [sp.csc_matrix, sp.coo_matrix, sp.csr_array, sp.csr_matrix.toarray, lambda m: m.toarray().astype(int)]
)
def test_any_form_of_counts_gives_the_same(fitted, counts, graph, form):
    np.testing.assert_array_equal(fitted.transform(form(counts), graph), fitted.transform(counts, graph))


def test_permuting_cells_permutes_the_result(fitted, counts, graph, rng):
    order = rng.permutation(90)
    moved = NeighborGraph(np.argsort(order)[graph.indices[order]])
    for call in (fitted.transform, fitted.embed):
        np.testing.assert_allclose(call(counts[order], moved), call(counts, graph)[order], rtol=1e-4, atol=1e-6)
    weights = fitted.attention(counts, graph)[order][:, order]
    np.testing.assert_allclose(fitted.attention(counts[order], moved).toarray(), weights.toarray(), atol=1e-6)
    np.testing.assert_allclose(weights.sum(1), 1, rtol=1e-5)


def test_new_cells_are_matched_by_name(fitted, counts, caplog):
    few = counts[:40]
    expected = fitted.transform(few, nearest(few))
    np.testing.assert_allclose(
        fitted.transform(few[:, ::-1], nearest(few), names=NAMES[::-1]), expected, rtol=1e-4, atol=1e-6
    )
    assert not caplog.text
    extra = sp.hstack([few[:, :50], few[:, :2]]).tocsr()
    with caplog.at_level(logging.WARNING):
        values = fitted.transform(extra, nearest(few), names=[*NAMES[:50], "x", "y"])
    assert np.isfinite(values).all()
    assert "10 of the model's 60 genes are missing" in caplog.text
    assert "2 genes of the counts are not among the model's" in caplog.text


@pytest.mark.parametrize("method", ["transform", "embed", "attention", "save", "summary"])
def test_without_a_fit_there_is_nothing_to_give(counts, graph, tmp_path, method):
    arguments = {"save": (tmp_path / "model",), "summary": ()}.get(method, (counts, graph))
    with pytest.raises(ValueError, match=r"not fitted yet: call `fit\(counts, graph\)` first, or `GNNImputer.load"):
        getattr(GNNImputer(SMALL), method)(*arguments)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"graph": NeighborGraph(np.arange(5)[:, None])}, (ValueError, "The graph has 5 cells, the counts have 90")),
        ({"graph": sp.eye_array(90)}, (TypeError, "make it with NeighborGraph.from_sparse")),
        ({"names": NAMES[1:]}, (ValueError, "There are 59 gene names for 60 columns")),
        ({"genes": ["Gene1"]}, (KeyError, "Did you mean 'gene1'")),
        ({"genes": "gene1"}, (TypeError, "give a list")),
        ({"estimate": "median"}, (ValueError, "choose one of 'mean', 'detected', 'posterior'")),
        ({"output": "log"}, (ValueError, "choose one of 'normalized', 'counts', 'log1p'")),
    ],
)
def test_what_does_not_fit_is_refused(fitted, counts, graph, options, problem):
    error, said = problem
    with pytest.raises(error, match=said):
        fitted.transform(counts, **({"graph": graph} | options))


def test_counts_of_other_genes_need_names(fitted, counts, graph):
    with pytest.raises(ValueError, match="The model has 60 genes but the counts have 59: pass the names"):
        fitted.transform(counts[:, 1:], graph)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"genes": NAMES[1:]}, "There are 59 gene names for 60 columns"),
        ({"genes": ["a", *NAMES[2:], "a"]}, "'a' stands more than once"),
        ({"graph": NeighborGraph(np.arange(5)[:, None])}, "The graph has 5 cells, the counts have 90"),
        ({"counts": np.zeros((90, 60))}, "All counts are zero, of 90 cells x 60 genes"),
        ({"counts": np.ones((1, 60)), "graph": NeighborGraph(np.zeros((1, 1)))}, "only one cell"),
        ({"counts": np.full((90, 60), np.nan)}, "counts is nan in cell number 0, gene number 0"),
        ({"counts": np.ones((0, 60))}, "at least one of each"),
    ],
)
def test_what_cannot_be_learnt_from_is_refused(counts, graph, options, said):
    with pytest.raises(ValueError, match=said):
        GNNImputer(SMALL).fit(**({"counts": counts, "graph": graph} | options))


def test_a_whole_anndata_is_sent_to_who_takes_it(fitted, counts, graph):
    adata = AnnData(counts)
    for call in (GNNImputer(SMALL).fit, fitted.transform):
        with pytest.raises(TypeError, match=r"counts is a whole AnnData: gi\.tl\.fit\(adata\) .* Or pass adata\.X\."):
            call(adata, graph)


def test_genes_of_a_generator(fitted, counts, graph):
    found = fitted.transform(counts, graph, genes=(name for name in NAMES[3:5]))
    np.testing.assert_array_equal(found, fitted.transform(counts, graph, genes=NAMES[3:5]))


@pytest.mark.parametrize("step", ["train", "posterior_of"])
def test_a_fit_that_fails_leaves_the_last_one(fitted, counts, graph, monkeypatch, step):
    expected = fitted.transform(counts, graph, estimate="posterior")
    monkeypatch.setattr(_imputer, step, lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        fitted.fit(counts[:, :5], graph)
    np.testing.assert_array_equal(fitted.transform(counts, graph, estimate="posterior"), expected)


@pytest.mark.parametrize("hide", ["molecules", "nonzeros"])
def test_the_graph_is_made_without_what_validation_holds_out(counts, monkeypatch, hide):
    seen = {}

    def make(kept):
        seen["kept"] = kept.copy()
        return nearest(kept)

    def spy(split, graph, *args, **options):
        seen["split"], seen["graph"] = split, graph
        return train(split, graph, *args, **options)

    train = _imputer.train
    monkeypatch.setattr(_imputer, "train", spy)
    GNNImputer(settings(hide=hide, validation_rate=0.2)).fit(counts, make)
    held_out = seen["split"].held_out
    assert 0.1 < held_out.sum() / counts.sum() < 0.3
    assert (seen["kept"] != seen["split"].kept).nnz == 0
    assert abs(counts - seen["kept"] - held_out).max() < 1e-6
    np.testing.assert_array_equal(seen["graph"].indices, nearest(seen["kept"]).indices)


def test_the_same_seed_gives_the_same_bits(counts, graph):
    a, b, c = (GNNImputer(SMALL).fit(counts, graph, rng=r) for r in (7, np.random.default_rng(7), 8))
    np.testing.assert_array_equal(a.transform(counts, graph), b.transform(counts, graph))
    assert a.history_ == b.history_ != c.history_


@pytest.mark.parametrize(
    ("device", "said"), [("quantum", "is no device of PyTorch: use 'cpu' or 'cuda'"), ("cuda:99", "use device='cpu'")]
)
def test_a_device_that_is_not_there_is_refused(counts, graph, device, said):
    with pytest.raises(ValueError, match=rf"device='{device}'.*{said}"):
        GNNImputer(SMALL, device=device).fit(counts, graph)


def test_squared_error_of_hidden_molecules_finds_the_means(rng: np.random.Generator) -> None:
    programs = rng.gamma(0.5, 1, (3, 200))
    programs /= programs.sum(1, keepdims=True)
    share = programs[rng.integers(3, size=300)]
    counts = sp.csr_matrix(rng.poisson(share * 800).astype(np.float32))
    graph = NeighborGraph.from_embedding(share, n_neighbors=5)
    imputer = GNNImputer(Config(loss="squared_error", n_hidden=16, n_latent=4)).fit(counts, graph, progress=False)
    truth = share * imputer.target_total_
    error = np.sqrt(np.mean((imputer.transform(counts, graph) - truth) ** 2))
    assert error < 0.25 * np.sqrt(np.mean((truth - truth.mean(0)) ** 2))
