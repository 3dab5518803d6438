"""Weights for other tools: .npz (numpy) and .safetensors, with an array `<layer>/<i>` for each parameter."""

from __future__ import annotations

import contextlib
import math
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from ..errors import WeightsError
from .hdf5 import MOST_COMPRESSED
from .stored import Stored, StoredLayer, numbers

_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


@contextlib.contextmanager
def reading_npz(source: str) -> Iterator[list[StoredLayer]]:
    """The layers in an .npz."""
    try:
        with zipfile.ZipFile(source) as archive:
            names = [name for name in archive.namelist() if name.endswith(".npy")]
            yield _layers(((name[:-4], _in_zip(archive, name)) for name in names), source)
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, RuntimeError, UnicodeDecodeError) as error:
        raise WeightsError(f"weights {source}: not an .npz of numpy's, or a damaged one: {error}") from error


def _in_zip(archive: zipfile.ZipFile, name: str) -> Stored:
    """One array, of which only the header is read for now."""
    with archive.open(name) as file:
        try:
            shape, _, dtype = _HEADERS[np.lib.format.read_magic(file)](file)
            start = file.tell()
        except (ValueError, KeyError) as error:
            raise WeightsError(f"weights {archive.filename}: {name} is no array of numpy's: {error}") from error
    if dtype.kind not in "fiu":
        raise WeightsError(f"weights {archive.filename}: {name} holds {dtype}, not numbers")
    info, size = archive.getinfo(name), math.prod(shape) * dtype.itemsize
    there = max(0, min(info.file_size, info.compress_size * MOST_COMPRESSED) - start)  # numpy deflates, if anything
    if size > there:
        raise WeightsError(
            f"weights {archive.filename}: {name}: shape {shape} takes {size:,} bytes, of which {there:,} are there"
        )

    def read() -> np.ndarray:
        with archive.open(name) as file:
            try:
                return np.lib.format.read_array(file, allow_pickle=False)
            except ValueError as error:
                raise WeightsError(f"weights {archive.filename}: {name}: {error}") from error

    return Stored(shape, read)


@contextlib.contextmanager
def reading_safetensors(source: str) -> Iterator[list[StoredLayer]]:
    """The layers in a .safetensors file."""
    safetensors = module()
    try:
        with safetensors.safe_open(source, "numpy") as file:
            names = file.keys()
            yield _layers(((name, _in_safetensors(file, name)) for name in names), source)
    except (safetensors.SafetensorError, OSError) as error:
        raise WeightsError(f"weights {source}: not a .safetensors file, or a damaged one: {error}") from error


def _in_safetensors(file: Any, name: str) -> Stored:
    return Stored(tuple(file.get_slice(name).get_shape()), lambda: file.get_tensor(name))


def module() -> Any:
    """The safetensors package, or advice."""
    try:
        import safetensors.numpy
    except ImportError as error:
        raise WeightsError("for .safetensors files: pip install 'caffe-lite[safetensors]'") from error
    return safetensors


def _layers(arrays: Iterable[tuple[str, Stored]], source: str) -> list[StoredLayer]:
    """The arrays, sorted into layers."""
    found: dict[str, StoredLayer] = {}
    for name, array in arrays:
        layer, _, index = name.rpartition("/")
        if not layer or not index.isdecimal():
            raise WeightsError(
                f"weights {source}: array {name!r} is no parameter: those are named <layer>/<i>, such as 'conv1/0'"
            )
        found.setdefault(layer, StoredLayer(layer)).params[int(index)] = array
    return list(found.values())


def arrays(net: Any, dtype: Any) -> dict[str, np.ndarray]:
    """All parameters of a net by the names they have in these files."""
    return {
        f"{layer.name}/{index}": numbers(blob, dtype) for layer in net.layers for index, blob in enumerate(layer.blobs)
    }


def write_npz(net: Any, path: str, dtype: Any) -> None:
    """Write an .npz."""
    with open(path, "wb") as file:  # numpy adds a suffix to a name, but not to a file
        np.savez(file, **arrays(net, dtype))  # type: ignore[arg-type]


def write_safetensors(net: Any, path: str, dtype: Any) -> None:
    """Write a .safetensors file."""
    safetensors = module()
    try:
        safetensors.numpy.save_file(arrays(net, dtype), path, {"format": "caffe-lite", "net": net.name})
    except safetensors.SafetensorError as error:
        raise OSError(str(error)) from error
