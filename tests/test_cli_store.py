"""The options of ``gnnimpute impute`` for stores that are larger than memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anndata
import h5py
import numpy as np
import pytest
import scipy.sparse as sp
from click.testing import CliRunner, Result

import gnnimpute as gi
from gnnimpute import _blocks, _cli_store
from gnnimpute.cli import main

if TYPE_CHECKING:
    from pathlib import Path

OPTIONS: dict[str, Any] = {"out_of_core": None, "sparse_below": None, "scheduler": None, "dtype": "float32"}
OPTIONS |= dict.fromkeys(_cli_store._REFUSED)
TINY = ["--n-epochs", "1", "--n-hidden", "8", "--n-latent", "4"]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cli") / "counts.h5ad"
    gi.io.write(gi.datasets.splatter(n_genes=60, batch_cells=80, lib_loc=6), path)
    return path


def gnnimpute(*args: object, **options: Any) -> Result:
    return CliRunner().invoke(main, ["impute", *map(str, args), "--min-genes", "0"], **options)


def test_out_of_core(source: Path, tmp_path: Path) -> None:
    out, model = tmp_path / "out.zarr", tmp_path / "model.safetensors"
    done = gnnimpute(source, out, "--dtype", "float16", "--save-model", model, *TINY)
    assert done.exit_code == 0, done.output
    assert "Imputed 80 cells" in done.stdout
    assert "on disk" in done.stderr
    made = anndata.read_zarr(out)
    assert made.layers["gnnimpute"].dtype == np.float16
    again = gnnimpute(source, tmp_path / "again.zarr", "--out-of-core", "--model", model, "--quiet")
    assert again.exit_code == 0, again.output
    assert not again.output
    found = anndata.read_zarr(tmp_path / "again.zarr").layers["gnnimpute"]
    np.testing.assert_allclose(found, made.layers["gnnimpute"], rtol=2e-3)


@pytest.mark.parametrize("asked", [[], ["--out-of-core"]])
def test_counts_of_raw(source: Path, tmp_path: Path, asked: list[str]) -> None:
    adata = anndata.read_h5ad(source)
    del adata.layers["true_counts"]
    adata.raw = adata
    adata.X = sp.csr_matrix(np.log1p(adata.X.toarray()))
    adata.write_h5ad(normalized := tmp_path / "normalized.h5ad")
    wrong = gnnimpute(normalized, tmp_path / "wrong.zarr", "--in-memory", *TINY)
    assert wrong.exit_code == 2
    assert "adata.raw.X does hold counts: layer='raw' (--layer raw)." in wrong.stderr
    done = gnnimpute(normalized, tmp_path / "raw.zarr", "--layer", "raw", *asked, *TINY)
    assert done.exit_code == 0, done.output
    expected = gnnimpute(source, tmp_path / "counts.zarr", *asked, *TINY)
    assert expected.exit_code == 0, expected.output
    found, same = (anndata.read_zarr(tmp_path / name).layers["gnnimpute"] for name in ("raw.zarr", "counts.zarr"))
    np.testing.assert_array_equal(found, same)


@pytest.mark.parametrize("asked", [[], ["--out-of-core"]])
def test_a_sparse_layer_is_summed_up_too(source: Path, tmp_path: Path, asked: list[str]) -> None:
    out = tmp_path / "out.zarr"
    done = gnnimpute(source, out, "--sparse-below", "0.1", *asked, *TINY)
    assert done.exit_code == 0, done.output
    assert sp.issparse(anndata.read_zarr(out).layers["gnnimpute"])
    assert 'layers="gnnimpute")' in done.stdout


def test_the_layer_that_is_asked_for_is_imputed_without_a_copy_of_it(source: Path, tmp_path: Path) -> None:
    adata = gi.io.read(source)
    adata.layers["other"], adata.X = adata.X, 3 * adata.X
    gi.io.write(adata, tmp_path / "two.h5ad")
    store = tmp_path / "store.zarr"
    done = gnnimpute(tmp_path / "two.h5ad", store, "--out-of-core", "--layer", "other", *TINY)
    assert done.exit_code == 0, done.output
    again = ["--in-memory", "--neighbors-key", "gnnimpute_neighbors", "--key-added", "again", *TINY]
    for layer in (["--layer", "other"], []):
        done = gnnimpute(store, tmp_path / "out.h5ad", "--overwrite", *layer, *again)
        assert done.exit_code == 0, done.output
        found = anndata.read_h5ad(tmp_path / "out.h5ad").uns
        assert found["again"]["layer"] == "other"
        assert found["again"]["target_total"] == pytest.approx(found["gnnimpute"]["target_total"], rel=0.1)


def test_values_too_large_for_float16_cost_no_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = np.random.default_rng(0).poisson(2, (60, 30)).astype(np.float32)
    counts[:, 0] += 90_000
    gi.io.write(anndata.AnnData(counts), tmp_path / "counts.h5ad")
    command = [tmp_path / "counts.h5ad", tmp_path / "out.zarr", "--out-of-core", "--max-total", "none", *TINY]
    half = gnnimpute(*command, "--dtype", "float16")
    assert half.exit_code == 2
    assert "float16 ends at 65504: repeat the command with --dtype float32 or --output log1p" in half.stderr
    monkeypatch.setattr(gi.tl, "fit", lambda *_, **__: pytest.fail("it is trained already"))
    whole = gnnimpute(*command)
    assert whole.exit_code == 0, whole.output
    assert anndata.read_zarr(tmp_path / "out.zarr").layers["gnnimpute"].max() > 65_504
    assert sorted(path.name for path in tmp_path.iterdir()) == ["counts.h5ad", "out.zarr"]


@pytest.mark.parametrize(
    ("option", "said"),
    [
        (["--out-of-core"], ", or add --in-memory.\n"),
        (["--dtype", "float16"], "[dask]'.\n"),  # which goes with --out-of-core alone
        (["--scheduler", "tcp://nowhere:1"], "[dask]'.\n"),
    ],
)
def test_without_dask_the_way_out_is_said(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: list[str], said: str
) -> None:
    monkeypatch.setattr(_blocks, "find_spec", lambda _: None)
    done = gnnimpute(source, tmp_path / "out.zarr", *option, *TINY)
    assert done.exit_code == 2
    needs = f"Error: Reading {source} a few cells at a time needs dask and distributed: pip install 'gnnimpute[dask]'"
    assert done.stderr.startswith(needs)
    assert done.stderr.endswith(said)


def store(path: Path, *shape: int, n_stored: int = 0) -> Path:
    """A store of counts of any size, whose values are never written."""
    with h5py.File(path, "w") as file:
        matrix = file.create_group("X")
        matrix.attrs.update({"encoding-type": "csr_matrix", "encoding-version": "0.1.0", "shape": shape})
        matrix.create_dataset("data", shape=(n_stored,), chunks=(1000,), dtype="float32")
    return path


@pytest.mark.parametrize(
    ("n_obs", "n_vars", "n_stored", "large"),
    [
        (14_000, 15_000, 25_000_000, False),
        (20_000, 20_000, 60_000_000, False),
        (100_000, 20_000, 100_000_000, True),  # an imputed layer of 8 GB
        (20_000, 20_000, 200_000_000, True),
    ],
)
def test_large_are_many_counts_or_a_large_layer(
    tmp_path: Path, n_obs: int, n_vars: int, n_stored: int, large: bool
) -> None:
    counts = store(tmp_path / "counts.h5ad", n_obs, n_vars, n_stored=n_stored)
    assert _cli_store.is_out_of_core(counts, tmp_path / "out.zarr", OPTIONS) == large


def test_large_stores_go_out_of_core_by_themselves(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, options = tmp_path / "out.zarr", OPTIONS
    assert not _cli_store.is_out_of_core(source, out, options)
    monkeypatch.setattr(_cli_store, "LARGE_LAYER", 60 * 80)
    assert _cli_store.is_out_of_core(source, out, options)
    monkeypatch.setattr(_cli_store, "LARGE_LAYER", 60 * 80 + 1)
    assert not _cli_store.is_out_of_core(source, out, options)
    monkeypatch.setattr(_cli_store, "LARGE", 100)
    assert _cli_store.is_out_of_core(source, out, options)
    assert not _cli_store.is_out_of_core(source, out.with_suffix(".h5ad"), options)
    assert not _cli_store.is_out_of_core(source, out, options | {"out_of_core": False})
    assert not _cli_store.is_out_of_core(source, out, options | {"genes": ["a"]})


@pytest.mark.parametrize("way", ["--in-memory", "--out-of-core"])
@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("counts", "raw counts are read from layers['counts']: give another name"),
        ("true_counts", "key_added='true_counts' would replace adata.layers['true_counts']"),
        ("gnnimpute_pca", "key_added='gnnimpute_pca' would replace adata.obsm['gnnimpute_pca']"),
        ("x" * 201, "the name has 201 bytes, and 200 are the most"),
    ],
    ids=["where counts are read", "of the file", "of what is prepared", "too long"],
)
def test_names_of_other_things_are_refused_before_training(  # noqa: PLR0917
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str, said: str, way: str
) -> None:
    monkeypatch.setattr(gi.tl, "fit", lambda *_, **__: pytest.fail("it is trained already"))
    done = gnnimpute(source, tmp_path / "out.zarr", "--key-added", key, way, *TINY)
    assert done.exit_code == 2, done.output
    assert said in done.stderr
    assert not (tmp_path / "out.zarr").exists()


@pytest.mark.parametrize("name", ["counts.zarr", "counts.h5ad", "headless.zarr"])
def test_a_broken_store_is_named_with_what_to_do(source: Path, tmp_path: Path, name: str) -> None:
    broken = tmp_path / name
    if name == "headless.zarr":
        gi.io.write(anndata.read_h5ad(source), broken)
        for head in [*(broken / "X").glob("zarr.json"), *(broken / "X").glob(".z*")]:
            head.write_text("{")
        for head in broken.glob(".zmetadata"):
            head.unlink()
    elif name == "counts.zarr":
        (broken / "X").mkdir(parents=True)
    else:
        broken.write_bytes(source.read_bytes()[100:])
    done = gnnimpute(broken, tmp_path / "out.zarr")
    assert done.exit_code == 2, done.output
    assert done.stderr.startswith(f"Error: {broken} cannot be read as {broken.suffix[1:]}: ")
    assert "copy or download it again" in done.stderr


@pytest.mark.parametrize(
    ("out", "args", "said"),
    [
        ("out.h5ad", ["--out-of-core"], "writes .zarr"),
        ("out.zarr", ["--out-of-core", "--genes", "Gene1"], "--genes needs all counts in memory"),
        ("out.zarr", ["--out-of-core", "--checkpoint", "x"], "--checkpoint needs"),
        ("out.zarr", ["--dtype", "float16", "--sparse-below", "1"], "sparse ones have no such type"),
        ("out.zarr", ["--in-memory", "--sparse-below", "1"], "--sparse-below goes with --out-of-core"),
    ],
)
def test_refused(source: Path, tmp_path: Path, out: str, args: list[str], said: str) -> None:
    done = gnnimpute(source, tmp_path / out, *args)
    assert done.exit_code == 2
    assert said in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--out-of-core"], "--out-of-core works in one process only"),
        (["--dtype", "float16"], "--dtype works in one process only"),
        (["--sparse-below", "1"], "--sparse-below works in one process only"),
        (["--scheduler", "tcp://host:8786"], "--scheduler works in one process only"),
        ([], "counts.h5ad is so large that one process alone reads it"),
    ],
)
def test_refused_under_torchrun(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, args: list[str], said: str
) -> None:
    monkeypatch.setattr(_cli_store, "LARGE_LAYER", 100)
    place = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}
    done = gnnimpute(source, tmp_path / "out.zarr", *args, env=place)
    assert done.exit_code == 2
    assert said in done.stderr
    assert "--in-memory" in done.stderr
    assert not list(tmp_path.iterdir())
