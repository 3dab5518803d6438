"""BatchNorm, Scale and ReLU as one, in vectors: `layers/_normalize.py`, kernel by kernel."""

from __future__ import annotations

from math import sqrt
from typing import Any

from ...kernel import T, device_function, kernel
from .atoms import offset
from .channels import BLOCK, CHANNELS, MUCH, WHOLE_BATCH, channel_moments, put, some
from .vector import (
    LANES,
    above,
    add,
    choose,
    load,
    multiply,
    multiply_add,
    settle,
    splat,
    stream,
    subtract,
    total,
)

BY_SAMPLE: Any = {"over": "outer * ((channels + per - 1) // per)", "work": "per * (inner // 4 + 8)"}


@kernel(f"x: T*, eps: double, {CHANNELS} -> mean: T*, variance: T*, inverse: T*", **WHOLE_BATCH)
def measure_channels(i, x, eps, outer, channels, inner, per, mean, variance, inverse):  # type: ignore[no-untyped-def]
    """Mean, variance and 1 / deviation of every channel."""
    for c in range(i * per, min((i + 1) * per, channels)):
        centre, spread = channel_moments(offset(x, c * inner), outer, channels, inner)
        mean[c], variance[c], inverse[c] = T(centre), T(spread), T(1 / sqrt(spread + eps))


@kernel(
    f"x: T*, mean: T*, inverse: T*, scale: T*, shift: T*, slope: T, past: int, {CHANNELS} -> y: T*, z: T*",
    **BY_SAMPLE,
)
def normalize_planes(i, x, mean, inverse, scale, shift, slope, past, outer, channels, inner, per, y, z):  # type: ignore[no-untyped-def]
    """y = (x - mean) * inverse, and z from it; y may go past the caches."""
    groups, through = (channels + per - 1) // per, splat(slope)
    row, first = i // groups * channels, i % groups * per
    for c in range(first, min(first + per, channels)):
        m, f, a, b, start = splat(mean[c]), splat(inverse[c]), splat(scale[c]), splat(shift[c]), (row + c) * inner
        for j in range(start, start + inner, LANES):
            left = start + inner - j
            standard = multiply(subtract(some(offset(x, j), left), m), f)
            s = multiply_add(standard, a, b)
            if past != 0:
                stream(offset(y, j), standard)
            else:
                put(offset(y, j), standard, left)
            put(offset(z, j), choose(above(s, splat(T(0))), s, multiply(s, through)), left)
    if past != 0:
        settle()


@device_function
def gated(y, dz, a, b, slope):  # type: ignore[no-untyped-def]
    """The gradient behind a ReLU that was open where y * a + b is above 0."""
    return choose(above(multiply_add(y, a, b), splat(T(0))), dz, multiply(dz, slope))


@device_function
def gated_products(y, dz, count, scale, shift, through):  # type: ignore[no-untyped-def]
    """The sum of what comes through the ReLU, and of its products with y."""
    zero, a, b, slope = splat(T(0)), splat(scale), splat(shift), splat(through)
    s, s_, q, q_ = zero, zero, zero, zero
    pairs = count // (2 * LANES) * (2 * LANES)
    for j in range(0, pairs, 2 * LANES):
        v, v_ = load(offset(y, j)), load(offset(y, j + LANES))
        d = gated(v, load(offset(dz, j)), a, b, slope)
        d_ = gated(v_, load(offset(dz, j + LANES)), a, b, slope)
        s, s_, q, q_ = add(s, d), add(s_, d_), multiply_add(d, v, q), multiply_add(d_, v_, q_)
    for j in range(pairs, count, LANES):
        v = some(offset(y, j), count - j)
        d = gated(v, some(offset(dz, j), count - j), a, b, slope)
        s, q = add(s, d), multiply_add(d, v, q)
    return total(add(s, s_)), total(add(q, q_))


@kernel(
    f"y: T*, dz: T*, scale: T*, shift: T*, slope: T, {CHANNELS}"
    " -> sums: double*, products: double*, dscale: T*, dshift: T*",
    **WHOLE_BATCH,
)
def sum_channels_grad(i, y, dz, scale, shift, slope, outer, channels, inner, per, sums, products, dscale, dshift):  # type: ignore[no-untyped-def]
    """Sums of ds and of ds * y, ds being what comes through the ReLU."""
    for c in range(i * per, min((i + 1) * per, channels)):
        whole, product = 0.0, 0.0
        for o in range(outer):
            start = (o * channels + c) * inner
            for j in range(start, start + inner, BLOCK):
                count = min(BLOCK, start + inner - j)
                s, q = gated_products(offset(y, j), offset(dz, j), count, scale[c], shift[c], slope)
                whole += s
                product += q
        sums[c], products[c] = whole, product
        dscale[c] += T(product)
        dshift[c] += T(whole)


@kernel(
    "y: T*, dz: T*, scale: T*, shift: T*, slope: T, inverse: T*, sums: double*, products: double*, by_batch: int, "
    f"{CHANNELS} -> dx: T*",
    **BY_SAMPLE,
)
def planes_grad(  # type: ignore[no-untyped-def]
    i, y, dz, scale, shift, slope, inverse, sums, products, by_batch, outer, channels, inner, per, dx
):
    """dx = (ds - mean(ds) - y * mean(ds * y)) * scale * inverse."""
    groups, through = (channels + per - 1) // per, splat(slope)
    row, first = i // groups * channels, i % groups * per
    part = 1.0 / (outer * inner) if by_batch else 0.0
    for c in range(first, min(first + per, channels)):
        m, k, f = splat(T(sums[c] * part)), splat(T(-products[c] * part)), splat(scale[c] * inverse[c])
        a, b, start = splat(scale[c]), splat(shift[c]), (row + c) * inner
        for j in range(start, start + inner, LANES):
            left = start + inner - j
            v = some(offset(y, j), left)
            d = gated(v, some(offset(dz, j), left), a, b, through)
            put(offset(dx, j), multiply(multiply_add(v, k, subtract(d, m)), f), left)


def measure(x, eps, outer, channels, inner, per, sums, mean, variance, inverse) -> bool:  # type: ignore[no-untyped-def]
    """Launch what `layers._normalize.measure` is called with."""
    measure_channels(x, eps, outer, channels, inner, per, mean, variance, inverse)
    return True


def normalize(x, mean, inverse, scale, shift, slope, outer, channels, inner, per, y, z) -> bool:  # type: ignore[no-untyped-def]
    """Launch what `layers._normalize.normalize` is called with."""
    aligned = inner % LANES == 0 and y.ctypes.data % (4 * LANES) == 0
    past = int(y.size >= MUCH and aligned and y.ctypes.data != x.ctypes.data)  # y is read again in backward only
    normalize_planes(x, mean, inverse, scale, shift, slope, past, outer, channels, inner, per, y, z)
    return True


def sum_norm_grad(*args: Any) -> bool:
    """Launch what `layers._normalize.sum_norm_grad` is called with."""
    sum_channels_grad(*args)
    return True


def norm_grad(*args: Any) -> bool:
    """Launch what `layers._normalize.norm_grad` is called with."""
    planes_grad(*args)
    return True
