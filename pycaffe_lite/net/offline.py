"""A net looked at without its data: layers that read files are stood in for by Input layers.

`summary`, `lint`, `deploy` and `merge-bn` need shapes, not values. Where the database is there, it says
which; else batch_size and crop_size do, or the person does (`--shape data=64,3,227,227`).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from .. import layers
from ..errors import CaffeError, ConfigError, suggest
from ..layer import create
from ..proto import BlobShape, LayerParameter, NetParameter, caffe_pb2, upgrade
from ..proto.schema import copy_without
from .select import select
from .splits import insert_splits
from .wire import Graph, Options, wire

TRAIN, TEST = caffe_pb2.TRAIN, caffe_pb2.TEST
Shape = tuple[int, ...]
SELF_CONTAINED = ("Input", "DummyData", "Parameter")  # no bottoms, and yet no files
SIZED = {"Data": "data_param", "ImageData": "image_data_param", "WindowData": "window_data_param"}


class UnknownShape(ConfigError):
    """The data is not here, and neither fields nor the caller say of which shape it is."""


class Standing(NamedTuple):
    """A net whose data layers are Input layers: which types they were, and what had to be assumed about them."""

    param: Any
    types: dict[str, str]  # by layer name
    notes: list[str]


def read_selected(
    path: str, phase: int, level: int = 0, stages: Iterable[str] = (), allow_unknown: bool = False
) -> Any:
    """The net in a file, upgraded, with only the layers of this state; ConfigErrors name the file."""
    return in_state(upgrade.read_net(path, allow_unknown), phase, level, stages)


def in_state(net: Any, phase: int, level: int = 0, stages: Iterable[str] = ()) -> Any:
    """The net with only the layers of this state."""
    chosen = NetParameter()
    chosen.CopyFrom(net)
    chosen.state.phase, chosen.state.level = phase, level
    chosen.state.stage.extend(stages)  # to the net's own, as in Caffe
    return select(chosen, tell=lambda line: None)


def graph_of(net: Any, folder: str = "") -> Graph:
    """The layers, shapes and connections of a (selected) net; nothing is filled, and no blob takes memory."""
    return wire(insert_splits(net), Options(folder=folder))


def without_rules(net: Any) -> Any:
    """A selected net as a file of its own: its state, and the rules of layers that were met, are left out."""
    made = copy_without(net, "state")
    for layer in made.layer:
        layer.ClearField("include")
        layer.ClearField("exclude")
    return made


def reads_files(layer: Any) -> bool:
    """Whether a layer's tops come from outside the net."""
    return bool(layer.top) and not layer.bottom and layer.type not in SELF_CONTAINED


def stand_in(net: Any, folder: str = "", shapes: dict[str, Shape] | None = None) -> Standing:
    """The (selected) net with Input layers for its data; `shapes` overrules what files and fields say."""
    wanted = dict(shapes or {})
    check_names(net, wanted)
    made = Standing(copy_without(net, "layer"), {}, [])
    for layer in net.layer:
        if layer.type == "Input" and any(top in wanted for top in layer.top):
            made.param.layer.append(input_layer(layer, overrule(layer, input_shapes(layer), wanted)))
        elif reads_files(layer):
            found, note = top_shapes(layer, net.state.phase, folder, wanted)
            made.notes.extend(note)
            made.types[layer.name] = layer.type
            made.param.layer.append(input_layer(layer, found))
        else:
            made.param.layer.append(layer)
    return made


def input_names(net: Any) -> list[str]:
    """The blobs that come from outside the net."""
    return [top for layer in net.layer if layer.type == "Input" or reads_files(layer) for top in layer.top]


def check_names(net: Any, wanted: dict[str, Shape]) -> None:
    """Refuse shapes for blobs that do not come from outside the net."""
    tops = input_names(net)
    for name in wanted:
        if name not in tops:
            known = ", ".join(dict.fromkeys(tops)) or "none"
            raise ConfigError(f"--shape: the net has no input {name!r}{suggest(name, tops)}; inputs: {known}")


def input_shapes(layer: Any) -> list[Shape]:
    """The shape of every top of an Input layer."""
    given = [tuple(shape.dim) for shape in layer.input_param.shape] or [()]
    return given * len(layer.top) if len(given) == 1 else given


def input_layer(layer: Any, shapes: Sequence[Shape]) -> Any:
    """An Input layer of the same name and tops."""
    made = LayerParameter(name=layer.name, type="Input", top=layer.top)
    made.input_param.shape.extend(BlobShape(dim=shape) for shape in shapes)
    return made


def top_shapes(layer: Any, phase: int, folder: str, wanted: dict[str, Shape]) -> tuple[list[Shape], list[str]]:
    """The shape of every top of a data layer, and a note for those that were assumed."""
    if all(top in wanted for top in layer.top):
        return [wanted[top] for top in layer.top], []
    found, note = asked(layer, phase, folder), []
    if not found:
        found = assumed(layer, wanted)
        if layer.top[0] not in wanted:
            said = " ".join(f"{top}={','.join(map(str, shape))}" for top, shape in zip(layer.top, found))
            note = [f"layer {layer.name!r} ({layer.type}): its data is not here; assumed {said} (see --shape)"]
    return overrule(layer, found, wanted), note


def overrule(layer: Any, shapes: Sequence[Shape], wanted: dict[str, Shape]) -> list[Shape]:
    """The shapes with those that are wanted in their places; the layer's other tops (labels) follow the batch."""
    batch = next((wanted[top][:1] for top in layer.top if top in wanted), None)
    return [wanted.get(top, shape if batch is None else batch + shape[1:]) for top, shape in zip(layer.top, shapes)]


def asked(layer: Any, phase: int, folder: str) -> list[Shape]:
    """What the layer itself says when its files are there; empty if they are not."""
    if layers.find(layer.type) is None or layer.type == "Python":  # a Python layer would run its user's code
        return []
    message = LayerParameter()
    message.CopyFrom(layer)
    if layer.type == "Data":
        message.data_param.prefetch = 0  # nothing will be read ahead
    try:
        made = create(message, phase)
        made.folder = folder
        return [tuple(shape) for shape in made.shapes([]).top]
    except (CaffeError, OSError):
        return []


def assumed(layer: Any, wanted: dict[str, Shape]) -> list[Shape]:
    """Shapes from the layer's fields: a colour image unless they say otherwise, and a label an image."""
    first = wanted.get(layer.top[0]) or (batch_size(layer), channels(layer), *image_size(layer))
    return [first] + [first[:1]] * (len(layer.top) - 1)


def batch_size(layer: Any) -> int:
    """The batch size that a data layer's fields give; 1 if they give none."""
    field = SIZED.get(layer.type, "")
    return (getattr(layer, field).batch_size if field else 0) or 1


def channels(layer: Any) -> int:
    """1 or 3, from how the images are to be read."""
    transform = layer.transform_param
    grey = transform.force_gray or (layer.type == "ImageData" and not layer.image_data_param.is_color)
    return 1 if grey else 3


def image_size(layer: Any) -> tuple[int, int]:
    """Height and width from crop_size, or the size to which images are resized."""
    own = getattr(layer, SIZED[layer.type]) if layer.type in SIZED else None
    crop = layer.transform_param.crop_size
    if crop:
        return crop, crop
    height, width = getattr(own, "new_height", 0), getattr(own, "new_width", 0)
    if not (height and width):
        known = layer.type == "ImageData" or layer.transform_param.force_gray or layer.transform_param.force_color
        example = ",".join(map(str, (batch_size(layer), channels(layer) if known else "C", "H", "W")))
        raise UnknownShape(
            f"layer {layer.name!r} ({layer.type}): its data is not here to say of which shape it is; "
            f"give --shape {layer.top[0]}={example}"
        )
    return height, width


def parse_shapes(texts: Iterable[str], net: Any) -> dict[str, Shape]:
    """`data=1,3,224,224` (or just the numbers, for the net's first input) as shapes by blob name."""
    found: dict[str, Shape] = {}
    for text in texts:
        name, equals, numbers = text.rpartition("=")
        try:
            shape = tuple(int(number) for number in numbers.replace("x", ",").split(","))
        except ValueError:
            raise ConfigError(f"--shape: must be NAME=N,C,H,W, got {text!r}") from None
        if any(size < 1 for size in shape):
            raise ConfigError(f"--shape: sizes must be at least 1, got {text!r}")
        found[name if equals else first_input(net)] = shape
    return found


def first_input(net: Any) -> str:
    """The first blob that comes from outside the net."""
    names = input_names(net)
    if not names:
        raise ConfigError("--shape: the net has no inputs")
    return names[0]


def folder_of(path: str) -> str:
    """The folder in which files named in a prototxt are looked for."""
    return os.path.dirname(os.path.abspath(path))


def has_loss(net: Any) -> bool:
    """Whether a (selected) net can be trained: some layer of it is a loss."""
    return any(is_loss(layer) for layer in net.layer)


def is_loss(layer: Any) -> bool:
    """Whether a layer's tops count in what training minimises."""
    return any(layer.loss_weight) or (not layer.loss_weight and is_loss_type(layer.type))


def is_loss_type(name: str) -> bool:
    """Whether layers of this type are losses, unless told otherwise."""
    kind = layers.find(name)
    return kind.is_loss if kind else name.endswith("Loss")
