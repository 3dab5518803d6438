"""LRN across channels in vectors, for float32 and beta 0.75: the power is what would take the time.

A task takes some neighbouring places of a sample through all channels, so that a channel is read from memory
once and from the cache for its neighbours. q = norm ** -0.25 comes from a rough guess and three steps of
Newton's method, right to 2e-7; the powers that LRN wants, -0.75 and -1, are q's third and fourth.
"""

from __future__ import annotations

from typing import Any

from ...kernel import T, inline_function, kernel
from .atoms import offset
from .channels import put, some
from .gemm import ceil_div
from .vector import (
    LANES,
    above,
    add,
    divide,
    every,
    floats_at,
    multiply,
    multiply_add,
    rough_root,
    splat,
    square_root,
    store,
)
from .workspace import scratch

BOX = "samples: int, channels: int, size: int, deep: int, places: int"
STRIPS: Any = {"over": "samples * ((size + places - 1) // places)", "work": "channels * places // 4"}
MOST_PLACES, TASKS = 4096, 16


@inline_function
def fourth_root(norm):  # type: ignore[no-untyped-def]
    """norm ** -0.25."""
    if every(above(norm, splat(T(1e-30)))) and every(above(splat(T(1e30)), norm)):
        q = rough_root(norm)
        for _ in range(3):
            square = multiply(q, q)
            q = multiply(q, multiply_add(multiply(norm, splat(T(-0.25))), multiply(square, square), splat(T(1.25))))
        return q
    return divide(splat(T(1)), square_root(square_root(norm)))  # 0, infinity and NaN as they should


@kernel(f"x: T*, k: T, weight: T, {BOX} -> y: T*, norm: T*", **STRIPS)
def normalize_strip(i, x, k, weight, samples, channels, size, deep, places, y, norm):  # type: ignore[no-untyped-def]
    """norm = k + weight * (sum of squares around), y = x * norm ** -0.75."""
    strips = (size + places - 1) // places
    first, sample = i % strips * places, i // strips * channels
    for c in range(channels):
        low, high = max(c - deep, 0), min(c + deep, channels - 1)
        for j in range(first, min(first + places, size), LANES):
            sums, left = splat(k), size - j
            for other in range(low, high + 1):
                value = some(offset(x, (sample + other) * size + j), left)
                sums = multiply_add(multiply(splat(weight), value), value, sums)
            q, at = fourth_root(sums), (sample + c) * size + j
            put(offset(norm, at), sums, left)
            put(offset(y, at), multiply(some(offset(x, at), left), multiply(multiply(q, q), q)), left)


@kernel(
    f"x: T*, y: T*, norm: T*, dy: T*, weight: T, scratch: long*, thread: int, {BOX} -> dx: T*",
    **STRIPS,
)
def normalize_strip_grad(i, x, y, norm, dy, weight, scratch, thread, samples, channels, size, deep, places, dx):  # type: ignore[no-untyped-def]
    """dx = dy * norm ** -0.75 - 1.5 * weight * x * (sum of dy * y / norm around)."""
    strips = (size + places - 1) // places
    first, sample = i % strips * places, i // strips * channels
    last = min(first + places, size)
    ring = 2 * deep + 1
    ratios = floats_at(scratch[thread])  # dy * y / norm of the channels around, and behind them norm ** -0.75
    powers, slope = offset(ratios, ring * places), splat(T(-1.5) * weight)
    for ahead in range(channels + deep):
        room = ahead % ring * places - first
        for j in range(first, last if ahead < channels else first, LANES):
            at, left = (sample + ahead) * size + j, size - j
            q = fourth_root(some(offset(norm, at), left))
            square, up = multiply(q, q), some(offset(dy, at), left)
            ratio = multiply(multiply(up, some(offset(y, at), left)), multiply(square, square))
            store(offset(ratios, room + j), ratio)
            store(offset(powers, room + j), multiply(up, multiply(square, q)))
        c = ahead - deep
        low, high = max(c - deep, 0), min(c + deep, channels - 1)
        for j in range(first, last if c >= 0 else first, LANES):
            at, left, sums = (sample + c) * size + j, size - j, splat(T(0))
            for other in range(low, high + 1):
                sums = add(sums, some(offset(ratios, other % ring * places + j - first), LANES))
            direct = some(offset(powers, c % ring * places + j - first), LANES)
            put(offset(dx, at), multiply_add(multiply(slope, some(offset(x, at), left)), sums, direct), left)


def normalize(x, k, weight, beta, samples, channels, h, w, deep, wide, y, norm) -> bool:  # type: ignore[no-untyped-def]
    """Launch what `layers.lrn.normalize_locally` is called with; False within a channel, and for other powers."""
    known = beta == 0.75 and wide == 0
    if known:
        normalize_strip(x, k, weight, samples, channels, h * w, deep, places_of(samples, h * w), y, norm)
    return known


def normalize_grad(x, y, norm, dy, weight, beta, samples, channels, h, w, deep, wide, dx) -> bool:  # type: ignore[no-untyped-def]
    """Launch what `layers.lrn.normalize_locally_grad` is called with; False for the same."""
    known = beta == 0.75 and wide == 0 and deep < 64
    if known:
        places = places_of(samples, h * w)
        room = scratch(4 * 2 * (2 * deep + 1) * places + 4 * LANES)
        normalize_strip_grad(x, y, norm, dy, weight, room, 0, samples, channels, h * w, deep, places, dx)
    return known


def places_of(samples: int, size: int) -> int:
    """Neighbouring places that a task takes: long runs are read faster, but all threads want tasks."""
    strips = max(ceil_div(size, MOST_PLACES), min(ceil_div(TASKS, samples), ceil_div(size, MOST_PLACES // 8)))
    return ceil_div(ceil_div(size, strips), LANES) * LANES
