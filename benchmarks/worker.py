"""One measurement in a process of its own; prints a JSON object. `lenet.py` and `nets.py` start these.

python benchmarks/worker.py iteration NET --iterations 200 --mode train --batch 64
python benchmarks/worker.py first NET
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
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pycaffe_lite.net.net import Net

WARM_UP = 5  # iterations before the clock starts, as many as the peer runs


def made(net: str, mode: str, batch: int | None) -> tuple[Net, Callable[[], object]]:
    """A net with random data in it, as a user of this mode would make it, and what runs one iteration.

    `train` is forward, backward and update with the peer's solver, blobs sharing memory as in `caffe-lite train`;
    `forward` is the forward pass of training, blobs staying for backward to read; `infer` is that of a net for use,
    without backward and with shared memory, as `caffe-lite test` makes it.
    """
    import numpy as np

    from pycaffe_lite.net import offline
    from pycaffe_lite.net.net import Net
    from pycaffe_lite.proto import SolverParameter, caffe_pb2
    from pycaffe_lite.solver.solver import Solver

    phase = caffe_pb2.TEST if mode == "infer" else caffe_pb2.TRAIN
    param = offline.read_selected(net, phase)
    if batch:
        given = {
            top: offline.input_shapes(la)[i] for la in param.layer if la.type == "Input" for i, top in enumerate(la.top)
        }
        param = offline.stand_in(param, shapes={top: (batch, *shape[1:]) for top, shape in given.items()}).param
    if mode == "train":
        rates = {"base_lr": 0.001, "momentum": 0.9, "weight_decay": 0.0005, "lr_policy": "fixed"}
        solver = Solver(SolverParameter(net_param=param, random_seed=1, **rates), share_memory=True)
        found, step = solver.net, lambda: solver.step(1)
    else:
        found = Net.from_proto(param, share_memory=mode == "infer", forward_only=mode == "infer")
        step = found.run_forward
    random = np.random.default_rng(0)
    data, label = (found.blobs[name] for name in found.inputs)
    data.data[...] = random.random(data.shape)
    label.data[...] = random.integers(0, 10, label.shape)
    return found, step


def iteration(net: str, iterations: int, mode: str, batch: int | None) -> dict[str, float]:
    """Milliseconds of an iteration on random data, and the peak memory of the process."""
    _, step = made(net, mode, batch)
    times = []
    for _ in range(WARM_UP + iterations):
        begin = time.perf_counter()
        step()
        times.append(1e3 * (time.perf_counter() - begin))
    return {"median_ms": statistics.median(times[WARM_UP:]), "min_ms": min(times[WARM_UP:]), "peak_mb": peak_mb()}


def first(net: str, mode: str, batch: int | None) -> dict[str, float]:
    """When the first iteration is done, in seconds since 1970; and how many kernels had to be compiled for it."""
    from pycaffe_lite.backend.cpu import native

    made(net, mode, batch)[1]()
    return {"done": time.time(), "compiled": len(native.compiled)}


def peak_mb() -> float:
    """The peak of resident memory, in MB."""
    kilo = 1 if sys.platform != "darwin" else 1024  # ru_maxrss counts KiB, on macOS bytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / kilo * 1024 / 1e6


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
    return {"ms_per_iteration": 1e3 * seconds / iterations, "peak_mb": peak_mb()}


def importing() -> dict[str, float]:
    """Seconds for the bare package, and for it with nets and solvers."""
    begin = time.perf_counter()
    import pycaffe_lite

    bare = time.perf_counter() - begin
    pycaffe_lite.Net, pycaffe_lite.get_solver  # noqa: B018  (loaded when named)
    return {"bare": bare, "whole": time.perf_counter() - begin, "peak_mb": peak_mb()}


def main() -> None:
    """Measure what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("iteration", "first", "start", "train", "import"))
    parser.add_argument("file", nargs="?", help="the net's or the solver's prototxt")
    parser.add_argument("--iterations", type=int, default=200)
    parser.add_argument("--mode", choices=("train", "forward", "infer"), default="train")
    parser.add_argument("--batch", type=int)
    args = parser.parse_args()
    if args.what == "import":
        found = importing()
    elif args.what == "first":
        found = first(args.file, args.mode, args.batch)
    elif args.what == "start":
        found = start(args.file)
    elif args.what == "train":
        found = train(args.file, args.iterations)
    else:
        found = iteration(args.file, args.iterations, args.mode, args.batch)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
