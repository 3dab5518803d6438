"""Convolution and InnerProduct take the ReLU behind them along: one way through the top instead of two."""

from __future__ import annotations

from functools import partial

from .schedule import Binder, Schedule
from .wire import Node


def fuse(schedule: Schedule) -> None:
    """Join each ReLU with the layer in front of it, where that can do its work and nobody reads what lies between."""
    if schedule.direction == "backward":
        return
    for relu in schedule.graph.nodes:
        if relu.layer.type != "ReLU" or relu.layer.values() != (0,):
            continue
        (front,) = relu.makers
        members = schedule.steps_of(front, relu)
        if front.layer.takes_relu and between_is_free(schedule, front, relu) and schedule.may_merge(members):
            dropped = [t.data_memory for t in front.top if t not in relu.top]
            schedule.merge(members, partial(forward, front, relu), dropped)


def between_is_free(schedule: Schedule, front: Node, behind: Node) -> bool:
    """Whether only `behind` reads the one top of `front`: in this pass, in backward, and by name."""
    if front.readers != [behind] or len(front.top) != 1:
        return False
    if front.top == behind.top:
        return True
    unread = "top" not in front.layer.backward_reads and "bottom" not in behind.layer.backward_reads
    return unread and front.top[0].data_memory not in schedule.kept


def forward(front: Node, relu: Node, bind: Binder) -> None:
    """max(0, y), as y is computed."""
    bottom, _ = bind(front)
    _, top = bind(relu)
    front.layer.forward(bottom, top, relu=True)  # type: ignore[call-arg]
