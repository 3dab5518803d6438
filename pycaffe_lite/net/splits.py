"""A Split layer behind every blob that has several readers: Caffe's InsertSplits.

Each reader gets a top of its own, so that the Split can sum their gradients. A loss weight counts as a
reader, the first one.
"""

from __future__ import annotations

from collections import Counter

from ..proto import LayerParameter, NetParameter
from ..proto.schema import copy_without
from .links import Links, Top, loss_weight


def insert_splits(net: NetParameter) -> NetParameter:
    """The net with the Split layers it needs, every reader connected to its own copy."""
    links = Links(net)
    readers = {
        top: len(found) + bool(loss_weight(net.layer[top.layer], top.place)) for top, found in links.readers.items()
    }
    out = copy_without(net, "layer")
    next_copy: Counter[Top] = Counter()
    for i, original in enumerate(net.layer):
        layer = out.layer.add()
        layer.CopyFrom(original)
        for j, source in enumerate(links.sources[i]):
            if readers[source] > 1:
                layer.bottom[j] = f"{_split_name(net, source)}_{next_copy[source]}"
                next_copy[source] += 1
        for j in range(len(original.top)):
            top = Top(i, j)
            if readers[top] > 1:
                weight = loss_weight(original, j)
                out.layer.append(_split(net, top, readers[top], weight))
                if weight:
                    del layer.loss_weight[:]  # all of them, as in Caffe, even those of other tops
                    next_copy[top] = 1
    return out


def _split(net: NetParameter, top: Top, copies: int, weight: float) -> LayerParameter:
    name = _split_name(net, top)
    split = LayerParameter(name=name, type="Split", bottom=[net.layer[top.layer].top[top.place]])
    split.top.extend(f"{name}_{copy}" for copy in range(copies))
    if weight:
        split.loss_weight.extend([weight] + [0] * (copies - 1))
    return split


def _split_name(net: NetParameter, top: Top) -> str:
    layer = net.layer[top.layer]
    return f"{layer.top[top.place]}_{layer.name}_{top.place}_split"
