"""A sum and the ReLU that follows it, in one sweep: of Eltwise forward, and of a Split's gradients backward."""

from __future__ import annotations

from functools import partial

from ..kernel import expression
from .schedule import Binder, Schedule
from .share_gradients import is_sum
from .wire import Node

sum_relu = expression("sum_relu", "y", "a b", "where(a + b > 0, a + b, slope * (a + b))", "slope")
sum_relu_grad = expression("sum_relu_grad", "dx", "y a b", "where(y > 0, a + b, slope * (a + b))", "slope")


def fuse(schedule: Schedule) -> None:
    """Join Eltwise and ReLU, or Split and ReLU, where nobody reads what lies between."""
    for relu in schedule.graph.nodes:
        if relu.layer.type != "ReLU" or "bottom" in relu.layer.backward_reads:
            continue
        if schedule.direction == "forward":
            fuse_forward(schedule, relu.makers[0], relu)
        elif len(relu.readers) == 1:
            fuse_backward(schedule, relu.readers[0], relu)


def fuse_forward(schedule: Schedule, total: Node, relu: Node) -> None:
    """Eltwise, then ReLU."""
    if not is_sum(total) or len(total.bottom) != 2 or total.readers != [relu]:
        return
    own = total.top[0].data_memory
    members = schedule.steps_of(total, relu)
    between = [own] if own is not relu.top[0].data_memory else []
    if not schedule.kept.intersection(between) and schedule.may_merge(members):
        schedule.merge(members, partial(forward, total, relu), between)


def fuse_backward(schedule: Schedule, split: Node, relu: Node) -> None:
    """The gradients of a Split's tops, then that of the ReLU in front of it."""
    members = schedule.steps_of(split, relu)
    if split.layer.type != "Split" or len(split.top) != 2 or not relu.propagate_down[0]:
        return
    own = relu.top[0].diff_memory
    between = [own] if own is not relu.bottom[0].diff_memory else []
    if not schedule.kept.intersection(between) and schedule.may_merge(members):
        schedule.merge(members, partial(backward, split, relu), between)


def forward(total: Node, relu: Node, bind: Binder) -> None:
    """y = ReLU(a + b)."""
    (a, b), _ = bind(total)
    _, (y,) = bind(relu)
    sum_relu(a.data, b.data, *relu.layer.values(), y.count, y.data)  # type: ignore[attr-defined]


def backward(split: Node, relu: Node, bind: Binder) -> None:
    """dx = ReLU's gradient for da + db."""
    _, (a, b) = bind(split)
    (x,), (y,) = bind(relu)
    sum_relu_grad(y.data, a.diff, b.diff, *relu.layer.values(), y.count, x.diff)  # type: ignore[attr-defined]
