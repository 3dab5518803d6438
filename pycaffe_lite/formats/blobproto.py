"""BlobProto to array and back. Values pass through as bytes: number by number, VGG-16 would take a minute."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import WeightsError
from ..proto import BlobProto, BlobShape

RAW_TYPES = {0: np.float64, 1: np.float32, 2: np.float16}  # NVIDIA's Type: DOUBLE, FLOAT, FLOAT16
_NUMBERS = {f.name: f.number for f in BlobProto.DESCRIPTOR.fields}


def shape_of(proto: Any) -> tuple[int, ...]:
    """The shape of a BlobProto; the legacy num, channels, height, width make four axes."""
    if proto.HasField("num") or proto.HasField("channels") or proto.HasField("height") or proto.HasField("width"):
        return proto.num, proto.channels, proto.height, proto.width
    return tuple(proto.shape.dim)


def is_legacy(proto: Any) -> bool:
    """Whether the shape is given by the four legacy fields."""
    return any(proto.HasField(name) for name in ("num", "channels", "height", "width"))


def to_array(proto: Any, field: str = "data", where: str = "blob") -> np.ndarray:
    """The values (`data`) or gradients (`diff`) of a BlobProto, in its shape; WeightsError if they do not fill it."""
    values = _values(proto, field)
    shape = shape_of(proto)
    if any(d < 0 for d in shape) or math.prod(shape) != values.size:
        raise WeightsError(f"{where}: shape {shape} needs {math.prod(shape)} values, but the file has {values.size}")
    return values.reshape(shape)


def _values(proto: Any, field: str) -> np.ndarray:
    raw = getattr(proto, f"raw_{field}", b"")
    if raw:
        return np.frombuffer(raw, RAW_TYPES.get(getattr(proto, f"raw_{field}_type"), np.float32)).astype(np.float32)
    double = getattr(proto, f"double_{field}")
    if len(double):
        return np.array(_packed(BlobProto(**{f"double_{field}": double}), np.float64))
    return np.array(_packed(BlobProto(**{field: getattr(proto, field)}), np.float32))


def _packed(proto: Any, dtype: Any) -> np.ndarray:
    """The values of the only field of a message, straight from its bytes: tag, length, little-endian numbers."""
    content = proto.SerializeToString()
    at = 1
    while at < len(content) and content[at] & 0x80:
        at += 1
    return np.frombuffer(content, np.dtype(dtype).newbyteorder("<"), offset=min(at + 1, len(content)))


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _field(name: str, content: bytes) -> bytes:
    """A length-delimited field as it stands in a file."""
    return _varint(_NUMBERS[name] << 3 | 2) + _varint(len(content)) + content


def from_array(values: np.ndarray, diff: np.ndarray | None = None, shape: Sequence[int] | None = None) -> Any:
    """A BlobProto of these values (float32, or float64 as double_data), and gradients if given."""
    dims = BlobShape(dim=values.shape if shape is None else shape).SerializeToString()
    content = _field("shape", dims)
    for name, array in (("data", values), ("diff", diff)):
        if array is None:
            continue
        double = array.dtype == np.float64
        kind = "<f8" if double else "<f4"
        content += _field(f"double_{name}" if double else name, np.ascontiguousarray(array, kind).tobytes())
    return BlobProto.FromString(content)
