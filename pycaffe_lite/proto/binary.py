"""Messages in protobuf's binary form, and what is wrong with a file that should hold one."""

from __future__ import annotations

import re
from typing import TypeVar

from google.protobuf.message import DecodeError, Message

from ..errors import PrototxtError
from .schema import fields

M = TypeVar("M", bound=Message)

_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1f]")
_VARINT, _EIGHT_BYTES, _SIZED, _FOUR_BYTES = 0, 1, 2, 5  # wire types; the two others are groups
_OTHER_FILES = (
    (b"\x89HDF", "an HDF5 file"),
    (b"PK\x03\x04", "a zip archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"<!doctype html", "a web page"),
    (b"<html", "a web page"),
    (b"version https://git-lfs", "a Git LFS pointer (run 'git lfs pull')"),
)


def is_binary(data: bytes) -> bool:
    """Whether a file is a binary message rather than text: those hold control characters from the start."""
    return _CONTROL.search(data[:1024]) is not None


def other_file(data: bytes) -> str:
    """What a file is when it is plainly something else, such as ``a web page``; else an empty string."""
    start = data[:32].lstrip().lower()
    return next((kind for magic, kind in _OTHER_FILES if start.startswith(magic.lower())), "")


def decode(data: bytes, message: M, source: str) -> M:
    """Fill a message from its binary form and return it."""
    try:
        message.ParseFromString(data)
    except DecodeError:
        raise PrototxtError(f"{source}: {_problem(data, message)}") from None
    if not message.ListFields():  # bytes that happen to be well-formed, but none of our fields
        raise PrototxtError(f"{source}: not a binary {message.DESCRIPTOR.name}")
    _make_text(message)
    return message


def _make_text(message: Message) -> None:
    """Strings that are not UTF-8, such as paths of another age, as text: protobuf gives them as bytes."""
    for descriptor, value in message.ListFields():
        field = fields(message.DESCRIPTOR)[descriptor.name]
        if field.message and field.message.name != "BlobProto":
            for inner in value if field.repeated else [value]:
                _make_text(inner)
        elif field.kind == "string" and field.repeated:
            value[:] = [_text(one) for one in value]
        elif field.kind == "string" and isinstance(value, bytes):
            setattr(message, field.name, _text(value))


def _text(value: str | bytes) -> str:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value


def _problem(data: bytes, message: Message) -> str:
    """Where the outermost fields of a message stop making sense."""
    known = message.DESCRIPTOR.fields_by_number
    at = 0
    while at < len(data):
        start = at
        tag, at = _varint(data, at)
        if at > len(data):
            return f"truncated in the middle of the field at byte {start}"
        number, wire_type = tag >> 3, tag & 7
        if number not in known or wire_type not in (_VARINT, _EIGHT_BYTES, _SIZED, _FOUR_BYTES):
            return f"not a binary {message.DESCRIPTOR.name} (byte {start} begins no field of it)"
        if wire_type in (_VARINT, _SIZED):
            value, at = _varint(data, at)
            at += value if wire_type == _SIZED else 0
        else:
            at += 8 if wire_type == _EIGHT_BYTES else 4
        if at > len(data):
            missing = at - len(data)
            return f"truncated: field {known[number].name!r} at byte {start} lacks its last {missing} bytes"
    return f"damaged inside a field of {message.DESCRIPTOR.name}"


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A varint and the offset after it; one cut off by the end of the data counts as one byte too long."""
    value = shift = 0
    while at < len(data):
        byte, at = data[at], at + 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at
    return value, at + 1
