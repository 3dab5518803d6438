"""MNIST: its IDX files, where to download them, and the databases Caffe's examples train from."""

from __future__ import annotations

import gzip
import hashlib
import os
import urllib.request
import zlib
from collections.abc import Callable, Sequence
from http.client import HTTPException
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pycaffe_lite.data.database_lmdb import DatabaseWriter
from pycaffe_lite.errors import DataError
from pycaffe_lite.proto import Datum

MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
    "http://yann.lecun.com/exdb/mnist/",
)

# SHA-256 of the .gz files, which are the same wherever they come from.
CHECKSUMS = {
    "train-images-idx3-ubyte": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    "train-labels-idx1-ubyte": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    "t10k-images-idx3-ubyte": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    "t10k-labels-idx1-ubyte": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
}

_TIMEOUT = 20  # seconds without a byte

# Reads the IDX file of a name: from a directory, or over the network.
_Fetch = Callable[[str], np.ndarray]


class Digits(NamedTuple):
    """Images uint8 (count, height, width) and labels uint8 (count,)."""

    images: np.ndarray
    labels: np.ndarray


class Mnist(NamedTuple):
    """The two halves of the data set."""

    train: Digits
    test: Digits


def read_mnist(directory: str | os.PathLike[str]) -> Mnist:
    """Read the four IDX files in a directory, compressed (.gz) or not."""
    if not Path(directory).is_dir():
        raise DataError(f"{directory}: no such directory")
    return _load(lambda name: _read_file(Path(directory), name))


def download_mnist(mirrors: Sequence[str] = MIRRORS) -> Mnist:
    """Download the four files into memory, from the first mirror that gives the right bytes."""
    return _load(lambda name: _parse_idx(_download(name, mirrors), name))


def write_database(target: str | os.PathLike[str], digits: Digits, overwrite: bool = False) -> None:
    """Write digits as Caffe's convert_mnist_data does: keys of eight figures, one channel."""
    count, height, width = digits.images.shape
    datum = Datum(channels=1, height=height, width=width)
    with DatabaseWriter(target, overwrite=overwrite) as writer:
        for number in range(count):
            datum.data = digits.images[number].tobytes()
            datum.label = int(digits.labels[number])
            writer.put(b"%08d" % number, datum.SerializeToString())


def _load(fetch: _Fetch) -> Mnist:
    """Both halves, each checked for as many labels as images."""
    return Mnist(*(_pair(fetch, half) for half in ("train", "t10k")))


def _pair(fetch: _Fetch, half: str) -> Digits:
    images_name, labels_name = f"{half}-images-idx3-ubyte", f"{half}-labels-idx1-ubyte"
    digits = Digits(fetch(images_name), fetch(labels_name))
    for name, array, axes in ((images_name, digits.images, 3), (labels_name, digits.labels, 1)):
        if array.ndim != axes:
            raise DataError(f"{name}: must have {axes} axes, has {array.ndim}")
        if array.size == 0:
            raise DataError(f"{name}: is empty, its sizes are {array.shape}")
    if len(digits.images) != len(digits.labels):
        raise DataError(f"{images_name} holds {len(digits.images)} images, {labels_name} {len(digits.labels)} labels")
    return digits


def _read_file(directory: Path, name: str) -> np.ndarray:
    """Find and read one IDX file; once unpacked, some tools name it with a dot."""
    dotted = name.replace("-idx", ".idx")
    for path in (directory / f for f in (name, f"{name}.gz", dotted, f"{dotted}.gz")):
        if path.is_file():
            return _parse_idx(path.read_bytes(), str(path))
    raise DataError(f"{directory}: has neither {name} nor {name}.gz")


def _parse_idx(raw: bytes, name: str) -> np.ndarray:
    """The uint8 array in an IDX file: two zero bytes, type 8, number of axes, their sizes, the values."""
    if raw[:2] == b"\x1f\x8b":
        try:
            raw = gzip.decompress(raw)
        except (OSError, EOFError, zlib.error) as error:
            raise DataError(f"{name}: damaged gzip file ({error})") from error
    if len(raw) < 4 or raw[:3] != b"\0\0\x08":
        raise DataError(f"{name}: not an IDX file of bytes; it begins with {raw[:4].hex(' ') or 'nothing'}")
    header = 4 + 4 * raw[3]
    if len(raw) < header:
        raise DataError(f"{name}: cut off within its header")
    shape = tuple(np.frombuffer(raw[4:header], ">u4").tolist())
    values = np.frombuffer(raw, np.uint8, offset=header)
    expected = int(np.prod(shape, dtype=object))
    if values.size != expected:
        sizes = " x ".join(map(str, shape))
        raise DataError(f"{name}: must hold {sizes} = {expected} bytes after its header, has {values.size}")
    return values.reshape(shape)


def _download(name: str, mirrors: Sequence[str]) -> bytes:
    """The bytes of one .gz file, from the first mirror whose copy has the right checksum."""
    failures = []
    for mirror in mirrors:
        url = f"{mirror.rstrip('/')}/{name}.gz"
        try:
            with urllib.request.urlopen(url, timeout=_TIMEOUT) as response:
                raw = response.read()
        except (OSError, HTTPException) as error:
            failures.append(f"  {url}: {error}")
            continue
        if hashlib.sha256(raw).hexdigest() == CHECKSUMS[name]:
            return raw
        failures.append(f"  {url}: wrong checksum, {len(raw)} bytes")
    raise DataError("\n".join([f"cannot download {name}.gz", *failures]))
