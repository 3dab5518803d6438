"""BatchNorm, Scale and ReLU as one step: two sweeps over a channel's data in each direction instead of six.

Forward leaves the standardised values where BatchNorm alone leaves them, for backward; nothing between the layers is
missing afterwards but what nobody can read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..layers._normalize import apply_norm, measure, norm_grad, normalize, sum_norm_grad
from ..layers.batch_norm import use_statistics
from .schedule import Binder, Schedule
from .wire import Node


def fuse(schedule: Schedule) -> None:
    """Join BatchNorm with the Scale that is its only reader, and with the ReLU behind that."""
    for scale in schedule.graph.nodes:
        if scale.layer.type == "Scale" and belongs_to(scale.makers[0], scale):
            norm = scale.makers[0]
            chain = Chain(norm, scale, forgets=is_over(schedule, norm) and norm.top[0].data_memory not in schedule.kept)
            with_relu = chain.with_relu()
            if not (with_relu and merge(schedule, with_relu)):
                merge(schedule, chain)


def belongs_to(norm: Node, scale: Node) -> bool:
    """Whether the Scale has a factor for each channel of the BatchNorm in front, and is alone in reading it."""
    if norm.layer.type != "BatchNorm" or norm.layer.scaled or norm.readers != [scale]:  # type: ignore[attr-defined]
        return False
    return len(scale.bottom) == 1 and scale.layer.view == norm.layer.view  # type: ignore[attr-defined]


def is_over(schedule: Schedule, norm: Node) -> bool:
    """Whether a BatchNorm goes by statistics that are given, and has no backward behind it."""
    backward = norm.readers[0].needs_backward and not schedule.graph.forward_only
    return norm.layer.learnt and not backward  # type: ignore[attr-defined]


@dataclass
class Chain:
    """The layers that are to be one step."""

    norm: Node
    scale: Node
    relu: Node | None = None
    forgets: bool = False  # nobody wants the standardised values

    def with_relu(self) -> Chain | None:
        """The same with the ReLU behind it, if there is one that goes by the sign of its top."""
        (relu, *others) = self.scale.readers or [None]
        if others or relu is None or relu.layer.type != "ReLU" or "bottom" in relu.layer.backward_reads:
            return None
        return Chain(self.norm, self.scale, relu, self.forgets)

    @property
    def nodes(self) -> list[Node]:
        return [self.norm, self.scale, *([self.relu] if self.relu else [])]

    @property
    def slope(self) -> float:
        return self.relu.layer.values()[0] if self.relu else 1.0  # type: ignore[attr-defined]

    def shift(self) -> Any:
        """The bias of each channel, or zeros."""
        layer: Any = self.scale.layer
        return layer.params[-1].data if layer.param.bias_term else layer.zeros

    def use_statistics(self) -> None:
        """Record how mean and deviation follow from the BatchNorm's parameters."""
        norm: Any = self.norm.layer
        means, variances, weight = (p.data for p in norm.params)
        use_statistics(means, variances, weight, norm.param.eps, norm.view.channels, norm.mean, norm.inverse)

    def forward(self, bind: Binder) -> None:
        """Record the forward."""
        (x,), (y,) = bind(self.norm)
        norm: Any = self.norm.layer
        bind(self.scale)
        z = bind(self.nodes[-1])[1][0]
        if not x.count:
            return  # an empty batch has no statistics
        affine = self.scale.layer.params[0].data, self.shift(), self.slope
        if norm.learnt:
            self.use_statistics()
        else:
            measure(x.data, norm.param.eps, *norm.view, norm.sums, norm.mean, norm.variance, norm.inverse)
            norm.learn()
        if self.forgets:
            apply_norm(x.data, norm.mean, norm.inverse, *affine, *norm.view, z.data)
        else:
            normalize(x.data, norm.mean, norm.inverse, *affine, *norm.view, y.data, z.data)

    def backward(self, bind: Binder) -> None:
        """Record the backward."""
        (x,), (y,) = bind(self.norm)
        norm, scale = self.norm.layer, self.scale.layer
        bind(self.scale)
        dz = bind(self.nodes[-1])[1][0].diff
        learns_shift = scale.param.bias_term and scale.learns(len(scale.params) - 1)
        values = y.data, dz, scale.params[0].data, self.shift(), self.slope
        sum_norm_grad(
            *values, *norm.view, norm.sums, norm.products,
            scale.params[0].diff if scale.learns(0) else scale.unwanted,
            scale.params[-1].diff if learns_shift else scale.unwanted,
        )  # fmt: skip
        norm_grad(*values, norm.inverse, norm.sums, norm.products, not norm.learnt, *norm.view, x.diff)


def merge(schedule: Schedule, chain: Chain) -> bool:
    """Make one step of the chain, if its layers have steps, and what is left out is read by nobody."""
    nodes = chain.nodes if schedule.direction == "forward" else chain.nodes[::-1]
    steps = schedule.steps_of(*nodes)
    if schedule.direction == "forward":
        result, between = chain.nodes[-1].top[0].data_memory, [n.top[0].data_memory for n in chain.nodes[1:-1]]
        standard = chain.norm.top[0].data_memory
        if chain.forgets and standard is not chain.norm.bottom[0].data_memory:
            between.append(standard)
    else:
        result, between = chain.norm.bottom[0].diff_memory, [n.bottom[0].diff_memory for n in chain.nodes[1:]]
        if not all(node.propagate_down[0] for node in nodes):
            return False
    missing = [memory for memory in between if memory is not result]
    if any(memory in schedule.kept for memory in missing) or not schedule.may_merge(steps):
        return False
    given = chain.nodes[-1].top[0].diff_memory  # a ReLU in place would write it, and this does not
    dropped = [memory for memory in missing if memory is not given]
    schedule.merge(steps, chain.forward if schedule.direction == "forward" else chain.backward, dropped)
    return True
