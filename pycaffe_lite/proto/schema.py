"""What the parser, the printer and the upgrades must know of message types."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple, TypeVar

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

M = TypeVar("M", bound=Message)

_INTEGERS = {
    FieldDescriptor.TYPE_INT32: ("int32", -(2**31), 2**31 - 1),
    FieldDescriptor.TYPE_INT64: ("int64", -(2**63), 2**63 - 1),
    FieldDescriptor.TYPE_UINT32: ("uint32", 0, 2**32 - 1),
    FieldDescriptor.TYPE_UINT64: ("uint64", 0, 2**64 - 1),
}
_KINDS = {
    FieldDescriptor.TYPE_MESSAGE: "message",
    FieldDescriptor.TYPE_ENUM: "enum",
    FieldDescriptor.TYPE_BOOL: "bool",
    FieldDescriptor.TYPE_STRING: "string",
    FieldDescriptor.TYPE_BYTES: "bytes",
    FieldDescriptor.TYPE_FLOAT: "float",
    FieldDescriptor.TYPE_DOUBLE: "double",
}


class Field(NamedTuple):
    """One field of a message type: the values of its enum, the limits of its integers."""

    name: str
    kind: str
    repeated: bool
    required: bool
    message: Descriptor | None
    values: dict[str, int]
    low: int
    high: int


@cache
def fields(message: Descriptor) -> dict[str, Field]:
    """The fields of a message type by name."""
    return {field.name: _field(field) for field in message.fields}


@cache
def required(message: Descriptor) -> tuple[str, ...]:
    """The names of the fields that a message of this type cannot do without."""
    return tuple(field.name for field in fields(message).values() if field.required)


def _field(field: Any) -> Field:
    kind, low, high = _INTEGERS.get(field.type) or (_KINDS[field.type], -(2**31), 2**31 - 1)
    values = {value.name: value.number for value in field.enum_type.values} if field.enum_type else {}
    if hasattr(field, "is_repeated"):
        repeated, needed = field.is_repeated, field.is_required
    else:  # protobuf before 6.30; its successor warns when asked for a label
        repeated, needed = field.label == field.LABEL_REPEATED, field.label == field.LABEL_REQUIRED
    return Field(field.name, kind, repeated, needed, field.message_type, values, low, high)


def assign(message: Message, name: str, value: Any) -> None:
    """Set a field to what another message's field holds; a single value may also go into a list."""
    field = fields(message.DESCRIPTOR)[name]
    if field.repeated:
        getattr(message, name).extend([value] if isinstance(value, (int, float, str, bytes)) else value)
    elif field.message:
        getattr(message, name).CopyFrom(value)
    else:
        setattr(message, name, value)


def copy_without(message: M, name: str) -> M:
    """A copy that leaves out one field."""
    copy = type(message)()
    for field, value in message.ListFields():
        if field.name != name:
            assign(copy, field.name, value)
    return copy
