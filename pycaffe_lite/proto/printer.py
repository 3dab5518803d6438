"""Messages as prototxt, in the form of C++ protobuf's DebugString: Caffe's logs show nets this way."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import Any

from google.protobuf.message import Message

from . import schema
from .schema import Field

_SPECIAL = re.compile(rb"[^ -~]|[\"'\\]")
_ESCAPES = {b"\n": "\\n", b"\r": "\\r", b"\t": "\\t", b'"': '\\"', b"'": "\\'", b"\\": "\\\\"}


def write_text(message: Message) -> str:
    """A message as prototxt: a field a line, in the order of their numbers, two spaces a level."""
    return "".join(line + "\n" for line in _lines(message, ""))


def _lines(message: Message, indent: str) -> Iterator[str]:
    known = schema.fields(message.DESCRIPTOR)
    for descriptor, value in message.ListFields():
        field = known[descriptor.name]
        for one in value if field.repeated else [value]:
            if field.kind == "message":
                yield f"{indent}{field.name} {{"
                yield from _lines(one, indent + "  ")
                yield indent + "}"
            else:
                yield f"{indent}{field.name}: {_scalar(field, one)}"


def _scalar(field: Field, value: Any) -> str:
    if field.kind == "enum":
        return next(name for name, number in field.values.items() if number == value)
    if field.kind == "bool":
        return "true" if value else "false"
    if field.kind == "string":
        return quote(value if isinstance(value, bytes) else value.encode("utf-8"))
    if field.kind == "bytes":
        return quote(value)
    if field.kind == "float":
        return shortest(value, "f", range(6, 10))
    if field.kind == "double":
        return shortest(value, "d", range(15, 18))
    return str(value)


def shortest(value: float, code: str, digits: range) -> str:
    """The fewest digits that read back as the same float ("f") or double ("d")."""
    exact = struct.pack(code, value)
    texts = (f"{value:.{n}g}" for n in digits)
    return next((text for text in texts if struct.pack(code, float(text)) == exact), "nan")


def quote(value: bytes) -> str:
    """A string in double quotes; what is not printable ASCII becomes an escape, as in C++."""
    return '"' + _SPECIAL.sub(_escape, value).decode() + '"'


def _escape(match: re.Match[bytes]) -> bytes:
    return (_ESCAPES.get(match[0]) or f"\\{match[0][0]:03o}").encode()
