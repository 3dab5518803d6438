"""Prototxt in and out: what Caffe's text parser takes is taken, and what it refuses is explained."""

from __future__ import annotations

from typing import TypeVar

from google.protobuf.message import Message

from .parser import Parser
from .tokens import Tokens

M = TypeVar("M", bound=Message)


def parse(text: str, message: M, source: str = "<string>", allow_unknown: bool = False) -> M:
    """Fill a message from prototxt and return it.

    With `allow_unknown`, fields and enum values of Caffe's forks are skipped with a warning each.
    """
    Parser(Tokens(text, source), allow_unknown).fill(message)
    return message
