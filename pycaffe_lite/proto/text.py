"""Prototxt in and out: what Caffe's text parser takes is taken, and what it refuses is explained."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypeVar

from google.protobuf.message import Message

from ..errors import PrototxtError
from . import binary
from .parser import Parser
from .printer import write_text
from .tokens import Tokens

__all__ = ["parse", "read", "write_text"]

M = TypeVar("M", bound=Message)


def parse(text: str | bytes, message: M, source: str = "<string>", allow_unknown: bool = False) -> M:
    """Fill an empty message from prototxt and return it.

    With `allow_unknown`, fields (and engines) that only forks of Caffe know are skipped, with a warning each.
    """
    if isinstance(text, bytes):
        # Comments may be in any encoding; a string that is not UTF-8 is refused where it stands.
        text = text.decode("utf-8", "surrogateescape")
    Parser(Tokens(text, source), allow_unknown).fill(message)
    return message


def read(path: str | os.PathLike[str], message_class: type[M], allow_unknown: bool = False) -> M:
    """The message in a file, be it prototxt or binary."""
    source = os.fspath(path)
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise PrototxtError(f"{source}: {error.strerror or error}") from error
    if not data or data.isspace():
        raise PrototxtError(f"{source}: the file is empty")
    other = binary.other_file(data)
    if other:
        raise PrototxtError(f"{source}: this is {other}, not a {message_class.DESCRIPTOR.name}")
    if binary.is_binary(data):
        return binary.decode(data, message_class(), source)
    return parse(data, message_class(), source, allow_unknown)
