"""The order of a pass: its steps, what each of them touches, and how several become one.

A pass over a schedule looks for layers that follow each other, and lets one recipe do the work of all of them. What
it must keep: whatever a layer outside of them, or a person, may read afterwards is in its place as if each had run
alone. So a run that takes in only some of the layers may always run them one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence, Set
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, Protocol

import numpy as np

from .. import ops
from ..device import Device
from ..layer import Layer, Operand
from ..memory import Memory
from .wire import Graph, Node

Pass = Literal["forward", "backward"]


class Binder:
    """Gives recipes their operands, on one device; gradients of these parameters of layers are `fresh`."""

    def __init__(self, device: Device, dtype: Any = np.float32, fresh: Set[tuple[Layer, int]] = frozenset()):
        self.device, self.dtype, self.fresh = device, dtype, fresh
        self._room: Any = None

    def room(self, count: int) -> Any:
        """A place for what one recipe needs only while it runs; the next one may use it, too."""
        if self._room is None or self._room.size < count:
            self._room = self.device.zeros(count, self.dtype)  # the program keeps those it has been given
        return self._room[:count]

    def __call__(self, node: Node) -> tuple[list[Operand], list[Operand]]:
        """The bottoms and the tops of a layer; it gets its `params`, too."""
        layer = node.layer
        layer.params = [Operand(b, self.device, (layer, i) in self.fresh) for i, b in enumerate(layer.blobs)]
        return [Operand(b, self.device) for b in node.bottom], [Operand(t, self.device) for t in node.top]


Recipe = Callable[[Binder], None]


@dataclass(eq=False)
class Step:
    """What runs as one: a recipe, the layers whose work it is, and the memories that it reads and writes."""

    nodes: list[Node]  # in the order in which the pass meets them
    layers: list[int]  # their numbers in the net
    recipe: Recipe
    reads: list[Memory]
    writes: list[Memory]
    behind: list[int] = field(default_factory=list)  # layers that must run, too, for the recipe to be right
    heeds_fresh: bool = False  # of several layers, and yet its recipe writes gradients that are `fresh`
    first: int = 0  # rows of the program, once it is recorded
    last: int = 0

    @property
    def node(self) -> Node:
        """The last of its layers: the step runs when it is this one's turn."""
        return self.nodes[-1]

    @property
    def index(self) -> int:
        return self.layers[-1]

    def is_within(self, first: int, last: int) -> bool:
        """Whether a run of these layers (`last` included) may take it as it is."""
        return all(first <= layer <= last for layer in self.layers + self.behind)

    @property
    def on_host(self) -> bool:
        return self.node.layer.on_host


class Schedule:
    """The steps of one pass over a graph, in the order in which they run."""

    def __init__(self, graph: Graph, direction: Pass):
        self.graph, self.direction = graph, direction
        nodes = list(enumerate(graph.nodes))
        self.steps = [
            alone(index, node, direction)
            for index, node in (nodes if direction == "forward" else reversed(nodes))
            if direction == "forward" or ((node.needs_backward or node.renamed) and not graph.forward_only)
        ]
        self._steps = {id(node): step for step in self.steps for node in step.nodes}
        # What a person may read by name when the pass is over.
        blobs = [graph.blobs[name] for name in graph.kept if name in graph.blobs]
        memories = [blob.data_memory if direction == "forward" else blob.diff_memory for blob in blobs]
        self.kept = set(with_parts(memories))

    def steps_of(self, *nodes: Node) -> list[Step]:
        """The steps of these layers; none if one of them has no step, or none of its own any more."""
        found = [self._steps.get(id(node)) for node in nodes]
        return [step for step in found if step] if all(step and len(step.nodes) == 1 for step in found) else []

    def may_merge(self, members: Sequence[Step]) -> bool:
        """Whether there are any, and the work of all of them may wait for the turn of the last."""
        if not members:
            return False
        places = [self.steps.index(step) for step in members]
        for at in range(places[0] + 1, places[-1]):
            if at in places:
                continue
            other = self.steps[at]
            if other.on_host:  # it may change shapes, and then what is behind it runs anew
                return False
            waiting = [member for place, member in zip(places, members) if place < at]
            touched, written = {*other.reads, *other.writes}, set(other.writes)
            if any(not touched.isdisjoint(m.writes) or not written.isdisjoint(m.reads) for m in waiting):
                return False
        return True

    def merge(self, members: Sequence[Step], recipe: Recipe, dropped: Sequence[Memory] = ()) -> Step:
        """Let one recipe do the work of these steps, in the turn of the last; nobody gets to see `dropped`."""
        reads, writes = dict[Memory, None](), dict[Memory, None]()
        for step in members:
            reads |= dict.fromkeys(m for m in step.reads if m not in writes and m not in dropped)
            writes |= dict.fromkeys(m for m in step.writes if m not in dropped)
        nodes = [node for step in members for node in step.nodes]
        layers = [layer for step in members for layer in step.layers]
        made = Step(nodes, layers, recipe, list(reads), list(writes))
        self.steps[self.steps.index(members[-1])] = made
        for step in members[:-1]:
            self.steps.remove(step)
        self._steps |= {id(node): made for node in nodes}
        return made


class Touching(Protocol):
    """What reads memories, and then writes some."""

    reads: list[Memory]
    writes: list[Memory]


def needed_and_left(touching: Iterable[Touching]) -> tuple[list[Memory], list[Memory]]:
    """What all of these in turn read before they write it, and what they write."""
    needed, left = dict[Memory, None](), dict[Memory, None]()
    for one in touching:
        needed |= dict.fromkeys(m for m in one.reads if m not in left)
        left |= dict.fromkeys(one.writes)
    return list(needed), list(left)


def alone(index: int, node: Node, direction: Pass) -> Step:
    """The step of a single layer."""
    recipe = partial(forward if direction == "forward" else backward, node)
    reads, writes = touched(node, direction)
    return Step([node], [index], recipe, with_parts(reads), with_parts(writes))


def with_parts(memories: Sequence[Memory]) -> list[Memory]:
    """These memories and all that lie in them: who touches a whole touches its parts."""
    return [one for memory in memories for one in memory.family()]


def forward(node: Node, bind: Binder) -> None:
    """Record a layer's forward."""
    hand_on(node, bind, "forward")
    node.layer.forward(*bind(node))


def backward(node: Node, bind: Binder) -> None:
    """Record a layer's backward."""
    hand_on(node, bind, "backward")
    if node.layer.differentiable:
        bottom, top = bind(node)
        node.layer.backward(top, node.propagate_down, bottom)


def hand_on(node: Node, bind: Binder, direction: Pass) -> None:
    """Record what keeps an input and the blob with its name alike: values go to the input, its gradient comes back."""
    for pair in node.renamed:
        top, named = (Operand(blob, bind.device) for blob in pair)
        if direction == "forward":
            ops.copy(named.data, top.count, top.data)
        elif not named.shares_diff_with(top):
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
