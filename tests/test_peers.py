"""Running methods: programs that work, crash, hang, are absent or write nonsense; in Python and in R."""

from __future__ import annotations

import os
import stat
import sys
import time
from typing import TYPE_CHECKING

import anndata
import pytest

from gnnimpute._exchange import reading_answer, write_counts
from gnnimpute._peers import ENVIRONMENTS, Method, last_lines

if TYPE_CHECKING:
    from pathlib import Path

    import scipy.sparse as sp

    from gnnimpute._peers import Outcome

pytestmark = pytest.mark.skipif(os.name != "posix", reason="programs here are shell scripts")

COPIES = """
import sys, shutil, h5py
source, out = sys.argv[1:3]
shutil.copy(source, out)
with h5py.File(out, "r+") as file:
    file.require_group("layers").copy(file["X"], "mean")
    del file["X"]
"""
R_COPIES = """
import json, sys
from pathlib import Path
import numpy as np
from scipy.io import mmread
script, source, out, seed, *words = sys.argv[1:]
counts = mmread(Path(source) / "counts.mtx").toarray()
assert len((Path(source) / "cells.txt").read_text().splitlines()) == counts.shape[0]
(Path(out) / "mean.f32").write_bytes((2 * counts).astype("<f4").tobytes())
(Path(out) / "method.json").write_text(json.dumps({"version": "1", "settings": [seed, *words]}))
"""


def program(path: Path, line: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


@pytest.fixture
def adata(counts: sp.csr_matrix) -> anndata.AnnData:
    adata = anndata.AnnData(counts)
    adata.obs_names = [f"cell{number}" for number in range(adata.n_obs)]
    adata.var_names = [f"gene{number}" for number in range(adata.n_vars)]
    return adata


@pytest.fixture
def place(adata: anndata.AnnData, tmp_path: Path) -> Path:
    """Folder with the input, and with the Python of an adapter called 'fake'."""
    program(tmp_path / ENVIRONMENTS / "fake" / "bin" / "python", f'exec "{sys.executable}" "$@"')
    write_counts(adata, tmp_path / "in.h5ad")
    return tmp_path


def python(code: str, place: Path, *arguments: str) -> Method:
    (place / "fake.py").write_text(code)
    return Method("fake", arguments, place / "fake.py", install="pip install fake")


def run(method: Method, adata: anndata.AnnData, place: Path, *, time_limit: float = 60) -> Outcome:
    return method.run(adata, place / "in.h5ad", place / "out.h5ad", seed=4, time_limit=time_limit, threads=1)


def test_a_method_that_works(adata: anndata.AnnData, place: Path) -> None:
    outcome = run(python(COPIES, place), adata, place)
    assert outcome[:2] == ("ok", "")
    assert 0 < outcome.seconds < 60
    assert outcome.peak_gb < 2
    with reading_answer(place / "out.h5ad", adata) as answer:
        assert (answer.estimates["mean"][0:90] != adata.X).nnz == 0


def test_what_a_method_is_given(adata: anndata.AnnData, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "nowhere")
    code = """
import os, sys
names = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "PYTHONPATH", "HOME")
raise SystemExit(repr((sys.argv[1:], [os.environ.get(name) for name in names], sys.path[0])))
"""
    method = python(code, place, "--scale", "normalised")
    home = os.environ.get("HOME")
    said = run(method, adata, place).message
    files = [str(place / "in.h5ad"), str(place / "out.h5ad")]
    assert said.startswith(repr(([*files, "--seed", "4", "--scale", "normalised"], ["1", "1", None, home]))[:-1])
    assert not said.endswith(f"{str(place)!r})")  # an adapter may be called like what it imports


@pytest.mark.parametrize(
    ("code", "status", "said"),
    [
        ("raise ValueError('the rank is wrong')", "failed", "ValueError: the rank is wrong"),
        ("raise SystemExit(3)", "failed", "exit code 3, without a word"),
        ("import os; os.kill(os.getpid(), 9)", "failed", "ended by SIGKILL, perhaps for want of memory."),
        ("import os; os.kill(os.getpid(), 11)", "failed", "ended by SIGSEGV."),
        ("import sys; print('pip install x', file=sys.stderr); raise SystemExit(69)", "absent", "pip install x"),
        ("raise SystemExit(69)", "absent", "pip install fake"),
        ("import time; time.sleep(60)", "timed out", "not done after 0.5 s"),
    ],
)
def test_methods_that_do_not_work(adata: anndata.AnnData, place: Path, code: str, status: str, said: str) -> None:
    started = time.monotonic()
    outcome = run(python(code, place), adata, place, time_limit=0.5 if status == "timed out" else 60)
    assert outcome[:2] == (status, said)
    assert (outcome.seconds > 0) == (status != "absent")
    assert time.monotonic() - started < 30
    assert not (place / "out.h5ad").exists()


def test_absent_without_its_environment(adata: anndata.AnnData, place: Path) -> None:
    method = Method("other", (), place / "other.py", install="python install.py other")
    assert not method.is_installed()
    assert run(method, adata, place)[:2] == ("absent", "python install.py other")
    assert python(COPIES, place).is_installed()


def test_a_program_that_cannot_be_started(adata: anndata.AnnData, place: Path) -> None:
    method = python(COPIES, place)
    (place / ENVIRONMENTS / "fake" / "bin" / "python").chmod(0o600)
    if os.access(place / ENVIRONMENTS / "fake" / "bin" / "python", os.X_OK):
        pytest.skip("this user may start anything")
    outcome = run(method, adata, place)
    assert outcome.status == "failed"
    assert "Permission denied" in outcome.message


# R


@pytest.fixture
def r(place: Path, monkeypatch: pytest.MonkeyPatch) -> Method:
    """An R script, and an Rscript that is Python in disguise."""
    (place / "fake_r.py").write_text(R_COPIES)
    program(
        place / "bin" / "Rscript",
        f'[ "$1" = -e ] && case "$R_LIBS" in *{ENVIRONMENTS}/R*) exit 0;; *) exit 1;; esac\n'
        f'exec "{sys.executable}" "{place / "fake_r.py"}" "$@"',
    )
    monkeypatch.setenv("PATH", f"{place / 'bin'}{os.pathsep}{os.environ['PATH']}")
    return Method("R", ("--npred", "9"), place / "script.R", ("SAVER",), "R CMD INSTALL SAVER")


def test_r_reads_and_writes_folders(adata: anndata.AnnData, place: Path, r: Method) -> None:
    before = {path.name for path in place.iterdir()}
    outcome = run(r, adata, place)
    assert outcome[:2] == ("ok", ""), outcome
    with reading_answer(place / "out.h5ad", adata) as answer:
        assert (answer.estimates["mean"][0:90] == 2 * adata.X.toarray()).all()
        assert answer.about.settings == '["4", "--npred", "9"]'
    assert {path.name for path in place.iterdir()} == before | {"out.h5ad"}


def test_r_that_writes_nothing(adata: anndata.AnnData, place: Path, r: Method) -> None:
    (place / "fake_r.py").write_text("")
    assert run(r, adata, place)[:2] == ("failed", "It ended well but wrote no mean.f32 and no method.json.")
    assert not (place / "r_in").exists()


def test_r_is_asked_for_its_packages(r: Method, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert r.is_installed()
    program(place / "bin" / "Rscript", "exit 1")
    assert not r.is_installed()
    monkeypatch.setenv("PATH", str(place))
    assert not r.is_installed()


def test_absent_without_r(adata: anndata.AnnData, place: Path, r: Method, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(place))
    assert run(r, adata, place)[:2] == ("absent", "R CMD INSTALL SAVER")


# What is said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", ""),
        ("one\n\ntwo\nthree\nfour\n", "two | three | four"),
        ("Error in f(x) : \n  no such thing\nExecution halted\n", "Error in f(x) : | no such thing | Execution halted"),
        ('note\nTraceback (most recent call last):\n  File "x"\n    f()\nValueError: no\n', "note | ValueError: no"),
        ("x" * 600, "..." + "x" * 500),
    ],
)
def test_last_lines(text: str, said: str) -> None:
    assert last_lines(text) == said
