"""Depthwise convolutions here and in PyTorch: MobileNet's layers, and some others, in each of their three passes.

    python benchmarks/depthwise.py --peer-python PYTHON_WITH_TORCH [--batches 1,8] [--shapes 512] [--write]

Sides take turns, each time in a fresh process that measures all shapes: here, PyTorch NCHW, PyTorch NHWC, here ...
A pass counts with the median over processes of its medians, PyTorch with its better layout in that pass.
--write replaces the rows measured in docs/benchmarks.md and leaves the others.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

PASSES = ("forward", "data", "weights")
SIDES = ("here", "nchw", "nhwc")
BATCHES = (1, 8, 16)
BUDGET, LEAST, MOST = 0.025, 7, 200  # seconds for a pass in a process, and how often it runs at least and at most
COLUMNS = ("layer", "batch", *(f"{p}, here ms" for p in PASSES), *(f"{p}, here / PyTorch" for p in PASSES))


class Shape(NamedTuple):
    """A depthwise layer on square images."""

    channels: int
    size: int
    kernel: int = 3
    stride: int = 1
    pad: int = 1
    dilation: int = 1
    multiplier: int = 1

    def __str__(self) -> str:
        more = [f"pad {self.pad}"] if self.pad != self.dilation * (self.kernel - 1) // 2 else []
        more += [f"dilation {self.dilation}"] if self.dilation > 1 else []
        more += [f"{self.multiplier} outputs each"] if self.multiplier > 1 else []
        kernel = f"{self.kernel}x{self.kernel}" + (f" s{self.stride}" if self.stride > 1 else "")
        return ", ".join([f"{self.channels}x{self.size}x{self.size} {kernel}", *more])


SHAPES = [
    Shape(32, 112), Shape(64, 112, stride=2), Shape(128, 56), Shape(128, 56, stride=2), Shape(256, 28),
    Shape(256, 28, stride=2), Shape(512, 14), Shape(512, 14, stride=2), Shape(1024, 7),  # MobileNet v1
    Shape(96, 112, stride=2), Shape(144, 56), Shape(144, 56, stride=2), Shape(192, 28), Shape(192, 28, stride=2),
    Shape(384, 14), Shape(576, 14), Shape(576, 14, stride=2), Shape(960, 7),  # v2
    Shape(72, 56, 5, 2, 2), Shape(120, 28, 5, 1, 2), Shape(672, 14, 5, 1, 2), Shape(672, 14, 5, 2, 2),
    Shape(960, 7, 5, 1, 2),  # v3
    Shape(128, 28, pad=0), Shape(512, 14, pad=2, dilation=2), Shape(256, 28, pad=1, stride=3),
    Shape(128, 28, multiplier=2), Shape(512, 14, multiplier=2),
]  # fmt: skip


def here(shape: Shape, batch: int) -> Iterator[Callable[[], Any]]:
    """The three passes, as a net runs them."""
    from pycaffe_lite.backend.cpu.convolution import Convolution
    from pycaffe_lite.backend.cpu.program import Program
    from pycaffe_lite.backend.cpu.workspace import aligned
    from pycaffe_lite.kernel import recording

    c, outputs, pair = shape.channels, shape.channels * shape.multiplier, lambda n: (n, n)
    sizes = pair(shape.size), outputs, *map(pair, (shape.kernel, shape.stride, shape.pad, shape.dilation)), c
    of = Convolution(batch, c, *sizes)
    shapes = (batch, c, *of.size), (outputs, 1, *of.kernel), (batch, outputs, *of.output)
    x, w, y, dx, dw = (aligned(math.prod(s)).reshape(s) for s in (*shapes, *shapes[:2]))
    for blob in (x, w, y):
        blob[...] = 1
    calls = (of.forward, (x, w, None, y)), (of.backward_data, (y, w, dx)), (of.backward_weights, (x, y, dw))
    for call, blobs in calls:
        program = Program()
        with recording(program):
            call(*blobs)
        yield program.run


def peer(shape: Shape, batch: int, layout: str) -> Iterator[Callable[[], Any]]:
    """The same in PyTorch."""
    import torch

    c, outputs = shape.channels, shape.channels * shape.multiplier
    form = {"nchw": torch.contiguous_format, "nhwc": torch.channels_last}[layout]
    x = torch.rand(batch, c, shape.size, shape.size).to(memory_format=form)
    w = torch.rand(outputs, 1, shape.kernel, shape.kernel).to(memory_format=form)
    where: dict[str, Any] = {"stride": shape.stride, "padding": shape.pad, "dilation": shape.dilation}
    dy = torch.rand_like(torch.conv2d(x, w, groups=c, **where))
    yield lambda: torch.conv2d(x, w, groups=c, **where)
    pairs = [[n, n] for n in where.values()]
    for wanted in ([True, False, False], [False, True, False]):
        yield lambda wanted=wanted: torch.ops.aten.convolution_backward(
            dy, x, w, None, *pairs, False, [0, 0], c, wanted
        )


def clocked(call: Callable[[], Any]) -> float:
    """The median milliseconds of a call."""
    call()
    call()
    times: list[float] = []
    end = time.perf_counter() + BUDGET
    while len(times) < LEAST or (len(times) < MOST and time.perf_counter() < end):
        begin = time.perf_counter()
        call()
        times.append(1e3 * (time.perf_counter() - begin))
    return statistics.median(times)


def measure_side(side: str, jobs: list[tuple[Shape, int]], threads: int) -> list[list[float]]:
    """What one process finds: milliseconds of the passes of every job."""
    if side != "here":
        import torch

        torch.set_num_threads(threads)
    for call in here(*jobs[0]) if side == "here" else peer(*jobs[0], side):  # until threads and clocks are awake
        for _ in range(4):
            clocked(call)
    makers = [here(*job) if side == "here" else peer(*job, side) for job in jobs]
    return [[clocked(call) for call in maker] for maker in makers]


def row(shape: Shape, batch: int, found: dict[str, list[list[float]]]) -> str:
    """A row of the table, of each side's processes."""
    best = {side: [statistics.median(ms) for ms in zip(*times)] for side, times in found.items()}
    own, peers = best["here"], [best[side] for side in SIDES[1:] if side in best]
    ratios = [f"**{a / min(others):.2f}**" for a, *others in zip(own, *peers)] if peers else [""] * len(PASSES)
    return f"| {' | '.join([str(shape), str(batch), *(f'{a:.3f}' for a in own), *ratios])} |"


def key(line: str) -> tuple[str, ...]:
    """Layer and batch of a row: what tells it from others."""
    return tuple(cell.strip() for cell in line.split("|")[1:3])


def merged(rows: list[str], before: str) -> list[str]:
    """The rows of the document with these in their places, in the order of SHAPES."""
    order = [(str(shape), str(batch)) for batch in BATCHES for shape in SHAPES]
    known = {key(line): line for line in [*re.findall(r"^\| .*$", before, re.MULTILINE), *rows]}
    return [known[k] for k in order if k in known]


def main() -> None:
    """Measure and print; with --write also into the document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer-python", metavar="PYTHON", help="a Python that has torch (default: no peer)")
    parser.add_argument("--batches", default="1,8,16", help="some of them, with commas (default: all)")
    parser.add_argument("--shapes", default="", metavar="TEXT", help="only layers whose names contain it")
    parser.add_argument("--rounds", type=int, default=3, help="processes of each side (default: 3)")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="default: all processors")
    parser.add_argument("--write", action="store_true", help="put the rows into docs/benchmarks.md")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)  # be one of the processes
    args = parser.parse_args()
    jobs = [(s, int(batch)) for batch in args.batches.split(",") for s in SHAPES if args.shapes in str(s)]
    if args.side:
        print(json.dumps(measure_side(args.side, jobs, args.threads)))
        return
    from measure import heading, read, run, write

    own = [str(Path(__file__)), "--batches", args.batches, "--shapes", args.shapes, "--threads", str(args.threads)]
    found: dict[str, list[Any]] = {side: [] for side in (SIDES if args.peer_python else SIDES[:1])}
    run([sys.executable, *own, "--side", "here"])  # fills the kernel cache
    for _ in range(args.rounds):
        for side, results in found.items():
            python = sys.executable if side == "here" else args.peer_python
            results.append(run([python, *own, "--side", side], CAFFE_LITE_THREADS=str(args.threads)))
    rows = [row(*job, {side: [r[i] for r in results] for side, results in found.items()}) for i, job in enumerate(jobs)]

    def table(lines: list[str]) -> str:
        return "\n".join([heading(args.threads), "", f"| {' | '.join(COLUMNS)} |", "|---" * len(COLUMNS) + "|", *lines])

    if args.write:
        write("depthwise.py", table(merged(rows, read("depthwise.py"))))
    print(table(rows))


if __name__ == "__main__":
    main()
