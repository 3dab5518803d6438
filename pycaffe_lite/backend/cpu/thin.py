"""Convolutions of 1x1 that stride over most of their input: the values they meet are copied out, and back."""

from __future__ import annotations

from ...kernel import T, device_function, kernel
from .atoms import offset


@device_function
def place_of(i, height, width, out_height, stride_y):  # type: ignore[no-untyped-def]
    """Where, of images one behind the other, the row that output row i meets begins."""
    return (i // out_height * height + i % out_height * stride_y) * width


@kernel(
    "x: T*, rows: int, height: int, width: int, out_height: int, out_width: int, stride_y: int, stride_x: int -> y: T*",
    over="rows",
    work="2 * out_width",
)
def thin(i, x, rows, height, width, out_height, out_width, stride_y, stride_x, y):  # type: ignore[no-untyped-def]
    """Row i of y: every stride_x-th value of every stride_y-th row of x."""
    source = offset(x, place_of(i, height, width, out_height, stride_y))
    target = offset(y, i * out_width)
    for j in range(out_width):
        target[j] = source[j * stride_x]


@kernel(
    "dy: T*, planes: int, height: int, width: int, out_height: int, out_width: int, stride_y: int, stride_x: int "
    "-> dx: T*",
    over="planes",
    work="height * width",
)
def thin_grad(i, dy, planes, height, width, out_height, out_width, stride_y, stride_x, dx):  # type: ignore[no-untyped-def]
    """Plane i of dx: values of dy where `thin` took them, zeros elsewhere."""
    target = offset(dx, i * height * width)
    for j in range(height * width):
        target[j] = T(0)
    for r in range(out_height):
        line = offset(target, r * stride_y * width)
        source = offset(dy, (i * out_height + r) * out_width)
        for j in range(out_width):
            line[j * stride_x] = source[j]
