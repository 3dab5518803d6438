"""Kernels of 3x3 and 5x5 at stride 1, column by column of vectors: every row of input is loaded once.

A strip goes down an image. At every row, its few vectors (LANES inputs and what lies 1, 2 ... further) take
part in the sums of as many rows of output as the kernel is high; the oldest of these sums is then complete.
"""

from __future__ import annotations

from ...kernel import T, device_function
from .atoms import offset
from .vector import LANES, at_least, load, multiply_add, splat, store, store_some


@device_function
def put(target, vector, count):  # type: ignore[no-untyped-def]
    """Store a vector, or what is wanted of it."""
    if count >= LANES:
        store(target, vector)
    else:
        store_some(target, vector, count)


@device_function
def three_taps(line, a, b, c, sum):  # type: ignore[no-untyped-def]
    """One row of a kernel of three columns."""
    sum = multiply_add(load(line), a, sum)
    sum = multiply_add(load(offset(line, 1)), b, sum)
    return multiply_add(load(offset(line, 2)), c, sum)


@device_function
def five_taps(line, weights, sum):  # type: ignore[no-untyped-def]
    """One row of a kernel of five columns."""
    sum = multiply_add(load(line), splat(weights[0]), sum)
    sum = multiply_add(load(offset(line, 1)), splat(weights[1]), sum)
    sum = multiply_add(load(offset(line, 2)), splat(weights[2]), sum)
    sum = multiply_add(load(offset(line, 3)), splat(weights[3]), sum)
    return multiply_add(load(offset(line, 4)), splat(weights[4]), sum)


@device_function
def convolve_strip_3x3(line, pitch, weights, start, floor, target, width, height, count):  # type: ignore[no-untyped-def]
    """Up to LANES columns of `height` rows of output."""
    w0, w1, w2 = splat(weights[0]), splat(weights[1]), splat(weights[2])
    w3, w4, w5 = splat(weights[3]), splat(weights[4]), splat(weights[5])
    w6, w7, w8 = splat(weights[6]), splat(weights[7]), splat(weights[8])
    begin, least = splat(start), splat(floor)
    a = b = begin
    for row in range(-2, height):
        done = three_taps(line, w6, w7, w8, a)
        a = three_taps(line, w3, w4, w5, b)
        b = three_taps(line, w0, w1, w2, begin)
        if row >= 0:
            put(offset(target, row * width), at_least(done, least), count)
        line = offset(line, pitch)


@device_function
def convolve_strip_5x5(line, pitch, weights, start, floor, target, width, height, count):  # type: ignore[no-untyped-def]
    """Up to LANES columns of `height` rows of output."""
    begin, least = splat(start), splat(floor)
    a = b = c = d = begin
    for row in range(-4, height):
        done = five_taps(line, offset(weights, 20), a)
        a = five_taps(line, offset(weights, 15), b)
        b = five_taps(line, offset(weights, 10), c)
        c = five_taps(line, offset(weights, 5), d)
        d = five_taps(line, weights, begin)
        if row >= 0:
            put(offset(target, row * width), at_least(done, least), count)
        line = offset(line, pitch)


@device_function
def sum_strip_3x3(line, pitch, gradient, gradient_pitch, height, sums):  # type: ignore[no-untyped-def]
    """Add to nine vectors of sums what the nine taps met in a strip, times LANES columns of dy."""
    s0, s1, s2 = load(sums), load(offset(sums, LANES)), load(offset(sums, 2 * LANES))
    s3, s4, s5 = load(offset(sums, 3 * LANES)), load(offset(sums, 4 * LANES)), load(offset(sums, 5 * LANES))
    s6, s7, s8 = load(offset(sums, 6 * LANES)), load(offset(sums, 7 * LANES)), load(offset(sums, 8 * LANES))
    none = splat(T(0))
    a = b = none  # dy one and two rows above
    for row in range(height + 2):
        new = load(gradient) if row < height else none
        x, y, z = load(line), load(offset(line, 1)), load(offset(line, 2))
        s0, s1, s2 = multiply_add(x, new, s0), multiply_add(y, new, s1), multiply_add(z, new, s2)
        s3, s4, s5 = multiply_add(x, a, s3), multiply_add(y, a, s4), multiply_add(z, a, s5)
        s6, s7, s8 = multiply_add(x, b, s6), multiply_add(y, b, s7), multiply_add(z, b, s8)
        a, b = new, a
        line, gradient = offset(line, pitch), offset(gradient, gradient_pitch)
    store(sums, s0)
    store(offset(sums, LANES), s1)
    store(offset(sums, 2 * LANES), s2)
    store(offset(sums, 3 * LANES), s3)
    store(offset(sums, 4 * LANES), s4)
    store(offset(sums, 5 * LANES), s5)
    store(offset(sums, 6 * LANES), s6)
    store(offset(sums, 7 * LANES), s7)
    store(offset(sums, 8 * LANES), s8)
