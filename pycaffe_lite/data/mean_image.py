"""The mean of a set of images: of a database, or of image files."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from ..errors import DataError
from .database import Database
from .datum import key_text
from .entries import EntryReader
from .imageset import Entry, Reader, each

_BATCH = 256

Images = Iterator[tuple[str, np.ndarray]]
"""Images (C, H, W), each with a name for messages."""


def of_database(database: Database) -> Images:
    """The images in a database."""
    reader = EntryReader(database)
    for first in range(0, len(database), _BATCH):
        samples = reader.fetch(np.arange(first, min(first + _BATCH, len(database))))
        yield from zip((f"{database.source}: entry {key_text(key)}" for key in samples.keys), samples.pixels)


def of_files(entries: list[Entry], reader: Reader) -> Images:
    """The images in files."""
    for entry, image in each(entries, reader.read):
        if isinstance(image, DataError):
            raise image
        yield entry.path, image


def mean(images: Images, progress: Callable[[int], None]) -> np.ndarray:
    """The mean image, float32 (C, H, W), exact until it is rounded; `progress` hears of each image's number.

    DataError if the images differ in shape.
    """
    total = first = None
    count = 0
    for name, image in images:
        if total is None:
            total, first = np.zeros(image.shape, np.int64 if image.dtype == np.uint8 else np.float64), name
        if image.shape != total.shape:
            raise DataError(
                f"{name}: has shape {image.shape}, but {first} {total.shape}; a mean image needs images of one size"
            )
        if total.dtype == np.int64 and image.dtype != np.uint8:
            total = total.astype(np.float64)
        total += image
        count += 1
        progress(count)
    if total is None:
        raise DataError("there are no images to take the mean of")
    return (total / count).astype(np.float32)
