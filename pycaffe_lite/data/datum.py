"""From the bytes of a Datum to an array (channels, height, width) and a label."""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import numpy as np

from pycaffe_lite.data.images import decode_image
from pycaffe_lite.errors import DataError
from pycaffe_lite.proto import Datum

_LABEL_TAG = Datum.LABEL_FIELD_NUMBER << 3  # as it is written: field number and the wire type of an integer


class Sample(NamedTuple):
    """One decoded entry: uint8 or float32 pixels, and a number or a vector as label."""

    pixels: np.ndarray
    label: int | np.ndarray
    key: bytes


class Samples(NamedTuple):
    """Decoded entries: pixels in one array (N, C, H, W), or in a list if the images differ in shape."""

    pixels: np.ndarray | list[np.ndarray]
    labels: np.ndarray
    keys: list[bytes]


def decode_datum(key: bytes, value: bytes, color: bool | None = None) -> Sample:
    """Decode one database entry; ``color`` is for compressed images, as in `decode_image`."""
    try:
        datum = Datum.FromString(value)
    except Exception as error:  # protobuf's DecodeError, of whichever implementation
        raise DataError(f"entry {key_text(key)}: not a Datum ({error})") from error
    try:
        return Sample(pixels_of(datum, color), _label(datum), key)
    except DataError as error:
        raise DataError(f"entry {key_text(key)}: {error}") from error


def decode_alike(entries: list[tuple[bytes, bytes]], shape: tuple[int, int, int]) -> Samples | None:
    """Decode raw datums of one shape, with labels below 128, all at once; None if any is different.

    Byte for byte such datums are the same header, the pixels, and two bytes for the label. To parse
    them singly would take longer than all else that is done to small images.
    """
    header = _header(shape)
    stop = len(header) + math.prod(shape)
    if any(len(value) != stop + 2 for _, value in entries):
        return None
    rows = np.frombuffer(b"".join(value for _, value in entries), np.uint8).reshape(-1, stop + 2)
    tags, labels = rows[:, stop], rows[:, stop + 1]
    if (rows[:, : len(header)] != header).any() or (tags != _LABEL_TAG).any() or (labels > 127).any():
        return None
    pixels = rows[:, len(header) : stop].reshape(-1, *shape)
    return Samples(pixels, labels.astype(np.float32), [key for key, _ in entries])


@functools.cache
def _header(shape: tuple[int, int, int]) -> np.ndarray:
    """The bytes of a raw datum before its pixels."""
    channels, height, width = shape
    size = math.prod(shape)
    datum = Datum(channels=channels, height=height, width=width, data=bytes(size))
    return np.frombuffer(datum.SerializeToString()[:-size], np.uint8)


def pixels_of(datum: Datum, color: bool | None = None) -> np.ndarray:
    """The datum's array (C, H, W), decoded if need be: uint8, or float32; DataError if it has another size."""
    data = datum.data
    if datum.encoded:
        return decode_image(data, color)
    shape = (datum.channels, datum.height, datum.width)
    # As in Caffe, floats count only where there are no bytes.
    pixels = np.frombuffer(data, np.uint8) if data else np.array(datum.float_data, np.float32)
    if pixels.size != shape[0] * shape[1] * shape[2] or min(shape) <= 0:
        kind = "bytes" if data else "floats"
        raise DataError(f"holds {pixels.size} {kind}, but its shape (channels, height, width) is {shape}")
    return pixels.reshape(shape)


def _label(datum: Datum) -> int | np.ndarray:
    """The datum's label; next to bytes, float_data (which Caffe ignores there) is a label of floats."""
    if datum.float_data and datum.data:
        return np.array(datum.float_data, np.float32)
    return datum.label


def key_text(key: bytes) -> str:
    """A key as people wrote it, in quotes."""
    return repr(key.decode(errors="backslashreplace"))
