"""Python values into messages: dicts for blocks, lists for repeated fields, names or numbers for enums."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from google.protobuf.message import Message

from ..errors import ConfigError
from . import hints
from .schema import Field, fields


def assign(message: Message, name: str, value: Any, path: str = "") -> None:
    """Set a field; of a repeated one, add to it. One value may stand for a list of one, and a dict for a block.

    ConfigError, beginning with `path` and the field's name, if there is no such field or the value does not fit.
    """
    field = fields(message.DESCRIPTOR).get(name)
    path += name
    if field is None:
        raise ConfigError(f"{path}: there is no such field{hints.unknown_field(name, [message.DESCRIPTOR])}")
    value = plain(value)
    if field.repeated:
        held = getattr(message, name)
        for one in value if is_list(value) else [value]:
            if field.message:
                fill(held.add(), one, path)
            else:
                held.append(scalar(field, plain(one), path))
    elif field.message:
        fill(getattr(message, name), value, path)
    else:
        setattr(message, name, scalar(field, value, path))


def is_list(value: Any) -> bool:
    """Whether it stands for several values: lists, tuples, arrays, the repeated fields of messages."""
    return isinstance(value, (Sequence, np.ndarray)) and not isinstance(value, (str, bytes))


def fill(message: Message, value: Any, path: str) -> None:
    """Set the fields of a block: from a dict, or a message of its type. An empty one is there all the same."""
    message.SetInParent()
    if isinstance(value, Message) and value.DESCRIPTOR is message.DESCRIPTOR:
        message.MergeFrom(value)
    elif isinstance(value, Mapping):
        for name, one in value.items():
            assign(message, str(name), one, f"{path}.")
    else:
        raise ConfigError(f"{path}: takes a dict of fields of {message.DESCRIPTOR.name}, got {value!r}")


def plain(value: Any) -> Any:
    """A number of numpy's, or an array without axes, as a number of Python's."""
    without_axes = isinstance(value, np.ndarray) and value.ndim == 0
    return value.item() if without_axes or isinstance(value, np.generic) else value


def scalar(field: Field, value: Any, path: str) -> Any:
    """A value as the field takes it. Whole floats are integers too: scripts of Python 2 have num_output=n/2."""
    number = isinstance(value, (int, float))
    if field.kind == "enum":
        if isinstance(value, str) and value not in field.values:
            raise ConfigError(f"{path}: has no value {value!r}{hints.unknown_value(value, field)}")
        if isinstance(value, str):
            return field.values[value]
        if number and not isinstance(value, bool) and value in field.values.values():
            return int(value)
    elif field.kind == "bool":
        if number and value in (0, 1):
            return bool(value)
    elif field.kind in ("float", "double"):
        if isinstance(value, float) or (number and abs(value) <= sys.float_info.max):
            return float(value)
    elif field.kind == "string":
        if isinstance(value, str) and _has_utf8(value):
            return value
    elif field.kind == "bytes":
        if isinstance(value, bytes):
            return value
        if isinstance(value, str) and _has_utf8(value):
            return value.encode()
    elif number and value == value // 1:
        if field.low <= value <= field.high:
            return int(value)
        raise ConfigError(f"{path}: must be in [{field.low}, {field.high}], got {value!r}")
    raise ConfigError(f"{path}: takes {_wanted(field)}, got {value!r}")


def _has_utf8(value: str) -> bool:
    """Whether it can be written at all: not if it holds half a character."""
    return not any("\ud800" <= letter <= "\udfff" for letter in value)


def _wanted(field: Field) -> str:
    if field.kind == "enum":
        return f"one of {', '.join(field.values)}"
    words = {"bool": "True or False", "float": "a number", "double": "a number", "bytes": "bytes"}
    return words.get(field.kind, "a string" if field.kind == "string" else "a whole number")
