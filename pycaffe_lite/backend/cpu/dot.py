"""C = A B' for few rows of A: every element is a dot product of a row of A and a row of B, both as they lie.

There is too little to do for each number of B to pay for packing it; what counts is to read B once, and in
long runs. LANES partial sums of every dot product are kept in scratch and added up at the end.
"""

from __future__ import annotations

import numpy as np

from ...kernel import T, device_function, kernel
from .atoms import offset
from .vector import LANES, floats_at, load, load_some, multiply_add, splat, store, total
from .workspace import scratch

COLUMNS = 4  # rows of B, columns of C, of an index: they share a vector of A
SLICE = 2048  # steps that are taken for all rows of A before the next: so much of B stays in L1
FEW = 8  # rows of A up to which this is faster than packing


@kernel(
    "a: T*, lda: int, b: T*, ldb: int, bias: T*, has_bias: int, accumulate: int, floor: T, m: int, n: int, k: int, "
    "ldc: int, scratch: long*, thread: int -> c: T*",
    over=f"(n + {COLUMNS - 1}) // {COLUMNS}",
    work=f"m * k * {COLUMNS} // {LANES}",
)
def multiply_dots(  # type: ignore[no-untyped-def]
    i, a, lda, b, ldb, bias, has_bias, accumulate, floor, m, n, k, ldc, scratch, thread, c
):
    """COLUMNS columns of C."""
    column = i * COLUMNS
    columns = min(COLUMNS, n - column)
    sums = floats_at(scratch[thread])
    for s in range(0, m * COLUMNS * LANES, LANES):
        store(offset(sums, s), splat(T(0)))
    lines = offset(b, column * ldb)
    for p in range(0, k, SLICE):
        for row in range(m):
            place = offset(sums, row * COLUMNS * LANES)
            add_dots(offset(a, row * lda + p), offset(lines, p), ldb, columns - 1, min(SLICE, k - p), place)
    for row in range(m):
        for j in range(columns):
            value = total(load(offset(sums, (row * COLUMNS + j) * LANES)))
            at = row * ldc + column + j
            if accumulate != 0:
                value += c[at]
            elif has_bias != 0:
                value += bias[column + j]
            c[at] = floor if value < floor else value


@device_function
def add_dots(a, b, pitch, last, count, sums):  # type: ignore[no-untyped-def]
    """Add the products of a and of four rows of b, or of the last one again for those behind it."""
    b1, b2, b3 = offset(b, min(1, last) * pitch), offset(b, min(2, last) * pitch), offset(b, min(3, last) * pitch)
    s0, s1 = load(sums), load(offset(sums, LANES))
    s2, s3 = load(offset(sums, 2 * LANES)), load(offset(sums, 3 * LANES))
    whole = count // LANES * LANES
    for p in range(0, whole, LANES):
        x = load(offset(a, p))
        s0 = multiply_add(x, load(offset(b, p)), s0)
        s1 = multiply_add(x, load(offset(b1, p)), s1)
        s2 = multiply_add(x, load(offset(b2, p)), s2)
        s3 = multiply_add(x, load(offset(b3, p)), s3)
    if whole < count:
        rest = count - whole
        x = load_some(offset(a, whole), rest)
        s0 = multiply_add(x, load_some(offset(b, whole), rest), s0)
        s1 = multiply_add(x, load_some(offset(b1, whole), rest), s1)
        s2 = multiply_add(x, load_some(offset(b2, whole), rest), s2)
        s3 = multiply_add(x, load_some(offset(b3, whole), rest), s3)
    store(sums, s0)
    store(offset(sums, LANES), s1)
    store(offset(sums, 2 * LANES), s2)
    store(offset(sums, 3 * LANES), s3)


def dots(
    m: int, n: int, k: int, a: np.ndarray, lda: int, b: np.ndarray, ldb: int, c: np.ndarray, ldc: int,
    bias: np.ndarray | None, accumulate: bool, floor: float,
) -> None:  # fmt: skip
    """C (m x n) = A B' or C += A B', then bias, then the larger of that and `floor`."""
    room = scratch(4 * m * COLUMNS * LANES)
    has_bias = int(bias is not None)
    multiply_dots(a, lda, b, ldb, bias, has_bias, int(accumulate), floor, m, n, k, ldc, room, 0, c)
