"""What a person may write in the prototxt of each layer type: from the classes and from the schema's comments."""

from __future__ import annotations

import inspect
import sys
from typing import Any, NamedTuple

from . import layers
from .errors import ConfigError
from .layer import Arity, Layer
from .proto import LayerParameter, caffe_pb2
from .proto.comments import comment
from .proto.schema import fields

# Parameter blobs in their order, where C is the size of the channel axis
PARAMETERS = {
    "Convolution": "weights (num_output, C / group, kernel sizes), bias (num_output)",
    "Deconvolution": "weights (C, num_output / group, kernel sizes), bias (num_output)",
    "InnerProduct": "weights (num_output, inputs), or (inputs, num_output) with transpose; bias (num_output)",
    "Embed": "weights (input_dim, num_output), bias (num_output)",
    "BatchNorm": "sum of means (C), sum of variances (C), what to divide them by (1): statistics, not learnt",
    "Scale": "factors (the num_axes axes from axis on), bias (the same); none with two bottoms",
    "Bias": "bias (the num_axes axes from axis on); none with two bottoms",
    "PReLU": "slopes (C), or one with channel_shared",
    "Parameter": "its top (shape)",
    "LSTM": "W_xc (4 num_output, inputs), b_c (4 num_output), W_xc_static (4 num_output, static inputs) if there are"
    " any, W_hc (4 num_output, num_output); gates in the order i, f, o, g",
    "RNN": "W_xh (num_output, inputs), b_h (num_output), W_xh_static (num_output, static inputs) if there are any,"
    " W_hh and W_ho (num_output, num_output), b_o (num_output)",
    "Python": "those that its setup adds (self.blobs.add_blob)",
}


class FieldHelp(NamedTuple):
    """One field: what it takes, its default, and what it means."""

    name: str
    kind: str
    default: str
    comment: str


class LayerHelp(NamedTuple):
    """One layer type."""

    type: str
    text: str
    details: str
    bottoms: str
    tops: str
    parameters: str
    messages: dict[str, list[FieldHelp]]  # the layer's blocks (`pooling_param`), and what may stand in them


def all_types() -> dict[str, str]:
    """Every layer type, and the one line that says what it does."""
    return {name: one_line(layer_class(name)) for name in layers.known()}


def layer_class(name: str) -> type[Layer]:
    """The class of a type; ConfigError with a suggestion if there is none."""
    kind = layers.find(name)
    if kind is None:
        raise ConfigError(f"unknown layer type {name!r}{layers.unknown_hint(name)}")
    return kind


def layer_help(name: str) -> LayerHelp:
    """All about one layer type."""
    kind = layer_class(name)
    messages = {block: block_help(block) for block in blocks(kind)}
    details = inspect.getdoc(kind) or ""
    return LayerHelp(
        kind.type, one_line(kind), details, count(kind.bottoms),
        "as many as bottoms" if kind.same_count else count(kind.tops), PARAMETERS.get(kind.type, ""), messages,
    )  # fmt: skip


def blocks(kind: type[Layer]) -> list[str]:
    """The blocks of a LayerParameter that mean something to a type, apart from those that all have."""
    found = [kind.param_field] if kind.param_field else []
    if kind.is_loss:
        found.append("loss_param")
    if kind.on_host and kind.bottoms.high == 0 and kind.type not in ("DummyData", "HDF5Data"):
        found.append("transform_param")
    return found


def block_help(block: str) -> list[FieldHelp]:
    """The fields that may stand in a block of a layer."""
    return message_help(message_of(block))


def message_of(block: str | None) -> Any:
    """The message type of a block."""
    return LayerParameter.DESCRIPTOR.fields_by_name[block].message_type


def find_message(name: str) -> Any:
    """The message type of this name (`FillerParameter`), or None."""
    return caffe_pb2.DESCRIPTOR.message_types_by_name.get(name)


def message_help(message: Any) -> list[FieldHelp]:
    """Every field of a message type."""
    return [field_help(message, name) for name in fields(message)]


def field_help(message: Any, name: str) -> FieldHelp:
    field, descriptor = fields(message)[name], message.fields_by_name[name]
    kind = field.message.name if field.message else field.kind
    if field.kind == "enum":
        kind = " | ".join(field.values)
    return FieldHelp(
        name,
        kind + (", repeated" if field.repeated else ""),
        default_of(field, descriptor),
        " ".join(comment(f"{message.name}.{name}").split()),
    )


def default_of(field: Any, descriptor: Any) -> str:
    """The default as it would be written; empty if the field has none of its own."""
    if field.repeated or field.message or not descriptor.has_default_value:
        return ""
    if field.kind == "enum":
        return next(name for name, number in field.values.items() if number == descriptor.default_value)
    if field.kind == "bool":
        return str(descriptor.default_value).lower()
    return f"{descriptor.default_value:g}" if field.kind in ("float", "double") else str(descriptor.default_value)


def one_line(kind: type[Layer]) -> str:
    """What a type does: the line with which its file begins ("ReLU: ..."), or else its class."""
    _, named, text = (sys.modules[kind.__module__].__doc__ or "").partition(f"{kind.type}: ")
    line = text if named else inspect.getdoc(kind) or ""
    return line.split("\n")[0]


def count(arity: Arity) -> str:
    """`1`, `1 to 2`, `none`."""
    return "none" if arity.high == 0 else str(arity).removeprefix("exactly ")
