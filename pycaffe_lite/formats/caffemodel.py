""".caffemodel: a NetParameter with the parameters in its layers, matched by layer name."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from ..errors import ConfigError, WeightsError
from ..logs import tell
from ..proto import NetParameter, upgrade
from . import blobproto
from .files import write_whole

def load(net: Any, path: str | os.PathLike[str]) -> None:
    """Copy the parameters of every layer that file and net both have; others are logged and left alone."""
    source = os.fspath(path)
    try:
        model = upgrade.read_net(path)
    except ConfigError as error:
        raise WeightsError(f"weights {error}") from error
    if not any(layer.blobs for layer in model.layer):
        raise WeightsError(f"weights {source}: the file holds no parameters; is it a prototxt or a solverstate?")
    for message in model.layer:
        layer = net.layer_dict.get(message.name)
        if layer is None:
            tell("net.cpp:740", f"Ignoring source layer {message.name}")
            continue
        copy_layer(layer, [message.blobs[i] for i in range(len(message.blobs))], source)


def copy_layer(layer: Any, protos: list[Any], source: str) -> None:
    """Copy the blobs of one layer; WeightsError unless number and shapes agree."""
    if len(protos) != len(layer.blobs):
        if not protos:  # a layer saved without parameters
            return
        raise WeightsError(
            f"weights {source}: layer {layer.name!r} ({layer.type}) has {len(layer.blobs)} parameter blob(s) in the net "
            f"and {len(protos)} in the file"
        )
    for index, (blob, proto) in enumerate(zip(layer.blobs, protos)):
        where = f"weights {source}: layer {layer.name!r} ({layer.type}), parameter {index}"
        values = blobproto.to_array(proto, where=where)
        if not same_shape(blob.shape, values.shape, blobproto.is_legacy(proto)):
            raise WeightsError(
                f"{where}: shape {values.shape} in the file, {blob.shape} in the net; to learn this layer "
                f"from scratch instead of copying it, give it another name"
            )
        blob.data[...] = values.reshape(blob.shape)


def same_shape(wanted: tuple[int, ...], found: tuple[int, ...], legacy: bool) -> bool:
    """Equal shapes; a legacy shape has four axes, of which leading ones may be missing in the net."""
    if not legacy:
        return wanted == found
    return len(wanted) <= 4 and (1,) * (4 - len(wanted)) + wanted == found


def to_proto(net: Any, write_diff: bool = False) -> Any:
    """The net as a NetParameter, each layer with its parameters."""
    made = NetParameter(name=net.name)
    for message, layer in zip(net.param.layer, net.layers):
        added = made.layer.add()
        added.CopyFrom(message)
        del added.blobs[:]
        for blob in layer.blobs:
            added.blobs.append(blobproto.from_array(blob.data, blob.diff if write_diff else None))
    return made


def save(net: Any, path: str | os.PathLike[str], write_diff: bool = False) -> None:
    """Write a .caffemodel, whole or not at all."""
    write_whole(path, to_proto(net, write_diff).SerializeToString())


def arrays(path: str | os.PathLike[str]) -> dict[str, list[np.ndarray]]:
    """The parameters in a .caffemodel: layer name -> arrays."""
    model = upgrade.read_net(path)
    return {m.name: [blobproto.to_array(b) for b in m.blobs] for m in model.layer if m.blobs}
