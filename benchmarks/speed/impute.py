"""How long does `gnnimpute impute` take, and how much memory? The whole process, read to written, on each file.

    python benchmarks/speed/impute.py FILES... [--threads 2] [--repeat 1] [--out results.csv] [-- OPTIONS OF IMPUTE]

Wall time is the median of the repeats, memory the most that the process ever held (its peak resident set).
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd


def run(path: Path, *, threads: int, options: list[str]) -> dict[str, float]:
    """One run: wall seconds, processor seconds, and peak memory in GB."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "gnnimpute", "impute", str(path), f"{folder}/out.h5ad", "--quiet", *options]
        started = time.perf_counter()
        process = subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": str(threads)})
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
    if code := os.waitstatus_to_exitcode(status):
        sys.exit(f"{' '.join(command)} ended with exit code {code}.")
    unit = 1e9 if sys.platform == "darwin" else 1e6  # macOS counts bytes, Linux kilobytes
    return {"seconds": seconds, "cpu_seconds": usage.ru_utime + usage.ru_stime, "peak_gb": usage.ru_maxrss / unit}


def main() -> None:
    """Time every file; write what there is after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--threads", type=int, default=2, help="processor threads (default 2)")
    parser.add_argument("--repeat", type=int, default=1, help="runs of each file (default 1)")
    parser.add_argument("--out", type=Path, help="CSV to write; must not exist")
    args, options = parser.parse_known_args()
    if args.out and args.out.exists():
        parser.error(f"{args.out} exists: name another file")
    rows = []
    for path in args.files:
        runs = [run(path, threads=args.threads, options=[o for o in options if o != "--"]) for _ in range(args.repeat)]
        median = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
        rows.append({"data": path.stem, "threads": args.threads, "repeats": args.repeat, **median})
        print(f"{path.stem}: {median['seconds']:.0f} s, {median['peak_gb']:.2f} GB", file=sys.stderr, flush=True)
        if args.out:
            pd.DataFrame(rows).to_csv(args.out, index=False)
    print(pd.DataFrame(rows).to_string(index=False, float_format="%.2f"))


if __name__ == "__main__":
    main()
