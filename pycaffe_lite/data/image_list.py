"""Batches of images from a list file with a path and a label on each line (ImageData)."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from pycaffe_lite.data.images import decode_image
from pycaffe_lite.data.order import Purpose, SampleOrder, generator
from pycaffe_lite.data.resize import resize
from pycaffe_lite.data.stream import Arrays, Make, Stream, fitting
from pycaffe_lite.data.transform import DataTransformer
from pycaffe_lite.errors import DataError
from pycaffe_lite.paths import find_path


def read_bytes(path: str) -> bytes:
    """What is in a file."""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error


def read_list(source: str) -> list[tuple[str, int]]:
    """Path and label of every line; the label stands behind the last space, so paths may hold spaces."""
    entries = []
    for number, line in enumerate(read_lines(source), 1):
        if not line.strip():
            continue
        path, _, label = line.rstrip().rpartition(" ")
        if not path or not re.fullmatch(r"[+-]?\d+", label):
            raise DataError(f"{source}:{number}: must be a path, a space and a whole number, got {line!r}")
        entries.append((path, int(label)))
    if not entries:
        raise DataError(f"{source}: names no images")
    return entries


def read_lines(source: str) -> list[str]:
    """The lines of a text file."""
    return read_bytes(source).decode("utf-8", errors="surrogateescape").splitlines()


def decode_file(path: str, color: bool | None, read: Callable[[str], bytes] = read_bytes) -> np.ndarray:
    """The image in a file as uint8 (C, H, W)."""
    encoded = read(path)
    try:
        return decode_image(encoded, color)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


class ImageListBatches(Stream):
    """The stream of an ImageData layer; `param` is its image_data_param."""

    def __init__(self, param: Any, transformer: DataTransformer, depth: int, seed: int) -> None:
        self._entries = read_list(param.source)
        self._param = param
        self._transformer = transformer
        order = SampleOrder(len(self._entries), seed, param.shuffle, param.rand_skip)
        maker = _Maker(self._entries, param, transformer, order)
        first = maker.load(int(order.indices(0, 1)[0]))
        self.shapes = [(param.batch_size, *transformer.output_shape(*first.shape)), (param.batch_size,)]
        super().__init__(param.batch_size, depth, seed)

    def maker(self, seed: int) -> Make:
        order = SampleOrder(len(self._entries), seed, self._param.shuffle, self._param.rand_skip)
        return _Maker(self._entries, self._param, self._transformer, order).make


class _Maker:
    """Makes any batch from the number of its first sample; images are decoded by several threads."""

    def __init__(
        self, entries: list[tuple[str, int]], param: Any, transformer: DataTransformer, order: SampleOrder
    ) -> None:
        self._entries = entries
        self._param = param
        self._transformer = transformer
        self._order = order
        self._folder = os.path.dirname(param.source)
        self._threads = ThreadPoolExecutor(max(1, param.threads), "caffe-lite images")

    def load(self, index: int) -> np.ndarray:
        """An image, decoded and resized."""
        p = self._param
        image = decode_file(find_path(p.root_folder + self._entries[index][0], self._folder), p.is_color)
        return resize(image, p.new_height, p.new_width) if p.new_height else image

    def make(self, first: int, used: Arrays | None) -> Arrays:
        indices = self._order.indices(first, self._param.batch_size).tolist()
        images = list(self._threads.map(self.load, indices))
        # As in Caffe, the first image decides the shape of its batch.
        shape = self._transformer.output_shape(*images[0].shape)
        data, labels = batch = fitting(used, [(len(images), *shape), (len(images),)])
        rng = generator(self._order.seed, Purpose.TRANSFORM, first)
        for index, image, out in zip(indices, images, data):
            if self._transformer.output_shape(*image.shape) != shape:
                a, b = self._entries[indices[0]][0], self._entries[index][0]
                raise DataError(
                    f"images of one batch must have one shape, but {a} has {images[0].shape} and {b} {image.shape}; "
                    "use new_height and new_width, crop_size, or batch_size: 1"
                )
            self._transformer.transform(image, out, rng)
        labels[...] = [self._entries[index][1] for index in indices]
        return batch
