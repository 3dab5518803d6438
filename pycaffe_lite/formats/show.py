"""Binary files as text: messages in the form of prototxt, arrays as their shape and range.

A message is walked where it lies (see wire.py), so that a caffemodel of any size takes no memory of its own.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import groupby
from tokenize import TokenError
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from ..errors import DataError, WeightsError
from ..proto import BlobProto, Datum, NetParameter, SolverParameter, SolverState, binary, caffe_pb2, printer
from ..proto.schema import fields
from . import blobproto, files, hdf5, tensors, wire

# What a binary file may hold, and the fields of which one at least is there then
KINDS: dict[Any, tuple[str, ...]] = {
    NetParameter: ("layer", "layers"),
    SolverState: ("iter",),
    BlobProto: ("data", "double_data", "raw_data"),
    Datum: ("data", "float_data"),
    SolverParameter: ("net", "net_param", "train_net", "train_net_param"),
}
FEW = 8  # values of an array that are written out even in short
NUMBERS = {"float": "<f4", "double": "<f8"}


def show(path: str, full: bool = False, limit: int = 5) -> Iterator[str]:
    """The lines of a file's text; of a database, those of its first `limit` entries. DataError if it is neither."""
    if os.path.isdir(path):
        yield from database(path, full, limit)
        return
    try:
        with open(path, "rb") as file:
            start = file.read(1024)
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from error
    if start.startswith(hdf5.MAGIC):
        yield from hdf5_lines(path, full)
    elif start.startswith(b"\x93NUMPY"):
        yield from array_lines("array", read_npy(path), full)
    elif start.startswith(b"PK\x03\x04"):
        with tensors.reading_npz(path) as layers:
            yield from stored_lines(layers, full)
    elif path.endswith(".safetensors"):
        with tensors.reading_safetensors(path) as layers:
            yield from stored_lines(layers, full)
    elif start and not binary.is_binary(start) and not binary.other_file(start):
        yield from text_lines(path)
    else:
        yield from message_file(path, full)


def text_lines(path: str) -> Iterator[str]:
    """A file that is text already, as it is."""
    with open(path, encoding="utf-8", errors="replace") as file:
        yield from (line.rstrip("\n") for line in file)


# Messages ----------------------------------------------------------------------------------------------------


def message_file(path: str, full: bool) -> Iterator[str]:
    """A binary message of whichever kind fits."""
    content = files.view(path, "file of Caffe's")
    try:
        kind = next((k for k in KINDS if fits(content, k)), None)
    except wire.WireError as error:
        raise DataError(f"{path}: not a binary message, or a damaged one: {error}") from error
    if kind is None:
        raise DataError(f"{path}: a message, but none of {', '.join(k.DESCRIPTOR.name for k in KINDS)}")
    yield f"# {kind.DESCRIPTOR.name}"
    try:
        yield from message_lines(content, 0, len(content), kind.DESCRIPTOR, full, "", path)
    except (wire.WireError, DecodeError) as error:
        raise WeightsError(f"{path}: damaged: {error}") from error


def fits(content: memoryview, kind: Any) -> bool:
    """Whether a kind of message has all the outermost fields that are there, and what it has at least is there."""
    known = {f.number: fields(kind.DESCRIPTOR)[f.name] for f in kind.DESCRIPTOR.fields}
    seen = {(field.number, field.kind) for field in wire.fields(content, 0, len(content))}
    if not all(number in known and form in wire_kinds(known[number]) for number, form in seen):
        return False
    return any(known[number].name in KINDS[kind] for number, _ in seen)


def wire_kinds(field: Any) -> tuple[int, ...]:
    """How a field may be encoded; numbers that repeat also packed."""
    if field.kind in ("message", "string", "bytes"):
        return (wire.SIZED,)
    plain = {"float": wire.FOUR_BYTES, "double": wire.EIGHT_BYTES}.get(field.kind, wire.VARINT)
    return (plain, wire.SIZED) if field.repeated else (plain,)


def message_lines(
    content: memoryview, start: int, end: int, message: Any, full: bool, indent: str, where: str
) -> Iterator[str]:
    """The fields of the message that lies from `start` to `end`."""
    if message.name == "BlobProto" and not full:
        yield indent + blob_line(content, start, end, where)
        return
    known = {f.number: fields(message)[f.name] for f in message.fields}
    for number, group in groupby(wire.fields(content, start, end), lambda part: part.number):
        parts, field = list(group), known.get(number)
        if field is None:
            yield f"{indent}# field {number}, which {message.name} does not have ({len(parts)} times)"
        elif field.message:
            for part in parts:
                yield f"{indent}{field.name} {{"
                yield from message_lines(content, part.start, part.end, field.message, full, indent + "  ", where)
                yield f"{indent}}}"
        else:
            yield from scalar_lines(content, parts, field, message, full, indent)


def scalar_lines(
    content: memoryview, parts: list[wire.Field], field: Any, message: Any, full: bool, indent: str
) -> Iterator[str]:
    """Values of one field: written out, or if they are many, what there is to say of them."""
    dtype = np.dtype(NUMBERS.get(field.kind, "u1"))
    count = sum(part.end - part.start for part in parts) // dtype.itemsize
    if field.kind in (*NUMBERS, "bytes") and count > FEW and not full:
        values = np.frombuffer(b"".join(content[p.start : p.end] for p in parts), dtype)
        image = binary.other_file(values[:32].tobytes()) if field.kind == "bytes" else ""
        yield f"{indent}# {field.name}: {f'{image} of {count:,} bytes' if image else described(values)}"
    else:
        kind = getattr(caffe_pb2, message.name)
        made = kind.FromString(b"".join(content[part.at : part.end] for part in parts))
        yield from (indent + line for line in printer.write_text(made).splitlines())


def blob_line(content: memoryview, start: int, end: int, where: str) -> str:
    """A blob in one line."""
    stored = blobproto.stored(content, start, end, where)
    line = f"# {shape_text(stored.shape)}: {described(stored.read())}"
    return f"{line}; diff: {described(stored.read_diff())}" if stored.read_diff else line


# Arrays ------------------------------------------------------------------------------------------------------


def read_npy(path: str) -> np.ndarray:
    """The array in an .npy file, read where it lies."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError, SyntaxError, TokenError) as error:
        raise DataError(f"{path}: not an .npy file of numbers, or a damaged one: {error}") from error
    if array.dtype.kind not in "fiub":
        raise DataError(f"{path}: holds {array.dtype}, not numbers")
    return array


def described(values: np.ndarray) -> str:
    """How many values an array has, in which range, and how many of them are no numbers."""
    if values.size < 2:
        return f"{values.reshape(-1)[0]:.6g}" if values.size else "no values"
    finite = values[np.isfinite(values)] if values.dtype.kind == "f" else values.reshape(-1)
    count = f"{values.size:,} values"
    bad = values.size - finite.size
    if bad:
        count += f" ({bad:,} NaN or infinite)"
    if not finite.size:
        return count
    low, high, mean = finite.min(), finite.max(), finite.mean(dtype=np.float64)
    return f"{count}, min {low:.6g}, max {high:.6g}, mean {mean:.6g}"


def shape_text(shape: tuple[int, ...]) -> str:
    """`20x1x5x5`."""
    return "x".join(map(str, shape)) or "scalar"


def array_lines(name: str, array: np.ndarray, full: bool) -> Iterator[str]:
    """A named array, with all its values if wanted."""
    yield f"{name}: {array.dtype} {shape_text(array.shape)}, {described(array)}"
    if full:
        yield from np.array2string(array, threshold=array.size + 1, max_line_width=120).splitlines()


def stored_lines(layers: Any, full: bool) -> Iterator[str]:
    """The parameters in a file of weights."""
    for layer in layers:
        for index, stored in layer.params.items():
            yield from array_lines(f"{layer.name}/{index}", stored.read(), full)


def hdf5_lines(path: str, full: bool) -> Iterator[str]:
    """Everything in an HDF5 file, by path."""
    with hdf5.reading(path) as file:
        found: list[Any] = []
        file.visititems(lambda name, item: found.append(item))
        for item in found:
            if not hasattr(item, "shape"):  # a group, or a type with a name
                if hasattr(item, "dtype") or not len(item):
                    yield f"{item.name}: {'a type' if hasattr(item, 'dtype') else 'empty'}"
                continue
            hdf5.check_size(item, f"{path}: {item.name}")
            if item.dtype.kind in "fiu":
                yield from array_lines(item.name, np.asarray(item[()]), full)
            else:
                value = item[()]
                yield f"{item.name}: {value.decode('utf-8', 'replace') if isinstance(value, bytes) else value!r}"


# Databases ---------------------------------------------------------------------------------------------------


def database(path: str, full: bool, limit: int) -> Iterator[str]:
    """The first entries of an LMDB or LevelDB."""
    from ..data.database import open_database

    backend = "LEVELDB" if os.path.exists(os.path.join(path, "CURRENT")) else "LMDB"
    with open_database(path, backend) as entries:
        yield f"# {backend} with {len(entries):,} entries"
        for index in range(min(limit, len(entries))):
            key, value = entries.read(index)
            yield f"# {index}: {key.decode('utf-8', 'backslashreplace')}"
            yield from entry_lines(memoryview(value), full, path)


def entry_lines(value: memoryview, full: bool, where: str) -> Iterator[str]:
    """An entry as a Datum, or as bytes if it is none."""
    try:
        if fits(value, Datum):
            yield from message_lines(value, 0, len(value), Datum.DESCRIPTOR, full, "", where)
            return
    except wire.WireError:
        pass
    yield f"# no Datum: {len(value):,} bytes"
