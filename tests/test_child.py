"""Time limits, memory, exit codes, and processes that nobody leaves behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gnnimpute._child import Ended, run

pytestmark = pytest.mark.skipif(os.name != "posix", reason="process groups are POSIX")


def python(code: str, *, time_limit: float = 30) -> Ended:
    return run([sys.executable, "-c", code], time_limit=time_limit, environment=os.environ)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"


def gone(pid: int) -> bool:
    """Whether a process is gone, or goes within two seconds."""
    for _ in range(40):
        if not is_alive(pid):
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize("code", [0, 3, 69])
def test_exit_codes(code: int) -> None:
    assert python(f"raise SystemExit({code})").code == code


def test_the_end_of_stderr_is_kept() -> None:
    done = python("import sys; sys.stderr.write('x' * 9000 + '\\nlast line')")
    assert done.stderr.endswith("last line")
    assert len(done.stderr) == 4000


def test_much_output_blocks_nothing() -> None:
    done = python("import sys\nfor _ in range(2000): print('x' * 100); print('y' * 100, file=sys.stderr)")
    assert done.code == 0


def test_a_signal_is_a_code_below_0() -> None:
    assert python("import os; os.kill(os.getpid(), 9)").code == -signal.SIGKILL


def test_waiting_takes_no_processor_time() -> None:
    busy = python("import time\nwhile time.process_time() < 0.3: pass")
    idle = python("import time; time.sleep(0.3)")
    assert busy.cpu_seconds >= 0.3 > idle.cpu_seconds
    assert min(busy.seconds, idle.seconds) >= 0.3


def test_seconds_are_those_of_the_process() -> None:
    assert 0.4 < python("import time; time.sleep(0.4)").seconds < 5


def test_time_limit_ends_the_process_and_its_children(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    code = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"open({str(note)!r}, 'w').write(str(child.pid))\n"
        "time.sleep(60)"
    )
    started = time.monotonic()
    done = python(code, time_limit=1.5)
    assert done.code is None
    assert time.monotonic() - started < 10
    assert gone(int(note.read_text()))


def test_what_a_process_leaves_behind_is_ended(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    code = (
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"open({str(note)!r}, 'w').write(str(child.pid))\n"
    )
    assert python(code).code == 0
    assert gone(int(note.read_text()))


def test_an_interrupt_ends_the_process(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    code = f"import os, time; open({str(note)!r}, 'w').write(str(os.getpid())); time.sleep(60)"

    def interrupt() -> None:
        if note.exists() and note.read_text():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run([sys.executable, "-c", code], time_limit=30, environment=os.environ, tick=interrupt)
    assert gone(int(note.read_text()))


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGHUP])
def test_nothing_outlives_a_process_that_is_killed(tmp_path: Path, how: signal.Signals) -> None:
    note = tmp_path / "pids"
    inner = (
        "import os, subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"open({str(note)!r}, 'w').write(f'{{os.getpid()}} {{child.pid}}\\n')\n"
        "time.sleep(60)"
    )
    outer = f"import os, sys; from gnnimpute._child import run\nrun([sys.executable, '-c', {inner!r}], time_limit=60, "
    outer += "environment=os.environ)"
    running = subprocess.Popen([sys.executable, "-c", outer], start_new_session=True)
    try:
        for _ in range(600):
            if note.exists() and note.read_text().endswith("\n"):
                break
            time.sleep(0.05)
        pids = [int(pid) for pid in note.read_text().split()]
        assert all(map(is_alive, pids))
        os.killpg(running.pid, how)
    finally:
        running.kill()
        running.wait()
    assert all(map(gone, pids))


def test_peak_memory_is_that_of_the_process_not_of_its_parent() -> None:
    ballast = bytearray(os.urandom(1)) * 200_000_000  # touched, so that this process holds it
    small = python("import time; time.sleep(0.5)")
    large = python("import time; x = bytearray(b'x' * 100_000_000); time.sleep(0.5)")
    assert 0 < small.peak_gb < 0.1
    assert 0.1 < large.peak_gb < 0.4
    assert len(ballast)


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="sums of processes are Linux only")
def test_peak_memory_counts_children_too() -> None:
    hold = "x = bytearray(b'x' * 60_000_000); import time; time.sleep(1)"
    code = (
        "import subprocess, sys\n"
        f"both = [subprocess.Popen([sys.executable, '-c', {hold!r}]) for _ in range(2)]\n"
        "[child.wait() for child in both]"
    )
    assert python(code).peak_gb > 0.12


def test_a_program_that_is_not_there_is_an_error() -> None:
    with pytest.raises(FileNotFoundError, match="no-such-program"):
        run(["no-such-program"], time_limit=1, environment=os.environ)
