"""Resampling float images as pycaffe has it done by scikit-image and SciPy: nearest, linear or cubic, unsmoothed.

Both are separable, so each axis is a weighted sum of a few neighbours. They differ in where pixels lie and in what
is beyond the border:

- `resize` (skimage.transform.resize, mode 'constant', no anti-aliasing): a pixel is a square, and an image ends at the
  outer edges of its squares. Around it lies its own smallest value (pycaffe hands it over as numbers from 0 to 1,
  and zeros lie around), so an enlarged image gets darker towards its border.
- `zoom` (scipy.ndimage.zoom): a pixel is a point, and the first and the last points stay where they are. (SciPy
  sometimes rounds the last one to beyond the image and makes it 0; that is not repeated here.)
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

ORDERS = (0, 1, 3)
_PAD = 12  # pixels of zeros that the cubic spline of `resize` sees; what lies farther away weighs below 1e-6
_POLE = math.sqrt(3) - 2  # of the filter that turns samples into coefficients of a cubic spline


def resize(image: np.ndarray, height: int, width: int, order: int) -> np.ndarray:
    """An image (H, W, ...) as float64 (height, width, ...), with no value beyond its smallest and its largest."""
    lowest, highest = image.min(), image.max()
    made, beyond = image, lowest
    for axis, new in enumerate((height, width)):
        old = image.shape[axis]
        centres = (np.arange(new) + 0.5) * (old / new) - 0.5
        made, beyond = _sample(made, axis, centres, order, beyond), 0
    return np.clip(made + lowest, lowest, highest)


def zoom(image: np.ndarray, height: int, width: int, order: int) -> np.ndarray:
    """An image (H, W, ...) as float64 (height, width, ...)."""
    made = image
    for axis, new in enumerate((height, width)):
        points = np.arange(new) * ((image.shape[axis] - 1) / max(1, new - 1))
        made = _sample(made, axis, points, order)
    return made


def _sample(image: np.ndarray, axis: int, places: np.ndarray, order: int, beyond: float | None = None) -> np.ndarray:
    """Values along an axis at these places, as float64.

    What lies beyond the ends is the image mirrored; or else the value `beyond`, which is subtracted from the result.
    """
    lines = np.moveaxis(image, axis, 0)
    pad, base = (0, 0) if beyond is None else (_PAD, beyond)
    if order == 3:
        lines = lines.astype(np.float64) - base
        lines = _spline(np.pad(lines, [(pad, pad), *[(0, 0)] * (lines.ndim - 1)]))
        places, base = places + pad, 0
    last = len(lines) - 1
    made = np.zeros((len(places), *lines.shape[1:]))
    first = np.floor(places + 0.5 if order == 0 else places) - (order == 3)
    for step, weight in enumerate(_WEIGHTS[order](places - np.floor(places))):
        index = first.astype(np.intp) + step
        if beyond is not None:
            weight = np.where((index < 0) | (index > last), 0, weight)
        index = np.abs(index)  # mirrored at the first line, and next at the last
        index = np.minimum(index, np.abs(2 * last - index)).clip(0, last)
        made += weight.reshape(-1, *[1] * (lines.ndim - 1)) * (lines[index].astype(np.float64) - base)
    return np.moveaxis(made, 0, axis)


def _cubic(t: np.ndarray) -> list[np.ndarray]:
    """Weights of the four neighbours in a cubic B-spline, at t from 0 to 1 between the two in the middle."""
    s = 1 - t
    return [s**3 / 6, 2 / 3 - t * t * (2 - t) / 2, 2 / 3 - s * s * (2 - s) / 2, t**3 / 6]


def _spline(lines: np.ndarray) -> np.ndarray:
    """The coefficients of the cubic spline through these lines, which is mirrored at the first and at the last."""
    count = len(lines)
    if count == 1:
        return lines
    # A recursion forwards and one backwards. They begin as if they came from infinitely far away.
    powers = _POLE ** np.arange(min(count, 64))
    made = 6 * lines
    if count > len(powers):
        made[0] = np.tensordot(powers, made[: len(powers)], 1)
    else:
        mirrored = np.concatenate([powers, _POLE ** np.arange(count, 2 * count - 2)])
        period = np.concatenate([made, made[-2:0:-1]])
        made[0] = np.tensordot(mirrored, period, 1) / (1 - _POLE ** (2 * count - 2))
    for i in range(1, count):
        made[i] += _POLE * made[i - 1]
    made[-1] = (_POLE / (_POLE**2 - 1)) * (made[-1] + _POLE * made[-2])
    for i in range(count - 2, -1, -1):
        made[i] = _POLE * (made[i + 1] - made[i])
    return made


# order -> weights of the neighbours of a place that lies at t, from 0 to 1, behind one of them
_WEIGHTS: dict[int, Callable[[np.ndarray], list[np.ndarray]]] = {
    0: lambda t: [np.ones_like(t)],
    1: lambda t: [1 - t, t],
    3: _cubic,
}
