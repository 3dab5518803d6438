"""The words of a prototxt: names, numbers, strings and symbols, each with its place in the file."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from typing import NamedTuple, NoReturn

from ..errors import PrototxtError

NAME, NUMBER, STRING, SYMBOL, END = "name", "number", "string", "symbol", "end"

_TOKEN = re.compile(
    r"""
    (?: [\ \t\n\r\v\f]+ | \#[^\n]* )*                   # white space and comments
    (?: (?P<name>   [A-Za-z_][A-Za-z0-9_]* )
      | (?P<number> 0[xX][0-9a-fA-F]+ | (?: \d+\.?\d* | \.\d+ ) (?: [eE][+-]?\d+ )? [fF]? )
      | (?P<string> "(?: [^"\\\n] | \\[^\n] )*" | '(?: [^'\\\n] | \\[^\n] )*' )
      | (?P<symbol> . )
      | (?P<end>    \Z ) )
    """,
    re.VERBOSE | re.DOTALL | re.ASCII,
)
_ESCAPE = re.compile(rb"\\(?:[0-7]{1,3}|[xX][0-9a-fA-F]{1,2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|.)", re.DOTALL)
_ESCAPED = dict(zip(b"abfnrtv\\?'\"", b"\a\b\f\n\r\t\v\\?'\"", strict=True))


class Token(NamedTuple):
    """One word; `at` is its offset in the text."""

    kind: str
    text: str
    at: int

    def __str__(self) -> str:
        if self.kind == END:
            return "the end of the file"
        if "\udc80" <= self.text <= "\udcff":
            return f"byte 0x{ord(self.text) - 0xDC00:02x}, which is not UTF-8"
        return self.text if self.kind == STRING else repr(self.text)


class Tokens:
    """The words of one text, read one by one; `now` is the word to be taken next."""

    now: Token

    def __init__(self, text: str, source: str) -> None:
        self._text, self._source = text, source
        self._rest = self._scan()
        self._advance()

    def _scan(self) -> Iterator[Token]:
        start = 1 if self._text.startswith("\ufeff") else 0  # a byte order mark, as some editors write
        for match in _TOKEN.finditer(self._text, start):
            kind = match.lastgroup or END
            yield Token(kind, match[kind], match.start(kind))

    def _advance(self) -> None:
        self.now = next(self._rest)
        if self.now.kind == SYMBOL and self.now.text in "\"'":
            self.fail("this string is not closed: strings end on the line they begin", self.now.at)

    def take(self) -> Token:
        """The word at hand; the next one takes its place."""
        taken = self.now
        self._advance()
        return taken

    def sees(self, symbols: str) -> bool:
        """Whether the word at hand is one of these symbols."""
        return self.now.kind == SYMBOL and self.now.text in symbols

    def accept(self, symbols: str) -> str:
        """Take the word at hand if it is one of these symbols, and say which; else an empty string."""
        return self.take().text if self.sees(symbols) else ""

    def line(self, at: int) -> int:
        """The line of an offset, from 1."""
        return self._text.count("\n", 0, at) + 1

    def where(self, at: int) -> str:
        """``file:line:column`` of an offset; both count from 1, a tab is one column."""
        column = at - self._text.rfind("\n", 0, at)
        return f"{self._source}:{self.line(at)}:{column}"

    def fail(self, problem: str, at: int) -> NoReturn:
        """Refuse the text, saying where."""
        text = f"{self.where(at)}: {problem}"
        raise PrototxtError(text.encode("utf-8", "backslashreplace").decode())  # it may quote bad bytes

    def expect(self, wanted: str) -> NoReturn:
        """Refuse the word at hand, saying what should be there."""
        self.fail(f"expected {wanted}, found {self.now}", self.now.at)


def unescape(quoted: str) -> bytes:
    """The bytes that a string token stands for, with C's escapes."""
    inside = quoted[1:-1].encode("utf-8", "surrogateescape")
    return _ESCAPE.sub(_unescape_one, inside) if b"\\" in inside else inside


def _unescape_one(match: re.Match[bytes]) -> bytes:
    code = match[0][1:]
    if code[0] in _ESCAPED:
        return bytes([_ESCAPED[code[0]]])
    if code[0] in b"01234567":
        return bytes([int(code, 8) & 0xFF])
    if code[0] in b"xX" and len(code) > 1:
        return bytes([int(code[1:], 16)])
    if code[0] in b"uU" and len(code) > 1 and int(code[1:], 16) <= sys.maxunicode:
        return chr(int(code[1:], 16)).encode("utf-8", "surrogatepass")
    raise ValueError("\\" + code.decode("utf-8", "replace"))
