"""The experiments of the paper, each with its numbers, its figure, and ours beside the published.

    python benchmarks/paper/run.py [EXPERIMENT ...] --data FOLDER --out FOLDER

Without names, all of them. What is in the CSV of an experiment is not computed again: interrupt, and go on with the
same command. README.md in this folder says what each does and what it costs.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
from pathlib import Path


def main(arguments: list[str] | None = None) -> int:
    """Run experiments; give 1 if one of them could not be."""
    args = _parser().parse_args(arguments)
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(args.threads)  # before numerical libraries are loaded
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    logging.basicConfig(format="  %(message)s", level=logging.WARNING)
    logging.getLogger("gnnimpute._benchmark").setLevel(logging.INFO)
    import tables
    import torch
    from experiments import EXPERIMENTS
    from experiments.data import Absent
    from experiments.setting import Setting

    torch.set_num_threads(args.threads)
    if unknown := [name for name in args.experiments if name not in EXPERIMENTS]:
        print(f"There is no experiment {unknown[0]!r}, but {', '.join(EXPERIMENTS)}.", file=sys.stderr)
        return 2
    args.out.mkdir(parents=True, exist_ok=True)
    setting = Setting(out=args.out, data=args.data, n_seeds=args.seeds, epochs=args.epochs, peers=args.peers,
                      methods=args.methods, threads=args.threads, jobs=args.jobs, time_limit=args.time_limit,
                      sim_cells=args.sim_cells, sim_genes=args.sim_genes, full=args.full, retry=args.retry)  # fmt: skip
    left_out = {}
    for name in args.experiments or EXPERIMENTS:
        started = time.monotonic()
        print(f"{name}: {EXPERIMENTS[name].TITLE}", flush=True)
        try:
            EXPERIMENTS[name].compute(setting, args.out / f"{name}.csv")
        except (ValueError, OSError) as error:
            print(f"Error: {error}", file=sys.stderr)
            return 2
        except KeyboardInterrupt:
            print("Interrupted: the same command goes on from here.", file=sys.stderr)
            return 130
        except Absent as reason:
            left_out[name] = str(reason)
            print(f"  not run. {reason}", file=sys.stderr)
            continue
        print(f"{name}: {tables.of(name, args.out).line} ({time.monotonic() - started:.0f} s)", flush=True)
        tables.write(args.out, left_out)
    tables.write(args.out, left_out)
    print(f"All tables are in {args.out / tables.SUMMARY}")
    return 1 if left_out else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiments", nargs="*", metavar="EXPERIMENT", help="default: all")
    parser.add_argument("--data", type=_folder, help="folder of the data; what it lacks is downloaded if it can be")
    parser.add_argument("--out", type=Path, default=Path("results/paper"), help="folder of the results (%(default)s)")
    parser.add_argument("--seeds", type=_positive, help="number of seeds, from 0 (default: headline 5, others 1)")
    parser.add_argument("--epochs", type=_positive, help="most epochs of every network")
    parser.add_argument("--peers", type=_folder, help="folder of adapters of other methods, such as benchmarks/peers")
    parser.add_argument("--methods", type=lambda text: tuple(text.split(";")),
                        help="methods of blind comparisons, with ; between (default: all; in dropout and splatter "
                             "other methods, and of ours those for non-zeros)")  # fmt: skip
    parser.add_argument("--threads", type=_positive, default=2, help="threads (%(default)s)")
    parser.add_argument("--jobs", type=_positive, default=1,
                        help="labelled networks trained side by side (%(default)s)")  # fmt: skip
    parser.add_argument("--time-limit", type=float, default=600,
                        help="seconds of each method in blind comparisons (%(default)g)")  # fmt: skip
    parser.add_argument("--retry", action="store_true", help="also run again what failed or timed out")
    parser.add_argument("--sim-cells", type=_positive, help="cells of simulated sets (default: 600, with --full 4000)")
    parser.add_argument("--sim-genes", type=_positive, default=20_000, help="genes of simulated sets (%(default)s)")
    parser.add_argument("--full", action="store_true", help="networks and simulations at their published size")
    return parser


def _positive(text: str) -> int:
    if not text.isdecimal() or not int(text):
        msg = f"{text} is not a number above 0"
        raise argparse.ArgumentTypeError(msg)
    return int(text)


def _folder(text: str) -> Path:
    if not Path(text).is_dir():
        msg = f"there is no folder {text}"
        raise argparse.ArgumentTypeError(msg)
    return Path(text)


if __name__ == "__main__":
    sys.exit(main())
