"""Convolution, the ReLU behind it if there is one, and Pooling: each plane is pooled while it is still in the cache.

Where nobody reads the convolution's top, neither by name nor in backward, it is never written.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from ..device import CPU
from .fuse_relu import between_is_free
from .schedule import Binder, Schedule
from .wire import Node


def fuse(schedule: Schedule) -> None:
    """Join each Pooling with the layers in front of it, where a kernel can do the work of all of them."""
    if schedule.direction == "backward" or schedule.graph.dtype != "float32":
        return
    for pool in schedule.graph.nodes:
        if pool.layer.type != "Pooling" or not pool.layer.is_plain:  # type: ignore[attr-defined]
            continue
        (last,) = pool.makers
        relu = last if last.layer.type == "ReLU" else None
        front = last.makers[0] if relu else last
        if can_join(schedule, front, relu, pool):
            nodes = [node for node in (front, relu, pool) if node]
            unseen = is_unseen(schedule, last, pool)
            dropped = [t.data_memory for node in (front, relu) if node for t in node.top]
            kept = [] if unseen else [t.data_memory for t in last.top]
            recipe = partial(forward, front, relu, pool, not unseen)
            schedule.merge(schedule.steps_of(*nodes), recipe, [memory for memory in dropped if memory not in kept])


def can_join(schedule: Schedule, front: Node, relu: Node | None, pool: Node) -> bool:
    """Whether these are a convolution that can take the others along."""
    if front.layer.type != "Convolution" or len(front.top) != 1 or (relu or front).readers != [pool]:
        return False
    if relu and (relu.layer.values() != (0,) or not between_is_free(schedule, front, relu)):  # type: ignore[attr-defined]
        return False
    members = schedule.steps_of(*(node for node in (front, relu, pool) if node))
    conv: Any = front.layer
    return CPU.convolution(conv.conv).takes_pool and schedule.may_merge(members)


def is_unseen(schedule: Schedule, last: Node, pool: Node) -> bool:
    """Whether only this pool reads what it pools: now, in backward, and by name."""
    backward = pool.needs_backward and not schedule.graph.forward_only
    reads = "top" in last.layer.backward_reads or "bottom" in pool.layer.backward_reads
    return last.top[0].data_memory not in schedule.kept and not (backward and reads)


def forward(front: Node, relu: Node | None, pool: Node, keeps: bool, bind: Binder) -> None:
    """Record the forward of all of them."""
    (x,), (y,) = bind(front)
    if relu:
        _, (y,) = bind(relu)
    _, (z,) = bind(pool)
    conv: Any = front.layer
    layer: Any = pool.layer
    weights, *bias = (p.data for p in conv.params)
    values = x.data, weights, bias[0] if bias else None
    if bind.device is CPU:
        conv.conv.forward_pool(*values, y.data if keeps else None, bool(relu), *layer.plain_pool(), z.data)
    else:
        between = y.data if keeps else bind.room(y.count)
        conv.conv.forward(*values, between, bool(relu))
        layer.pool(0, between, layer.windows[0], z.data)
