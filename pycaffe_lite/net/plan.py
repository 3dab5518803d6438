"""From a Graph to a Plan: every layer's recipe recorded once, as steps that are run ever after."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal

import numpy as np

from .. import ops
from ..blob import Blob
from ..device import CPU, Device
from ..kernel import recording
from ..layer import Layer, Operand
from ..memory import Memory
from .place import Buffer, place
from .wire import Graph, Node

Pass = Literal["forward", "backward"]


@dataclass
class Step:
    """One layer's part of a pass: rows of the program, or a call on the host; and what it touches."""

    node: Node
    index: int  # of the layer in the net
    reads: list[Memory]
    writes: list[Memory]
    first: int = 0
    last: int = 0

    @property
    def on_host(self) -> bool:
        return self.node.layer.on_host


class Plan:
    """The steps of one pass over a graph on one device, in the order in which they run."""

    def __init__(self, graph: Graph, direction: Pass, device: Device):
        self.direction, self.device = direction, device
        self.program = device.program(graph.dtype)
        self.steps: list[Step] = []
        nodes = list(enumerate(graph.nodes))
        for index, node in nodes if direction == "forward" else reversed(nodes):
            if direction == "forward" or node.needs_backward or node.renamed:
                self.steps.append(self.record(index, node))
        # Where the host is the device, blobs never move: skip asking.
        self._moves = device is not CPU

    def record(self, index: int, node: Node) -> Step:
        """Run the recipe of one layer, its launches going into the program."""
        if self.direction == "backward":
            refuse_gradients(node)
        reads, writes = touched(node, self.direction)
        step = Step(node, index, reads, writes, first=len(self.program))
        if not step.on_host:
            operands = [Operand(b, self.device) for b in node.bottom], [Operand(t, self.device) for t in node.top]
            node.layer.params = [Operand(b, self.device) for b in node.layer.blobs]
            with recording(self.program):
                for top, named in node.renamed:
                    hand_on(Operand(top, self.device), Operand(named, self.device), self.direction)
                if self.direction == "forward":
                    node.layer.forward(*operands)
                elif node.layer.differentiable:
                    node.layer.backward(operands[1], node.propagate_down, operands[0])
        step.last = len(self.program)
        if step.first == step.last and not step.on_host:  # Input, a view: what the host wrote stays the newest
            step.reads, step.writes = [], []
        return step

    def segments(self, first: int, last: int) -> Iterator[list[Step]]:
        """The steps of layers first..last (included), in lists that run in one go: each one on the host is alone."""
        steps = (step for step in self.steps if first <= step.index <= last)
        for _, segment in groupby(steps, lambda step: step.index if step.on_host else -1):
            yield list(segment)

    def run(self, segment: list[Step]) -> None:
        """Run a segment on the device; what it reads is brought there first."""
        if self._moves:
            for memory in {m for step in segment for m in step.reads}:
                memory.to_device(self.device)
        self.program.run(segment[0].first, segment[-1].last)
        if self._moves:
            for memory in {m for step in segment for m in step.writes}:
                memory.written_on(self.device)


def hand_on(top: Operand, named: Operand, direction: Pass) -> None:
    """Record what keeps an input and the blob with its name alike: values go to the input, its gradient comes back."""
    if direction == "forward":
        ops.copy(named.data, top.count, top.data)
    else:
        ops.copy(top.diff, top.count, named.diff)


def refuse_gradients(node: Node) -> None:
    """A gradient that does not exist (of an accuracy, for labels): say so, instead of leaving it out."""
    for index, wanted in enumerate(node.propagate_down):
        if wanted and (index in node.layer.no_gradient_to or not node.layer.differentiable):
            raise node.layer.error(
                f"cannot back-propagate to bottom {index} ({node.layer.bottom_names[index]!r}); "
                f"give the layer propagate_down: false for it"
            )


def touched(node: Node, direction: Pass) -> tuple[list[Memory], list[Memory]]:
    """The memories that a layer reads and writes in this pass, from the facts it states."""
    layer, values = node.layer, [b.data_memory for b in node.layer.blobs]
    if node.renamed and direction == "forward":
        return [named.data_memory for _, named in node.renamed], [top.data_memory for top, _ in node.renamed]
    if node.renamed:
        return [top.diff_memory for top, _ in node.renamed], [named.diff_memory for _, named in node.renamed]
    if direction == "forward":
        if layer.shares_data:
            return [], []
        statistics = [value for value, param in zip(values, node.params) if param.statistic]
        return [b.data_memory for b in node.bottom] + values, [t.data_memory for t in node.top] + statistics
    if layer.shares_diff:
        return [], []
    kept = {"bottom": node.bottom, "top": node.top}
    reads = [b.data_memory for end in layer.backward_reads for b in kept[end]]
    gradients = [b.diff_memory for i, b in enumerate(layer.blobs) if layer.learns(i)]
    reads += [t.diff_memory for t in node.top] + values + gradients
    return reads, [b.diff_memory for b, wanted in zip(node.bottom, node.propagate_down) if wanted] + gradients


def allocate(graph: Graph, device: Device, share: bool = False, keep: frozenset[str] = frozenset()) -> dict[str, int]:
    """Place all blobs of the graph; returns bytes by kind.

    Parameters lie one behind the other in one array for values and one for gradients, so that a solver
    updates them all in one pass. With `share`, activations whose lives do not overlap use the same memory
    (then only the blobs named in `keep`, and the outputs, can be read after a run).
    """
    owned = [entry.blob for entry in graph.learnable]
    graph.flat_data = place([Buffer(b.data_memory, 0, 0) for b in owned], device)
    graph.flat_diff = place([Buffer(b.diff_memory, 0, 0) for b in owned], device)
    for node in graph.nodes:  # parameters shared by name
        share_owned(node, graph)
    lives = lifetimes(graph, keep | set(graph.outputs) if share else set(graph.blobs))
    activations = place(lives, device, share)
    scratch = sum(make_scratch(node, graph, device) for node in graph.nodes)
    arenas = {"parameters": graph.flat_data, "parameter gradients": graph.flat_diff, "activations": activations}
    bytes_of = {kind: 0 if arena is None else arena.nbytes for kind, arena in arenas.items()} | {"scratch": scratch}
    kept = sum(getattr(node.layer, "kept_bytes", 0) for node in graph.nodes)  # data that stay on a GPU
    return bytes_of | ({"data": kept} if kept else {})


def share_owned(node: Node, graph: Graph) -> None:
    """Point shared parameters at the (now placed) memory of their owner."""
    by_name = {entry.name: entry for entry in graph.learnable if entry.name}
    for blob, spec in zip(node.layer.blobs, node.layer.message.param):
        if spec.name in by_name and by_name[spec.name].blob is not blob:
            blob.share_data(by_name[spec.name].blob)
            blob.share_diff(by_name[spec.name].blob)


def lifetimes(graph: Graph, keep: set[str]) -> list[Buffer]:
    """First and last step that touches each activation; kept ones, and those read before written, live always."""
    steps = [("forward", node) for node in graph.nodes]
    steps += [("backward", node) for node in reversed(graph.nodes) if node.needs_backward or node.renamed]
    life: dict[int, Buffer] = {}
    parameters = {id(m) for n in graph.nodes for b in n.layer.blobs for m in (b.data_memory, b.diff_memory)}
    written: set[int] = set()
    for at, (direction, node) in enumerate(steps):
        reads, writes = touched(node, direction)  # type: ignore[arg-type]
        for memory in [*reads, *writes]:
            if id(memory) in parameters:
                continue
            buffer = life.setdefault(id(memory), Buffer(memory, at, at))
            buffer.last = at
        for memory in reads:
            if id(memory) not in written and id(memory) in life:
                life[id(memory)].first, life[id(memory)].last = 0, len(steps)
        written.update(id(m) for m in writes)
        if not node.bottom or node.layer.on_host:
            written.difference_update(id(t.data_memory) for t in node.top)
    for blob in all_blobs(graph):
        for memory in (blob.data_memory, blob.diff_memory):
            if blob.name in keep and id(memory) in life:
                life[id(memory)].first, life[id(memory)].last = 0, len(steps)
    return list(life.values())


def all_blobs(graph: Graph) -> list[Blob]:
    """Every version of every blob, once, in the order of making."""
    return list(dict.fromkeys(top for node in graph.nodes for top in node.top))


def make_scratch(node: Node, graph: Graph, device: Device) -> int:
    """Make the scratch arrays of a layer as its attributes; returns their bytes."""
    wanted = node.layer.shapes([b.shape for b in node.bottom]).scratch
    return sum(_scratch(node.layer, name, item, graph.dtype, device) for name, item in wanted.items())


def _scratch(layer: Layer, name: str, item: Any, default: Any, device: Device) -> int:
    if isinstance(item, np.ndarray):  # a table
        setattr(layer, name, device.upload(item))
        return item.nbytes
    shape, dtype = item[0], np.dtype(item[1] or default)
    count = int(np.prod(shape, dtype=np.int64))
    existing = getattr(layer, name, None)
    if existing is None or existing.shape != tuple(shape):
        setattr(layer, name, device.zeros(count, dtype).reshape(shape))
    return count * dtype.itemsize


def set_loss_diffs(graph: Graph) -> None:
    """Write each loss weight into its top's diff: what backward starts from."""
    for node in graph.nodes:
        for top, weight in zip(node.top, node.loss_weights):
            if weight:
                top.diff[...] = weight
