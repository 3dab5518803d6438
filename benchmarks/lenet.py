"""LeNet's training iteration here and in PyTorch, start-up, import and memory; each run in a fresh process.

    python benchmarks/lenet.py --peer-python PYTHON_WITH_TORCH [--write]

The peer is torch_peer.py, from the reference material beside the checkout (or in $CAFFE_LITE_SHARED); the
same net, batch and threads run on both sides, in turns. --write puts the table into docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measure import PEER, ROOT, SHARED, WORKER, heading, run, write

NET = str(SHARED / "bench" / "nets" / "lenet_train.prototxt")
LAYOUTS = ("nchw", "nhwc")


def iterations(args: argparse.Namespace) -> dict[str, list[float]]:
    """Median milliseconds of every process, by side; sides take turns, so that a busy moment hits all."""
    threads = str(args.threads)
    ours = [sys.executable, WORKER, "iteration", NET, "--iterations", str(args.iterations)]
    peer = [args.peer_python, PEER, NET]
    peer += ["--threads", threads, "--iters", str(args.iterations)]
    found: dict[str, list[float]] = {"caffe-lite": []}
    run(ours, CAFFE_LITE_THREADS=threads)  # fills the kernel cache
    for number in range(args.rounds):
        found["caffe-lite"].append(run(ours, CAFFE_LITE_THREADS=threads)["median_ms"])
        for layout in LAYOUTS if args.peer_python else ():
            found.setdefault(f"PyTorch {layout}", []).append(run([*peer, "--layout", layout])["median_ms"])
        latest = ", ".join(f"{side} {times[-1]:.2f} ms" for side, times in found.items())
        print(f"round {number + 1}: {latest}", file=sys.stderr)
    return found


def first_iteration(solver: Path, cache: str) -> float:
    """Seconds from the start of a process to the end of LeNet's first training iteration."""
    begin = time.time()
    return run([sys.executable, WORKER, "start", str(solver)], CAFFE_LITE_CACHE=cache)["done"] - begin


def start_up(solver: Path, rounds: int) -> dict[str, list[float]]:
    """First iterations with an empty kernel cache, and then with a full one."""
    found: dict[str, list[float]] = {"cold": [], "warm": []}
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as cache:
            found["cold"].append(first_iteration(solver, cache))
            found["warm"].append(first_iteration(solver, cache))
    return found


def prepare(folder: Path) -> Path:
    """LeNet's files and 70,000 synthetic digits in a folder; returns its solver."""
    for path in (ROOT / "models" / "lenet").glob("lenet*.prototxt"):
        shutil.copy(path, folder)
    command = [sys.executable, "-m", "pycaffe_lite", "data", "mnist", "--synthetic", "--out", str(folder)]
    subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True, stdout=subprocess.DEVNULL)
    return folder / "lenet_solver.prototxt"


def measure(args: argparse.Namespace) -> list[tuple[str, str]]:
    """The rows of the table: what, and how much."""
    times = iterations(args)
    medians = {side: statistics.median(values) for side, values in times.items()}
    rows = [
        (f"training iteration, {side}", f"{medians[side]:.2f} ms (runs {min(values):.2f} to {max(values):.2f})")
        for side, values in times.items()
    ]
    if args.peer_python:
        best = min((side for side in medians if side != "caffe-lite"), key=medians.__getitem__)
        rows.append((f"{best} / caffe-lite", f"**{medians[best] / medians['caffe-lite']:.2f}**"))
    with tempfile.TemporaryDirectory() as folder:
        solver = prepare(Path(folder))
        started = start_up(solver, args.rounds)
        trained = run([sys.executable, WORKER, "train", str(solver), "--iterations", "1000"])
    for state, words in (("cold", "empty"), ("warm", "full")):
        seconds = statistics.median(started[state])
        rows.append((f"process start to first iteration, kernel cache {words}", f"{seconds:.2f} s"))
    imports = [run([sys.executable, WORKER, "import"]) for _ in range(args.rounds)]
    for kind, words in (("bare", "import pycaffe_lite"), ("whole", "the same, with Net and get_solver")):
        rows.append((words, f"{statistics.median(found[kind] for found in imports):.3f} s"))
    rows.append(("training run from LMDB, tests included", f"{trained['ms_per_iteration']:.2f} ms an iteration"))
    rows.append(("its peak resident memory", f"{trained['peak_mb']:.0f} MB"))
    return rows


def table(rows: list[tuple[str, str]], threads: int) -> str:
    """The rows in Markdown, with where, when and on what they were measured."""
    lines = [heading(threads), ""]
    lines += ["| LeNet, batch 64 | median |", "|---|---|", *(f"| {what} | {much} |" for what, much in rows)]
    return "\n".join(lines)


def main() -> None:
    """Measure and print; with --write also into the document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer-python", metavar="PYTHON", help="a Python that has torch (default: no peer)")
    parser.add_argument("--rounds", type=int, default=5, help="processes of each kind (default: 5)")
    parser.add_argument("--iterations", type=int, default=200, help="timed in each process (default: 200)")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="default: all processors")
    parser.add_argument("--write", action="store_true", help="put the table into docs/benchmarks.md")
    args = parser.parse_args()
    if not Path(NET).exists():
        raise SystemExit(f"{NET}: not there; set CAFFE_LITE_SHARED to the folder of reference material")
    text = table(measure(args), args.threads)
    print(text)
    if args.write:
        write("lenet.py", text)


if __name__ == "__main__":
    main()
