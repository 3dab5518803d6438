"""Without backward, a convolution does the work of the BatchNorm, Scale and ReLU behind it.

Where there are fewer weights than results, the weights are scaled; that happens anew in every forward, so whoever
changes a parameter need not know of it. Else the results are, where they lie.
"""

from __future__ import annotations

from typing import Any

from ..layers._normalize import apply_norm, fold_norm
from .fuse_norm import Chain, belongs_to, is_over
from .schedule import Binder, Schedule
from .wire import Node


def fuse(schedule: Schedule) -> None:
    """Join Convolution, BatchNorm, Scale and perhaps ReLU, where only the last one's top is wanted."""
    if schedule.direction == "backward":
        return
    for scale in schedule.graph.nodes:
        if scale.layer.type != "Scale" or not belongs_to(scale.makers[0], scale):
            continue
        norm = scale.makers[0]
        front = norm.makers[0]
        if front.layer.type == "Convolution" and front.readers == [norm] and is_over(schedule, norm):
            chain = Chain(norm, scale)
            with_relu = chain.with_relu()
            if not (with_relu and merge(schedule, front, with_relu)):
                merge(schedule, front, chain)


def merge(schedule: Schedule, front: Node, chain: Chain) -> bool:
    """Make one step of them, if nobody may read what is between."""
    nodes = [front, *chain.nodes]
    steps = schedule.steps_of(*nodes)
    result = nodes[-1].top[0].data_memory
    between = [n.top[0].data_memory for n in nodes[:-1] if n.top[0].data_memory is not result]
    if len(front.top) != 1 or schedule.kept.intersection(between) or not schedule.may_merge(steps):
        return False
    schedule.merge(steps, lambda bind: forward(front, chain, bind), between)
    return True


def forward(front: Node, chain: Chain, bind: Binder) -> None:
    """Record the forward of all of them."""
    (x,), _ = bind(front)
    (z,) = bind(chain.nodes[-1])[1]
    bind(chain.norm)
    bind(chain.scale)
    conv: Any = front.layer
    norm: Any = chain.norm.layer
    if not z.count:
        return
    weights, *bias = conv.params
    chain.use_statistics()
    affine = norm.mean, norm.inverse, chain.scale.layer.params[0].data, chain.shift()
    if weights.count < z.count and chain.slope in (0, 1):
        channels, depth = weights.shape[0], weights.count // weights.shape[0]
        room = bind.room(weights.count + channels)
        folded, biases = room[: weights.count], room[weights.count :]
        fold_norm(weights.data, bias[0].data if bias else norm.zeros, *affine, channels, depth, folded, biases)
        conv.conv.forward(x.data, folded, biases, z.data, chain.slope == 0)
    else:
        conv.conv.forward(x.data, weights.data, bias[0].data if bias else None, z.data)
        apply_norm(z.data, *affine, chain.slope, *norm.view, z.data)
