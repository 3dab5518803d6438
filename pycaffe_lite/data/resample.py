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

import numpy as np

ORDERS = (0, 1, 3)
_PAD = 12  # pixels of zeros that the cubic spline of `resize` sees; what lies farther away weighs below 1e-6
_POLE = math.sqrt(3) - 2  # of the filter that turns samples into coefficients of a cubic spline


def resize(image: np.ndarray, height: int, width: int, order: int) -> np.ndarray:
    """An image (H, W, ...) as float64 (height, width, ...), with no value beyond its smallest and its largest."""
    lowest, highest = image.min(), image.max()
    made = image.astype(np.float64) - lowest
    for axis, new in enumerate((height, width)):
        old = image.shape[axis]
        centres = (np.arange(new) + 0.5) * (old / new) - 0.5
        made = _sample(made, axis, centres, order, {0: 0, 1: 1, 3: _PAD}[order])
    return np.clip(made + lowest, lowest, highest)


def zoom(image: np.ndarray, height: int, width: int, order: int) -> np.ndarray:
    """An image (H, W, ...) as float64 (height, width, ...)."""
    made = image.astype(np.float64)
    for axis, new in enumerate((height, width)):
        points = np.arange(new) * ((image.shape[axis] - 1) / max(1, new - 1))
        made = _sample(made, axis, points, order, 0)
    return made


def _sample(image: np.ndarray, axis: int, places: np.ndarray, order: int, pad: int) -> np.ndarray:
    """Values along an axis at these places, with `pad` zeros in front and behind; without, the image is mirrored."""
    lines = np.moveaxis(image, axis, 0)
    if pad:
        lines = np.pad(lines, [(pad, pad), *[(0, 0)] * (lines.ndim - 1)])
    if order == 0:
        first, weights = np.floor(places + 0.5), [np.ones_like(places)]
    elif order == 1:
        first = np.floor(places)
        weights = [1 - (places - first), places - first]
    else:
        lines = _spline(lines)
        first = np.floor(places) - 1
        weights = _cubic(places - 1 - first)
    last = len(lines) - 1
    made = 0.0
    for step, weight in enumerate(weights):
        index = np.abs(first.astype(np.intp) + pad + step)  # mirrored at the first line, and next at the last
        index = np.minimum(index, np.abs(2 * last - index)).clip(0, last)
        made = made + weight.reshape(-1, *[1] * (lines.ndim - 1)) * lines[index]
    return np.moveaxis(made, 0, axis)  # type: ignore[arg-type]


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
