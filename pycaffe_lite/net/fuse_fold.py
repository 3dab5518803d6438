"""Without backward, a convolution does the work of the BatchNorm, Scale, Eltwise sum and ReLU behind it.

Its weights are multiplied by a factor for each output channel on their way to the products, or, on a device that
cannot do that, before them where they are fewer than the results. That happens anew in every forward, so whoever
changes a parameter need not know of it. Else the results are brought to their scale where they lie.
"""

from __future__ import annotations

from typing import Any

from ..layers._normalize import apply_norm, fold_norm, scale_weights
from .fuse_norm import Chain, belongs_to, is_over
from .fuse_sum import sum_relu
from .schedule import Binder, Schedule
from .wire import Node


def fuse(schedule: Schedule) -> None:
    """Join Convolution, BatchNorm, Scale and perhaps a sum and ReLU, where only the last one's top is wanted."""
    if schedule.direction == "backward":
        return
    for scale in schedule.graph.nodes:
        if scale.layer.type != "Scale" or not belongs_to(scale.makers[0], scale):
            continue
        norm = scale.makers[0]
        front = norm.makers[0]
        if front.layer.type == "Convolution" and front.readers == [norm] and is_over(schedule, norm):
            chains = (chain for chain in Chain(norm, scale).prolonged(schedule) if not chain.split)
            any(merge(schedule, front, chain) for chain in chains)


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
    if not z.count:
        return
    conv: Any = front.layer
    norm: Any = chain.norm.layer
    weights, *bias = conv.params
    other, joins, relu = chain.other(bind), conv.conv.joins(x.data), chain.slope == 0
    if chain.slope in (0, 1) and (joins or weights.count < z.count):
        channels = weights.shape[0]
        room = bind.room(2 * channels + (0 if joins else weights.count))
        factors, biases, folded = room[:channels], room[channels : 2 * channels], room[2 * channels :]
        statistics = *(p.data for p in norm.params), norm.param.eps
        affine = chain.scale.layer.params[0].data, chain.shift()
        fold_norm(bias[0].data if bias else norm.zeros, *statistics, *affine, channels, factors, biases)
        if joins:
            conv.conv.forward(x.data, weights.data, biases, z.data, relu, factors=factors, other=other)
            return
        scale_weights(weights.data, factors, channels, weights.count // channels, folded)
        conv.conv.forward(x.data, folded, biases, z.data, relu and other is None)
    else:
        conv.conv.forward(x.data, weights.data, bias[0].data if bias else None, z.data)
        chain.use_statistics()
        affine = norm.mean, norm.inverse, chain.scale.layer.params[0].data, chain.shift()
        apply_norm(z.data, *affine, chain.slope if other is None else 1, *norm.view, z.data)
    if other is not None:
        sum_relu(z.data, other, chain.slope, z.count, z.data)
