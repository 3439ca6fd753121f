"""Counts that are a Dask array give what counts in memory give, and are never in memory as a whole."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import scipy.sparse as sp

import gnnimpute as gi
from gnnimpute import _blocks, _lazy, _stream
from gnnimpute._canvas import values_of
from gnnimpute._config import Config

if TYPE_CHECKING:
    from pathlib import Path

    import anndata


def plain() -> anndata.AnnData:
    adata = gi.datasets.splatter(n_genes=60, batch_cells=130, group_prob=[0.5, 0.5], lib_loc=6, de_fac_scale=1)
    adata.X[3] *= 20  # no quality control lets it pass
    adata.var_names = [f"MT-{name}" if i < 4 else name for i, name in enumerate(adata.var_names)]
    return adata


@pytest.fixture(scope="module")
def memory() -> anndata.AnnData:
    adata = plain()
    gi.pp.prepare(adata, min_genes=5, min_cells=30)
    assert not adata.obs["gnnimpute_pass"].all()
    assert not adata.var["gnnimpute_pass"].all()
    return adata


@pytest.fixture
def lazy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> anndata.AnnData:
    monkeypatch.setattr(_blocks, "BLOCK", 40)
    monkeypatch.setattr(_lazy, "BLOCK", 40)
    gi.io.write(plain(), tmp_path / "counts.zarr")
    adata = gi.io.read(tmp_path / "counts.zarr", lazy=True)
    gi.pp.prepare(adata, min_genes=5, min_cells=30)
    return adata


def test_prepare(memory: anndata.AnnData, lazy: anndata.AnnData) -> None:
    assert "counts" not in lazy.layers
    for frame in ("obs", "var"):
        np.testing.assert_array_equal(getattr(memory, frame), getattr(lazy, frame))
    n_pcs = memory.obsm["gnnimpute_pca"].shape[1]
    assert lazy.obsm["gnnimpute_pca"].shape[1] == n_pcs
    distances = [adata.obsp["gnnimpute_neighbors_distances"] for adata in (memory, lazy)]
    np.testing.assert_allclose(distances[0].toarray(), distances[1].toarray(), atol=1e-4)


@pytest.mark.parametrize(
    ("estimate", "output"), [("mean", "normalized"), ("detected", "counts"), ("posterior", "log1p")]
)
def test_impute(memory: anndata.AnnData, lazy: anndata.AnnData, estimate: Any, output: Any) -> None:
    lazy.obsm, lazy.obsp, lazy.uns = memory.obsm, memory.obsp, memory.uns
    expected = memory.copy()
    config = Config.of(estimate, n_hidden=8, n_latent=4, n_epochs=2)
    for adata in (expected, lazy):
        gi.tl.impute(adata, config=config, estimate=estimate, output=output)
    layer = lazy.layers["gnnimpute"]
    assert _blocks.is_lazy(layer)
    np.testing.assert_allclose(layer.compute(), expected.layers["gnnimpute"], rtol=2e-5, atol=1e-6)
    np.testing.assert_allclose(lazy.obsm["gnnimpute"], expected.obsm["gnnimpute"], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(lazy.obs["gnnimpute_depth"], expected.obs["gnnimpute_depth"], rtol=1e-6)
    some = ["Gene30", "MT-Gene2", "Gene11"]
    found = lazy[:, some].layers["gnnimpute"].compute()
    np.testing.assert_allclose(found, expected[:, some].layers["gnnimpute"], rtol=2e-5, atol=1e-6)


def test_the_layer_that_prepare_was_given_is_imputed(memory: anndata.AnnData, lazy: anndata.AnnData) -> None:
    lazy.layers["other"], lazy.X = lazy.X, 2 * lazy.X
    gi.pp.prepare(lazy, layer="other", min_genes=5, min_cells=30)
    gi.tl.impute(lazy, config=Config(n_hidden=8, n_latent=4, n_epochs=1), key_added="a")
    assert lazy.uns["a"]["layer"] == "other"
    assert lazy.uns["a"]["target_total"] < 1.2 * np.median(memory.obs["gnnimpute_total_counts"])


def test_what_is_read_of_cells_is_held_once(lazy: anndata.AnnData, monkeypatch: pytest.MonkeyPatch) -> None:
    imputer = gi.tl.fit(lazy, config=Config(n_hidden=8, n_latent=4, n_epochs=1), progress=False)
    blocks: list[weakref.ref[Any]] = []
    read, attend = _stream._read, _stream.attend

    def remembered(*args: Any) -> Any:
        made = read(*args)
        blocks.append(weakref.ref(made.projected))
        return made

    def counted(*args: Any) -> Any:
        assert len(blocks) == 4
        assert sum(block() is not None for block in blocks) <= 1  # the last one is still at hand
        return attend(*args)

    monkeypatch.setattr(_stream, "_read", remembered)
    monkeypatch.setattr(_stream, "attend", counted)
    gi.tl.impute(lazy, imputer=imputer)


def test_values_on_demand_are_kept(lazy: anndata.AnnData) -> None:
    imputer = gi.tl.fit(lazy, config=Config(n_hidden=8, n_latent=4, n_epochs=1), progress=False)
    out = np.zeros(lazy.shape, dtype=np.float32)
    gi.tl.impute(lazy, imputer=imputer, out=out, key_added="whole")
    assert "whole" not in lazy.layers
    gi.tl.impute(lazy, imputer=imputer, genes=["Gene11", "MT-Gene2"], key_added="few")
    np.testing.assert_allclose(lazy.obsm["few_genes"]["Gene11"], out[:, 10], rtol=1e-5)
    gene = imputer.genes_[0]
    modelled = lazy.obs["gnnimpute_pass"].to_numpy()
    values = imputer.values(genes=[gene])[:, 0]
    np.testing.assert_allclose(values[modelled], out[modelled, lazy.var_names.get_loc(gene)], rtol=1e-5)
    assert np.isnan(values[~modelled]).all()


def test_what_needs_counts_in_memory_says_so(lazy: anndata.AnnData) -> None:
    with pytest.raises(ValueError, match=r"interval=0.9 needs counts in memory"):
        gi.tl.impute(lazy, interval=0.9)
    with pytest.raises(TypeError, match=r"Dask array. Take some cells first"):
        gi.tl.evaluate(lazy)


def test_plots_and_the_report_show_what_is_lazy(memory: anndata.AnnData, lazy: anndata.AnnData, tmp_path: Path) -> None:
    expected = memory.copy()
    gi.report.write(lazy, tmp_path / "before.html")  # X, of which there is no copy
    lazy.obsm, lazy.obsp, lazy.uns = memory.obsm, memory.obsp, memory.uns
    for adata in (expected, lazy):
        adata.layers["twice"] = adata.X * 2
        gi.tl.impute(adata, config=Config(n_hidden=8, n_latent=4, n_epochs=1), progress=False)
    some = [lazy.var_names[7], lazy.var_names[2]]
    for layer in (None, "X", "twice"):
        found, wanted = (values_of(adata, some, key="gnnimpute", layer=layer) for adata in (lazy, expected))
        np.testing.assert_allclose(found, wanted, rtol=1e-4)
    assert len(gi.pl.gene_pair(lazy, *some).collections) == 2
    for name, adata in (("lazy", lazy), ("memory", expected)):
        gi.report.write(adata, tmp_path / f"{name}.html", genes=some)
    said = [(tmp_path / f"{name}.html").read_text(encoding="utf-8") for name in ("before", "lazy", "memory")]
    zeros = 1 - memory.X.nnz / np.prod(memory.shape)
    assert all(f"{zeros:.1%} of all counts" in page for page in said)


def test_slices_are_shaped_as_those_of_numpy(lazy: anndata.AnnData) -> None:
    gi.tl.impute(lazy, config=Config(n_hidden=8, n_latent=4, n_epochs=1), progress=False)
    layer = lazy.layers["gnnimpute"]
    whole = layer.compute()
    for key in [(5,), (5, 3), (slice(None), 3), (slice(None), [3]), ([4, 2], slice(2, 9)), (slice(None, None, -1),)]:
        found = layer[key].compute()
        assert found.shape == whole[key].shape == layer[key].shape, key
        np.testing.assert_allclose(found, whole[key], rtol=1e-5)


@pytest.mark.parametrize("output", ["normalized", "log1p"])
def test_counts_of_a_cell_without_any_in_modelled_genes_stay_as_they_were(output: Any) -> None:
    import dask.array as da

    memory = plain()
    counts = memory.X.tolil()
    counts[:, 20], counts[9] = 0, 0
    counts[9, 20] = 2
    memory.X = counts.tocsr()
    lazy = memory.copy()
    lazy.X = da.from_array(memory.X, chunks=(40, -1), asarray=False)
    for adata in (memory, lazy):
        gi.pp.prepare(adata, min_genes=5, min_cells=30)
        gi.tl.impute(adata, output=output, config=Config(n_hidden=8, n_latent=4, n_epochs=1), progress=False)
        row = np.asarray(adata.layers["gnnimpute"][9])
        assert row.max() == row[20] == pytest.approx(2 if output == "normalized" else np.log1p(2))
        assert adata.obs["gnnimpute_depth"].iloc[9] == 1
    memory.layers["same"] = memory.layers["counts"]
    for layer in ("counts", "same"):
        assert values_of(memory, [memory.var_names[20]], key="gnnimpute", layer=layer)[9] == pytest.approx(row[20])


@pytest.mark.filterwarnings("ignore:Variable names are not unique")
def test_a_gene_that_is_not_modelled_has_no_values_of_another_of_its_name() -> None:
    import dask.array as da

    memory = plain()
    memory.X = memory.X.tocsr()
    name = memory.var_names[10]
    memory.var_names = [name if i == 20 else other for i, other in enumerate(memory.var_names)]
    column = np.zeros((memory.n_obs, 1), dtype=np.float32)
    column[7] = 1
    memory.X = sp.hstack([memory.X[:, :20], column, memory.X[:, 21:]], format="csr")
    lazy = memory.copy()
    lazy.X = da.from_array(memory.X, chunks=(40, -1), asarray=False)
    for adata in (memory, lazy):
        gi.pp.prepare(adata, min_genes=5, min_cells=30)
        gi.tl.impute(adata, config=Config(n_hidden=8, n_latent=4, n_epochs=1), progress=False)
    assert not memory.var["gnnimpute_pass"].iloc[20]
    found, expected = lazy.layers["gnnimpute"].compute()[:, 20], memory.layers["gnnimpute"][:, 20]
    assert (expected > 0).sum() == 1
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    imputer = gi.tl.fit(lazy, config=Config(n_hidden=8, n_latent=4, n_epochs=1), progress=False)
    gi.tl.impute(lazy, imputer=imputer)
    assert (lazy.layers["gnnimpute"].compute()[:, 20] > 0).sum() == 1


def test_genes_that_are_missing_are_named_once(lazy: anndata.AnnData, caplog: pytest.LogCaptureFixture) -> None:
    imputer = gi.tl.fit(lazy, config=Config(n_hidden=8, n_latent=4, n_epochs=1), progress=False)
    caplog.clear()
    gi.tl.impute(lazy[:, 10:].copy(), imputer=imputer)
    assert caplog.text.count("are missing from the counts") == 1


@pytest.mark.parametrize("reads", ["genes", "components"])
def test_a_block_in_which_no_cell_passes(reads: Any) -> None:
    import dask.array as da

    adata = plain()
    counts = adata.X.tolil()
    counts[40:80] = 0
    adata.X = da.from_array(counts.tocsr(), chunks=(40, -1), asarray=False)
    gi.pp.prepare(adata, min_genes=5, min_cells=30)
    assert not adata.obs["gnnimpute_pass"][40:80].any()
    config = Config(reads=reads, n_hidden=8, n_latent=4, n_epochs=1)
    gi.tl.impute(adata, config=config, progress=False)
    passing = adata.obs["gnnimpute_pass"].to_numpy()
    assert np.isfinite(adata.obsm["gnnimpute"][passing]).all()
    assert (adata.layers["gnnimpute"].compute()[passing].sum(1) > 0).all()
    assert np.isnan(adata.obsm["gnnimpute"][40:80]).all()
