"""`caffe-lite time`: how long each layer takes, forward and backward, and what memory the net has."""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

from . import caffe_log
from .common import add_device_options, add_net_options, choose_device, stages


def add_parser(verbs: Any) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "time",
        help="time each layer of a net, forward and backward",
        description="Time a net layer by layer. On a terminal a table, into a file or pipe Caffe's log lines.",
        epilog="Example: caffe-lite time --model models/lenet/lenet_train_test.prototxt --iterations 20",
    )
    parser.add_argument("--model", required=True, metavar="FILE", help="the net's prototxt")
    parser.add_argument("--weights", metavar="FILE", help="its .caffemodel (default: values from the fillers)")
    parser.add_argument(
        "--phase", choices=("TRAIN", "TEST"), default="TRAIN", help="the phase of its layers (default: TRAIN)"
    )
    parser.add_argument(
        "--iterations", type=int, default=50, metavar="N", help="iterations to average over (default: 50)"
    )
    parser.add_argument(
        "--share", action="store_true", help="let blobs use the same memory by turns, as train and test do"
    )
    add_device_options(parser)
    add_net_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Warm up, time every layer alone, report."""
    from ..errors import ConfigError
    from ..net.net import Net
    from ..proto import caffe_pb2

    if args.iterations < 1:
        raise ConfigError(f"--iterations: must be at least 1, got {args.iterations}")
    caffe_log.write_log(level=30 if sys.stdout.isatty() else 20)
    caffe_log.tell("caffe.cpp:352", choose_device(args))
    phase = getattr(caffe_pb2, args.phase)
    how = {"share_memory": args.share, "allow_unknown": args.allow_unknown_fields}
    net = Net(args.model, phase, args.level, stages(args), args.weights, **how)
    caffe_log.tell("caffe.cpp:360", "Performing Forward")
    caffe_log.tell("caffe.cpp:365", f"Initial loss: {caffe_log.number(net.run_forward())}")
    caffe_log.tell("caffe.cpp:366", "Performing Backward")
    net.run_backward()
    timing = Timing(net)
    caffe_log.tell("caffe.cpp:374", "*** Benchmark begins ***")
    caffe_log.tell("caffe.cpp:375", f"Testing for {args.iterations} iterations.")
    for iteration in range(args.iterations):
        elapsed = timing.iterate()
        caffe_log.tell("caffe.cpp:403", f"Iteration: {iteration + 1} forward-backward time: {elapsed * 1e3:.3f} ms.")
    (table if sys.stdout.isatty() else caffe_lines)(timing)
    return 0


class Timing:
    """Seconds of each layer's passes, summed over iterations."""

    def __init__(self, net: Any):
        self.net, count = net, len(net.layers)
        self.forward, self.backward = [0.0] * count, [0.0] * count
        self.iterations, self.total = 0, 0.0

    def iterate(self) -> float:
        """Run every layer alone, forward and backward; returns the seconds it took."""
        net, start = self.net, time.perf_counter()
        last = len(net.layers) - 1
        for index in range(last + 1):
            self.forward[index] += clocked(net, net.run_forward, index)
        for index in range(last, -1, -1):
            self.backward[index] += clocked(net, net.run_backward, index)
        elapsed = time.perf_counter() - start
        self.iterations, self.total = self.iterations + 1, self.total + elapsed
        return elapsed

    def rows(self) -> list[tuple[str, str, float, float]]:
        """(layer, type, forward ms, backward ms) an iteration."""
        scale = 1e3 / self.iterations
        layers = self.net.layers
        return [(la.name, la.type, f * scale, b * scale) for la, f, b in zip(layers, self.forward, self.backward)]


def clocked(net: Any, run: Any, index: int) -> float:
    """Seconds that a pass of one layer takes; on a GPU, until it is really done."""
    start = time.perf_counter()
    run(index, index)
    net.device.synchronize()
    return time.perf_counter() - start


def caffe_lines(timing: Timing) -> None:
    """The report as Caffe logs it, memory added."""
    tell = caffe_log.tell
    tell("caffe.cpp:406", "Average time per layer: ")
    for name, _, forward, backward in timing.rows():
        tell("caffe.cpp:409", f"{name:>10}\tforward: {forward:g} ms.")
        tell("caffe.cpp:412", f"{name:>10}\tbackward: {backward:g} ms.")
    scale = 1e3 / timing.iterations
    tell("caffe.cpp:417", f"Average Forward pass: {sum(timing.forward) * scale:g} ms.")
    tell("caffe.cpp:419", f"Average Backward pass: {sum(timing.backward) * scale:g} ms.")
    tell("caffe.cpp:421", f"Average Forward-Backward: {timing.total * scale:g} ms.")
    tell("caffe.cpp:423", f"Total Time: {timing.total * 1e3:g} ms.")
    for kind, size in timing.net.memory_bytes.items():
        tell("time.py:0", f"Memory for {kind}: {size} bytes")
    tell("caffe.cpp:424", "*** Benchmark ends ***")


def table(timing: Timing) -> None:
    """The report as a table."""
    from rich.console import Console
    from rich.table import Table

    made = Table(title=f"{timing.net.name}: mean of {timing.iterations} iterations")
    for column, justify in (
        ("layer", "left"),
        ("type", "left"),
        ("forward ms", "right"),
        ("backward ms", "right"),
        ("share", "right"),
    ):
        made.add_column(column, justify=justify)  # type: ignore[arg-type]
    rows = timing.rows()
    whole = sum(f + b for _, _, f, b in rows) or 1
    for name, kind, forward, backward in rows:
        made.add_row(name, kind, f"{forward:.3f}", f"{backward:.3f}", f"{(forward + backward) / whole:.1%}")
    made.add_section()
    made.add_row("all", "", f"{sum(r[2] for r in rows):.3f}", f"{sum(r[3] for r in rows):.3f}", "")
    console = Console()
    console.print(made)
    console.print(
        "memory: " + ", ".join(f"{kind} {size / 2**20:.1f} MB" for kind, size in timing.net.memory_bytes.items())
    )
