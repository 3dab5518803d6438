"""Decompressing Snappy, in which LevelDB stores blocks that shrink by it."""

from __future__ import annotations

from pycaffe_lite.errors import DataError


def varint(data: bytes, at: int) -> tuple[int, int]:
    """A number in seven bits a byte, lowest first, and the place after it."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def decompress(data: bytes) -> bytes:
    """Undo Snappy's raw format: literal bytes, and copies of what was written before."""
    size, at = varint(data, 0)
    out = bytearray()
    while at < len(data):
        tag = data[at]
        if tag & 3 == 0:
            length, at = _literal_length(data, at)
            out += data[at : at + length]
            at += length
        else:
            length, offset, at = _copy(data, at)
            if not 0 < offset <= len(out):
                raise DataError("damaged Snappy block: a copy from before its beginning")
            start = len(out) - offset
            piece = out[start : start + length]
            # A copy may run into what it writes itself, repeating the last bytes.
            out += (piece * (length // len(piece) + 1))[:length]
    if len(out) != size:
        raise DataError(f"damaged Snappy block: {len(out)} bytes instead of {size}")
    return bytes(out)


def _literal_length(data: bytes, at: int) -> tuple[int, int]:
    """How many literal bytes follow, and where."""
    code = data[at] >> 2
    if code < 60:
        return code + 1, at + 1
    extra = code - 59
    return int.from_bytes(data[at + 1 : at + 1 + extra], "little") + 1, at + 1 + extra


def _copy(data: bytes, at: int) -> tuple[int, int, int]:
    """Length and distance of a copy, and the place after it."""
    tag = data[at]
    if tag & 3 == 1:
        return 4 + (tag >> 2 & 7), (tag >> 5) << 8 | data[at + 1], at + 2
    extra = 2 if tag & 3 == 2 else 4
    return (tag >> 2) + 1, int.from_bytes(data[at + 1 : at + 1 + extra], "little"), at + 1 + extra
