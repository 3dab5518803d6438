"""What every layer of a net reaches, in GFLOP/s and GB/s, against the peak of this machine.

    python benchmarks/kernels.py NET.prototxt [--phase TEST] [--rounds 9] [--top 30]

A layer's operations are those of net/cost.py (twice for a backward pass of products that gives both gradients, of
data and of weights), its bytes the arrays that its launches name, each once a launch. Layers that run as one step
are one row. The peak of arithmetic is that of the product of two square
matrices, the peak of memory that of a copy that no cache holds. The last column is the better of both
parts: near 100 % nothing is left to gain. Caches make more than 100 % of memory's peak possible.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np


class Row(NamedTuple):
    """One layer in one pass."""

    seconds: float
    flops: float
    bytes: float
    what: str


def clocked(call: Callable[[], Any], rounds: int) -> float:
    """The median seconds of a call."""
    times = []
    for _ in range(rounds):
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


def peaks() -> tuple[float, float]:
    """The machine's operations and bytes in a second, on all threads."""
    from pycaffe_lite import ops
    from pycaffe_lite.backend.cpu.program import Program
    from pycaffe_lite.backend.cpu.workspace import aligned
    from pycaffe_lite.kernel import recording

    size, count = 768, 1 << 25
    a, b, c = (aligned(size * size) for _ in range(3))
    product, copy = Program(), Program()
    with recording(product):
        ops.gemm(a, b, c, size, size, size)
    x, y = aligned(count), aligned(count)
    with recording(copy):
        ops.copy(x, count, y)
    product.run()
    return 2 * size**3 / clocked(product.run, 15), 8 * count / clocked(copy.run, 9)


def launch_bytes(kernel: Any, args: tuple[Any, ...]) -> int:
    """Bytes of the arrays that a launch names; tables and scratch are left out."""
    kinds = ("T*", "int*", "byte*")
    arrays = [a for p, a in zip(kernel.parameters, args) if p.kind in kinds and a is not None and p.name != "spans"]
    return sum(a.nbytes for a in arrays)


def rows(net: Any, direction: str, rounds: int) -> list[Row]:
    """What the layers of a pass take."""
    from pycaffe_lite.net.cost import PRODUCTS, cost

    plan, found = net.runner.plan(direction), []
    launched = plan.program.launched
    for step in plan.steps:
        if step.on_host or step.first == step.last:
            continue
        seconds = clocked(lambda step=step: plan.program.run(step.first, step.last), rounds)
        moved = sum(launch_bytes(*launched[i]) for i in range(step.first, step.last))
        flops, names = 0.0, []
        for node in step.nodes:  # several, where a pass has joined layers
            passes = node.propagate_down[0] + 1 if direction == "backward" and node.layer.type in PRODUCTS else 1
            flops += passes * cost(node).flops
            names.append(f"{node.layer.type} {node.layer.name}")
        found.append(Row(seconds, flops, moved, f"{direction:8} {' + '.join(names)}"))
    return found


def main() -> None:
    """Measure a net and print its table."""
    from pycaffe_lite.backend.cpu import pool
    from pycaffe_lite.net import offline
    from pycaffe_lite.net.net import Net
    from pycaffe_lite.proto import caffe_pb2

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("net", help="a prototxt")
    parser.add_argument("--phase", choices=("TRAIN", "TEST"), default="TRAIN", help="default: TRAIN, with backward")
    parser.add_argument("--rounds", type=int, default=9, help="runs of each layer, of which the median counts")
    parser.add_argument("--top", type=int, metavar="N", help="only the N that take longest (default: all, in order)")
    args = parser.parse_args()
    net = Net.from_proto(offline.stand_in(offline.read_selected(args.net, getattr(caffe_pb2, args.phase))).param)
    for name in net.inputs:
        net.blobs[name].data[...] = np.random.default_rng(0).integers(0, 2, net.blobs[name].shape)
    net.run_forward()
    found = rows(net, "forward", args.rounds)
    if args.phase == "TRAIN":
        net.run_backward()
        found += rows(net, "backward", args.rounds)
    if args.top:
        found = sorted(found, reverse=True)[: args.top]
    arithmetic, memory = peaks()
    print(f"peak of {pool.threads()} threads: {arithmetic / 1e9:.0f} GFLOP/s, {memory / 1e9:.1f} GB/s", file=sys.stderr)
    print(f"{'us':>9} {'GFLOP/s':>8} {'GB/s':>6} {'of peak':>8}  pass, layer")
    for seconds, flops, moved, what in found:
        part = max(flops / seconds / arithmetic, moved / seconds / memory)
        print(f"{seconds * 1e6:9.0f} {flops / seconds / 1e9:8.1f} {moved / seconds / 1e9:6.1f} {part:8.0%}  {what}")


if __name__ == "__main__":
    main()
