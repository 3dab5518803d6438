"""Sets of image files with labels, as a list names them or as folders hold them, read in parallel."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar

import numpy as np

from ..errors import DataError
from .image_list import decode_file, read_list
from .resize import resize

ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".pnm", ".jp2")
_AT_ONCE = 64  # images in memory
_INT32 = 2**31

R = TypeVar("R")


class Entry(NamedTuple):
    """An image: its name, which is its path below the root, its file, and its label."""

    name: str
    path: str
    label: int


class ImageSet(NamedTuple):
    """Images in order; `classes` are the names of folders, whose numbers are the labels."""

    entries: list[Entry]
    classes: list[str] = []


def from_list(source: str, root: str = "") -> ImageSet:
    """The images that a list file names, with a path and a label on each line, paths being below `root`."""
    entries = []
    for name, label in read_list(source):
        if not -_INT32 <= label < _INT32:
            raise DataError(f"{source}: {name}: a label has 32 bits, got {label}")
        entries.append(Entry(name, _below(root, name), label))
    return ImageSet(entries)


def _below(root: str, name: str) -> str:
    """A file's path. As in Caffe root and name are put together as they are; a slash between may be missing."""
    path = root + name
    return path if not root or root.endswith("/") or os.path.exists(path) else f"{root}/{name.lstrip('/')}"


def from_folders(root: str) -> ImageSet:
    """The images in folders: each folder in `root` is a class, in the order of their names; found to any depth."""
    try:
        names = sorted(entry.name for entry in os.scandir(root) if entry.is_dir() and not entry.name.startswith("."))
    except OSError as error:
        raise DataError(f"{root}: {error.strerror or error}") from error
    if not names:
        raise DataError(
            f"{root}: there are no folders in it; each folder is a class, or else give a list of paths and labels"
        )
    entries = []
    for label, name in enumerate(names):
        found = list(_images_in(os.path.join(root, name)))
        if not found:
            raise DataError(f"{os.path.join(root, name)}: there are no images in this folder ({', '.join(ENDINGS)})")
        entries += [Entry(os.path.relpath(path, root), path, label) for path in found]
    return ImageSet(entries, names)


def _images_in(folder: str) -> Iterator[str]:
    for place, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted(files):
            if name.lower().endswith(ENDINGS) and not name.startswith("."):
                yield os.path.join(place, name)


class Reader(NamedTuple):
    """How to read an image: in colour or grey, and as what size (height, width), its own if None."""

    color: bool = True
    size: tuple[int, int] | None = None

    def read(self, entry: Entry) -> np.ndarray:
        """The image as uint8 (C, H, W), channels in the order B, G, R."""
        image = decode_file(entry.path, self.color)
        return resize(image, *self.size) if self.size else image


def each(entries: list[Entry], work: Callable[[Entry], R]) -> Iterator[tuple[Entry, R | DataError]]:
    """Entries in their order with what `work` makes of them, or the DataError it raises; several threads work ahead."""

    def attempt(entry: Entry) -> tuple[Entry, R | DataError]:
        try:
            return entry, work(entry)
        except DataError as error:
            return entry, error

    with ThreadPoolExecutor(os.cpu_count(), "caffe-lite images") as threads:
        for first in range(0, len(entries), _AT_ONCE):
            yield from threads.map(attempt, entries[first : first + _AT_ONCE])
