"""BatchNorm, Scale and ReLU as one, in vectors: `layers/_normalize.py`, kernel by kernel.

And all of it as one kernel in each direction, where the data of a channel stay in L2 between the sweep that sums and
the sweep that writes.
"""

from __future__ import annotations

from math import sqrt
from typing import Any

import numpy as np

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

LONG = 1 << 19  # elements: 2 MB, which L2 does not keep until they are read
KEPT = 1 << 18  # elements of a channel: 1 MB, which it keeps from one sweep to the next
FEWEST = 8  # channels that are work enough for several threads
BY_SAMPLE: Any = {"over": "outer * ((channels + per - 1) // per)", "work": "per * (inner // 4 + 8)"}


@kernel(f"x: T*, eps: double, {CHANNELS} -> mean: T*, variance: T*, inverse: T*", **WHOLE_BATCH)
def measure_channels(i, x, eps, outer, channels, inner, per, mean, variance, inverse):  # type: ignore[no-untyped-def]
    """Mean, variance and 1 / deviation of every channel."""
    for c in range(i * per, min((i + 1) * per, channels)):
        centre, spread = channel_moments(offset(x, c * inner), outer, channels, inner)
        mean[c], variance[c], inverse[c] = T(centre), T(spread), T(1 / sqrt(spread + eps))


@device_function
def normalize_plane(x, other, has_other, mean, inverse, scale, shift, slope, count, past, y, z):  # type: ignore[no-untyped-def]
    """y = (x - mean) * inverse, and z = ReLU(scale * y + shift + other); 1 in `past`: z goes past the caches, 2: y."""
    m, f, a, b, through = splat(mean), splat(inverse), splat(scale), splat(shift), splat(slope)
    for j in range(0, count, LANES):
        standard = multiply(subtract(some(offset(x, j), count - j), m), f)
        s = multiply_add(standard, a, b)
        if has_other != 0:
            s = add(s, some(offset(other, j), count - j))
        s = choose(above(s, splat(T(0))), s, multiply(s, through))
        if past & 2:
            stream(offset(y, j), standard)
        else:
            put(offset(y, j), standard, count - j)
        if past & 1:
            stream(offset(z, j), s)
        else:
            put(offset(z, j), s, count - j)


@kernel(
    "x: T*, mean: T*, inverse: T*, scale: T*, shift: T*, slope: T, other: T*, has_other: int, past: int, "
    f"{CHANNELS} -> y: T*, z: T*",
    **BY_SAMPLE,
)
def normalize_planes(  # type: ignore[no-untyped-def]
    i, x, mean, inverse, scale, shift, slope, other, has_other, past, outer, channels, inner, per, y, z
):
    """`normalize_plane` for some channels of a sample."""
    groups = (channels + per - 1) // per
    row, first = i // groups * channels, i % groups * per
    for c in range(first, min(first + per, channels)):
        at = (row + c) * inner
        normalize_plane(
            offset(x, at), offset(other, at), has_other, mean[c], inverse[c], scale[c], shift[c], slope,
            inner, past, offset(y, at), offset(z, at)
        )  # fmt: skip
    if past != 0:
        settle()


@kernel(
    "x: T*, eps: double, scale: T*, shift: T*, slope: T, other: T*, has_other: int, past: int, "
    f"{CHANNELS} -> mean: T*, variance: T*, inverse: T*, y: T*, z: T*",
    **WHOLE_BATCH,
)
def normalize_channels(  # type: ignore[no-untyped-def]
    i, x, eps, scale, shift, slope, other, has_other, past, outer, channels, inner, per, mean, variance, inverse, y, z
):
    """`measure_channels`, then `normalize_plane` in every sample while the channel is in the cache."""
    for c in range(i * per, min((i + 1) * per, channels)):
        centre, spread = channel_moments(offset(x, c * inner), outer, channels, inner)
        mean[c], variance[c], inverse[c] = T(centre), T(spread), T(1 / sqrt(spread + eps))
    for o in range(outer):
        for c in range(i * per, min((i + 1) * per, channels)):
            at = (o * channels + c) * inner
            normalize_plane(
                offset(x, at), offset(other, at), has_other, mean[c], inverse[c], scale[c], shift[c], slope,
                inner, past, offset(y, at), offset(z, at)
            )  # fmt: skip
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


@device_function
def sum_channel_grad(y, dz, scale, shift, slope, outer, channels, inner):  # type: ignore[no-untyped-def]
    """Sums of ds and of ds * y over a channel, ds being what comes through the ReLU."""
    whole, product = 0.0, 0.0
    for o in range(outer):
        start = o * channels * inner
        for j in range(start, start + inner, BLOCK):
            s, q = gated_products(offset(y, j), offset(dz, j), min(BLOCK, start + inner - j), scale, shift, slope)
            whole += s
            product += q
    return whole, product


@kernel(
    f"y: T*, dz: T*, scale: T*, shift: T*, slope: T, {CHANNELS}"
    " -> sums: double*, products: double*, dscale: T*, dshift: T*",
    **WHOLE_BATCH,
)
def sum_channels_grad(i, y, dz, scale, shift, slope, outer, channels, inner, per, sums, products, dscale, dshift):  # type: ignore[no-untyped-def]
    """`sum_channel_grad`, and the gradients of scale and shift."""
    for c in range(i * per, min((i + 1) * per, channels)):
        at = c * inner
        s, q = sum_channel_grad(offset(y, at), offset(dz, at), scale[c], shift[c], slope, outer, channels, inner)
        sums[c], products[c] = s, q
        dscale[c] += T(q)
        dshift[c] += T(s)


@device_function
def plane_grad(y, dz, scale, shift, slope, inverse, mean, product, count, past, dx):  # type: ignore[no-untyped-def]
    """dx = (ds - mean - y * product) * scale * inverse; it may go past the caches."""
    m, k, f, through = splat(mean), splat(-product), splat(scale * inverse), splat(slope)
    a, b = splat(scale), splat(shift)
    for j in range(0, count, LANES):
        v = some(offset(y, j), count - j)
        d = gated(v, some(offset(dz, j), count - j), a, b, through)
        r = multiply(multiply_add(v, k, subtract(d, m)), f)
        if past != 0:
            stream(offset(dx, j), r)
        else:
            put(offset(dx, j), r, count - j)


@kernel(
    "y: T*, dz: T*, scale: T*, shift: T*, slope: T, inverse: T*, sums: double*, products: double*, by_batch: int, "
    f"{CHANNELS} -> dx: T*",
    **BY_SAMPLE,
)
def planes_grad(  # type: ignore[no-untyped-def]
    i, y, dz, scale, shift, slope, inverse, sums, products, by_batch, outer, channels, inner, per, dx
):
    """dx = (ds - mean(ds) - y * mean(ds * y)) * scale * inverse."""
    groups = (channels + per - 1) // per
    row, first = i // groups * channels, i % groups * per
    part = 1.0 / (outer * inner) if by_batch else 0.0
    for c in range(first, min(first + per, channels)):
        at = (row + c) * inner
        plane_grad(
            offset(y, at), offset(dz, at), scale[c], shift[c], slope, inverse[c],
            T(sums[c] * part), T(products[c] * part), inner, 0, offset(dx, at)
        )  # fmt: skip


@device_function
def add_gated(top, a, b, has_b, slope, count, dsum):  # type: ignore[no-untyped-def]
    """dsum = the gradients a and b of `top`, added up, through the ReLU that made it."""
    through = splat(slope)
    for j in range(0, count, LANES):
        d = some(offset(a, j), count - j)
        if has_b != 0:
            d = add(d, some(offset(b, j), count - j))
        open_ = above(some(offset(top, j), count - j), splat(T(0)))
        put(offset(dsum, j), choose(open_, d, multiply(d, through)), count - j)


@kernel(
    "y: T*, dz: T*, scale: T*, shift: T*, slope: T, inverse: T*, top: T*, a: T*, b: T*, behind: int, gate: T, "
    f"past: int, {CHANNELS} -> dsum: T*, sums: double*, products: double*, dscale: T*, dshift: T*, dx: T*",
    **WHOLE_BATCH,
)
def normalize_channels_grad(  # type: ignore[no-untyped-def]
    i, y, dz, scale, shift, slope, inverse, top, a, b, behind, gate, past, outer, channels, inner, per,
    dsum, sums, products, dscale, dshift, dx
):  # fmt: skip
    """`sum_channels_grad`, then `plane_grad` in every sample while the channel is in the cache.

    First, if there is a sum behind, its gradient, which is dz: from one (`behind` is 1) or two gradients of `top`.
    """
    first, last, part = i * per, min((i + 1) * per, channels), 1.0 / (outer * inner)
    if behind > 0:
        for o in range(outer):
            at = (o * channels + first) * inner
            count = (last - first) * inner
            add_gated(
                offset(top, at), offset(a, at), offset(b, at), behind - 1, gate, count, offset(dsum, at)
            )  # fmt: skip
    for c in range(first, last):
        at = c * inner
        s, q = sum_channel_grad(offset(y, at), offset(dz, at), scale[c], shift[c], slope, outer, channels, inner)
        sums[c], products[c] = s, q
        dscale[c] += T(q)
        dshift[c] += T(s)
    for o in range(outer):
        for c in range(first, last):
            at = (o * channels + c) * inner
            plane_grad(
                offset(y, at), offset(dz, at), scale[c], shift[c], slope, inverse[c],
                T(sums[c] * part), T(products[c] * part), inner, past, offset(dx, at)
            )  # fmt: skip
    if past != 0:
        settle()


def measure(x, eps, outer, channels, inner, per, sums, mean, variance, inverse) -> bool:  # type: ignore[no-untyped-def]
    """Launch what `layers._normalize.measure` is called with."""
    measure_channels(x, eps, outer, channels, inner, per, mean, variance, inverse)
    return True


def normalize(  # type: ignore[no-untyped-def]
    x, mean, inverse, scale, shift, slope, other, has_other, outer, channels, inner, per, y, z
) -> bool:
    """Launch what `layers._normalize.normalize` is called with."""
    past = goes_past(z, inner, x, y, other) + 2 * (goes_past(y, inner, x, other) and y.size >= MUCH)
    view = outer, channels, inner, per
    normalize_planes(x, mean, inverse, scale, shift, slope, other, has_other, past, *view, y, z)
    return True


def sum_norm_grad(*args: Any) -> bool:
    """Launch what `layers._normalize.sum_norm_grad` is called with."""
    sum_channels_grad(*args)
    return True


def norm_grad(*args: Any) -> bool:
    """Launch what `layers._normalize.norm_grad` is called with."""
    planes_grad(*args)
    return True


def goes_past(written: np.ndarray, inner: int, *read: Any) -> bool:
    """Whether an array is better written past the caches: it is long, its planes are whole vectors, and a new place."""
    aligned = inner % LANES == 0 and written.ctypes.data % (4 * LANES) == 0
    return aligned and written.size >= LONG and all(a is None or a.ctypes.data != written.ctypes.data for a in read)


def stays(outer: int, channels: int, inner: int, per: int, arrays: int) -> bool:
    """Whether the data of a channel in so many arrays stay in L2, and there are channels for several threads."""
    return outer * inner * per * arrays <= KEPT and channels >= FEWEST * per


def normalize_batch(x, eps, scale, shift, slope, other, view, sums, mean, variance, inverse, y, z) -> bool:  # type: ignore[no-untyped-def]
    """Launch what `layers._normalize.normalize_batch` is called with, if a channel stays in the cache."""
    joint = x.dtype == np.float32 and stays(*view, 1)
    if joint:
        past = int(goes_past(z, view.inner, x, y, other))
        statistics, has_other = (mean, variance, inverse), int(other is not None)
        normalize_channels(x, eps, scale, shift, slope, other, has_other, past, *view, *statistics, y, z)
    return joint


def normalize_batch_grad(y, dz, scale, shift, slope, inverse, behind, view, sums, products, dscale, dshift, dx) -> bool:  # type: ignore[no-untyped-def]
    """Launch what `layers._normalize.normalize_batch_grad` is called with, if a channel stays in the cache."""
    joint = y.dtype == np.float32 and stays(*view, 4 if behind else 2)
    if joint:
        a, b = (*behind.gradients, None)[:2] if behind else (None, None)
        sources = (behind.top, a, b, len(behind.gradients), behind.slope) if behind else (None, None, None, 0, 1.0)
        past = int(goes_past(dx, view.inner, y, dz))
        normalize_channels_grad(
            y, dz, scale, shift, slope, inverse, *sources, past, *view,
            dz if behind else None, sums, products, dscale, dshift, dx,
        )  # fmt: skip
    return joint
