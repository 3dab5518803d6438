"""BatchNorm, Scale and ReLU as one step: two sweeps over a channel's data in each direction instead of six.

An Eltwise sum in front of the ReLU is taken along: forward, where nobody asked to keep what goes into it; backward,
together with the Split behind it. Forward leaves the standardised values where BatchNorm alone leaves them, for
backward; nothing between the layers is missing afterwards but what nobody can read.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from ..layers._normalize import (
    apply_norm,
    norm_grad,
    normalize,
    normalize_batch,
    normalize_batch_grad,
    sum_norm_grad,
)
from ..layers.batch_norm import use_statistics
from ..layers.relu import ReLU
from .fuse_sum import sum_relu_grad
from .schedule import Binder, Schedule
from .share_gradients import is_sum
from .wire import Node


def fuse(schedule: Schedule) -> None:
    """Join BatchNorm with the Scale that is its only reader, and with the sum and the ReLU behind that."""
    for scale in schedule.graph.nodes:
        if scale.layer.type == "Scale" and belongs_to(scale.makers[0], scale):
            norm = scale.makers[0]
            chain = Chain(norm, scale, forgets=is_over(schedule, norm) and norm.top[0].data_memory not in schedule.kept)
            how = merge_forward if schedule.direction == "forward" else merge_backward
            chains = (longer for longer in chain.prolonged(schedule) if not (longer.total and norm.layer.learnt))  # type: ignore[attr-defined]
            any(how(schedule, longer) for longer in chains)


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
class Behind:
    """A ReLU behind a sum: its top and its slope, and the gradients of that top, one or two to be added up."""

    top: Any
    slope: float
    gradients: list[Any]
    count: int

    def add_up(self, dx: Any) -> None:
        """Record the gradient of the sum."""
        kernel = sum_relu_grad if len(self.gradients) == 2 else ReLU.run_gradient
        kernel(self.top, *self.gradients, self.slope, self.count, dx)


@dataclass
class Chain:
    """The layers that are to be one step."""

    norm: Node
    scale: Node
    relu: Node | None = None
    forgets: bool = False  # nobody wants the standardised values
    total: Node | None = None  # the sum of two between Scale and ReLU
    split: Node | None = None  # what reads the ReLU, and adds up two gradients

    def prolonged(self, schedule: Schedule) -> Iterator[Chain]:
        """The same with more layers behind it, the longest chain first."""
        with_sum = self.with_sum(schedule)
        for chain in (with_sum, self):
            longer = chain.with_relu() if chain else None
            if longer:
                yield from filter(None, (longer.with_split(), longer))
            if chain:
                yield chain

    def with_relu(self) -> Chain | None:
        """The same with the ReLU behind it, if there is one that goes by the sign of its top."""
        (relu, *others) = (self.total or self.scale).readers or [None]
        if others or relu is None or relu.layer.type != "ReLU" or "bottom" in relu.layer.backward_reads:
            return None
        return replace(self, relu=relu)

    def with_sum(self, schedule: Schedule) -> Chain | None:
        """The same with the sum that is its only reader, if all else that goes into that is there before."""
        (total, *others) = self.scale.readers or [None]
        if others or total is None or not is_sum(total) or len(total.bottom) != 2:
            return None
        last = max(total.makers, key=schedule.graph.nodes.index)
        return replace(self, total=total) if last is self.scale else None

    def with_split(self) -> Chain | None:
        """The same with the Split behind sum and ReLU: for backward."""
        (split, *others) = self.relu.readers if self.total and self.relu else [None]
        if others or split is None or split.layer.type != "Split" or len(split.top) != 2:
            return None
        return replace(self, split=split)

    @property
    def nodes(self) -> list[Node]:
        return [node for node in (self.norm, self.scale, self.total, self.relu, self.split) if node]

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

    def other(self, bind: Binder) -> Any:
        """What the sum adds to this chain's values, or None."""
        if self.total is None:
            return None
        place = 1 - self.total.bottom.index(self.scale.top[0])
        return bind(self.total)[0][place].data

    def forward(self, bind: Binder) -> None:
        """Record the forward."""
        (x,), (y,) = bind(self.norm)
        norm: Any = self.norm.layer
        bind(self.scale)
        z = bind(self.nodes[-1])[1][0]
        if not x.count:
            return  # an empty batch has no statistics
        affine = self.scale.layer.params[0].data, self.shift(), self.slope
        if not norm.learnt:
            statistics = norm.sums, norm.mean, norm.variance, norm.inverse
            normalize_batch(x.data, norm.param.eps, *affine, self.other(bind), norm.view, *statistics, y.data, z.data)
            norm.learn()
            return
        self.use_statistics()
        if self.forgets:
            apply_norm(x.data, norm.mean, norm.inverse, *affine, *norm.view, z.data)
        else:
            normalize(x.data, norm.mean, norm.inverse, *affine, None, 0, *norm.view, y.data, z.data)

    def behind(self, bind: Binder) -> Behind | None:
        """What is behind the sum, if there is one."""
        if not (self.total and self.relu):
            return None
        top = bind(self.relu)[1][0]
        gradients = [t.diff for t in bind(self.split)[1]] if self.split else [top.diff]
        return Behind(top.data, self.slope, gradients, top.count)

    def backward(self, bind: Binder) -> None:
        """Record the backward."""
        (x,), (y,) = bind(self.norm)
        norm: Any = self.norm.layer
        scale: Any = self.scale.layer
        behind = self.behind(bind)
        dz = bind(self.scale if behind else self.nodes[-1])[1][0].diff
        bind(self.scale)
        learns_shift = scale.param.bias_term and scale.learns(len(scale.params) - 1)
        values = y.data, dz, scale.params[0].data, self.shift(), 1.0 if behind else self.slope
        sums = (
            norm.sums, norm.products,
            scale.params[0].diff if scale.learns(0) else scale.unwanted,
            scale.params[-1].diff if learns_shift else scale.unwanted,
        )  # fmt: skip
        if norm.learnt:
            sum_norm_grad(*values, *norm.view, *sums)
            norm_grad(*values, norm.inverse, norm.sums, norm.products, 0, *norm.view, x.diff)
        else:
            normalize_batch_grad(*values, norm.inverse, behind, norm.view, *sums, x.diff)


def merge_forward(schedule: Schedule, chain: Chain) -> bool:
    """Make one step of the chain, if its layers have steps, and what is left out is read by nobody."""
    steps = schedule.steps_of(*chain.nodes)
    if chain.split or not steps:
        return False
    result = chain.nodes[-1].top[0].data_memory
    missing = [n.top[0].data_memory for n in chain.nodes[1:-1] if n.top[0].data_memory is not result]
    standard = chain.norm.top[0].data_memory
    if chain.forgets and standard is not chain.norm.bottom[0].data_memory:
        missing.append(standard)
    if schedule.kept.intersection(missing) or not schedule.may_merge(steps):
        return False
    schedule.merge(steps, chain.forward, missing)
    return True


def merge_backward(schedule: Schedule, chain: Chain) -> bool:
    """The same for backward, whose layers must all hand their gradients on."""
    nodes = chain.nodes[::-1]
    steps = schedule.steps_of(*nodes)
    if not steps or not all(node.propagate_down[0] for node in nodes):
        return False
    # A ReLU in place would write over what it is given, and a chain does not; a sum's gradient has other readers.
    given = chain.nodes[-1].top[0].diff_memory
    stays = [given, chain.norm.bottom[0].diff_memory]
    missing = [n.bottom[0].diff_memory for n in chain.nodes[1:] if n is not chain.total]
    if chain.total:
        total = chain.total.top[0].diff_memory
        if not chain.relu or chain.scale.top[0].diff_memory is not total:
            return False
        stays.append(total)
    missing = [memory for memory in missing if memory not in stays]
    if schedule.kept.intersection(missing) or not schedule.may_merge(steps):
        return False
    schedule.merge(steps, chain.backward, missing)
    return True
