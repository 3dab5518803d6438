""".caffemodel: a NetParameter with the parameters in its layers."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

from ..errors import WeightsError
from ..logs import log
from ..proto import LayerParameter, NetParameter, V0LayerParameter, V1LayerParameter
from . import blobproto, files, wire
from .stored import StoredLayer, numbers


def _fields(message: Any, *names: str) -> dict[int, str]:
    return {message.DESCRIPTOR.fields_by_name[name].number: name for name in names}


PROTOBUF_LIMIT = 2**31 - 1  # bytes
_NET = _fields(NetParameter, "layer", "layers")
_IN_LAYER = {
    "layer": _fields(LayerParameter, "name", "blobs"),
    "layers": _fields(V1LayerParameter, "name", "blobs", "layer"),
    "v0": _fields(V0LayerParameter, "name", "blobs"),
}


def read(source: str) -> Iterator[StoredLayer]:
    """The layers of a .caffemodel of any age (V0, V1, V2); WeightsError where the file is not one."""
    content = files.view(source, "caffemodel")
    seen, has_layers = set(), False
    try:
        for field in wire.fields(content, 0, len(content)):
            seen.add((field.number, field.kind))
            if field.number in _NET and field.kind == wire.SIZED and (1, wire.VARINT) not in seen:
                has_layers = True
                yield _layer(content, field, _NET[field.number], source)
    except wire.WireError as error:
        raise WeightsError(f"weights {source}: not a caffemodel, or a damaged one: {error}") from error
    if not has_layers:
        raise WeightsError(f"weights {source}: not a caffemodel: it holds no layers{_guess(seen)}")


def _guess(seen: set[tuple[int, int]]) -> str:
    """What a message with these fields is instead: a net's field 1 is its name, not a number."""
    if (1, wire.VARINT) in seen and (3, wire.SIZED) in seen:
        return "; it is a solverstate, which --snapshot takes"
    return "; it is a single blob, such as a mean image" if (5, wire.SIZED) in seen else ""


def _layer(content: memoryview, field: wire.Field, kind: str, source: str) -> StoredLayer:
    """One layer; V0 layers are wrapped in a V1 layer."""
    layer, known = StoredLayer(""), _IN_LAYER[kind]
    try:
        for part in wire.fields(content, field.start, field.end):
            name = known.get(part.number) if part.kind == wire.SIZED else None
            if name == "name":
                layer.name = wire.text(content, part)
            elif name == "blobs":
                where = f"weights {source}: layer {layer.name!r}, parameter {len(layer.params)}"
                layer.params[len(layer.params)] = blobproto.stored(content, part.start, part.end, where)
            elif name == "layer":
                return _layer(content, part, "v0", source)
    except wire.WireError as error:
        raise WeightsError(f"weights {source}: layer {layer.name!r}: {error}") from error
    return layer


def copy_layer(layer: Any, protos: Sequence[Any], source: str) -> None:
    """Give a layer the parameters that stand in its own message in a net's file; WeightsError unless they fit."""
    found = StoredLayer(layer.name)
    for index, proto in enumerate(protos):
        content = memoryview(proto.SerializeToString())
        where = f"{source}: layer {layer.name!r} ({layer.type}), parameter {index}"
        found.params[index] = blobproto.stored(content, 0, len(content), where)
    if problem := found.mismatch(layer, set()):
        raise WeightsError(f"{source}: {problem}")
    found.copy_to(layer)


def write(net: Any, path: str, write_diff: bool, dtype: Any) -> None:
    """Write net and parameters as Caffe does, each layer with its message."""
    files.write(path, _pieces(net, write_diff, dtype))
    if os.path.getsize(path) > PROTOBUF_LIMIT:
        log.warning("a caffemodel of more than 2 GB is read by nothing but caffe-lite: for others, save it as .h5")


def _pieces(net: Any, write_diff: bool, dtype: Any) -> Iterator[bytes | memoryview]:
    yield NetParameter(name=net.name).SerializeToString()
    number = NetParameter.DESCRIPTOR.fields_by_name["layer"].number
    for node in net.graph.nodes:
        parts = list(_layer_pieces(node, write_diff, dtype))
        yield wire.header(number, sum(map(len, parts)))
        yield from parts


def _layer_pieces(node: Any, write_diff: bool, dtype: Any) -> Iterator[bytes | memoryview]:
    """A LayerParameter with the blobs in their place among the fields: the same bytes that Caffe writes."""
    content = memoryview(described(node).SerializeToString())
    number = LayerParameter.DESCRIPTOR.fields_by_name["blobs"].number
    place = next((f.at for f in wire.fields(content, 0, len(content)) if f.number > number), len(content))
    yield content[:place]
    for blob in node.layer.blobs:
        diff = numbers(blob, dtype, "diff") if write_diff else None
        parts = list(blobproto.pieces(numbers(blob, dtype), diff))
        yield wire.header(number, sum(map(len, parts)))
        yield from parts
    yield content[place:]


def described(node: Any) -> Any:
    """A layer's message without its blobs, with the defaults that Caffe writes into it when a net is made."""
    layer, message = node.layer, LayerParameter()
    message.CopyFrom(node.layer.message)
    message.phase = layer.phase
    del message.blobs[:]
    if layer.is_loss and not message.loss_weight:
        message.loss_weight.append(1)
    for param in node.params[len(message.param) :]:
        if param.statistic:
            message.param.add(lr_mult=0)
    return message
