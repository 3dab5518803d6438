"""Datums and IDX files for the tests of data."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable

import numpy as np

from pycaffe_lite.data.mnist import Digits
from pycaffe_lite.proto import Datum

WriteDatabase = Callable[[Iterable[Datum]], str]

_RNG = np.random.default_rng(0)
DIGITS = {
    half: Digits(_RNG.integers(0, 256, (n, 28, 28), np.uint8), _RNG.integers(0, 10, n, np.uint8))
    for half, n in (("train", 5), ("t10k", 3))
}


def image_datum(image: np.ndarray, label: int = 0) -> Datum:
    """A raw Datum of a uint8 image (C, H, W)."""
    channels, height, width = image.shape
    return Datum(channels=channels, height=height, width=width, data=image.tobytes(), label=label)


def idx(array: np.ndarray) -> bytes:
    """An IDX file."""
    return struct.pack(f">I{array.ndim}I", 0x800 + array.ndim, *array.shape) + array.tobytes()


def mnist_files() -> dict[str, bytes]:
    """MNIST's four files, holding DIGITS."""
    return {
        f"{half}-{kind}": idx(array)
        for half, digits in DIGITS.items()
        for kind, array in (("images-idx3-ubyte", digits.images), ("labels-idx1-ubyte", digits.labels))
    }
