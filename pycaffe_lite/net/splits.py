"""A Split layer behind every blob that has several readers: Caffe's InsertSplits.

Each reader gets a top of its own, so that the Split can sum their gradients. A loss weight counts as a
reader, the first one.
"""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple, NoReturn

from ..errors import ConfigError, suggest
from ..proto import LayerParameter, NetParameter
from ..proto.schema import copy_without


class _Top(NamedTuple):
    """A blob as one layer leaves it: an in-place layer makes a new one of the same name."""

    layer: int
    place: int


def insert_splits(net: NetParameter) -> NetParameter:
    """The net with the Split layers it needs, every reader connected to its own copy."""
    sources, readers = _trace(net)
    out = copy_without(net, "layer")
    next_copy: Counter[_Top] = Counter()
    for i, original in enumerate(net.layer):
        layer = out.layer.add()
        layer.CopyFrom(original)
        for j, source in enumerate(sources[i]):
            if readers[source] > 1:
                layer.bottom[j] = f"{_split_name(net, source)}_{next_copy[source]}"
                next_copy[source] += 1
        for j in range(len(original.top)):
            top = _Top(i, j)
            if readers[top] > 1:
                weight = _loss_weight(original, j)
                out.layer.append(_split(net, top, readers[top], weight))
                if weight:
                    del layer.loss_weight[:]  # all of them, as in Caffe, even those of other tops
                    next_copy[top] = 1
    return out


def _trace(net: NetParameter) -> tuple[list[list[_Top]], Counter[_Top]]:
    """For every layer the tops that its bottoms are, and how often each top is read."""
    sources: list[list[_Top]] = []
    readers: Counter[_Top] = Counter()
    latest: dict[str, _Top] = {}
    for i, layer in enumerate(net.layer):
        for j, blob in enumerate(layer.bottom):
            if blob not in latest:
                _refuse(net, i, j, list(latest))
        sources.append([latest[blob] for blob in layer.bottom])
        readers.update(sources[i])
        for j, blob in enumerate(layer.top):
            latest[blob] = _Top(i, j)
            readers[latest[blob]] += bool(_loss_weight(layer, j))
    return sources, readers


def _split(net: NetParameter, top: _Top, copies: int, loss_weight: float) -> LayerParameter:
    name = _split_name(net, top)
    split = LayerParameter(name=name, type="Split", bottom=[net.layer[top.layer].top[top.place]])
    split.top.extend(f"{name}_{copy}" for copy in range(copies))
    if loss_weight:
        split.loss_weight.extend([loss_weight] + [0] * (copies - 1))
    return split


def _split_name(net: NetParameter, top: _Top) -> str:
    layer = net.layer[top.layer]
    return f"{layer.top[top.place]}_{layer.name}_{top.place}_split"


def _loss_weight(layer: LayerParameter, top: int) -> float:
    return layer.loss_weight[top] if top < len(layer.loss_weight) else 0.0


def _refuse(net: NetParameter, i: int, j: int, known: list[str]) -> NoReturn:
    layer, blob = net.layer[i], net.layer[i].bottom[j]
    later = next((other.name for other in net.layer[i + 1 :] if blob in other.top), None)
    hint = f"; layer {later!r}, which makes it, comes later" if later else suggest(blob, known)
    raise ConfigError(
        f"layer {layer.name!r} ({layer.type}): unknown bottom blob {blob!r} (bottom index {j}){hint}"
    )
