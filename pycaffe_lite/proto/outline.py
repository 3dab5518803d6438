"""Where the fields of a prototxt stand: its names, values and blocks as they are written.

A message does not know its lines. When an error is to name one, the file is read a second time, as this.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ..errors import PrototxtError
from .tokens import END, STRING, Tokens, unescape


class Entry(NamedTuple):
    """One field as written: its name, the offset of that, its value, and the fields of its block."""

    name: str
    at: int
    value: str = ""
    inside: Sequence[Entry] = ()
    begin: int = 0  # of the block: behind its opening brace
    end: int = 0


class Outline:
    """The fields of a text that is known to be well-formed, and `where` an offset is."""

    def __init__(self, text: str, source: str):
        self.text = text
        self._tokens = Tokens(text, source)
        self.entries = self._fields()

    def where(self, at: int) -> str:
        """``file:line:column``."""
        return self._tokens.where(at)

    def _fields(self) -> list[Entry]:
        found: list[Entry] = []
        while self._tokens.now.kind != END and not self._tokens.sees("}>"):
            name = self._tokens.take()
            self._tokens.accept(":")
            if not self._tokens.accept("["):
                found.append(self._value(name.text, name.at))
            else:
                while not self._tokens.accept("]"):
                    found.append(self._value(name.text, name.at))
                    self._tokens.accept(",")
            self._tokens.accept(";,")
        return found

    def _value(self, name: str, at: int) -> Entry:
        tokens = self._tokens
        begin = tokens.now.at + 1
        if tokens.accept("{<"):
            inside = self._fields()
            end = tokens.now.at
            tokens.accept("}>")
            return Entry(name, at, "", inside, begin, end)
        sign = tokens.accept("-")
        token = tokens.take()
        if token.kind != STRING:
            return Entry(name, at, sign + token.text)
        parts = [unescape(token.text)]
        while tokens.now.kind == STRING:  # neighbours are one string
            parts.append(unescape(tokens.take().text))
        return Entry(name, at, b"".join(parts).decode("utf-8", "replace"))


def read_outline(source: str) -> Outline | None:
    """The outline of a file; None if it is no prototxt."""
    try:
        with open(source, encoding="utf-8", errors="surrogateescape", newline="") as file:
            return Outline(file.read(), source)
    except (OSError, PrototxtError, ValueError, StopIteration, RecursionError):  # whatever is in it
        return None


def find(entries: Sequence[Entry], path: Sequence[str], value: str = "") -> Entry | None:
    """The field that a path such as convolution_param, pad leads to, or the last one on the way that is there.

    Among several, the one of this value, or with it in its block; else the first.
    """
    same = [entry for entry in entries if entry.name == path[0]]
    if not same:
        return None
    if len(path) > 1:
        return find(same[0].inside, path[1:], value) or same[0]
    fitting = [e for e in same if value and (e.value == value or any(i.value == value for i in e.inside))]
    return (fitting or same)[0]
