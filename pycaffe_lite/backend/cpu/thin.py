"""Convolutions of 1x1 that stride over most of their input: the values they meet are copied out, and back."""

from __future__ import annotations

from ...kernel import T, device_function, kernel
from .atoms import offset
from .band import every_second
from .vector import LANES, load_some, splat, store_some, zip_high, zip_low


@kernel(
    "x: T*, rows: int, height: int, width: int, out_height: int, out_width: int, stride_y: int, stride_x: int -> y: T*",
    over="rows",
    work="out_width",
)
def thin(i, x, rows, height, width, out_height, out_width, stride_y, stride_x, y):  # type: ignore[no-untyped-def]
    """Row i of y, of planes one behind the other: every stride_x-th value of every stride_y-th row of x."""
    source = offset(x, (i // out_height * height + i % out_height * stride_y) * width)
    target = offset(y, i * out_width)
    if stride_x == 2:
        for j in range(0, out_width, LANES):
            value = every_second(offset(source, 2 * j), 2 * (out_width - j) - 1)
            store_some(offset(target, j), value, out_width - j)
    else:
        for j in range(out_width):
            target[j] = source[j * stride_x]


@kernel(
    "dy: T*, planes: int, height: int, width: int, out_height: int, out_width: int, stride_y: int, stride_x: int "
    "-> dx: T*",
    over="planes",
    work="height * width // 2",
)
def thin_grad(i, dy, planes, height, width, out_height, out_width, stride_y, stride_x, dx):  # type: ignore[no-untyped-def]
    """Plane i of dx: values of dy where `thin` took them, zeros elsewhere."""
    target = offset(dx, i * height * width)
    for j in range(0, height * width, LANES):
        store_some(offset(target, j), splat(T(0)), height * width - j)
    for r in range(out_height):
        line, source = offset(target, r * stride_y * width), offset(dy, (i * out_height + r) * out_width)
        if stride_x == 2:
            spread_pairs(source, out_width, line, width)
        else:
            for j in range(out_width):
                line[j * stride_x] = source[j]


@device_function
def spread_pairs(source, count, target, width):  # type: ignore[no-untyped-def]
    """Each number with a zero behind it, as far as the target is wide."""
    zero = splat(T(0))
    for j in range(0, count, LANES):
        value = load_some(offset(source, j), count - j)
        store_some(offset(target, 2 * j), zip_low(value, zero), width - 2 * j)
        store_some(offset(target, 2 * j + LANES), zip_high(value, zero), max(0, width - 2 * j - LANES))
