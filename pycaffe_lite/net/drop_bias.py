"""The bias of a convolution in front of a BatchNorm has no gradient: whatever it is, the mean takes it away again.

What BatchNorm hands down adds up to 0 in every channel, but for rounding; so nobody need go through it.
"""

from __future__ import annotations

from functools import partial

from .schedule import Binder, Schedule, hand_on
from .wire import Node


def drop(schedule: Schedule) -> None:
    """Leave the gradient of a bias as it is, where only a BatchNorm by the batch's statistics reads the convolution."""
    for index, norm in enumerate(schedule.graph.nodes if schedule.direction == "backward" else ()):
        if norm.layer.type != "BatchNorm" or norm.layer.learnt or not norm.propagate_down[0]:  # type: ignore[attr-defined]
            continue
        (front,) = norm.makers
        if front.layer.type == "Convolution" and front.readers == [norm]:
            for step in schedule.steps_of(front):
                step.recipe = partial(backward, front)
                step.behind = [index]


def backward(front: Node, bind: Binder) -> None:
    """Record the backward of a convolution without that of its bias."""
    hand_on(front, bind, "backward")
    bottom, top = bind(front)
    front.layer.backward(top, front.propagate_down, bottom, bias=False)  # type: ignore[call-arg]
