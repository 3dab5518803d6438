"""From a Graph to a Plan: every layer's recipe recorded once, as steps that are run ever after."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any

import numpy as np

from ..blob import Blob
from ..device import CPU, Device
from ..kernel import recording
from ..layer import Layer
from ..memory import Memory, aligned_size
from . import fresh as fresh_gradients
from . import passes
from .place import Buffer, place
from .schedule import Binder, Pass, Schedule, Step, needed_and_left, refuse_gradients
from .wire import Graph, Node


class Plan:
    """The steps of one pass over a graph on one device, in the order in which they run.

    Steps are those that the passes over plans have made (`net/passes.py`). A range that takes in only some of the
    layers of such a step runs these one by one.

    A `fresh` backward writes the gradients of parameters, and runs whole: its program begins with `lead` rows that
    clear those that no layer writes, which are `cleared`.
    """

    def __init__(self, graph: Graph, direction: Pass, device: Device, joined: bool = True, fresh: bool = False):
        self.graph, self.direction, self.device = graph, direction, device
        self.program = device.program(graph.dtype)
        self.steps = (passes.schedule if joined else Schedule)(graph, direction).steps
        written = fresh_gradients.written(self.steps) if fresh else frozenset()
        with recording(self.program):
            self.cleared = fresh_gradients.clear_others(graph, device, written) if fresh else []
        self.lead = len(self.program)
        bind = Binder(device, graph.dtype, written)
        for step in self.steps:
            self._record(step, bind)
        self._apart: Plan | None = None
        self._segments: dict[tuple[int, int], list[Segment]] = {}

    def _record(self, step: Step, bind: Binder) -> None:
        """Run the recipe of a step, its launches going into the program."""
        step.first = len(self.program)
        if self.direction == "backward":
            for node in step.nodes:
                refuse_gradients(node)
        if not step.on_host:
            with recording(self.program):
                step.recipe(bind)
        step.last = len(self.program)
        if step.first == step.last and not (step.on_host or step.node.bottom):  # Input: what the host wrote is newest
            step.reads, step.writes = [], []
        if self.graph.kept.issuperset(self.graph.blobs):  # somebody may have written the rest of a whole by name
            step.reads += [memory for memory in step.writes if memory.whole]

    @property
    def apart(self) -> Plan:
        """The same pass with every layer on its own."""
        if self._apart is None:
            self._apart = Plan(self.graph, self.direction, self.device, joined=False)
        return self._apart

    def segments(self, first: int, last: int) -> list[Segment]:
        """The steps of layers first..last (included), in lists that run in one go: each one on the host is alone."""
        if (first, last) not in self._segments:
            self._segments[first, last] = list(self._cut(first, last))
        return self._segments[first, last]

    def _cut(self, first: int, last: int) -> Iterator[Segment]:
        inside = [(self, step) for step in self.steps if step.is_within(first, last)]
        whole = {layer for _, step in inside for layer in step.layers}
        split = {layer for step in self.steps for layer in step.layers if first <= layer <= last} - whole
        if split:
            inside += [(self.apart, step) for step in self.apart.steps if step.index in split]
            inside.sort(key=lambda item: item[1].index, reverse=self.direction == "backward")
        groups = groupby(inside, lambda item: (id(item[0]), item[1].index if item[1].on_host else -1))
        for _, items in groups:
            found = list(items)
            yield Segment(found[0][0], (step for _, step in found))


class Segment(list[Step]):
    """Steps of one plan that run in one go."""

    def __init__(self, plan: Plan, steps: Iterable[Step]):
        super().__init__(steps)
        self.plan, self.device = plan, plan.device
        # Where the host is the device, blobs never move: skip asking.
        self.reads, self.writes = needed_and_left(self if self.device is not CPU else [])

    def run(self) -> None:
        """Run it on the device; what it reads is brought there first."""
        for memory in self.reads:
            memory.to_device(self.device)
        self.plan.program.run(self[0].first, self[-1].last)
        for memory in self.writes:
            memory.written_on(self.device)


def allocate(graph: Graph, device: Device, share: bool = False, keep: frozenset[str] = frozenset()) -> dict[str, int]:
    """Place all blobs of the graph; returns bytes by kind.

    Parameters lie one behind the other in one array for values and one for gradients, so that a solver
    updates them all in one pass. With `share`, activations whose lives do not overlap use the same memory
    (then only the blobs named in `keep`, and the outputs, can be read after a run).
    """
    graph.device, graph.kept = device, readable(graph, share, keep)
    owned = [entry.blob for entry in graph.learnable]
    graph.flat_data = place([Buffer(b.data_memory, 0, 0) for b in owned], device)
    graph.flat_diff = place([Buffer(b.diff_memory, 0, 0) for b in owned], device)
    for node in graph.nodes:  # parameters shared by name
        share_owned(node, graph)
    passes.alias(graph)
    activations = place(lifetimes(graph), device, share)
    scratch = sum(make_scratch(node, graph, device) for node in graph.nodes)
    arenas = {"parameters": graph.flat_data, "parameter gradients": graph.flat_diff, "activations": activations}
    bytes_of = {kind: 0 if arena is None else arena.nbytes for kind, arena in arenas.items()} | {"scratch": scratch}
    if device is CPU:
        CPU.refuse_too_much(sum(bytes_of.values()))
    kept = sum(getattr(node.layer, "kept_bytes", 0) for node in graph.nodes)  # data that stay on a GPU
    return bytes_of | ({"data": kept} if kept else {})


def readable(graph: Graph, share: bool, keep: frozenset[str]) -> frozenset[str]:
    """The names of the blobs that can be read after a run."""
    return keep | set(graph.outputs) if share else frozenset(graph.blobs)


def share_owned(node: Node, graph: Graph) -> None:
    """Point shared parameters at the (now placed) memory of their owner."""
    by_name = {entry.name: entry for entry in graph.learnable if entry.name}
    for blob, spec in zip(node.layer.blobs, node.layer.message.param):
        if spec.name in by_name and by_name[spec.name].blob is not blob:
            blob.share_data(by_name[spec.name].blob)
            blob.share_diff(by_name[spec.name].blob)


def lifetimes(graph: Graph) -> list[Buffer]:
    """From when to when the values of each activation matter, a layer being a unit of time.

    What lies in a whole makes that live. Kept ones, and those read before they are written, live always. What a
    step of several layers touches lives as long as these, so that they may also run one by one.
    """
    end = 2 * len(graph.nodes)
    life: dict[Memory, Buffer] = {}
    parameters = {m for n in graph.nodes for b in n.layer.blobs for m in (b.data_memory, b.diff_memory)}
    written = set[Memory]()
    for step, first, last in turns(graph):
        for memory in {*step.reads, *step.writes} - parameters:
            buffer = life.setdefault(memory.root, Buffer(memory.root, first, last))
            buffer.first, buffer.last = min(buffer.first, first), max(buffer.last, last)
        for memory in step.reads:
            if memory not in written and memory.root in life:
                life[memory.root].first, life[memory.root].last = 0, end
        written.update(step.writes)
        for node in step.nodes:
            if not node.bottom or node.layer.on_host:
                written.difference_update(t.data_memory for t in node.top)
    losses = {top for node in graph.nodes for top, weight in zip(node.top, node.loss_weights) if weight}
    always = losses | set(faulty(graph))
    for blob in all_blobs(graph):
        for memory in (blob.data_memory, blob.diff_memory):
            if (blob.name in graph.kept or blob in always) and memory.root in life:
                life[memory.root].first, life[memory.root].last = 0, end
    return list(life.values())


def faulty(graph: Graph) -> Iterator[Blob]:
    """Labels, indices and the like: where the device runs ahead, a wrong one is told long after it was read."""
    for node in graph.nodes if graph.device.asynchronous else ():
        if hasattr(node.layer, "fault"):
            yield from (blob for blob, wanted in zip(node.bottom, node.propagate_down) if not wanted)


def turns(graph: Graph) -> Iterator[tuple[Step, int, int]]:
    """Every step of forward and backward, with the turns of its first and of its last layer."""
    for step in passes.schedule(graph, "forward").steps:
        yield step, min(step.layers), max(step.layers)
    latest = 2 * len(graph.nodes) - 1
    for step in passes.schedule(graph, "backward").steps:
        yield step, latest - max(step.layers), latest - min(step.layers)


def all_blobs(graph: Graph) -> list[Blob]:
    """Every version of every blob, once, in the order of making."""
    return list(dict.fromkeys(top for node in graph.nodes for top in node.top))


def make_scratch(node: Node, graph: Graph, device: Device) -> int:
    """Make the scratch arrays of a layer as its attributes; returns by how many bytes there are more.

    Those that are nothing to any backward lie in one room, which is the next layer's when this one has run.
    """
    own, passing = scratch_of(node, graph)
    size, start, more = room_for(passing, graph.dtype), 0, 0
    if passing and (graph.room is None or graph.room.size < size):
        graph.room, more = device.zeros(size, np.uint8), size
    for name, (shape, dtype) in passing.items():
        count, kind = int(np.prod(shape, dtype=np.int64)), np.dtype(dtype or graph.dtype)
        setattr(node.layer, name, graph.room[start : start + count * kind.itemsize].view(kind).reshape(shape))
        start += aligned_size(count * kind.itemsize, np.uint8)
    return more + sum(_scratch(node.layer, name, item, graph.dtype, device) for name, item in own.items())


def scratch_of(node: Node, graph: Graph) -> tuple[dict[str, Any], dict[str, Any]]:
    """What scratch a layer wants: what it has to keep, and what it needs only while it runs."""
    wanted = node.layer.shapes([b.shape for b in node.bottom]).scratch
    passing = {n for n in wanted if graph.forward_only and n.rstrip("0123456789") in node.layer.passing}
    return {n: wanted[n] for n in wanted if n not in passing}, {n: wanted[n] for n in wanted if n in passing}


def room_for(passing: dict[str, Any], default: Any) -> int:
    """Bytes of these arrays, each from a cache line on."""
    sizes = [math.prod(shape) * np.dtype(dtype or default).itemsize for shape, dtype in passing.values()]
    return sum(aligned_size(size, np.uint8) for size in sizes)


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
