"""From the bytes of a Datum to an array (channels, height, width) and a label."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pycaffe_lite.data.images import decode_image
from pycaffe_lite.errors import DataError
from pycaffe_lite.proto import Datum


class Sample(NamedTuple):
    """One decoded entry: uint8 or float32 pixels, and a number or a vector as label."""

    pixels: np.ndarray
    label: int | np.ndarray
    key: bytes


def decode_datum(key: bytes, value: bytes, color: bool | None = None) -> Sample:
    """Decode one database entry; ``color`` is for compressed images, as in `decode_image`."""
    try:
        datum = Datum.FromString(value)
    except Exception as error:  # protobuf's DecodeError, of whichever implementation
        raise DataError(f"entry {key_text(key)}: not a Datum ({error})") from error
    try:
        return Sample(_pixels(datum, color), _label(datum), key)
    except DataError as error:
        raise DataError(f"entry {key_text(key)}: {error}") from error


def _pixels(datum: Datum, color: bool | None) -> np.ndarray:
    """The datum's array: decoded, raw bytes, or floats."""
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
