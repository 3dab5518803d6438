"""Seven nets from the start of a process to the end of the first training iteration, kernels compiled or cached.

    python benchmarks/startup.py [--nets googlenet,lenet] [--rounds 3] [--write]

The kernel cache is a new folder each time: cold, every kernel is compiled; warm, all are there. Memory is made,
parameters are filled, and one iteration is trained, whose own time, once everything runs, stands beside. --write
replaces the rows measured in docs/benchmarks.md and leaves the others.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from measure import WORKER, machine, read, run, when, write
from nets import NETS, chosen, merged, prepare

COLUMNS = ("net", "batch", "case", "cold s", "warm s", "an iteration s", "kernels", "measured")


def first(net: Path, cache: str, threads: int) -> tuple[float, int]:
    """Seconds until the first iteration is done, and the kernels compiled for it."""
    begin = time.time()
    found = run([sys.executable, WORKER, "first", str(net)], CAFFE_LITE_CACHE=cache, CAFFE_LITE_THREADS=str(threads))
    return found["done"] - begin, int(found["compiled"])


def measure(net: str, path: Path, args: argparse.Namespace) -> str:
    """A row of the table."""
    cold, warm, steady, kernels = [], [], [], 0
    for _ in range(args.rounds):
        with tempfile.TemporaryDirectory() as cache:
            seconds, kernels = first(path, cache, args.threads)
            cold.append(seconds)
            seconds, missing = first(path, cache, args.threads)
            warm.append(seconds)
            if missing:
                raise SystemExit(f"{net}: {missing} kernels were compiled again: the cache does not hold them")
            command = [sys.executable, WORKER, "iteration", str(path), "--iterations", "5"]
            found = run(command, CAFFE_LITE_CACHE=cache, CAFFE_LITE_THREADS=str(args.threads))
            steady.append(found["median_ms"] / 1e3)
    cells = [net, str(NETS[net][0]), "train", *(f"{statistics.median(times):.2f}" for times in (cold, warm, steady))]
    row = f"| {' | '.join([*cells, str(kernels), when()])} |"
    print(row, file=sys.stderr)
    return row


def table(rows: list[str], threads: int) -> str:
    """The rows in Markdown."""
    return "\n".join([f"On {machine(threads)}.", "", f"| {' | '.join(COLUMNS)} |", "|---" * len(COLUMNS) + "|", *rows])


def main() -> None:
    """Measure and print; with --write also into the document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nets", default=",".join(NETS), help="some of them, with commas (default: all)")
    parser.add_argument("--rounds", type=int, default=3, help="each in a fresh process; medians count (default: 3)")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="default: all processors")
    parser.add_argument("--write", action="store_true", help="put the rows into docs/benchmarks.md")
    args = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for net in chosen(args.nets, NETS, "nets"):
            rows.append(measure(net, prepare(net, Path(folder)), args))
            if args.write:  # row by row: a run that is stopped has not been in vain
                write("startup.py", table(merged(rows, read("startup.py")), args.threads))
    print(table(rows, args.threads))


if __name__ == "__main__":
    main()
