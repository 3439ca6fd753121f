"""The command line, from the arguments to the files and the exit code."""

from __future__ import annotations

import inspect
import signal
import subprocess
import sys
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import anndata
import click
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from click.testing import CliRunner, Result

import gnnimpute as gi
from gnnimpute.cli import main

if TYPE_CHECKING:
    from pathlib import Path

TINY = ["--min-genes", "0", "--n-epochs", "2", "--n-hidden", "8", "--n-latent", "4"]


@pytest.fixture(scope="module")
def adata() -> anndata.AnnData:
    return gi.datasets.splatter(n_genes=60, batch_cells=80, group_prob=[0.5, 0.5], lib_loc=6)


@pytest.fixture(scope="module")
def source(adata: anndata.AnnData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cli") / "counts.h5ad"
    gi.io.write(adata, path)
    return path


def gnnimpute(*args: object) -> Result:
    return CliRunner().invoke(main, [str(arg) for arg in args])


def succeed(*args: object) -> Result:
    done = gnnimpute(*args)
    assert done.exit_code == 0, done.output
    return done


def refuse(*args: object) -> str:
    """What a command that ends with bad usage or bad input says."""
    done = gnnimpute(*args)
    assert done.exit_code == 2, done.output
    assert "Traceback" not in done.output
    return done.stderr


def python(*args: object) -> list[str]:
    return [sys.executable, *map(str, args)]


# impute


def test_intervals_are_written_and_refused_where_they_could_not_be(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.h5ad"
    succeed("impute", source, out, *TINY, "--interval", "0.8")
    layers = anndata.read_h5ad(out).layers
    assert not (layers["gnnimpute_lower"] > layers["gnnimpute_upper"]).any()  # NaN: not modelled
    assert "gnnimpute_redetection" in layers
    assert "only .h5ad and .zarr" in refuse("impute", source, tmp_path / "out.csv", *TINY, "--interval", "0.8")
    assert "above 0 and below 1" in refuse("impute", source, tmp_path / "no.h5ad", *TINY, "--interval", "80")


def test_default_result_in_a_process_of_its_own(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.h5ad"
    command = python("-m", "gnnimpute", "impute", source, out, *TINY)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    before, after = anndata.read_h5ad(source), anndata.read_h5ad(out)
    assert after.obs_names.equals(before.obs_names)
    assert after.var_names.equals(before.var_names)
    assert (after.X != before.X).nnz == 0
    layer = after.layers["gnnimpute"]
    assert layer.shape == before.shape
    assert np.isfinite(layer).all()
    assert (layer >= 0).all()
    about = after.uns["gnnimpute"]
    assert (about["estimate"], about["output"]) == ("mean", "normalized")
    assert np.median(layer.sum(1)) == pytest.approx(about["target_total"], rel=0.05)
    assert f'layers["gnnimpute"] of {out}' in done.stdout
    assert "estimate mean: counts scaled to a total of " in done.stdout
    assert "epochs" in done.stdout
    assert "cells and" in done.stderr  # what passed, from the log
    assert "\r" not in done.stderr  # no bar where there is no terminal
    assert "Warning" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["out.h5ad"]


def test_the_same_seed_gives_the_same_as_in_python(source: Path, tmp_path: Path) -> None:
    succeed("impute", source, tmp_path / "out.h5ad", *TINY, "--seed", "3", "--n-neighbors", "4", "--quiet")
    adata = gi.io.read(source)
    gi.pp.prepare(adata, min_genes=0, n_neighbors=4, rng=3)
    gi.tl.impute(adata, config=gi.Config(n_epochs=2, n_hidden=8, n_latent=4), rng=3)
    result = anndata.read_h5ad(tmp_path / "out.h5ad")
    np.testing.assert_array_equal(result.layers["gnnimpute"], adata.layers["gnnimpute"])


@pytest.mark.parametrize("ending", [".zarr", ".csv", ".tsv.gz", ".mtx"])
def test_formats(source: Path, tmp_path: Path, ending: str) -> None:
    out = tmp_path / f"out{ending}"
    succeed("impute", source, out, *TINY)
    written = gi.io.read(out)
    assert written.shape == (80, 60)
    assert (ending == ".zarr") == ("gnnimpute" in written.layers)


def test_estimate_output_key_and_filter(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.h5ad"
    options = ["--estimate", "detected", "--output", "log1p", "--key-added", "mine", "--filter", "--min-cells", "40"]
    succeed("impute", source, out, *TINY, *options)
    result = anndata.read_h5ad(out)
    assert (result.uns["mine"]["estimate"], result.uns["mine"]["output"]) == ("detected", "log1p")
    assert 0 < result.n_vars < 60
    assert result.layers["mine"].shape == result.shape


def test_some_genes(source: Path, tmp_path: Path) -> None:
    chosen = anndata.read_h5ad(source).var_names[[30, 5]]
    for ending in (".csv", ".h5ad"):
        succeed("impute", source, tmp_path / f"out{ending}", *TINY, "--genes", ",".join(chosen))
    table = pd.read_csv(tmp_path / "out.csv", index_col=0)
    assert list(table.columns) == list(chosen)
    result = anndata.read_h5ad(tmp_path / "out.h5ad")
    assert "gnnimpute" not in result.layers
    np.testing.assert_allclose(table, result.obsm["gnnimpute_genes"], rtol=1e-5)


def test_layer(adata: anndata.AnnData, tmp_path: Path) -> None:
    logged = adata.copy()
    logged.layers = {"umis": adata.X.copy()}
    logged.X = adata.X.log1p()
    logged.write_h5ad(tmp_path / "in.h5ad")
    assert "log1p-transformed" in refuse("impute", tmp_path / "in.h5ad", tmp_path / "out.h5ad", *TINY)
    assert "Did you mean 'umis'" in refuse("impute", tmp_path / "in.h5ad", tmp_path / "out.h5ad", "--layer", "umi")
    assert not (tmp_path / "out.h5ad").exists()
    done = succeed("impute", tmp_path / "in.h5ad", tmp_path / "out.h5ad", *TINY, "--layer", "umis")
    assert "left as it is" not in done.stderr
    result = anndata.read_h5ad(tmp_path / "out.h5ad")
    assert (result.X != logged.X).nnz == 0
    assert (result.layers["counts"] != adata.X).nnz == 0


def test_own_embedding_and_own_graph(adata: anndata.AnnData, tmp_path: Path) -> None:
    import scanpy as sc

    own = adata.copy()
    own.obsm["X_mine"] = np.random.default_rng(0).normal(size=(80, 4))
    sc.pp.neighbors(own, use_rep="X_mine", n_neighbors=5)
    del own.uns["splatter"]
    own.write_h5ad(tmp_path / "in.h5ad")
    for number, choice in enumerate((["--use-rep", "X_mine"], ["--neighbors-key", "neighbors"])):
        succeed("impute", tmp_path / "in.h5ad", tmp_path / f"{number}.h5ad", *TINY, *choice)
        result = anndata.read_h5ad(tmp_path / f"{number}.h5ad")
        assert "gnnimpute_pca" not in result.obsm
        assert choice[1] in {result.uns["gnnimpute"]["use_rep"], result.uns["gnnimpute"]["neighbors_key"]}
    said = refuse("impute", tmp_path / "in.h5ad", tmp_path / "x.h5ad", *TINY, "--use-rep", "X_mne")
    assert "Did you mean 'X_mine'" in said


def test_saved_model_is_used_again(source: Path, tmp_path: Path) -> None:
    first, second, model = tmp_path / "first.h5ad", tmp_path / "second.h5ad", tmp_path / "model.safetensors"
    succeed("impute", source, first, *TINY, "--save-model", model)
    assert "exists" in refuse("impute", source, second, *TINY, "--save-model", model)
    assert "leave out --n-heads" in refuse("impute", source, second, "--model", model, "--n-heads", "1")
    assert "leave out --paper" in refuse("impute", source, second, "--model", model, "--paper")
    assert not second.exists()
    succeed("impute", source, second, "--min-genes", "0", "--model", model)
    one, two = anndata.read_h5ad(first), anndata.read_h5ad(second)
    np.testing.assert_allclose(one.layers["gnnimpute"], two.layers["gnnimpute"], rtol=1e-4)
    assert "model of gnnimpute" in (told := succeed("info", model).stdout)
    assert "neighbors neighbors_key gnnimpute_neighbors" in told
    other = gi.io.read(source)
    other.var_names = [f"Other{name}" for name in other.var_names]
    other.write_h5ad(tmp_path / "other.h5ad")
    said = refuse("impute", tmp_path / "other.h5ad", tmp_path / "third.h5ad", "--min-genes", "0", "--model", model)
    assert "model" in said
    assert "genes" in said
    assert not (tmp_path / "third.h5ad").exists()


def test_checkpoint_is_gone_on_from(source: Path, tmp_path: Path) -> None:
    checkpoint = tmp_path / "state"
    succeed("impute", source, tmp_path / "a.h5ad", *TINY, "--checkpoint", checkpoint)
    more = [*TINY, "--n-epochs", "3", "--checkpoint", checkpoint]
    assert "Going on from" in succeed("impute", source, tmp_path / "b.h5ad", *more).stderr
    assert len(anndata.read_h5ad(tmp_path / "b.h5ad").uns["gnnimpute"]["loss"]["validation"]) == 3


def test_existing_output_is_refused_before_anything_is_read(tmp_path: Path, source: Path) -> None:
    out = tmp_path / "out.h5ad"
    out.write_text("precious", encoding="utf-8")
    assert "--overwrite" in refuse("impute", tmp_path / "not_there.h5ad", out)
    assert out.read_text(encoding="utf-8") == "precious"
    refuse("impute", source, out, *TINY, "--overwrite", "--layer", "none")
    assert out.read_text(encoding="utf-8") == "precious"
    succeed("impute", source, out, *TINY, "--overwrite")
    assert "gnnimpute" in anndata.read_h5ad(out).layers


def test_an_earlier_result_is_replaced_aloud_and_nothing_else(adata: anndata.AnnData, tmp_path: Path) -> None:
    again = adata.copy()
    again.layers["gnnimpute"] = np.ones(again.shape, dtype=np.float32)
    again.write_h5ad(tmp_path / "in.h5ad")
    assert "key_added" in refuse("impute", tmp_path / "in.h5ad", tmp_path / "out.h5ad", *TINY)
    again.uns["gnnimpute"] = {"estimate": "mean", "unit": "counts"}
    again.write_h5ad(tmp_path / "in.h5ad")
    assert "of an earlier run" in succeed("impute", tmp_path / "in.h5ad", tmp_path / "out.h5ad", *TINY).stderr


# Bad input


def corrupt(path: Path, adata: anndata.AnnData) -> None:
    adata.write_h5ad(path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def with_values(change: Any) -> Any:
    def write(path: Path, adata: anndata.AnnData) -> None:
        changed = adata.copy()
        values = adata.X.toarray()
        changed.X = sp.csr_matrix(change(values))
        changed.write_h5ad(path)

    return write


def nan(values: np.ndarray) -> np.ndarray:
    values[3, 5] = np.nan
    return values


def infinite(values: np.ndarray) -> np.ndarray:
    values[3, 5] = np.inf
    return values


BAD: dict[str, tuple[Any, str]] = {
    "missing": (lambda *_: None, "There is no"),
    "empty file": (lambda path, _: path.touch(), "is empty"),
    "corrupt": (corrupt, "corrupt"),
    "not hdf5": (lambda path, _: path.write_text("cells", encoding="utf-8"), "cannot be read"),
    "no cell": (lambda path, adata: adata[:0].write_h5ad(path), "shape is (0, 60)"),
    "no gene": (lambda path, adata: adata[:, :0].write_h5ad(path), "shape is (80, 0)"),
    "all zero": (with_values(lambda values: values * 0), "No cell passes"),
    "nan": (with_values(nan), "is nan in cell 'Cell4', gene 'Gene6'"),
    "infinite": (with_values(infinite), "is inf in cell 'Cell4', gene 'Gene6'"),
    "negative": (with_values(lambda values: -values), "cannot be negative"),
    "logarithms": (with_values(np.log1p), "log1p-transformed"),
    "scaled": (with_values(lambda values: values - values.mean(0)), "scaled or centred"),
    "not whole": (with_values(lambda values: values * 1.37), "--allow-non-counts"),
}


@pytest.mark.filterwarnings("ignore")  # of anndata, about what is written here
@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_and_nothing_is_written(adata: anndata.AnnData, tmp_path: Path, case: str) -> None:
    write, said = BAD[case]
    write(tmp_path / "in.h5ad", adata)
    there = sorted(tmp_path.iterdir())
    stderr = refuse("impute", tmp_path / "in.h5ad", tmp_path / "out.h5ad", *TINY)
    assert said in stderr
    assert stderr.splitlines()[-1].startswith("Error: ")
    assert sorted(tmp_path.iterdir()) == there


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--genes", "Gene1,Gnee2"], "Did you mean 'Gene2'"),
        (["--batch-key", "grup"], "Did you mean 'group'"),
        (["--neighbors-key", "mine"], "mine"),
        (["--use-rep", "a", "--neighbors-key", "b"], "give one of them"),
        (["--device", "abacus"], "is no device"),
        (["--key-added", "a/b"], "without '/'"),
        (["--estimate", "posterior", "--paper"], "--hide molecules"),
        (["--n-hidden", "-1"], "n_hidden=-1"),
        (["--n-neighbors", "0"], "n_neighbors"),
        (["--estimate", "median"], "'median' is not one of"),
        (["--max-total", "lots"], "neither 'mad'"),
        (["--seed", "-1"], "-1"),
        (["--n-epoch", "1"], "--n-epochs"),
    ],
)
def test_bad_options_are_refused_before_training(source: Path, tmp_path: Path, args: list[str], said: str) -> None:
    assert said in refuse("impute", source, tmp_path / "out.h5ad", "--min-genes", "0", *args)
    assert not list(tmp_path.iterdir())


def test_models_and_checkpoints_of_another_kind_are_refused_before_anything_is_read(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, checkpoint = tmp_path / "model.safetensors", tmp_path / "state"
    succeed("impute", source, tmp_path / "out.h5ad", *TINY, "--save-model", model)
    succeed("impute", source, tmp_path / "out.h5ad", *TINY, "--checkpoint", checkpoint, "--overwrite")
    monkeypatch.setattr(gi.io, "read", lambda *_, **__: pytest.fail("read in vain"))
    command = ["impute", source, tmp_path / "next.h5ad"]
    assert "is a saved model, not a checkpoint" in refuse(*command, "--checkpoint", model)
    assert "is not a checkpoint of gnnimpute" in refuse(*command, "--checkpoint", source)
    assert "not a saved model but a checkpoint" in refuse(*command, "--model", checkpoint)
    assert "is not a model of gnnimpute" in refuse(*command, "--model", source)
    assert "There is no model" in refuse(*command, "--model", tmp_path / "none.safetensors")


def test_places_that_cannot_be_written_are_refused(source: Path, tmp_path: Path) -> None:
    assert "mkdir -p" in refuse("impute", source, tmp_path / "none" / "out.h5ad")
    assert ".h5ad" in refuse("impute", source, tmp_path / "out.rds")


def test_a_full_disk_is_noticed_before_training(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import shutil

    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    said = refuse("impute", source, tmp_path / "out.h5ad", *TINY)
    assert "pass" not in said
    assert "has 0.0 MB free" in said


# Interrupted


@pytest.mark.skipif(sys.platform == "win32", reason="there are no signals to send")
def test_ctrl_c_in_training_writes_the_best_so_far(
    source: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    # What runs in the background of a shell starts with SIGINT ignored, and so would the command.
    request.addfinalizer(
        partial(signal.signal, signal.SIGINT, signal.signal(signal.SIGINT, signal.default_int_handler))
    )
    out, checkpoint = tmp_path / "out.h5ad", tmp_path / "state"
    endless = [*TINY, "--n-epochs", "1000000", "--patience", "1000000", "--checkpoint", checkpoint]
    command = python("-m", "gnnimpute", "impute", source, out, *endless)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            until = time.monotonic() + 120
            while not checkpoint.exists() and process.poll() is None and time.monotonic() < until:
                time.sleep(0.05)
            process.send_signal(signal.SIGINT)
            _, stderr = process.communicate(timeout=120)
        finally:
            process.kill()
    assert process.returncode == 0, stderr
    assert "Interrupted after epoch" in stderr
    assert "gnnimpute" in anndata.read_h5ad(out).layers


def test_ctrl_c_outside_training_writes_nothing(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(gi.pp, "prepare", interrupt)
    done = gnnimpute("impute", source, tmp_path / "out.h5ad", *TINY)
    assert done.exit_code == 130
    assert not list(tmp_path.iterdir())


# info, and the rest


def test_info(source: Path, tmp_path: Path) -> None:
    done = succeed("info", source)
    assert "80 cells x 60 genes" in done.stdout
    assert "median total of a cell" in done.stdout
    assert "60 cells x 80 genes" in succeed("info", source, "--orientation", "genes_by_cells").stdout
    assert "There is no" in refuse("info", tmp_path / "none.h5ad")
    assert "There is no model" in refuse("info", tmp_path / "none.safetensors")


def test_impute_imports_only_what_it_needs(source: Path, tmp_path: Path) -> None:
    """Each of these takes seconds of every run."""
    arguments = ["impute", str(source), str(tmp_path / "out.h5ad"), *TINY]
    code = (
        "import sys; from gnnimpute.cli import main; "
        f"main({arguments!r}, standalone_mode=False); print('loaded:', *sys.modules)"
    )
    done = subprocess.run(python("-c", code), capture_output=True, text=True, check=True)
    loaded = set(done.stdout.rpartition("loaded:")[2].split())
    assert not loaded & {"matplotlib", "numba", "pynndescent", "scanpy", "torch._dynamo", "umap"}


def test_debug_shows_where(tmp_path: Path) -> None:
    done = gnnimpute("impute", tmp_path / "in.h5ad", tmp_path / "out.h5ad", "--debug")
    assert done.exit_code == 2
    assert "Traceback" in done.stderr
    assert "io.py" in done.stderr


def test_version_and_help() -> None:
    assert succeed("--version").stdout.strip().endswith(gi.__version__)
    assert gnnimpute().exit_code == 2  # no command
    for command in main.commands:
        assert command in succeed("--help").stdout
        assert "Messages:" in succeed(command, "--help").stdout
    assert "Examples:\n  gnnimpute impute counts.h5ad imputed.h5ad\n" in succeed("impute", "--help").stdout


def test_every_option_is_described() -> None:
    for command in main.commands.values():
        for param in command.params:
            assert isinstance(param, click.Argument) or len(param.help) > 3, f"{command.name} {param.name}"


@pytest.mark.parametrize("function", [gi.pp.prepare, gi.tl.impute])
def test_options_are_those_of_python_with_its_defaults(function: Any) -> None:
    given = main.commands["impute"].make_context("impute", ["in.h5ad", "out.h5ad"]).params
    elsewhere = {"adata": "", "imputer": "model", "config": "paper", "rng": "seed", "progress": "quiet", "out": ""}
    for name, parameter in inspect.signature(function).parameters.items():
        if name not in elsewhere:
            assert given[name] == parameter.default, name
        elif elsewhere[name]:
            assert elsewhere[name] in given


@pytest.mark.filterwarnings("ignore:Variable names are not unique")
@pytest.mark.parametrize("ending", ["h5ad", "zarr"])
def test_names_in_common_are_numbered_if_asked(adata: anndata.AnnData, tmp_path: Path, ending: str) -> None:
    twice = adata.copy()
    most = np.argsort(-np.asarray(adata.X.sum(axis=0)).ravel())[:2]
    twice.var_names = ["same" if i in most else name for i, name in enumerate(adata.var_names)]
    gi.io.write(twice, tmp_path / "in.h5ad", key=None)
    arguments = [
        "impute",
        tmp_path / "in.h5ad",
        tmp_path / f"out.{ending}",
        "--min-genes",
        1,
        "--min-cells",
        0,
        "--n-epochs",
        1,
        *(["--out-of-core"] if ending == "zarr" else []),
    ]
    said = refuse(*arguments)
    assert "'same' stands more than once" in said
    assert "--unique-names" in said
    succeed(*arguments, "--unique-names")
    assert set(gi.io.read(tmp_path / f"out.{ending}").var_names[most]) == {"same", "same-1"}


def test_values_that_are_no_counts_are_not_evaluated(adata: anndata.AnnData, tmp_path: Path) -> None:
    gi.io.write(anndata.AnnData(1.5 * adata.X, adata.obs, adata.var), tmp_path / "in.h5ad", key=None)
    arguments = ["impute", tmp_path / "in.h5ad", tmp_path / "out.h5ad", "--min-genes", 1, "--n-epochs", 1]
    arguments += ["--allow-non-counts"]
    assert "of counts, only" in refuse(*arguments, "--refuse-if-no-gain")
    done = succeed(*arguments, "--report", tmp_path / "page.html")
    assert "Not evaluated: only mean and posterior of counts" in done.stderr


@pytest.mark.parametrize("name", ["in.h5ad", "in.csv"])
def test_counts_are_never_written_over(adata: anndata.AnnData, tmp_path: Path, name: str) -> None:
    gi.io.write(adata, tmp_path / name, key=None)
    before = (tmp_path / name).read_bytes()
    again = tmp_path / "link"
    again.symlink_to(tmp_path)
    said = refuse("impute", tmp_path / name, again / name, "--min-genes", 1, "--n-epochs", 1, "--overwrite")
    assert "OUT is IN" in said
    assert (tmp_path / name).read_bytes() == before
