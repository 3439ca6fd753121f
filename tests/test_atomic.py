from __future__ import annotations

import errno
import os
import re
import subprocess
import sys

import pytest

from gnnimpute._atomic import alone, in_turn, replacing


@pytest.mark.parametrize("before", [None, "old"], ids=["new", "replaced"])
def test_the_file_is_there_whole_and_alone(tmp_path, before):
    path = tmp_path / "result"
    if before is not None:
        path.write_text(before)
    with replacing(path) as beside:
        assert beside.parent == tmp_path
        assert not beside.exists()
        beside.write_text("new")
        assert path.exists() == (before is not None)
        assert before is None or path.read_text() == before
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("written", [True, False], ids=["in the middle", "before the first byte"])
@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()], ids=["error", "Ctrl-C"])
def test_what_was_there_survives_a_failure(tmp_path, written, error):
    path = tmp_path / "result"
    path.write_text("old")

    def write():
        with replacing(path) as beside:
            if written:
                beside.write_text("half")
            raise error

    with pytest.raises(type(error)):
        write()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EACCES])
def test_a_full_disk_is_named(tmp_path, number):
    path = tmp_path / "result"
    said = f"There was no space left while {path} was written to {tmp_path}. Free some space"
    with pytest.raises(OSError, match=re.escape("Permission" if number == errno.EACCES else said)), replacing(path):
        raise OSError(number, os.strerror(number))
    assert not list(tmp_path.iterdir())


def test_two_writers_do_not_meet(tmp_path):
    with replacing(tmp_path / "result") as first, replacing(tmp_path / "result") as second:
        assert first != second
        first.write_text("first")
        second.write_text("second")
    assert (tmp_path / "result").read_text() == "first"


def test_a_link_is_replaced_and_what_it_points_at_is_not(tmp_path):
    (tmp_path / "target").write_text("old")
    (tmp_path / "result").symlink_to(tmp_path / "target")
    with replacing(tmp_path / "result") as beside:
        beside.write_text("new")
    assert (tmp_path / "target").read_text() == "old"
    assert (tmp_path / "result").read_text() == "new"


def test_a_folder_is_never_replaced(tmp_path):
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "precious").write_text("years of work")
    with pytest.raises(IsADirectoryError, match="models is a folder: name a file in it"), replacing(folder):
        pytest.fail("there is nothing to write to")
    assert (folder / "precious").read_text() == "years of work"
    assert list(tmp_path.iterdir()) == [folder]


def test_a_folder_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*missing"), replacing(tmp_path / "missing" / "a"):
        pytest.fail("there is nothing to write to")
    assert not list(tmp_path.iterdir())


needs_locks = pytest.mark.skipif(sys.platform == "win32", reason="files are not locked there")

HOLDS = """
import sys
from pathlib import Path
from gnnimpute._atomic import alone

with alone(Path(sys.argv[1]), "it"):
    print("locked", flush=True)
    sys.stdin.read()
"""


@needs_locks
@pytest.mark.parametrize("ended", ["killed", "well"])
def test_one_process_at_a_time(tmp_path, ended):
    lock = tmp_path / "lock"
    command = [sys.executable, "-c", HOLDS, str(lock)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "locked\n"
        said = rf"out.zarr is being written by another run \(process {other.pid} on .*name another"
        with pytest.raises(FileExistsError, match=said), alone(lock, "out.zarr"):
            pytest.fail("the other is at it")
        assert lock.exists()
        if ended == "killed":
            other.kill()
        else:
            other.stdin.close()
        other.wait()
    assert lock.exists() == (ended == "killed")
    with alone(lock, "out.zarr"):
        assert lock.exists()
    assert not list(tmp_path.iterdir())


@needs_locks
def test_a_lock_that_another_has_removed_is_none(tmp_path, monkeypatch):
    import fcntl

    lock, flock, n_locked = tmp_path / "lock", fcntl.flock, 0

    def late(*args):
        nonlocal n_locked
        n_locked += 1
        flock(*args)
        if n_locked == 1:  # it was opened before the other ended, and is locked after
            lock.unlink()

    monkeypatch.setattr(fcntl, "flock", late)
    with alone(lock, "it"):
        assert n_locked == 2
        monkeypatch.undo()
        with pytest.raises(FileExistsError), alone(lock, "it"):
            pytest.fail("it is locked")


@needs_locks
def test_a_disk_without_locks_is_in_nobodys_way(tmp_path, monkeypatch):
    def refuses(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuses)
    with alone(tmp_path / "lock", "it"), alone(tmp_path / "lock", "it"):
        pass
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(os.name != "posix", reason="folders are locked on POSIX")
def test_one_waits_until_the_other_is_done(tmp_path):
    waits = f"""
from pathlib import Path
from gnnimpute._atomic import in_turn
print("begins", flush=True)
with in_turn(Path({str(tmp_path / "result")!r})):
    print(Path({str(tmp_path / "result")!r}).read_text())
"""
    with in_turn(tmp_path / "result"):
        other = subprocess.Popen([sys.executable, "-c", waits], stdout=subprocess.PIPE, text=True)
        assert other.stdout.readline() == "begins\n"
        with pytest.raises(subprocess.TimeoutExpired):
            other.wait(0.2)
        (tmp_path / "result").write_text("of the first")
    assert other.communicate(timeout=30)[0] == "of the first\n"
    assert [path.name for path in tmp_path.iterdir()] == ["result"]


def test_where_folders_cannot_be_locked_nobody_waits(tmp_path, monkeypatch):
    for without in (None, _Refusing()):
        monkeypatch.setattr("gnnimpute._atomic.fcntl", without)
        with in_turn(tmp_path / "result"), in_turn(tmp_path / "result"):
            (tmp_path / "result").write_text("new")


class _Refusing:
    LOCK_EX = 2

    def flock(self, *_):
        raise OSError
