"""Element by element in float32, where LLVM does not find the best vectors: fills of much memory, and dropout."""

from __future__ import annotations

from typing import Any

from ...kernel import T, inline_function, kernel
from ...random import MASK32
from .atoms import offset
from .channels import MUCH, put, some
from .vector import (
    LANES,
    above,
    choose,
    halved,
    multiply,
    product_high,
    product_low,
    settle,
    splat,
    steps,
    stream,
    whole,
    xor,
    zip_high,
    zip_low,
)

CHUNK = 4096
CHUNKS: Any = {"over": f"(count + {CHUNK - 1}) // {CHUNK}"}


@kernel("value: T, count: int -> y: T*", work="1024", **CHUNKS)
def fill_past_caches(i, value, count, y):  # type: ignore[no-untyped-def]
    """y = value, without reading first what is overwritten."""
    last = min(count, (i + 1) * CHUNK)
    for j in range(i * CHUNK, last // LANES * LANES, LANES):
        stream(offset(y, j), splat(value))
    for j in range(last // LANES * LANES, last):
        y[j] = value
    settle()


@inline_function
def four_words(key, counter, block):  # type: ignore[no-untyped-def]
    """What `random.philox` gives for LANES blocks from this one on: all four words of each, one after the other."""
    c0, c1 = steps(block & MASK32, 1), whole((block >> 32) & MASK32)
    c2, c3 = whole(counter & MASK32), whole((counter >> 32) & MASK32)
    k0, k1 = key & MASK32, (key >> 32) & MASK32
    m0, m1 = whole(0xD2511F53), whole(0xCD9E8D57)
    for _ in range(10):
        h0, l0, h1, l1 = product_high(m0, c0), product_low(m0, c0), product_high(m1, c2), product_low(m1, c2)
        c0, c1, c2, c3 = xor(xor(h1, c1), whole(k0)), l1, xor(xor(h0, c3), whole(k1)), l0
        k0, k1 = (k0 + 0x9E3779B9) & MASK32, (k1 + 0xBB67AE85) & MASK32
    even, odd, even_, odd_ = zip_low(c0, c2), zip_low(c1, c3), zip_high(c0, c2), zip_high(c1, c3)
    return zip_low(even, odd), zip_high(even, odd), zip_low(even_, odd_), zip_high(even_, odd_)


@inline_function
def drop_vector(x, bits, threshold, scale, y, count):  # type: ignore[no-untyped-def]
    """Up to LANES elements by so many random bits."""
    if count > 0:
        value = some(x, count)
        kept = above(halved(bits), whole(threshold - 1))
        put(y, choose(kept, multiply(value, splat(scale)), multiply(value, splat(T(0)))), count)


@kernel("x: T*, key: long*, state: long*, threshold: int, scale: T, count: int -> y: T*", work=f"{2 * CHUNK}", **CHUNKS)
def drop_chunk(i, x, key, state, threshold, scale, count, y):  # type: ignore[no-untyped-def]
    """`layers.dropout.drop` for a chunk."""
    for j in range(i * CHUNK, min(count, (i + 1) * CHUNK), 4 * LANES):
        a, b, c, d = four_words(key[0], state[0], j // 4)
        drop_vector(offset(x, j), a, threshold, scale, offset(y, j), count - j)
        j += LANES
        drop_vector(offset(x, j), b, threshold, scale, offset(y, j), count - j)
        j += LANES
        drop_vector(offset(x, j), c, threshold, scale, offset(y, j), count - j)
        j += LANES
        drop_vector(offset(x, j), d, threshold, scale, offset(y, j), count - j)


def drop(*args: Any) -> bool:
    """Launch what `layers.dropout.drop` is called with."""
    drop_chunk(*args)
    return True


def fill(value: Any, count: int, y: Any) -> bool:
    """Launch what `ops.fill` is called with; False for what may stay in a cache."""
    much = count >= MUCH and y.ctypes.data % (4 * LANES) == 0
    if much:
        fill_past_caches(value, count, y)
    return much
