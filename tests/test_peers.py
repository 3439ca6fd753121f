"""The adapters of other methods: what each says of itself, what it does without its program, and small real runs."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anndata
import numpy as np
import pytest

from gnnimpute._adapters import metadata, peers

if TYPE_CHECKING:
    from types import ModuleType

    import scipy.sparse as sp

    from gnnimpute._peers import Method

PEERS = Path(__file__).parents[1] / "benchmarks" / "peers"
ALL = peers(PEERS)
METHODS = [method for method in ALL if not method.in_r]
RUN = [method for method in ALL if method.name != "SAVER, 2000 genes predicted"]  # of sixty genes, the same as SAVER
SCRIPTS = sorted({method.adapter for method in METHODS if method.adapter})
each_script = pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)


@pytest.fixture(scope="module")
def install() -> ModuleType:
    """The script that installs the peers."""
    spec = importlib.util.spec_from_file_location("install_peers", PEERS / "install.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    path = list(sys.path)
    spec.loader.exec_module(module)
    sys.path[:] = path
    return module


def run(script: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", str(script), *map(str, arguments)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def write(counts: sp.csr_matrix, path: Path) -> Path:
    adata = anndata.AnnData(counts)
    adata.obs_names = [f"cell {i}" for i in range(counts.shape[0])]
    adata.var_names = [f"gene {j}" for j in range(counts.shape[1])]
    adata.write_h5ad(path)
    return path


# What an adapter says of itself


def test_the_python_peers() -> None:
    assert [script.stem for script in SCRIPTS] == ["dca", "knn_smoothing", "magic", "scvi"]
    assert {method.name for method in METHODS} >= {"MAGIC", "MAGIC, normalised", "DCA", "scVI", "kNN-smoothing"}


@each_script
def test_metadata_pins_all_that_it_asks_for(script: Path) -> None:
    head = metadata(script)
    assert set(head) == {"requires-python", "dependencies", "tool"}
    assert head["requires-python"] == ">=3.11,<3.12"
    own = head["tool"]["gnnimpute"]
    for requirement in [*head["dependencies"], *own.get("without-dependencies", [])]:
        assert re.fullmatch(r"[\w-]+==[\w.]+", requirement)
    names = [line.split("==")[0] for line in head["dependencies"]]
    assert len(set(names)) == len(names)
    assert "anndata" in names
    assert set(own) <= {"methods", "install", "sources", "without-dependencies"}


@each_script
def test_adapters_are_small(script: Path) -> None:
    assert len(script.read_text(encoding="utf-8").splitlines()) <= 90


def test_torch_is_the_version_of_the_constraints() -> None:
    constraints = (PEERS.parents[1] / "constraints.txt").read_text(encoding="utf-8").splitlines()
    [torch] = [line for line in metadata(PEERS / "scvi.py")["dependencies"] if line.startswith("torch")]
    assert torch in constraints


def test_both_readers_of_metadata_agree(install: ModuleType) -> None:
    found = install.find()
    assert {method.adapter.stem for method in peers(PEERS) if method.adapter} == set(found)
    for peer in found.values():
        head = metadata(peer.path)
        assert list(peer.dependencies) == head["dependencies"]
        assert peer.settings == head["tool"]["gnnimpute"]


# Without the program


@each_script
def test_an_absent_program_is_exit_code_69(script: Path, counts: sp.csr_matrix, tmp_path: Path) -> None:
    out = tmp_path / "out.h5ad"
    done = run(script, write(counts, tmp_path / "in.h5ad"), out, "--seed", "0")
    assert done.returncode == 69, done.stderr
    last = done.stderr.splitlines()[-1]
    assert f"python benchmarks/peers/install.py {script.stem}" in last
    assert "not installed" in done.stderr
    assert not out.exists()


@each_script
def test_an_unknown_option_is_told(script: Path, tmp_path: Path) -> None:
    done = run(script, tmp_path / "in.h5ad", tmp_path / "out.h5ad", "--no-such-option")
    assert done.returncode == 2
    assert "--no-such-option" in done.stderr


# What every adapter shares


SCRIPT = """# /// script
# dependencies = ["anndata==0"]
# ///
import sys
sys.path.insert(0, {shared!r})
import numpy as np
from peer_adapter import Answer, command, run
run(__file__, lambda counts, arguments: Answer({mean}, "1", {{"n": list(counts.shape)}}), command("made up"))
"""


@pytest.fixture
def made_up(tmp_path: Path) -> Any:
    """Run an adapter that answers with an expression."""

    def answer(mean: str, counts: sp.csr_matrix) -> tuple[subprocess.CompletedProcess[str], Path]:
        script = tmp_path / "made_up.py"
        script.write_text(SCRIPT.format(shared=str(PEERS / "shared"), mean=mean), encoding="utf-8")
        out = tmp_path / "out.h5ad"
        return run(script, write(counts, tmp_path / "in.h5ad"), out, "--seed", "7"), out

    return answer


def test_cells_and_genes_without_counts_come_back_as_zeros(made_up: Any, counts: sp.csr_matrix) -> None:
    dense = counts.toarray()
    dense[3] = 0
    dense[:, [0, 5]] = 0
    done, out = made_up("counts.X.toarray() + 1", type(counts)(dense))
    assert done.returncode == 0, done.stderr
    answer = anndata.read_h5ad(out)
    assert answer.layers["mean"].dtype == np.float32
    expected = dense + 1
    expected[dense.sum(axis=1) == 0] = 0
    expected[:, dense.sum(axis=0) == 0] = 0
    np.testing.assert_array_equal(answer.layers["mean"], expected)
    assert list(answer.obs_names[:2]) == ["cell 0", "cell 1"]
    assert list(answer.var_names[:2]) == ["gene 0", "gene 1"]
    settings = json.loads(answer.uns["method"]["settings"])
    assert settings["seed"] == 7
    assert settings["n"] == [int(np.sum(dense.sum(axis=1) > 0)), int(np.sum(dense.sum(axis=0) > 0))]
    assert settings["packages"]["anndata"] == importlib.metadata.version("anndata")
    assert [path.name for path in out.parent.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize(
    ("mean", "said"),
    [
        pytest.param("counts.X.toarray()[:, 1:]", r"shape \(90, 59\) for counts of shape \(90, 60\)", id="shape"),
        pytest.param("counts.X.toarray() - 1", "values that are negative", id="negative"),
        pytest.param("counts.X.toarray() * np.nan", "5400 of 5400", id="nan"),
    ],
)
def test_what_cannot_be_expected_counts_fails(made_up: Any, counts: sp.csr_matrix, mean: str, said: str) -> None:
    done, out = made_up(mean, counts)
    assert done.returncode == 1
    assert re.search(said, done.stderr.splitlines()[-1])
    assert not out.exists()


# Installation


def test_install_names_what_there_is() -> None:
    done = run(PEERS / "install.py", "no_such_method")
    assert done.returncode == 1
    assert "no_such_method" in done.stderr
    assert all(script.stem in done.stderr for script in SCRIPTS)


def test_install_says_where_sources_come_from(tmp_path: Path) -> None:
    done = run(PEERS / "install.py", "knn_smoothing", "--sources", tmp_path)
    assert done.returncode == 1
    assert "needs knn_smooth.py" in done.stderr
    assert "git clone https://github.com/yanailab/knn-smoothing" in done.stderr


def test_install_says_what_r_needs(install: ModuleType, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(install, "R_LIBRARY", tmp_path)
    with pytest.raises(install.NotInstalledError, match=r"R CMD INSTALL.*--r-sources"):
        install.install_r(install.find()["saver"], None)
    (tmp_path / "SAVER").mkdir()  # it is there: nothing to do
    install.install_r(install.find()["saver"], None)


def test_install_finds_sources_of_r_by_their_package(install: ModuleType, tmp_path: Path, monkeypatch: Any) -> None:
    for package, imports in [("scImpute", "Imports: penalized, parallel"), ("penalized", "Depends: R")]:
        folder = tmp_path / f"{package}-0.1"
        folder.mkdir()
        (folder / "DESCRIPTION").write_text(f"Package: {package}\n{imports}\n", encoding="utf-8")
    commands: list[list[str]] = []
    monkeypatch.setattr(install, "run", lambda command, environment: commands.append([*command, str(environment)]))
    monkeypatch.setattr(install, "R_LIBRARY", tmp_path / "R")
    install.install_r(install.find()["scimpute"], tmp_path)
    assert [Path(command[4]).name for command in commands] == ["penalized-0.1", "scImpute-0.1"]
    with pytest.raises(install.NotInstalledError, match="SAVER"):
        install.install_r(install.find()["saver"], tmp_path)


# The real programs, where they are installed


@pytest.mark.slow
@pytest.mark.parametrize("method", RUN, ids=lambda method: method.name)
def test_small_run(method: Method, counts: sp.csr_matrix, tmp_path: Path) -> None:
    if not method.is_installed():
        pytest.skip(f"{method.name} is not installed here: {method.install}")
    source = write(counts, tmp_path / "in.h5ad")
    out = tmp_path / "out.h5ad"
    given = anndata.read_h5ad(source)
    done = method.run(given, source, out, seed=3, time_limit=300, threads=1)
    assert done.status == "ok", done.message
    answer = anndata.read_h5ad(out)
    assert list(answer.obs_names) == list(given.obs_names)
    assert list(answer.var_names) == list(given.var_names)
    assert set(answer.layers) == {"mean"}
    mean = answer.layers["mean"]
    assert np.isfinite(mean).all()
    total = np.asarray(counts.sum(axis=1)).ravel()
    assert np.corrcoef(mean.sum(axis=1), total)[0, 1] > 0.8
    assert np.corrcoef(mean.ravel(), counts.toarray().ravel())[0, 1] > 0.4
    # Expected counts, on the scale of counts: here .8 (MAGIC, of square roots) to 1.6 of them (ALRA). Sums of logs or
    # square roots may look alike, but not those of the genes with most molecules: at most .63 of their counts.
    often = np.argsort(-np.asarray(counts.sum(axis=0)).ravel())[:12]
    assert 0.6 < mean.sum() / counts.sum() < 2
    assert 0.6 < np.median(mean.sum(axis=1) / total) < 2
    assert 0.7 < mean[:, often].sum() / counts[:, often].sum() < 1.7
    settings = json.loads(answer.uns["method"]["settings"])
    if "--seed changes nothing" not in answer.uns["method"].get("note", ""):
        assert settings["seed"] == 3
    assert settings["R" if method.in_r else "packages"]
    assert answer.uns["method"]["version"]


def test_environments_are_not_in_git() -> None:
    if shutil.which("git") is None or not (PEERS.parents[1] / ".git").exists():
        pytest.skip("this copy of the sources is no git checkout")
    ask = ["git", "check-ignore", "-q", "benchmarks/peers/.environments/magic"]
    assert subprocess.run(ask, cwd=PEERS.parents[1], check=False).returncode == 0
