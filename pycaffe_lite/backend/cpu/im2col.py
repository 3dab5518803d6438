"""Convolution the plain way, in any number of dimensions: images as matrices, then matrix products.

Row `(c, tap)` of the column matrix holds, for every output position, the input value that this tap of
channel c meets there, zero outside the image. `geometry` is the table of a Geometry.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ...geometry import input_place
from ...kernel import T, kernel
from .gemm import gemm
from .workspace import workspace

if TYPE_CHECKING:
    from .convolution import Convolution


@kernel(
    "x: T*, channels: int, size: int, taps: int, positions: int, axes: int, geometry: int* -> columns: T*",
    over="channels * taps",
    work="positions * 8",
)
def image_to_columns(i, x, channels, size, taps, positions, axes, geometry, columns):  # type: ignore[no-untyped-def]
    """Row i of the column matrix of one image."""
    for p in range(positions):
        place = input_place(i % taps, p, axes, geometry)
        columns[i * positions + p] = x[i // taps * size + place] if place >= 0 else T(0)


@kernel(
    "columns: T*, channels: int, size: int, taps: int, positions: int, axes: int, geometry: int* -> x: T*",
    over="channels",
    work="taps * positions * 8",
)
def columns_to_image(i, columns, channels, size, taps, positions, axes, geometry, x):  # type: ignore[no-untyped-def]
    """Channel i of an image: the sum of all that the column matrix holds for each of its values."""
    for place in range(size):
        x[i * size + place] = T(0)
    for tap in range(taps):
        for p in range(positions):
            place = input_place(tap, p, axes, geometry)
            if place >= 0:
                x[i * size + place] += columns[(i * taps + tap) * positions + p]


@kernel(
    "bias: T*, has_bias: int, relu: int, images: int, channels: int, size: int -> y: T*",
    over="images * channels",
    work="size",
)
def finish_channel(i, bias, has_bias, relu, images, channels, size, y):  # type: ignore[no-untyped-def]
    """Add the bias to one channel of one image, then take the ReLU."""
    shift = bias[i % channels] if has_bias != 0 else T(0)
    for p in range(size):
        value = y[i * size + p] + shift
        y[i * size + p] = T(0) if relu != 0 and value < T(0) else value


def _columns(of: Convolution, dtype: np.dtype) -> np.ndarray:
    return workspace("columns of an image", of.channels * of.taps * of.positions, dtype)


def _shape(of: Convolution) -> tuple[int, int, int, int, int, np.ndarray]:
    """What the two kernels between image and matrix want to know."""
    return of.channels, of.points, of.taps, of.positions, len(of.size), of.table


def _from(array: np.ndarray, start: int) -> np.ndarray:
    return array.reshape(-1)[start:]


def forward(of: Convolution, x: np.ndarray, w: np.ndarray, bias: np.ndarray | None, y: np.ndarray, relu: bool) -> None:
    """y = w * x, image by image."""
    columns, rows, depth, p = _columns(of, x.dtype), of.outputs // of.group, of.depth, of.positions
    for n in range(of.batch):
        image_to_columns(_from(x, n * of.channels * of.points), *_shape(of), columns)
        for g in range(of.group):
            weights, image = _from(w, g * rows * depth), _from(y, (n * of.outputs + g * rows) * p)
            gemm(False, False, rows, p, depth, weights, depth, _from(columns, g * depth * p), p, image, p)
    if bias is not None or relu:
        finish_channel(bias, int(bias is not None), int(relu), of.batch, of.outputs, p, y)


def backward_data(of: Convolution, dy: np.ndarray, w: np.ndarray, dx: np.ndarray) -> None:
    """dx = the gradient of x, image by image."""
    columns, rows, depth, p = _columns(of, dy.dtype), of.outputs // of.group, of.depth, of.positions
    for n in range(of.batch):
        for g in range(of.group):
            weights, image = _from(w, g * rows * depth), _from(dy, (n * of.outputs + g * rows) * p)
            gemm(True, False, depth, p, rows, weights, depth, image, p, _from(columns, g * depth * p), p)
        columns_to_image(columns, *_shape(of), _from(dx, n * of.channels * of.points))


def backward_weights(of: Convolution, x: np.ndarray, dy: np.ndarray, dw: np.ndarray, accumulate: bool) -> None:
    """dw = or += the gradient of w, image by image."""
    columns, rows, depth, p = _columns(of, x.dtype), of.outputs // of.group, of.depth, of.positions
    for n in range(of.batch):
        image_to_columns(_from(x, n * of.channels * of.points), *_shape(of), columns)
        for g in range(of.group):
            weights, image = _from(dw, g * rows * depth), _from(dy, (n * of.outputs + g * rows) * p)
            taken = _from(columns, g * depth * p)
            gemm(False, True, rows, depth, p, image, p, taken, p, weights, depth, accumulate or n > 0)
