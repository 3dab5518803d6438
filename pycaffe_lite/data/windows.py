"""Batches of windows cut out of images, foreground and background mixed (WindowData, for R-CNN)."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from pycaffe_lite.data.image_list import decode_file, read_bytes, read_lines
from pycaffe_lite.data.order import Purpose, generator
from pycaffe_lite.data.resize import resize
from pycaffe_lite.data.stream import Arrays, Make, Stream, fitting
from pycaffe_lite.errors import ConfigError, DataError
from pycaffe_lite.formats.mean import read_mean
from pycaffe_lite.paths import find_path

F = np.float32  # Caffe computes where a window lies in single precision, and then rounds


class Window(NamedTuple):
    """A rectangle of an image, corners included, and its class (0: background)."""

    path: str
    label: int
    x1: int
    y1: int
    x2: int
    y2: int


class WindowFile(NamedTuple):
    """What a window file holds: foreground and background windows."""

    foreground: list[Window]
    background: list[Window]


def read_windows(source: str, param: Any) -> WindowFile:
    """Read a window file; windows between the two thresholds are in neither list."""
    foreground: list[Window] = []
    background: list[Window] = []
    words = iter("\n".join(read_lines(source)).split())
    for path, label, overlap, corners in _entries(words, source):
        if overlap >= F(param.fg_threshold):
            if label <= 0:
                raise DataError(f"{source}: a foreground window of {path} has class {label}; it must be above 0")
            foreground.append(Window(param.root_folder + path, label, *corners))
        elif overlap < F(param.bg_threshold):
            background.append(Window(param.root_folder + path, 0, *corners))
    return WindowFile(foreground, background)


def _entries(words: Iterator[str], source: str) -> Iterator[tuple[str, int, np.float32, list[int]]]:
    """Path, class, overlap and corners of every window: "# index path channels height width count", then windows."""
    images = 0
    path = ""
    try:
        for word in words:
            if word != "#":
                raise ValueError(f"a '#' must begin every image, got {word!r}")
            next(words)  # the image's index
            path = next(words)
            channels, _, _, count = [int(next(words)) for _ in range(4)]
            if channels != 3:
                raise ValueError(f"images must have 3 channels, as they are read in colour, got {channels}")
            for _ in range(count):
                label, overlap = int(next(words)), F(next(words))
                yield path, label, overlap, [int(next(words)) for _ in range(4)]
            images += 1
    except (ValueError, StopIteration) as error:
        reason = "the file ends within it" if isinstance(error, StopIteration) else error
        raise DataError(f"{source}: image {images} ({path or 'the first'}): {reason}") from error
    if not images:
        raise DataError(f"{source}: names no images")


class Placed(NamedTuple):
    """What to cut out of an image, the size to warp it to, and where it goes in the crop."""

    x1: int
    y1: int
    x2: int
    y2: int
    height: int
    width: int
    top: int
    left: int


def place(window: Window, height: int, width: int, crop: int, context: int, square: bool, mirror: bool) -> Placed:
    """Grow a window by its context, cut off what lies outside the image, and leave that part of the crop empty."""
    x1, y1, x2, y2 = window[2:]
    if context == 0 and not square:
        return Placed(x1, y1, x2, y2, crop, crop, 0, 0)
    grow = F(crop) / F(crop - 2 * context)
    half_height, half_width = F(y2 - y1 + 1) / F(2), F(x2 - x1 + 1) / F(2)
    centre_x, centre_y = F(x1) + half_width, F(y1) + half_height
    if square:
        half_height = half_width = max(half_height, half_width)
    x1, x2 = _round(centre_x - half_width * grow), _round(centre_x + half_width * grow)
    y1, y2 = _round(centre_y - half_height * grow), _round(centre_y + half_height * grow)
    whole_height, whole_width = y2 - y1 + 1, x2 - x1 + 1
    left, above, right, below = max(0, -x1), max(0, -y1), max(0, x2 - width + 1), max(0, y2 - height + 1)
    x1, x2, y1, y2 = x1 + left, x2 - right, y1 + above, y2 - below
    scale_x, scale_y = F(crop) / F(whole_width), F(crop) / F(whole_height)
    top, side = _round(F(above) * scale_y), _round(F(right if mirror else left) * scale_x)
    return Placed(
        x1, y1, x2, y2,
        min(_round(F(y2 - y1 + 1) * scale_y), crop - top), min(_round(F(x2 - x1 + 1) * scale_x), crop - side),
        top, side,
    )  # fmt: skip


def _round(value: np.float32) -> int:
    """Round half away from zero, as C does."""
    return int(math.copysign(math.floor(abs(float(value)) + 0.5), value))


class WindowBatches(Stream):
    """The stream of a WindowData layer, from its window_data_param and transform_param."""

    def __init__(self, param: Any, transform: Any, depth: int, seed: int) -> None:
        self._cutter = Cutter(param, transform)
        self._windows = read_windows(param.source, param)
        self._counts = split_batch(param, self._windows)
        crop = transform.crop_size
        self.shapes = [(param.batch_size, 3, crop, crop), (param.batch_size,)]
        super().__init__(param.batch_size, depth, seed)

    def maker(self, seed: int) -> Make:
        cutter, windows, counts, shapes = self._cutter, self._windows, self._counts, self.shapes

        def make(first: int, used: Arrays | None) -> Arrays:
            batch = data, labels = fitting(used, shapes)
            rng = generator(seed, Purpose.TRANSFORM, first)
            at = 0
            for kind, count in zip((windows.background, windows.foreground), counts):
                for _ in range(count):
                    window = kind[int(rng.integers(len(kind)))]
                    cutter.cut(window, bool(rng.integers(2)), data[at])
                    labels[at] = window.label
                    at += 1
            return batch

        return make


def split_batch(param: Any, windows: WindowFile) -> tuple[int, int]:
    """How many windows of a batch are background, and how many foreground."""
    foreground = int(F(param.batch_size) * F(param.fg_fraction))
    background = param.batch_size - foreground
    for kind, wanted, there in (
        ("foreground", foreground, windows.foreground),
        ("background", background, windows.background),
    ):
        if wanted > 0 and not there:
            raise DataError(f"{param.source}: has no {kind} windows, but a batch needs {wanted}; see the thresholds")
    return background, foreground


class Cutter:
    """Cuts a window out of its image, warps it to the crop, and subtracts the mean."""

    def __init__(self, param: Any, transform: Any) -> None:
        self._crop, self._mirror, self._scale = transform.crop_size, transform.mirror, F(param.scale)
        self._context, self._square = param.context_pad, param.crop_mode == "square"
        self._mean = self._read_mean(transform)
        self._folder = os.path.dirname(param.source)
        self._read = lru_cache(maxsize=None)(read_bytes) if param.cache_images else read_bytes

    def _read_mean(self, transform: Any) -> np.ndarray | None:
        """The mean (3, crop, crop) or (3, 1, 1): the middle of a mean image, or mean values."""
        if transform.mean_value:
            if len(transform.mean_value) not in (1, 3):
                raise ConfigError(
                    f"transform_param.mean_value: must be given 1 or 3 times, got {len(transform.mean_value)}"
                )
            return np.resize(np.array(transform.mean_value, F), 3)[:, None, None]
        if not transform.mean_file:
            return None
        mean = read_mean(transform.mean_file)
        start = (mean.shape[2] - self._crop) // 2  # as in Caffe, the same for rows and columns
        middle = mean[:, start : start + self._crop, start : start + self._crop]
        if start < 0 or middle.shape != (3, self._crop, self._crop):
            raise ConfigError(
                f"transform_param.mean_file: must hold a crop of {self._crop} in its middle, got shape {mean.shape}"
            )
        return middle

    def cut(self, window: Window, mirrored: bool, out: np.ndarray) -> None:
        """Write a window into `out` (3, crop, crop)."""
        image = decode_file(find_path(window.path, self._folder), True, self._read)
        mirrored = mirrored and self._mirror
        height, width = image.shape[1:]
        placed = place(window, height, width, self._crop, self._context, self._square, mirrored)
        if not (0 <= placed.x1 <= placed.x2 < width and 0 <= placed.y1 <= placed.y2 < height):
            raise DataError(
                f"{window.path}: window {window.x1} {window.y1} {window.x2} {window.y2} does not lie in the image, "
                f"which is {width} wide and {height} high"
            )
        cut = image[:, placed.y1 : placed.y2 + 1, placed.x1 : placed.x2 + 1]
        warped = resize(cut, max(1, placed.height), max(1, placed.width))
        rows = slice(placed.top, placed.top + placed.height)
        columns = slice(placed.left, placed.left + placed.width)
        out[...] = 0
        target = out[:, rows, columns]
        warped = (warped[:, :, ::-1] if mirrored else warped)[:, : target.shape[1], : target.shape[2]]
        if self._mean is None:
            target[...] = warped
        else:
            np.subtract(warped, self._mean[:, rows, columns] if self._mean.shape[1] > 1 else self._mean, out=target)
        target *= self._scale
