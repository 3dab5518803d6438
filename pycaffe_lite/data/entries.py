"""Reading database entries as samples, small databases of raw images being kept decoded in memory."""

from __future__ import annotations

import numpy as np

from pycaffe_lite.data.database import Database
from pycaffe_lite.data.datum import Sample, Samples, decode_alike, decode_datum, key_text
from pycaffe_lite.errors import DataError

CACHE_LIMIT = 256 << 20  # bytes of pixels: CIFAR fits, ImageNet does not


class EntryReader:
    """Decodes the entries of a database on each visit, or only on the first if they fit in memory."""

    def __init__(self, database: Database, color: bool | None = None) -> None:
        self.database = database
        self.color = color
        self.first = self._decode_each([database.read(0)])
        pixels = self.first.pixels[0]
        self._shape = pixels.shape
        cacheable = pixels.dtype == np.uint8 and pixels.nbytes * len(database) <= CACHE_LIMIT
        self._cache = _Cache(len(database), self.first) if cacheable else None

    def fetch(self, indices: np.ndarray) -> Samples:
        """Decode several entries, in the order asked for."""
        if self._cache is not None:
            missing = self._cache.missing(indices)
            if len(missing) == 0 or self._cache.store(missing, self._decode(missing)):
                return self._cache.fetch(indices)
            self._cache = None  # entries differ in shape, so they do not fit in one array
        return self._decode(indices)

    def _decode(self, indices: np.ndarray) -> Samples:
        """Decode several entries from the database itself."""
        entries = [self.database.read(index) for index in indices.tolist()]
        return decode_alike(entries, self._shape) or self._decode_each(entries)

    def _decode_each(self, entries: list[tuple[bytes, bytes]]) -> Samples:
        """Decode entries of any kind one by one."""
        try:
            samples = [decode_datum(key, value, self.color) for key, value in entries]
        except DataError as error:
            raise DataError(f"{self.database.source}: {error}") from error
        images = [sample.pixels for sample in samples]
        keys = [sample.key for sample in samples]
        alike = len({(image.shape, image.dtype) for image in images}) == 1
        pixels = np.concatenate(images).reshape(len(images), *images[0].shape) if alike else images
        return Samples(pixels, self._stack_labels(samples), keys)

    def _stack_labels(self, samples: list[Sample]) -> np.ndarray:
        """Labels as floats, which is what a Caffe blob holds: (N,) or (N, K)."""
        try:
            return np.array([sample.label for sample in samples], np.float32)
        except ValueError:  # vectors of different lengths
            first = samples[0]
            other = next(s for s in samples if np.shape(s.label) != np.shape(first.label))
            raise DataError(
                f"{self.database.source}: labels of one batch must have one shape, but entry"
                f" {key_text(first.key)} has {np.shape(first.label)}"
                f" and {key_text(other.key)} {np.shape(other.label)}"
            ) from None


class _Cache:
    """The decoded entries seen so far; pages of memory are taken only as they are filled."""

    def __init__(self, entries: int, like: Samples) -> None:
        self._pixels = np.empty((entries, *like.pixels[0].shape), np.uint8)
        self._labels = np.empty((entries, *like.labels.shape[1:]), np.float32)
        self._keys = [b""] * entries
        self._known = np.zeros(entries, bool)

    def missing(self, indices: np.ndarray) -> np.ndarray:
        """Those entries that were not stored yet."""
        return indices[~self._known[indices]]

    def store(self, indices: np.ndarray, samples: Samples) -> bool:
        """Keep entries, if they are like the others."""
        pixels, labels, keys = samples
        if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8:
            return False
        if pixels.shape[1:] != self._pixels.shape[1:] or labels.shape[1:] != self._labels.shape[1:]:
            return False
        self._pixels[indices] = pixels
        self._labels[indices] = labels
        self._known[indices] = True
        for index, key in zip(indices.tolist(), keys, strict=True):
            self._keys[index] = key
        return True

    def fetch(self, indices: np.ndarray) -> Samples:
        """The entries, without a copy where they lie side by side."""
        adjacent = bool((np.diff(indices) == 1).all())
        where = slice(int(indices[0]), int(indices[-1]) + 1) if adjacent else indices
        return Samples(self._pixels[where], self._labels[where], [self._keys[i] for i in indices.tolist()])
