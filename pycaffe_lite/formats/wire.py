"""Protobuf's wire format, walked where it lies: which fields a message has and where, nothing copied.

A caffemodel is a few hundred small fields around some large arrays. Parsed into message objects it would
be in memory three times before it reaches the net; walked, its arrays go from the file to where they belong.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

VARINT, EIGHT_BYTES, SIZED, FOUR_BYTES = 0, 1, 2, 5  # wire types; the two others begin and end groups
_WIDTHS = {EIGHT_BYTES: 8, FOUR_BYTES: 4}


class WireError(ValueError):
    """Bytes that are no message; the text says from which byte on."""


class Field(NamedTuple):
    """One field: where it begins, its number and wire type, the value of a varint, where its content lies."""

    at: int
    number: int
    kind: int
    value: int
    start: int
    end: int


def fields(data: memoryview, start: int, end: int) -> Iterator[Field]:
    """The fields of the message that lies from `start` to `end`.

    Before the error about a field that is cut off comes what there is of it, in which the caller may find the
    place more exactly.
    """
    at = start
    while at < end:
        first = at
        tag, at = varint(data, at, end)
        number, kind, value, begin = tag >> 3, tag & 7, 0, at
        if number == 0 or kind not in (VARINT, SIZED, *_WIDTHS):
            raise WireError(f"byte {first:,} begins no field")
        if kind == VARINT:
            value, at = varint(data, at, end)
        elif kind == SIZED:
            size, begin = varint(data, at, end)
            at = begin + size
        else:
            at += _WIDTHS[kind]
        if at > end:
            yield Field(first, number, kind, value, min(begin, end), end)
            raise WireError(
                f"truncated: the field at byte {first:,} announces {at - begin:,} bytes, "
                f"of which {max(0, end - begin):,} are there"
            )
        yield Field(first, number, kind, value, begin, at)


def varint(data: memoryview, at: int, end: int) -> tuple[int, int]:
    """The number at byte `at` (64 bits, not negative), and the byte after it."""
    value = shift = 0
    for place in range(at, min(end, at + 10)):
        byte = data[place]
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, place + 1
    raise WireError(f"truncated in the number at byte {at:,}" if end - at < 10 else f"byte {at:,} begins no number")


def signed(value: int) -> int:
    """A varint as the int64 that was written."""
    return value - (1 << 64) if value >> 63 else value


def text(data: memoryview, field: Field) -> str:
    """The content of a string field."""
    return bytes(data[field.start : field.end]).decode("utf-8", "replace")


def header(number: int, size: int) -> bytes:
    """What stands in front of a sized field's content."""
    return varint_bytes(number << 3 | SIZED) + varint_bytes(size)


def number(field: int, value: int) -> bytes:
    """A varint field."""
    return varint_bytes(field << 3 | VARINT) + varint_bytes(value)


def varint_bytes(value: int) -> bytes:
    """A number from 0 on, in seven bits a byte, lowest first."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
