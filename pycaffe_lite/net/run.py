"""Running a graph: plans are replayed, layers that live on the host are called, changes of shape are followed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..backend.gpu.engines import tell_engines
from ..device import CPU, Device, fetch, put
from ..errors import CaffeError, ConfigError
from ..memory import Memory
from . import budget, debug, passes
from . import plan as planning
from .plan import Plan
from .schedule import Pass, Step
from .wire import Graph, reshape

Callback = Callable[[int], None]


class Runner:
    """Forward and backward through any range of layers. `callbacks` are called with a layer's index around it."""

    def __init__(self, graph: Graph, device: Device):
        self.graph, self.device, self.debug_info = graph, device, False
        self.callbacks: dict[tuple[str, Pass], list[Callback]] = {
            (when, direction): [] for when in ("before", "after") for direction in ("forward", "backward")
        }
        self._plans: dict[tuple[Pass, bool], Plan] = {}
        self.generation = 0  # of plans: how often they have all been thrown away
        self._stale = False
        self.checks_faults = True  # behind every run; a solver that runs ahead of its GPU asks later
        self._guarded = [node for node in graph.nodes if hasattr(node.layer, "fault")]
        # All in one array, read in one go; what a loss that is no number leaves comes first.
        self.faults = device.zeros(1 + len(self._guarded), np.int64)
        for place, node in enumerate(self._guarded, 1):
            node.layer.fault = self.faults[place : place + 1]
        self._guard_inputs()
        if device.asynchronous:
            tell_engines(node.layer for node in graph.nodes)
        for blob in planning.all_blobs(graph):
            blob.on_reshape = self._blob_reshaped

    def _guard_inputs(self) -> None:
        """On a GPU, keep the batch in which a fault was found until it is told: no later one takes its place."""
        for node in self.graph.nodes if self.device.asynchronous else ():
            if not node.bottom:
                node.layer.guard = self.faults  # type: ignore[attr-defined]
                for top in node.top:
                    top.data_memory.guard = self.faults

    def _blob_reshaped(self) -> None:
        self._stale = True

    @property
    def is_watched(self) -> bool:
        """Whether somebody looks at the net between its layers."""
        return self.debug_info or any(self.callbacks.values())

    def forget_plans(self) -> None:
        """Record anew before the next run: some memory has moved."""
        self._plans.clear()
        self.generation += 1

    def reshape(self, first: int = 0) -> None:
        """Infer all shapes anew from layer `first` on."""
        reshape(self.graph, first)
        self._refuse_too_much()
        for node in self.graph.nodes[first:]:
            planning.make_scratch(node, self.graph, self.device)
        passes.alias(self.graph)
        planning.set_loss_diffs(self.graph)
        self._guard_inputs()
        self.forget_plans()
        self._stale = False

    def _refuse_too_much(self) -> None:
        """Refuse shapes whose blobs need more new memory than there is: the system would promise it."""
        if self.device is not CPU:
            return
        trains = not self.graph.forward_only and any(node.needs_backward for node in self.graph.nodes)
        sizes: dict[Memory, int] = {}
        for blob in planning.all_blobs(self.graph):
            for memory in (blob.data_memory, blob.diff_memory)[: 1 + trains]:
                if not memory.has_array:
                    sizes[memory] = max(sizes.get(memory, 0), blob.count)
        with budget.explained(self.graph):
            CPU.refuse_too_much(sum(sizes.values()) * np.dtype(self.graph.dtype).itemsize)

    def follow_shapes(self) -> None:
        """Infer shapes anew if a blob has been reshaped."""
        if self._stale:
            self.reshape()

    def run(self, direction: Pass, low: int, high: int) -> None:
        """Run layers `low` to `high` (included): forward in that order, backward in the other."""
        if self._stale:
            if direction == "backward":
                raise ConfigError("blobs have been reshaped since the last forward; run forward before backward")
            self.follow_shapes()
        if direction == "backward" and self.graph.forward_only:
            raise ConfigError(f"net {self.graph.name!r} was made with forward_only, so it has no backward")
        before, after = self.callbacks["before", direction], self.callbacks["after", direction]
        if before or after or self.debug_info:
            for index in range(low, high + 1) if direction == "forward" else range(high, low - 1, -1):
                for call in before:
                    call(index)
                self._run_range(direction, index, index)
                if self.debug_info:
                    debug.layer(self.graph.nodes[index], direction)
                for call in after:
                    call(index)
        else:
            self._run_range(direction, low, high)
        if self.debug_info and direction == "backward":
            debug.norms(self.graph)

    def _run_range(self, direction: Pass, low: int, high: int) -> None:
        for segment in self.plan(direction).segments(low, high):
            step = segment[0]
            if not step.on_host:
                segment.run()
            elif self.run_on_host(step, direction):
                self._run_range(direction, step.index + 1, high)
                return
        if self.checks_faults:
            self.check_faults()

    def plan(self, direction: Pass, fresh: bool = False) -> Plan:
        """The plan of a pass, recorded if need be; a `fresh` backward writes gradients of parameters (`fresh.py`)."""
        made = self._plans.get((direction, fresh))
        if made is None:
            with budget.explained(self.graph):
                made = self._plans[direction, fresh] = Plan(self.graph, direction, self.device, fresh=fresh)
        return made

    def run_on_host(self, step: Step, direction: Pass) -> bool:
        """Let a layer act on the host; whether it has changed the shapes of its tops, which the net has followed."""
        node = step.node
        try:
            if direction == "forward":
                node.layer.forward(node.bottom, node.top)
            else:
                node.layer.backward(node.top, node.propagate_down, node.bottom)
        except CaffeError as error:
            if repr(node.layer.name) in str(error):
                raise
            raise type(error)(f"layer {node.layer.name!r} ({node.layer.type}): {error}") from error
        if not (self._stale and direction == "forward"):
            return False
        self.reshape(step.index + 1)
        return True

    def check_faults(self) -> None:
        """Raise the first thing that a run has found wrong in its values (a label outside the classes ...)."""
        if not (self._guarded or self.device.asynchronous):
            return
        found = fetch(self.faults).tolist()
        if not any(found):
            return
        put(self.faults, 0)
        _, *places = found
        if any(places):
            node, place = next((node, place) for node, place in zip(self._guarded, places) if place)
            raise node.layer.explain_fault(place - 1, node.bottom)
