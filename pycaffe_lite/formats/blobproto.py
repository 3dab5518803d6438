"""BlobProto to array and back. Values pass as bytes: number by number, VGG-16 would take a minute."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from ..blob import MAX_AXES
from ..errors import WeightsError
from ..proto import BlobProto, BlobShape
from . import wire
from .stored import Shape, Stored

_FIELDS = {f.number: f.name for f in BlobProto.DESCRIPTOR.fields}
_NUMBERS = {name: number for number, name in _FIELDS.items()}
_LEGACY = ("num", "channels", "height", "width")
_ARRAYS = {"data": "<f4", "diff": "<f4", "double_data": "<f8", "double_diff": "<f8", "raw_data": "", "raw_diff": ""}
_RAW_TYPES = {0: "<f8", 1: "<f4", 2: "<f2"}  # NVIDIA's Type: DOUBLE, FLOAT, FLOAT16


class _Parts:
    """The fields of one BlobProto: small ones as numbers, arrays as where they lie."""

    def __init__(self, content: memoryview, start: int, end: int):
        self.content = content
        self.numbers: dict[str, int] = {}
        self.dims: list[int] = []
        self.arrays: dict[str, wire.Field] = {}
        for field in wire.fields(content, start, end):
            name = _FIELDS.get(field.number, "")
            if name in _ARRAYS:
                if field.kind != wire.SIZED or name in self.arrays:  # legal, but nobody writes arrays in pieces
                    whole = BlobProto.FromString(bytes(content[start:end])).SerializeToString()
                    self.__init__(memoryview(whole), 0, len(whole))
                    return
                self.arrays[name] = field
            elif name == "shape":
                self.add_dims(field)
            elif name and field.kind == wire.VARINT:
                self.numbers[name] = wire.signed(field.value)

    def add_dims(self, shape: wire.Field) -> None:
        """The sizes in a BlobShape, packed or one by one."""
        for field in wire.fields(self.content, shape.start, shape.end):
            at, value = field.start, field.value
            while len(self.dims) <= MAX_AXES and at < field.end:
                value, at = wire.varint(self.content, at, field.end)
                self.dims.append(wire.signed(value))

    @property
    def is_legacy(self) -> bool:
        return any(name in self.numbers for name in _LEGACY)

    @property
    def shape(self) -> Shape:
        return tuple(self.numbers.get(name, 0) for name in _LEGACY) if self.is_legacy else tuple(self.dims)

    def numbers_of(self, what: str) -> np.ndarray:
        """`data` or `diff` as a flat view of the file, in whatever precision it is there."""
        name = next((n for n in (f"raw_{what}", f"double_{what}", what) if n in self.arrays), what)
        dtype = _ARRAYS[name] or _RAW_TYPES.get(self.numbers.get(f"{name}_type", 1), "")
        if not dtype:
            raise wire.WireError(f"{name}_type {self.numbers[f'{name}_type']} is none of {sorted(_RAW_TYPES)}")
        if name not in self.arrays:
            return np.empty(0, dtype)
        field = self.arrays[name]
        if (field.end - field.start) % np.dtype(dtype).itemsize:
            raise wire.WireError(f"{name} ends in the middle of a number")
        return np.frombuffer(self.content[field.start : field.end], dtype)


def stored(content: memoryview, start: int, end: int, where: str) -> Stored:
    """The BlobProto that lies from `start` to `end`; WeightsError if shape and values do not agree."""
    try:
        parts = _Parts(content, start, end)
        shape, data, diff = parts.shape, parts.numbers_of("data"), parts.numbers_of("diff")
    except (wire.WireError, DecodeError) as error:
        raise WeightsError(f"{where}: {error}") from error
    if len(shape) > MAX_AXES:
        raise WeightsError(f"{where}: has more than {MAX_AXES} axes")
    if any(d < 0 for d in shape):
        raise WeightsError(f"{where}: shape {shape} has a negative size")
    if math.prod(shape) != data.size:
        raise WeightsError(f"{where}: shape {shape} needs {math.prod(shape):,} values, but there are {data.size:,}")
    if diff.size not in (0, data.size):
        raise WeightsError(f"{where}: shape {shape} needs {data.size:,} gradients, but there are {diff.size:,}")
    return Stored(
        shape,
        lambda: data.reshape(shape),
        (lambda: diff.reshape(shape)) if diff.size else None,
        parts.is_legacy,
    )


def to_array(proto: Any, field: str = "data", where: str = "blob") -> np.ndarray:
    """The values (`data`) or gradients (`diff`) of a BlobProto, in its shape; WeightsError if they do not fill it."""
    content = memoryview(proto.SerializeToString())
    found = stored(content, 0, len(content), where)
    read = found.read if field == "data" else found.read_diff
    if read is None:
        raise WeightsError(f"{where}: has no {field}")
    array = read()
    return array.astype(np.float64 if array.itemsize == 8 else np.float32)


def from_array(values: np.ndarray, diff: np.ndarray | None = None) -> Any:
    """A BlobProto of these values (float32; float64 as double_data; float16 raw), and gradients if given."""
    return BlobProto.FromString(b"".join(pieces(values, diff)))


def pieces(values: np.ndarray, diff: np.ndarray | None = None) -> Iterator[bytes | memoryview]:
    """The bytes of such a BlobProto, its fields in Caffe's order; arrays of the right kind are not copied."""
    kind, prefix = {"d": ("<f8", "double_"), "e": ("<f2", "raw_")}.get(values.dtype.char, ("<f4", ""))
    dims = BlobShape(dim=values.shape).SerializeToString()
    shape = wire.header(_NUMBERS["shape"], len(dims)) + dims
    if prefix:
        yield shape
    for name, array in (("data", values), ("diff", diff)):
        if array is None:
            continue
        if prefix == "raw_":
            yield wire.number(_NUMBERS[f"raw_{name}_type"], 2)
        flat = np.ascontiguousarray(array, kind).reshape(-1)
        yield wire.header(_NUMBERS[f"{prefix}{name}"], flat.nbytes)
        yield flat.view(np.uint8).data
    if not prefix:
        yield shape
