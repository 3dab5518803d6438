"""One measurement in a process of its own; prints a JSON object. `lenet.py` starts these.

python benchmarks/worker.py iteration NET --iterations 200
python benchmarks/worker.py start SOLVER
python benchmarks/worker.py train SOLVER --iterations 1000
python benchmarks/worker.py import
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import sys
import time

WARM_UP = 5  # iterations before the clock starts, as many as the peer runs


def iteration(net: str, iterations: int) -> dict[str, float]:
    """Milliseconds of forward, backward and update on random data, with the peer's solver."""
    import numpy as np

    from pycaffe_lite.proto import SolverParameter
    from pycaffe_lite.solver.solver import Solver

    rates = {"base_lr": 0.001, "momentum": 0.9, "weight_decay": 0.0005, "lr_policy": "fixed"}
    solver = Solver(SolverParameter(net=net, random_seed=1, **rates))
    random = np.random.default_rng(0)
    data, label = (solver.net.blobs[name] for name in solver.net.inputs)
    data.data[...] = random.random(data.shape)
    label.data[...] = random.integers(0, 10, label.shape)
    times = []
    for _ in range(WARM_UP + iterations):
        start = time.perf_counter()
        solver.step(1)
        times.append(1e3 * (time.perf_counter() - start))
    return {"median_ms": statistics.median(times[WARM_UP:]), "min_ms": min(times[WARM_UP:])}


def start(solver: str) -> dict[str, float]:
    """When the first iteration is done, in seconds since 1970."""
    from pycaffe_lite import get_solver

    made = get_solver(solver)
    made.param.test_initialization = False  # a test of 100 batches would come first
    made.step(1)
    return {"done": time.time()}


def train(solver: str, iterations: int) -> dict[str, float]:
    """A training run as the command line does it, its tests included."""
    from pycaffe_lite import get_solver

    made = get_solver(solver)
    made.step(WARM_UP)
    begin = time.perf_counter()
    made.step(iterations)
    seconds = time.perf_counter() - begin
    kilo = 1 if sys.platform != "darwin" else 1024  # ru_maxrss counts KiB, on macOS bytes
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / kilo
    return {"ms_per_iteration": 1e3 * seconds / iterations, "peak_mb": peak * 1024 / 1e6}


def importing() -> dict[str, float]:
    """Seconds for the bare package, and for it with nets and solvers."""
    begin = time.perf_counter()
    import pycaffe_lite

    bare = time.perf_counter() - begin
    pycaffe_lite.Net, pycaffe_lite.get_solver  # noqa: B018  (loaded when named)
    return {"bare": bare, "whole": time.perf_counter() - begin}


def main() -> None:
    """Measure what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("iteration", "start", "train", "import"))
    parser.add_argument("file", nargs="?", help="the net's or the solver's prototxt")
    parser.add_argument("--iterations", type=int, default=200)
    args = parser.parse_args()
    if args.what == "import":
        found = importing()
    elif args.what == "start":
        found = start(args.file)
    else:
        found = {"iteration": iteration, "train": train}[args.what](args.file, args.iterations)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
