"""Gradients of parameters that are written, so that nobody has to clear them first and read them again.

Backward adds to the gradients of parameters, as Caffe's does. In the first pass of a solver's iteration they would be
zero, so there the layer that meets a parameter first may write its gradient, if its type can (`Layer.overwrites`).
Layers that share the parameter add to that; and what no layer writes is cleared in front of the pass.
"""

from __future__ import annotations

from collections.abc import Iterable, Set

from .. import ops
from ..device import Device
from ..layer import Layer
from ..memory import Memory
from .schedule import Step
from .wire import Graph

Written = Set[tuple[Layer, int]]  # layers, and which of their parameters


def written(steps: Iterable[Step]) -> Written:
    """The gradients that these steps of a backward pass may write."""
    met, found = set[Memory](), set[tuple[Layer, int]]()
    for step in steps:
        for node in step.nodes:
            layer, gradients = node.layer, [blob.diff_memory for blob in node.layer.blobs]
            heeds = (len(step.nodes) == 1 or step.heeds_fresh) and not step.on_host
            for index in layer.overwrites if heeds else ():
                memory = gradients[index]
                if layer.learns(index) and memory not in met and gradients.count(memory) == 1:
                    found.add((layer, index))
            met.update(gradients)
    return found


def clear_others(graph: Graph, device: Device, kept: Written) -> list[Memory]:
    """Record that all gradients become zero but those that are written; returns what is cleared."""
    memories = {layer.blobs[index].diff_memory for layer, index in kept}
    others = [e.blob.diff_memory for e in graph.learnable if e.blob.diff_memory not in memories]
    for memory in others:
        ops.fill(0, memory.count, memory.array_on(device))
    return others
