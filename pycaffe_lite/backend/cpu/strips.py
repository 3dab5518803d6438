"""Depthwise kernels of 3x3 and 5x5 straight from the image, one strip of LANES columns of output after the other.

A strip goes down the image. The few vectors of a row of input that its outputs need are made once and take
part in the sums of all rows of output that they belong to. Lanes outside the image are not read: zeros.
"""

from __future__ import annotations

from ...kernel import T, device_function, inline_function
from .atoms import offset
from .vector import (
    AVX2,
    AVX512,
    LANES,
    at_least,
    evens,
    load,
    load_between,
    multiply_add,
    odds,
    prefetch,
    prefetch_to_write,
    splat,
    store,
    store_some,
    zip_high,
    zip_low,
)

SLOW_MASKS = not (AVX512 or AVX2)  # then a branch is better than a mask that masks nothing


@inline_function
def put(target, vector, count):  # type: ignore[no-untyped-def]
    """Store a vector, or the first `count` lanes of it."""
    if count >= LANES:
        store(target, vector)
    else:
        store_some(target, vector, count)


@inline_function
def lanes(line, at, first, last):  # type: ignore[no-untyped-def]
    """The vector at line[at]; zero where it is before line[first] or not before line[last]."""
    if SLOW_MASKS and first <= at and at + LANES <= last:
        return load(offset(line, at))
    return load_between(offset(line, at), first - at, last - at)


@inline_function
def three(line, first, last, stride):  # type: ignore[no-untyped-def]
    """What a row of three taps meets: LANES numbers for each tap, 1 or 2 apart."""
    if stride == 1:
        return lanes(line, 0, first, last), lanes(line, 1, first, last), lanes(line, 2, first, last)
    a, b = lanes(line, 0, first, last), lanes(line, LANES, first, last)
    c, d = lanes(line, 2, first, last), lanes(line, LANES + 2, first, last)
    return evens(a, b), odds(a, b), evens(c, d)


@inline_function
def three_or_none(plane, y, height, width, column, stride, zeros):  # type: ignore[no-untyped-def]
    """The same for row y of an image, from this column on; zeros, of which three vectors are given, for no such row."""
    there = offset(plane, y * width + column) if y >= 0 and y < height else zeros
    return three(there, -column, width - column, stride)


@inline_function
def times(row, a, b, c, sum):  # type: ignore[no-untyped-def]
    """Add the products of a row of three taps."""
    x, y, z = row
    return multiply_add(z, c, multiply_add(y, b, multiply_add(x, a, sum)))


@device_function
def convolve_strip_3x3(  # type: ignore[no-untyped-def]
    plane, height, width, y, column, stride, weights, start, floor, target, pitch, rows, count, zeros
):
    """Up to LANES columns of `rows` rows of output; the first tap of the first meets (y, column).

    What as many rows further down will need is fetched meanwhile: strips go to and fro, which no cache foresees.
    """
    w0, w1, w2 = splat(weights[0]), splat(weights[1]), splat(weights[2])
    w3, w4, w5 = splat(weights[3]), splat(weights[4]), splat(weights[5])
    w6, w7, w8 = splat(weights[6]), splat(weights[7]), splat(weights[8])
    begin, least = splat(start), splat(floor)
    above = three_or_none(plane, y, height, width, column, stride, zeros)
    here = three_or_none(plane, y + 1, height, width, column, stride, zeros)
    for row in range(rows):
        y += stride
        below = three_or_none(plane, y + 2 - stride, height, width, column, stride, zeros)
        sum = times(below, w6, w7, w8, times(here, w3, w4, w5, times(above, w0, w1, w2, begin)))
        line = offset(target, row * pitch)
        put(line, at_least(sum, least), count)
        prefetch_to_write(offset(line, rows * pitch))
        ahead = offset(plane, (y + 2 + rows * stride) * width + column)
        prefetch(ahead)
        if stride == 1:
            above, here = here, below
        else:
            prefetch(offset(ahead, LANES))
            prefetch(offset(ahead, -width))
            prefetch(offset(ahead, LANES - width))
            above, here = below, three_or_none(plane, y + 1, height, width, column, stride, zeros)


@inline_function
def five_taps(line, first, last, weights, sum):  # type: ignore[no-untyped-def]
    """Add the products of a row of five taps."""
    sum = multiply_add(lanes(line, 0, first, last), splat(weights[0]), sum)
    sum = multiply_add(lanes(line, 1, first, last), splat(weights[1]), sum)
    sum = multiply_add(lanes(line, 2, first, last), splat(weights[2]), sum)
    sum = multiply_add(lanes(line, 3, first, last), splat(weights[3]), sum)
    return multiply_add(lanes(line, 4, first, last), splat(weights[4]), sum)


@device_function
def convolve_strip_5x5(  # type: ignore[no-untyped-def]
    plane, height, width, y, column, weights, start, floor, target, pitch, rows, count
):
    """Up to LANES columns of `rows` rows of output at stride 1: sums of five rows are under way at a time."""
    begin, least = splat(start), splat(floor)
    a = b = c = d = begin
    first, last = -column, width - column
    for row in range(-4, rows):
        at = y + row + 4
        done, line = a, offset(plane, at * width + column)
        if at >= 0 and at < height:
            done = five_taps(line, first, last, offset(weights, 20), a)
            a = five_taps(line, first, last, offset(weights, 15), b)
            b = five_taps(line, first, last, offset(weights, 10), c)
            c = five_taps(line, first, last, offset(weights, 5), d)
            d = five_taps(line, first, last, weights, begin)
        else:
            a, b, c, d = b, c, d, begin
        if row >= 0:
            put(offset(target, row * pitch), at_least(done, least), count)


@inline_function
def spread(plane, y, height, width, at, odd, weights, once, twice):  # type: ignore[no-untyped-def]
    """What row y of dy gives to columns of dx that are met once, by the middle tap, and to those met twice."""
    if y < 0 or y >= height:
        return once, twice
    line = offset(plane, y * width)
    here = lanes(line, at, 0, width)
    next = lanes(line, at + 1, 0, width) if odd else lanes(line, at - 1, 0, width)
    first, last = (next, here) if odd else (here, next)
    once = multiply_add(here, splat(weights[1]), once)
    return once, multiply_add(last, splat(weights[2]), multiply_add(first, splat(weights[0]), twice))


@device_function
def spread_strip_3x3(plane, height, width, pad_y, pad_x, weights, column, target, pitch, rows, count):  # type: ignore[no-untyped-def]
    """Up to 2 * LANES columns of dx at stride 2, where every other row and column is met by the middle tap only."""
    odd, at, none = pad_x % 2 == 1, column + pad_x // 2, splat(T(0))
    for row in range(rows):
        y = (row + pad_y) // 2
        if (row + pad_y) % 2 == 1:
            once, twice = spread(plane, y, height, width, at, odd, offset(weights, 3), none, none)
        else:
            once, twice = spread(plane, y, height, width, at, odd, weights, none, none)
            once, twice = spread(plane, y - 1, height, width, at, odd, offset(weights, 6), once, twice)
        even, uneven = (once, twice) if odd else (twice, once)
        put(offset(target, row * pitch), zip_low(even, uneven), count)
        put(offset(target, row * pitch + LANES), zip_high(even, uneven), count - LANES)


@device_function
def sum_strip_3x3(plane, height, width, y, column, stride, gradient, pitch, rows, count, zeros, sums):  # type: ignore[no-untyped-def]
    """Add to nine vectors of sums what the nine taps met, times up to LANES columns of dy."""
    s0, s1, s2 = load(sums), load(offset(sums, LANES)), load(offset(sums, 2 * LANES))
    s3, s4, s5 = load(offset(sums, 3 * LANES)), load(offset(sums, 4 * LANES)), load(offset(sums, 5 * LANES))
    s6, s7, s8 = load(offset(sums, 6 * LANES)), load(offset(sums, 7 * LANES)), load(offset(sums, 8 * LANES))
    above = three_or_none(plane, y, height, width, column, stride, zeros)
    here = three_or_none(plane, y + 1, height, width, column, stride, zeros)
    for row in range(rows):
        y += stride
        below = three_or_none(plane, y + 2 - stride, height, width, column, stride, zeros)
        dy = lanes(offset(gradient, row * pitch), 0, 0, count)
        s0, s1, s2 = add_products(above, dy, s0, s1, s2)
        s3, s4, s5 = add_products(here, dy, s3, s4, s5)
        s6, s7, s8 = add_products(below, dy, s6, s7, s8)
        if stride == 1:
            above, here = here, below
        else:
            above, here = below, three_or_none(plane, y + 1, height, width, column, stride, zeros)
    keep_three(sums, s0, s1, s2)
    keep_three(offset(sums, 3 * LANES), s3, s4, s5)
    keep_three(offset(sums, 6 * LANES), s6, s7, s8)


@inline_function
def add_products(row, dy, a, b, c):  # type: ignore[no-untyped-def]
    """The sums of three taps, with what the taps of a row met times dy."""
    x, y, z = row
    return multiply_add(x, dy, a), multiply_add(y, dy, b), multiply_add(z, dy, c)


@inline_function
def keep_three(sums, a, b, c):  # type: ignore[no-untyped-def]
    """Store three vectors."""
    store(sums, a)
    store(offset(sums, LANES), b)
    store(offset(sums, 2 * LANES), c)
