"""Reading one number, boolean or string of a prototxt, as strictly as Caffe does."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NoReturn

from .schema import Field
from .tokens import NAME, NUMBER, STRING, SYMBOL, Token, Tokens, unescape

_BOOLEANS = {"true": True, "True": True, "t": True, "false": False, "False": False, "f": False}
_FLOAT_NAMES = ("inf", "infinity", "nan")


def scalar(tokens: Tokens, field: Field) -> int | float | bool | str | bytes:
    """The next value, of the kind that a field takes."""
    return _READERS.get(field.kind, integer)(tokens, field)


def integer(tokens: Tokens, field: Field) -> int:
    """A decimal, hexadecimal or octal integer in the field's range."""
    start = tokens.now
    sign = tokens.accept("-")
    value = _as_int(tokens.now)
    if value is None:
        _refuse(tokens, field, "an integer", start, sign)
    tokens.take()
    value = -value if sign else value
    if not field.low <= value <= field.high:
        tokens.fail(f"{field.name!r} is {field.kind}, {field.low} to {field.high}: found {value}", start.at)
    return value


def _as_int(token: Token) -> int | None:
    text = token.text
    if token.kind != NUMBER:
        return None
    try:
        if text[:2] in ("0x", "0X"):
            return int(text, 16)
        return int(text, 8 if text.startswith("0") else 10)  # a leading 0 means octal, as in C
    except ValueError:
        return None


def _float(tokens: Tokens, field: Field) -> float:
    start = tokens.now
    sign = tokens.accept("-")
    token = tokens.now
    value = _as_float(token)
    if value is None:
        _refuse(tokens, field, "a number", start, sign)
    tokens.take()
    return -value if sign else value


def _as_float(token: Token) -> float | None:
    text = token.text
    if token.kind == NAME:
        return float(text) if text.lower() in _FLOAT_NAMES else None
    if token.kind != NUMBER:
        return None
    whole = _as_int(token)
    if whole is not None:
        return float(whole) if whole < 2**1023 else math.inf
    octal = text[0] == "0" and text[1:2].isdigit()  # and so no fraction, as in C
    return None if octal else float(text.rstrip("fF"))


def _bool(tokens: Tokens, field: Field) -> bool:
    token = tokens.now
    value = _BOOLEANS.get(token.text) if token.kind == NAME else _as_int(token)
    if value not in (0, 1):
        _refuse(tokens, field, "true or false", token)
    tokens.take()
    return bool(value)


def _bytes(tokens: Tokens, field: Field) -> bytes:
    if tokens.now.kind != STRING:
        hint = f': write "{tokens.now.text}"' if tokens.now.kind == NAME else ""
        _refuse(tokens, field, "a string in quotes", tokens.now, hint=hint)
    value = b""
    while tokens.now.kind == STRING:  # "neighbours " 'are joined'
        token = tokens.take()
        try:
            value += unescape(token.text)
        except ValueError as error:
            tokens.fail(f"{field.name!r}: unknown escape {error} in a string", token.at)
    return value


def _string(tokens: Tokens, field: Field) -> str:
    at = tokens.now.at
    try:
        return _bytes(tokens, field).decode("utf-8")
    except UnicodeDecodeError as error:
        tokens.fail(f"{field.name!r} is not UTF-8 text: byte 0x{error.object[error.start]:02x}", at)


def _refuse(tokens: Tokens, field: Field, wanted: str, token: Token, sign: str = "", hint: str = "") -> NoReturn:
    found = f"'-{tokens.now.text}'" if sign and tokens.now.kind != SYMBOL else str(tokens.now)
    tokens.fail(f"{field.name!r} takes {wanted}, found {found}{hint}", token.at)


_READERS: dict[str, Callable[[Tokens, Field], int | float | bool | str | bytes]] = {
    "float": _float,
    "double": _float,
    "bool": _bool,
    "bytes": _bytes,
    "string": _string,
}
