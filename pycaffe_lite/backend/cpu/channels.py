"""BatchNorm, MVN, Scale and ReLU in vectors: a channel is read from memory once, and then from the cache.

Sums run in float32 over blocks of a row, and from block to block in double precision. Sums of a channel and
of its squares are taken in one go, of distances from a value near the mean, so that nothing cancels.
"""

from __future__ import annotations

from math import sqrt
from typing import Any

from ...kernel import T, device_function, kernel
from .atoms import offset
from .vector import (
    LANES,
    above,
    add,
    choose,
    load,
    load_some,
    multiply,
    multiply_add,
    splat,
    steps,
    store,
    store_some,
    subtract,
    total,
    whole,
)

BLOCK = 1024
MUCH = 1 << 22  # elements: 16 MB, which no cache keeps until they are read
CHANNELS = "outer: int, channels: int, inner: int, per: int"
WHOLE_BATCH: Any = {"over": "(channels + per - 1) // per", "work": "outer * per * (inner // 4 + 8)"}


@device_function
def some(p, count):  # type: ignore[no-untyped-def]
    """The vector at p, or as much of it as there is, zeros behind it."""
    return load(p) if count >= LANES else load_some(p, count)


@device_function
def put(p, vector, count):  # type: ignore[no-untyped-def]
    """Write as much of a vector as there is room for."""
    if count >= LANES:
        store(p, vector)
    else:
        store_some(p, vector, count)


@device_function
def block_moments(x, count, pivot):  # type: ignore[no-untyped-def]
    """The sum of x - pivot, and the sum of their squares."""
    zero, p = splat(T(0)), splat(pivot)
    s, s_, q, q_ = zero, zero, zero, zero
    pairs = count // (2 * LANES) * (2 * LANES)
    for j in range(0, pairs, 2 * LANES):
        a, b = subtract(load(offset(x, j)), p), subtract(load(offset(x, j + LANES)), p)
        s, s_, q, q_ = add(s, a), add(s_, b), multiply_add(a, a, q), multiply_add(b, b, q_)
    for j in range(pairs, count, LANES):
        there = above(whole(count - j), steps(0, 1))
        a = choose(there, subtract(some(offset(x, j), count - j), p), zero)
        s, q = add(s, a), multiply_add(a, a, q)
    return total(add(s, s_)), total(add(q, q_))


@device_function
def block_products(x, y, count):  # type: ignore[no-untyped-def]
    """The sum of x, and the sum of x * y."""
    zero = splat(T(0))
    s, s_, q, q_ = zero, zero, zero, zero
    pairs = count // (2 * LANES) * (2 * LANES)
    for j in range(0, pairs, 2 * LANES):
        a, b = load(offset(x, j)), load(offset(x, j + LANES))
        s, s_ = add(s, a), add(s_, b)
        q, q_ = multiply_add(a, load(offset(y, j)), q), multiply_add(b, load(offset(y, j + LANES)), q_)
    for j in range(pairs, count, LANES):
        a = some(offset(x, j), count - j)
        s, q = add(s, a), multiply_add(a, some(offset(y, j), count - j), q)
    return total(add(s, s_)), total(add(q, q_))


@device_function
def channel_moments(x, outer, channels, inner):  # type: ignore[no-untyped-def]
    """Mean and variance of a channel, whose first row is at x."""
    near, _ = block_moments(x, min(inner, BLOCK), T(0))
    pivot = T(near / min(inner, BLOCK))
    sums, squares = 0.0, 0.0
    for o in range(outer):
        row = offset(x, o * channels * inner)
        for j in range(0, inner, BLOCK):
            s, q = block_moments(offset(row, j), min(BLOCK, inner - j), pivot)
            sums += s
            squares += q
    sums /= outer * inner
    return pivot + sums, max(0.0, squares / (outer * inner) - sums * sums)


@kernel(
    f"x: T*, inside: double, outside: double, divide: int, {CHANNELS} -> y: T*, mean: T*, variance: T*, inverse: T*",
    **WHOLE_BATCH,
)
def standardize_channels(i, x, inside, outside, divide, outer, channels, inner, per, y, mean, variance, inverse):  # type: ignore[no-untyped-def]
    """y = (x - mean) * inverse, with the statistics of each channel."""
    for c in range(i * per, min((i + 1) * per, channels)):
        centre, spread = channel_moments(offset(x, c * inner), outer, channels, inner)
        m, a = T(centre), T(1 / (sqrt(spread + inside) + outside) if divide else 1.0)
        mean[c], variance[c], inverse[c] = m, T(spread), a
        for o in range(outer):
            start = (o * channels + c) * inner
            for j in range(start, start + inner, LANES):
                left = start + inner - j
                put(offset(y, j), multiply(subtract(some(offset(x, j), left), splat(m)), splat(a)), left)


@kernel(f"y: T*, dy: T*, inverse: T*, divide: int, {CHANNELS} -> dx: T*", **WHOLE_BATCH)
def standardize_channels_grad(i, y, dy, inverse, divide, outer, channels, inner, per, dx):  # type: ignore[no-untyped-def]
    """dx = (dy - mean(dy) - y * mean(dy * y)) * inverse in every channel."""
    for c in range(i * per, min((i + 1) * per, channels)):
        sums, products = 0.0, 0.0
        for o in range(outer):
            start = (o * channels + c) * inner
            for j in range(start, start + inner, BLOCK):
                s, q = block_products(offset(dy, j), offset(y, j), min(BLOCK, start + inner - j))
                sums += s
                products += q
        m, slope = splat(T(sums / (outer * inner))), splat(T(-products / (outer * inner) if divide else 0.0))
        a = splat(inverse[c])
        for o in range(outer):
            start = (o * channels + c) * inner
            for j in range(start, start + inner, LANES):
                left = start + inner - j
                d = multiply_add(some(offset(y, j), left), slope, subtract(some(offset(dy, j), left), m))
                put(offset(dx, j), multiply(d, a), left)


@kernel(f"x: T*, dy: T*, scale: T*, wanted: int, {CHANNELS} -> dx: T*, dscale: T*, dshift: T*", **WHOLE_BATCH)
def scale_channels_grad(i, x, dy, scale, wanted, outer, channels, inner, per, dx, dscale, dshift):  # type: ignore[no-untyped-def]
    """dscale += sum(dy * x) and dshift += sum(dy) in every channel; dx = dy * scale if it is wanted."""
    for c in range(i * per, min((i + 1) * per, channels)):
        sums, products, a = 0.0, 0.0, splat(scale[c])
        for o in range(outer):
            start = (o * channels + c) * inner
            for at in range(start, start + inner, BLOCK):
                end = min(at + BLOCK, start + inner)
                s, q = block_products(offset(dy, at), offset(x, at), end - at)
                sums += s
                products += q
                if wanted:  # the block is still in the cache
                    for j in range(at, end, LANES):
                        put(offset(dx, j), multiply(some(offset(dy, j), end - j), a), end - j)
        dscale[c] += T(products)
        dshift[c] += T(sums)


def standardize(x, inside, outside, divide, outer, channels, inner, per, y, sums, mean, variance, inverse) -> bool:  # type: ignore[no-untyped-def]
    """Launch what `layers._standardize.standardize` is called with."""
    standardize_channels(x, inside, outside, divide, outer, channels, inner, per, y, mean, variance, inverse)
    return True


def standardize_grad(y, dy, inverse, divide, outer, channels, inner, per, dx, sums, products) -> bool:  # type: ignore[no-untyped-def]
    """Launch what `layers._standardize.standardize_grad` is called with."""
    standardize_channels_grad(y, dy, inverse, divide, outer, channels, inner, per, dx)
    return True


def affine_channels_grad(*args: Any) -> bool:
    """Launch what `layers._channels.affine_channels_grad` is called with."""
    scale_channels_grad(*args)
    return True
