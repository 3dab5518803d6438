"""What every layer of a net reaches, in GFLOP/s and GB/s, and what part of this machine's peak that is.

    python benchmarks/kernels.py resnet50 [NET.prototxt ...] [--mode train|infer] [--batch N] [--rounds 9] [--top 30]
    python benchmarks/kernels.py --write

Nets are files, or names of nets.py; all seven are taken by default, trained and (at batch 1) used. Layers that run
as one step are one row. Its operations are those of net/cost.py, for each product that the pass computes (backward:
the gradients of data and of weights), its bytes those of the arrays that it reads and that it writes, each once.
Weights and activations count, buffers of the kernels do not. The peak of arithmetic is that of the product of two
square matrices, the peak of memory that of a copy that no cache holds. A row that is near 100 % of one of them has
nothing left to gain; caches make more than 100 % of memory's peak possible. --write puts the sums of the layers of a
kind, of those that take 2 % of a net or more, into docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import worker
from measure import machine, when, write
from nets import NETS, prepare

from pycaffe_lite.text_table import aligned


class Row(NamedTuple):
    """A step of one pass, or the sum of several."""

    seconds: float
    flops: float
    bytes: float
    direction: str
    types: str
    names: str

    def cells(self, peak: Peak) -> list[str]:
        """Microseconds; GFLOP/s, GB/s and their parts of the peak."""
        flops, moved = self.flops / self.seconds, self.bytes / self.seconds
        return [
            f"{self.seconds * 1e6:.0f}",
            f"{flops / 1e9:.1f}", f"{flops / peak.flops:.0%}",
            f"{moved / 1e9:.1f}", f"{moved / peak.bytes:.0%}",
        ]  # fmt: skip


class Peak(NamedTuple):
    """The machine's operations and bytes in a second, on all threads."""

    flops: float
    bytes: float

    def __str__(self) -> str:
        return f"{self.flops / 1e9:.0f} GFLOP/s, {self.bytes / 1e9:.1f} GB/s"


RATES = ("us", "GFLOP/s", "of peak", "GB/s", "of peak")


def clocked(call: Callable[[], Any], rounds: int, choose: Callable[[list[float]], float] = statistics.median) -> float:
    """The median seconds of a call, or what else is chosen."""
    times = []
    for _ in range(rounds):
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return choose(times)


def measure_peak() -> Peak:
    """Measure a product and a copy; the fastest of several counts."""
    from pycaffe_lite import ops
    from pycaffe_lite.backend.cpu.program import Program
    from pycaffe_lite.backend.cpu.workspace import aligned as room
    from pycaffe_lite.kernel import recording

    size, count = 768, 1 << 25
    a, b, c = (room(size * size) for _ in range(3))
    product, copy = Program(), Program()
    with recording(product):
        ops.gemm(a, b, c, size, size, size)
    x, y = room(count), room(count)
    with recording(copy):
        ops.copy(x, count, y)
    for program in (product, copy):
        program.run()
    return Peak(2 * size**3 / clocked(product.run, 25, min), 8 * count / clocked(copy.run, 9, min))


def owner(array: np.ndarray) -> int:
    """Which memory an array is a piece of."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return id(array)


def memories(net: Any) -> set[int]:
    """Those of the net: of its blobs, and of what its layers keep from forward to backward."""
    from pycaffe_lite.device import CPU
    from pycaffe_lite.net.plan import all_blobs

    blobs = [*all_blobs(net.graph), *(entry.blob for entry in net.graph.learnable)]
    held = [memory.array_on(CPU) for blob in blobs for memory in (blob.data_memory, blob.diff_memory)]
    held += [value for layer in net.layers for value in vars(layer).values() if isinstance(value, np.ndarray)]
    return {owner(array) for array in held}


def touched(kernel: Any, args: tuple[Any, ...], known: set[int]) -> Iterator[tuple[tuple[int, bool], int]]:
    """The net's arrays that a launch reads or writes (by address and which), and their bytes; no tables."""
    for parameter, array in zip(kernel.parameters, args):
        if parameter.kind in ("T*", "int*", "byte*") and array is not None and owner(array) in known:
            yield (array.ctypes.data, parameter.written), array.nbytes


def flops(node: Any, direction: str) -> float:
    """The operations of a layer in a pass; products, once for each gradient that is computed."""
    from pycaffe_lite.net.cost import PRODUCTS, cost

    passes = 1
    if direction == "backward" and node.layer.type in PRODUCTS:
        passes = int(node.propagate_down[0]) + int(node.layer.learns(0))
    return passes * cost(node).flops


def rows(net: Any, direction: str, rounds: int) -> list[Row]:
    """What the steps of a pass take."""
    plan, known, found = net.runner.plan(direction), memories(net), []
    launched = plan.program.launched
    for step in plan.steps:
        if step.on_host or step.first == step.last:
            continue
        seconds = clocked(lambda step=step: plan.program.run(step.first, step.last), rounds)
        moved = dict(pair for i in range(step.first, step.last) for pair in touched(*launched[i], known))
        types = " + ".join(node.layer.type for node in step.nodes)
        names = " + ".join(node.layer.name for node in step.nodes)
        work = sum(flops(node, direction) for node in step.nodes)
        found.append(Row(seconds, work, sum(moved.values()), direction, types, names))
    return found


def measure(path: Path, mode: str, batch: int | None, rounds: int) -> list[Row]:
    """All rows of a net, made as it is for training or for use."""
    net, step = worker.made(str(path), mode, batch)
    step()
    return [row for way in ("forward", "backward")[: 2 if mode == "train" else 1] for row in rows(net, way, rounds)]


def sums(found: list[Row]) -> list[Row]:
    """One row for all of a kind in a pass, those that take longest first."""
    kinds: dict[tuple[str, str], list[Row]] = {}
    for row in found:
        kinds.setdefault((row.direction, row.types), []).append(row)
    made = [
        Row(*(sum(row[i] for row in group) for i in range(3)), *kind, str(len(group)))  # type: ignore[arg-type]
        for kind, group in kinds.items()
    ]
    return sorted(made, reverse=True)


def printed(found: list[Row], peak: Peak) -> str:
    """All rows in columns."""
    columns = [(name, "right") for name in RATES] + [("pass", "left"), ("layers", "left")]
    return "\n".join(
        aligned(columns, [[*row.cells(peak), row.direction, f"{row.types}: {row.names}"] for row in found])
    )


def summary(net: str, case: str, found: list[Row], peak: Peak) -> list[str]:
    """The sums of a net for the document."""
    whole = sum(row.seconds for row in found)
    lines = []
    for row in [Row(whole, *(sum(r[i] for r in found) for i in (1, 2)), "both", "all", ""), *sums(found)]:
        if row.seconds >= 0.02 * whole:
            share = [f"{row.seconds / whole:.0%}", *row.cells(peak)]
            lines.append(f"| {' | '.join([net, case, row.direction, row.types, row.names, *share])} |")
    return lines


def main() -> None:
    """Measure nets and print their tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("nets", nargs="*", help=f"files, or some of: {', '.join(NETS)} (default: these)")
    parser.add_argument("--mode", choices=("train", "infer"), help="default: both, infer at batch 1")
    parser.add_argument("--batch", type=int, help="default: as the net says, and 1 for infer")
    parser.add_argument("--rounds", type=int, default=9, help="runs of each layer, of which the median counts")
    parser.add_argument("--top", type=int, metavar="N", help="only the N that take longest (default: all, in order)")
    parser.add_argument("--write", action="store_true", help="put the sums into docs/benchmarks.md")
    args = parser.parse_args()
    from pycaffe_lite.backend.cpu import pool

    peak, lines = measure_peak(), []
    print(f"peak of {pool.threads()} threads: {peak}")
    with tempfile.TemporaryDirectory() as folder:
        for net in args.nets or NETS:
            path = prepare(net, Path(folder)) if net in NETS else Path(net)
            for mode in (args.mode,) if args.mode else ("train", "infer"):
                batch = args.batch or (1 if mode == "infer" else None)
                found = measure(path, mode, batch, args.rounds)
                case = mode if batch is None else f"{mode} {batch}"
                shown = sorted(found, reverse=True)[: args.top] if args.top else found
                print(f"\n{net}, {case}: {sum(row.seconds for row in found) * 1e3:.2f} ms\n{printed(shown, peak)}")
                lines += summary(Path(net).stem, case, found, peak)
    if args.write:
        columns = ("net", "case", "pass", "layers", "steps", "of the net", *RATES)
        head = [f"Measured {when()}: {machine(pool.threads())}. Its peak: {peak}.", "", f"| {' | '.join(columns)} |"]
        write("kernels.py", "\n".join([*head, "|---" * len(columns) + "|", *lines]))
    sys.stdout.flush()


if __name__ == "__main__":
    main()
