"""Softmax in vectors: along rows where a column lies in one piece, else LANES columns side by side."""

from __future__ import annotations

from typing import Any

from ...kernel import T, device_function, kernel
from .atoms import offset
from .channels import block_products, put, some
from .vector import (
    LANES,
    above,
    add,
    choose,
    divide,
    exponential,
    highest,
    multiply,
    multiply_add,
    splat,
    steps,
    subtract,
    total,
    whole,
)

LOWEST = -3.4028234663852886e38
ROWS: Any = {"over": "rows", "work": "channels"}
STRIPS: Any = {"over": f"outer * ((inner + {LANES - 1}) // {LANES})", "work": "16 * channels"}


@device_function
def largest_of(x, count):  # type: ignore[no-untyped-def]
    """The largest of a row; NaN only if its first number is."""
    most = splat(x[0])
    for j in range(0, count, LANES):
        value = choose(above(whole(count - j), steps(0, 1)), some(offset(x, j), count - j), splat(T(LOWEST)))
        most = choose(above(value, most), value, most)
    return highest(most)


@kernel("x: T*, rows: int, channels: int -> y: T*", **ROWS)
def softmax_row(i, x, rows, channels, y):  # type: ignore[no-untyped-def]
    """Softmax of a row."""
    x, y = offset(x, i * channels), offset(y, i * channels)
    most, sums, zero = splat(largest_of(x, channels)), splat(T(0)), splat(T(0))
    for j in range(0, channels, LANES):
        e = exponential(subtract(some(offset(x, j), channels - j), most))
        put(offset(y, j), e, channels - j)
        sums = add(sums, choose(above(whole(channels - j), steps(0, 1)), e, zero))
    sum = splat(total(sums))
    for j in range(0, channels, LANES):
        put(offset(y, j), divide(some(offset(y, j), channels - j), sum), channels - j)


@kernel("x: T*, outer: int, channels: int, inner: int -> y: T*", **STRIPS)
def softmax_strip(i, x, outer, channels, inner, y):  # type: ignore[no-untyped-def]
    """Softmax of LANES columns."""
    strips = (inner + LANES - 1) // LANES
    first = i % strips * LANES
    start, left = i // strips * channels * inner + first, inner - first
    x, y = offset(x, start), offset(y, start)
    most, sum = some(x, left), splat(T(0))
    for c in range(1, channels):
        value = some(offset(x, c * inner), left)
        most = choose(above(value, most), value, most)
    for c in range(channels):
        e = exponential(subtract(some(offset(x, c * inner), left), most))
        put(offset(y, c * inner), e, left)
        sum = add(sum, e)
    for c in range(channels):
        line = offset(y, c * inner)
        put(line, divide(some(line, left), sum), left)


@kernel("y: T*, dy: T*, rows: int, channels: int -> dx: T*", **ROWS)
def softmax_row_grad(i, y, dy, rows, channels, dx):  # type: ignore[no-untyped-def]
    """dx = (dy - sum(dy * y)) * y in a row."""
    y, dy, dx = offset(y, i * channels), offset(dy, i * channels), offset(dx, i * channels)
    _, products = block_products(dy, y, channels)
    dot = splat(products)
    for j in range(0, channels, LANES):
        left = channels - j
        put(offset(dx, j), multiply(subtract(some(offset(dy, j), left), dot), some(offset(y, j), left)), left)


@kernel("y: T*, dy: T*, outer: int, channels: int, inner: int -> dx: T*", **STRIPS)
def softmax_strip_grad(i, y, dy, outer, channels, inner, dx):  # type: ignore[no-untyped-def]
    """The same in LANES columns."""
    strips = (inner + LANES - 1) // LANES
    first = i % strips * LANES
    start, left = i // strips * channels * inner + first, inner - first
    y, dy, dx, dot = offset(y, start), offset(dy, start), offset(dx, start), splat(T(0))
    for c in range(channels):
        dot = multiply_add(some(offset(y, c * inner), left), some(offset(dy, c * inner), left), dot)
    for c in range(channels):
        at = c * inner
        put(offset(dx, at), multiply(subtract(some(offset(dy, at), left), dot), some(offset(y, at), left)), left)


def softmax(x: Any, outer: int, channels: int, inner: int, y: Any) -> bool:
    """Launch what `layers.softmax.softmax` is called with."""
    if inner == 1:
        softmax_row(x, outer, channels, y)
    else:
        softmax_strip(x, outer, channels, inner, y)
    return True


def softmax_grad(y: Any, dy: Any, outer: int, channels: int, inner: int, dx: Any) -> bool:
    """Launch what `layers.softmax.softmax_grad` is called with."""
    if inner == 1:
        softmax_row_grad(y, dy, outer, channels, dx)
    else:
        softmax_strip_grad(y, dy, outer, channels, inner, dx)
    return True
