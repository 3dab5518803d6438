"""The gradients of a convolution behind a max pooling, from the winners of the pooling's windows alone.

Most of the convolution's top has no gradient: behind windows of 2x2, three values of four. Where the device does
better with the others alone, the gradient of that top, mostly zeros, is not even written unless somebody reads it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..geometry import Winners
from .schedule import Binder, Schedule, backward, with_parts
from .wire import Node


def fuse(schedule: Schedule) -> None:
    """Join each max pooling with the convolution in front of it, and with a ReLU between them."""
    for pool in schedule.graph.nodes if schedule.direction == "backward" else ():
        chain = find(schedule, pool)
        steps = schedule.steps_of(*chain.nodes) if chain else []
        if not chain or not schedule.may_merge(steps):
            continue
        between = [node.bottom[0].diff_memory for node in chain.nodes[:-1]]
        chain.writes_all = chain.needs_all or not schedule.kept.isdisjoint(between)
        made = schedule.merge(steps, chain.backward, [] if chain.writes_all else between)
        made.heeds_fresh = True
        if chain.relu:
            made.reads += with_parts([pool.top[0].data_memory])


def find(schedule: Schedule, pool: Node) -> Chain | None:
    """The layers that end with this one, if they are such, and the device has something to gain."""
    layer: Any = pool.layer
    if layer.type != "Pooling" or layer.method not in ("MAX", "STOCHASTIC") or len(layer.windows) > 1:
        return None
    front, relu = pool.makers[0], None
    if front.layer.type == "ReLU" and "bottom" not in front.layer.backward_reads:
        front, relu = front.makers[0], front
    if front.layer.type != "Convolution" or len(front.top) > 1 or len(pool.top) > 1:
        return None
    chain = Chain(front, relu, pool)
    behind = chain.nodes[:-1]
    if [n for node in (front, relu) if node for n in node.readers] != behind[::-1]:
        return None
    if not all(node.propagate_down[0] for node in behind):
        return None
    conv = schedule.graph.device.convolution(front.layer.conv)  # type: ignore[attr-defined]
    chain.weights, chain.data = conv.follows_winners(chain.windows, schedule.graph.dtype)
    chain.weights &= front.layer.learns(0)
    chain.data &= front.propagate_down[0]
    return chain if chain.weights or chain.data else None


@dataclass
class Chain:
    """The layers that are to be one step, and which gradients are to be those of winners alone."""

    conv: Node
    relu: Node | None
    pool: Node
    weights: bool = False
    data: bool = False
    writes_all: bool = False  # the gradient of the convolution's top, too

    @property
    def nodes(self) -> list[Node]:
        """In the order of backward."""
        return [self.pool, *([self.relu] if self.relu else []), self.conv]

    @property
    def windows(self) -> int:
        """Windows of a plane."""
        (window,) = self.pool.layer.windows  # type: ignore[attr-defined]
        return int(window.oh * window.ow)

    @property
    def needs_all(self) -> bool:
        """Whether some gradient is computed from that of the whole top."""
        learns = [self.conv.layer.learns(i) for i in range(len(self.conv.layer.blobs))]
        return (any(learns) and not self.weights) or (self.conv.propagate_down[0] and not self.data)

    def backward(self, bind: Binder) -> None:
        """Record the backward."""
        for node in self.nodes[:-1] if self.writes_all else []:
            backward(node, bind)
        (pooled,), layer = bind(self.pool)[1], self.conv.layer
        (x,), (y,) = bind(self.conv)
        winners = Winners(pooled.diff, self.pool.layer.argmax0, self.windows)  # type: ignore[attr-defined]
        if self.relu:
            (slope,) = self.relu.layer.values()  # type: ignore[attr-defined]
            winners = Winners(winners.dy, winners.argmax, winners.windows, pooled.data, slope)
        conv: Any = layer.conv  # type: ignore[attr-defined]
        weight, *biases = layer.params
        bias = biases[0].diff if biases and layer.learns(1) else None
        if self.weights:
            conv.backward_weights_of_winners(x.data, winners, weight.diff, bias, accumulate=not weight.fresh)
        else:
            if bias is not None:
                conv.backward_bias(y.diff, bias)
            if layer.learns(0):
                conv.backward_weights(x.data, y.diff, weight.diff, accumulate=not weight.fresh)
        if self.data:
            conv.backward_data_of_winners(winners, weight.data, x.diff)
        elif self.conv.propagate_down[0]:
            conv.backward_data(y.diff, weight.data, x.diff)
