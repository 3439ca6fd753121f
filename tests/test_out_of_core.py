"""Store to store: the same as in memory, and the same again after a run that was cut short."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import anndata
import numpy as np
import pytest
import scipy.sparse as sp

import gnnimpute as gi
from gnnimpute import _blocks, _lazy, _out_of_core, _stored_layer
from gnnimpute._out_of_core import impute_store
from gnnimpute._stored_layer import Stored

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CONFIG = gi.Config(n_hidden=8, n_latent=4, n_epochs=2)
PREPARE = {"min_genes": 5, "min_cells": 30}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    adata = gi.datasets.splatter(n_genes=60, batch_cells=130, group_prob=[0.5, 0.5], lib_loc=6, de_fac_scale=1)
    adata.X[3] *= 20  # no quality control lets it pass
    path = tmp_path_factory.mktemp("store") / "counts.zarr"
    gi.io.write(adata, path)
    return path


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (_blocks, _lazy, _stored_layer):
        monkeypatch.setattr(module, "BLOCK", 40)
    monkeypatch.setattr(_stored_layer, "AT_ONCE", 1)


def run(source: Path, out: Path, stored: Stored = Stored(), **options: Any) -> anndata.AnnData:  # noqa: B008
    given: dict[str, Any] = {"config": CONFIG, "estimate": "mean", "output": "normalized", "key": "gnnimpute"}
    impute_store(source, out, **(given | {"prepare": PREPARE, "fit": {"progress": False}} | options), stored=stored)
    return anndata.read_zarr(out)


@pytest.fixture(scope="module")
def expected(source: Path) -> anndata.AnnData:
    adata = gi.io.read(source)
    gi.pp.prepare(adata, **PREPARE)
    gi.tl.impute(adata, config=CONFIG, progress=False)
    return adata


def test_as_in_memory(source: Path, expected: anndata.AnnData, tmp_path: Path) -> None:
    made = run(source, tmp_path / "out.zarr", save_model=tmp_path / "model.safetensors")
    layer = made.layers["gnnimpute"]
    assert layer.dtype == np.float32
    np.testing.assert_allclose(layer, expected.layers["gnnimpute"], rtol=1e-3, atol=1e-4)
    assert (made.X != expected.X).nnz == 0
    assert made.obs.equals(expected.obs)
    assert made.uns["gnnimpute"]["unit"] == expected.uns["gnnimpute"]["unit"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.safetensors", "out.zarr"]
    kept = gi.GNNImputer.load(tmp_path / "model.safetensors", device="cpu").values(genes=["Gene9"], cells=[0, 99])
    np.testing.assert_allclose(kept[:, 0], layer[[0, 99], 8], rtol=1e-5)


def test_from_python_a_lazy_result_is_written_as_h5ad_too(
    source: Path, expected: anndata.AnnData, tmp_path: Path
) -> None:
    adata = gi.io.read(source, lazy=True)
    gi.pp.prepare(adata, **PREPARE)
    gi.tl.impute(adata, config=CONFIG, progress=False)
    gi.io.write(adata, tmp_path / "out.h5ad")
    made = anndata.read_h5ad(tmp_path / "out.h5ad")
    np.testing.assert_allclose(made.layers["gnnimpute"], expected.layers["gnnimpute"], rtol=1e-3, atol=1e-4)
    assert (made.X != expected.X).nnz == 0
    assert made.obs.equals(expected.obs)


def test_the_log_names_what_was_read_and_written_only(
    source: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    run(source, tmp_path / "out.zarr")
    assert f"{source}: 130 cells x 60 genes." in caplog.text
    assert "unfinished" not in caplog.text


def test_half_and_sparse(source: Path, tmp_path: Path) -> None:
    whole = run(source, tmp_path / "whole.zarr", save_model=tmp_path / "model.safetensors").layers["gnnimpute"]
    model = {"model": tmp_path / "model.safetensors"}
    half = run(source, tmp_path / "half.zarr", Stored("float16"), **model).layers["gnnimpute"]
    assert half.dtype == np.float16
    np.testing.assert_allclose(half, whole, rtol=2e-3, atol=1e-6)
    sparse = run(source, tmp_path / "sparse.zarr", Stored(sparse_below=1.0), **model).layers["gnnimpute"]
    assert sp.issparse(sparse)
    np.testing.assert_array_equal(sparse.toarray(), np.where(whole < 1, 0, whole))
    with pytest.raises(ValueError, match=r"float16 ends at 65504"):
        _stored_layer.as_stored(np.full((1, 2), 1e5, np.float32), Stored("float16"))


@pytest.mark.parametrize(
    "stored", [Stored(), pytest.param(Stored(sparse_below=1.0), marks=pytest.mark.slow)], ids=["dense", "sparse"]
)
def test_an_interrupted_run_is_finished(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, stored: Stored
) -> None:
    whole = run(source, tmp_path / "whole.zarr", stored).layers["gnnimpute"]
    n_blocks, as_stored = 0, _stored_layer.as_stored

    def interrupted(*args: Any) -> Any:
        nonlocal n_blocks
        n_blocks += 1
        if n_blocks == 3:
            raise KeyboardInterrupt
        return as_stored(*args)

    monkeypatch.setattr(_stored_layer, "as_stored", interrupted)
    out = tmp_path / "out.zarr"
    with pytest.raises(KeyboardInterrupt):
        run(source, out, stored)
    assert "the same command goes on" in caplog.text
    assert not out.exists()
    work = tmp_path / ".out.zarr.unfinished"
    assert "gnnimpute" not in gi.io.read(work / "store.zarr", lazy=True).layers
    with pytest.raises(FileExistsError, match=r"\(different: unique_names\).*rm -r .*\.out\.zarr\.unfinished$"):
        run(source, out, stored, unique_names=True)
    monkeypatch.setattr(_out_of_core.tl, "fit", lambda *_, **__: pytest.fail("it is trained already"))
    made = run(source, out, stored).layers["gnnimpute"]
    assert n_blocks == 3 + 2
    np.testing.assert_array_equal(*(layer.toarray() if sp.issparse(layer) else layer for layer in (made, whole)))
    assert not work.exists()


@pytest.mark.parametrize(
    "others",
    [
        {"output": "log1p", "stored": Stored("float16")},
        pytest.param(
            {"estimate": "posterior", "key": "other", "stored": Stored(sparse_below=1.0)}, marks=pytest.mark.slow
        ),
    ],
    ids=["half", "sparse"],
)
def test_what_was_trained_is_kept_where_the_layer_is_wanted_otherwise(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, others: dict[str, Any]
) -> None:
    wanted = run(source, tmp_path / "whole.zarr", **others)
    out, done = tmp_path / "out.zarr", tmp_path / ".out.zarr.unfinished" / "finished"
    as_stored = _stored_layer.as_stored

    def stopped(*args: Any) -> Any:
        if done.exists():
            raise KeyboardInterrupt
        return as_stored(*args)

    with monkeypatch.context() as patch:
        patch.setattr(_stored_layer, "as_stored", stopped)
        with pytest.raises(KeyboardInterrupt):
            run(source, out)
    assert done.read_text() == "1"
    monkeypatch.setattr(_out_of_core.tl, "fit", lambda *_, **__: pytest.fail("it is trained already"))
    made = run(source, out, **others)
    key = others.get("key", "gnnimpute")
    assert made.layers.keys() == wanted.layers.keys()
    layers = [adata.layers[key] for adata in (made, wanted)]
    np.testing.assert_array_equal(*(layer.toarray() if sp.issparse(layer) else layer for layer in layers))
    assert layers[0].dtype == layers[1].dtype
    assert made.uns[key]["unit"] == wanted.uns[key]["unit"]
    assert not out.with_name(".out.zarr.unfinished").exists()


@pytest.mark.slow
def test_a_killed_run_is_finished_by_the_same_command(source: Path, tmp_path: Path) -> None:
    def command(out: Path) -> list[str]:
        settings = ["--n-hidden", "8", "--n-latent", "4", "--n-epochs", "60", "--tolerance", "0", "--patience", "60"]
        limits = ["--min-genes", "5", "--min-cells", "30", "--out-of-core", "--quiet"]
        return [sys.executable, "-m", "gnnimpute", "impute", str(source), str(out), *settings, *limits]

    out = tmp_path / "out.zarr"
    process = subprocess.Popen(command(out))
    while not (tmp_path / ".out.zarr.unfinished" / "checkpoint").exists() and process.poll() is None:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not out.exists()
    for path in (out, tmp_path / "whole.zarr"):
        subprocess.run(command(path), check=True, capture_output=True)
    layers = [anndata.read_zarr(path).layers["gnnimpute"] for path in (out, tmp_path / "whole.zarr")]
    np.testing.assert_array_equal(*layers)


def test_the_disk_must_hold_it(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 10}))
    with pytest.raises(OSError, match=r"free.*--dtype float16, or --sparse-below"):
        run(source, tmp_path / "out.zarr")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("while_it", ["trains", "decodes"])
def test_where_the_disk_is_full_in_between_the_same_call_goes_on(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, while_it: str
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    out = tmp_path / "out.zarr"
    said = rf"^There was no space left while {out} was written to .*kept in {tmp_path}/\.out.zarr.unfinished: the same"
    with monkeypatch.context() as patch:
        where = {"trains": (_out_of_core.tl, "impute"), "decodes": (_stored_layer.DenseWriter, "append")}[while_it]
        patch.setattr(*where, full)
        with pytest.raises(OSError, match=said):
            run(source, out)
    assert [path.name for path in tmp_path.iterdir()] == [".out.zarr.unfinished"]
    if while_it == "decodes":
        monkeypatch.setattr(_out_of_core.tl, "fit", lambda *_, **__: pytest.fail("it is trained already"))
    assert "gnnimpute" in run(source, out).layers


def test_what_an_unfinished_run_has_written_need_not_fit_again(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 10}))
    adata = gi.io.read(source, lazy=True)
    quarter = adata.n_obs * adata.n_vars
    for n_there in (quarter - 10, 2 * quarter):
        _out_of_core.announce(adata, tmp_path / "out.zarr", config=CONFIG, stored=Stored(), n_there=n_there)
    with pytest.raises(OSError, match="free"):
        _out_of_core.announce(adata, tmp_path / "out.zarr", config=CONFIG, stored=Stored(), n_there=quarter - 11)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"fit": {"layer": "nope"}, "prepare": {"layer": "nope"}}, "nope"),
        ({"prepare": {"batch_key": "plate"}}, "plate"),
        ({"fit": {"use_rep": "X_scVI"}}, "X_scVI"),
    ],
)
def test_names_are_checked_before_anything_is_begun(
    source: Path, tmp_path: Path, options: dict[str, Any], named: str
) -> None:
    with pytest.raises(KeyError, match=named):
        run(source, tmp_path / "out.zarr", **options)
    assert not list(tmp_path.iterdir())


def test_a_run_that_failed_at_once_is_in_nobodys_way(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.zarr"
    with pytest.raises(ValueError, match="pass"):
        run(source, out, prepare=PREPARE | {"min_genes": 1000})
    assert [path.name for path in (tmp_path / ".out.zarr.unfinished").iterdir()] == ["run.json"]
    assert "gnnimpute" in run(source, out).layers
    assert not (tmp_path / ".out.zarr.unfinished").exists()


@pytest.mark.parametrize("kind", [".zarr", ".h5ad"])
def test_a_source_that_has_changed_is_not_gone_on_with(source: Path, tmp_path: Path, kind: str) -> None:
    counts, work = tmp_path / f"counts{kind}", tmp_path / "work"
    adata = gi.io.read(source)
    gi.io.write(adata, counts)
    _out_of_core._begin(work, counts, adata, {})
    (work / "checkpoint").touch()
    _out_of_core._begin(work, counts, adata, {})
    adata.X = adata.X * 2
    gi.io.write(adata, counts, overwrite=True)
    with pytest.raises(FileExistsError, match="different: last change of the source"):
        _out_of_core._begin(work, counts, adata, {})


def edited(path: Path) -> None:
    """Change a byte of a file, whose size and name stay."""
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


def swapped(one: Path, other: Path) -> None:
    between = one.rename(one.with_name("between"))
    other.rename(one)
    between.rename(other)


@pytest.mark.parametrize(
    "change",
    [
        lambda store: edited(next(path for path in (store / "X" / "data").rglob("*") if path.name == "0")),
        lambda store: swapped(store / "layers" / "raw1", store / "layers" / "raw2"),
        lambda store: shutil.rmtree(store / "layers" / "raw2"),
    ],
    ids=["a chunk", "an older layer in the place of another", "a layer less"],
)
def test_whatever_has_changed_in_a_store_is_noticed(
    source: Path, tmp_path: Path, change: Callable[[Path], Any]
) -> None:
    counts, work = tmp_path / "counts.zarr", tmp_path / "work"
    adata = gi.io.read(source)
    adata.layers["raw2"], adata.layers["raw1"] = adata.X * 2, adata.X * 3
    gi.io.write(adata, counts)
    _out_of_core._begin(work, counts, adata, {})
    (work / "checkpoint").touch()
    _out_of_core._begin(work, counts, adata, {})
    change(counts)
    with pytest.raises(FileExistsError, match="different: last change of the source"):
        _out_of_core._begin(work, counts, adata, {})


@pytest.mark.skipif(sys.platform == "win32", reason="files are not locked there")
def test_two_runs_do_not_write_the_same(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, fit = tmp_path / "out.zarr", _out_of_core.tl.fit

    def another(*args: Any, **options: Any) -> Any:
        with pytest.raises(
            FileExistsError, match=rf"{out} is being written by another run \(process {os.getpid()} on "
        ):
            run(source, out)
        return fit(*args, **options)

    monkeypatch.setattr(_out_of_core.tl, "fit", another)
    assert "gnnimpute" in run(source, out).layers
    assert [path.name for path in tmp_path.iterdir()] == ["out.zarr"]


def test_what_is_there_is_replaced_at_the_end(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.zarr"
    gi.io.write(gi.io.read(source), out)
    with pytest.raises(FileExistsError, match="overwrite"):
        run(source, out)
    made = run(source, out, overwrite=True, prepare=PREPARE | {"filter": True})
    assert made.n_obs == 129
    assert "gnnimpute" in made.layers


@pytest.mark.parametrize("removed", ["nothing", "the model"])
def test_a_run_that_was_stopped_while_it_tidied_up_is_begun_anew(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, removed: str
) -> None:
    out, work, finish = tmp_path / "out.zarr", tmp_path / ".out.zarr.unfinished", _out_of_core._finish

    def stopped(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    def stopped_at(*paths: Path) -> None:
        if removed == "nothing":
            patch.setattr(type(work), "unlink", stopped)
        else:  # folders are removed in no certain order
            (work / _out_of_core.MODEL).unlink()
            patch.setattr(_out_of_core.shutil, "rmtree", stopped)
        finish(*paths)

    with monkeypatch.context() as patch:
        patch.setattr(_out_of_core, "_finish", stopped_at)
        with pytest.raises(KeyboardInterrupt):
            run(source, out)
    assert "gnnimpute" in anndata.read_zarr(out).layers
    assert (work / _out_of_core.CHECKPOINT).exists()
    shorter = gi.Config(**CONFIG.to_dict() | {"n_epochs": 1})
    made = run(source, out, overwrite=True, config=shorter)
    assert len(made.uns["gnnimpute"]["loss"]["training"]) == 1
    assert not work.exists()
