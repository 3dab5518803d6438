"""The micro-kernel under every matrix product and convolution: one tile of C, kept in registers.

    C[i, j] = max(floor, start[i, j] + sum over p < k of A[i, p] * B[p, j])    i < rows, j < WIDTH

`VECTORS` vectors of B meet one number of A at a time, so B's rows must be unit stride; A may lie in
any way that two strides can tell (in place, transposed, packed). Larger tiles reuse more of what they
load, but accumulators, B and a broadcast number must fit into the registers: 32 of 16 lanes on
AVX-512, 16 of 8 on AVX2.
"""

from __future__ import annotations

import platform

from .atoms import compiled_only
from .vector import AVX2, AVX512, LANES

VECTORS = 2
ROWS = 14 if AVX512 else 12 if platform.machine() in ("aarch64", "arm64") else 6
WIDTH = VECTORS * LANES
# Packed, the rows of a tile of A take whole vectors.
PITCH = -(-ROWS // LANES) * LANES
# One loop of inline assembly: as LLVM code it loses up to half its speed (unrolled, then spilled).
ASSEMBLY = AVX512 or AVX2

FLAT = float("-inf")  # the floor that changes nothing


def multiply_tile(a, a_row, a_step, b, b_step, start, start_row, c, c_row, k, rows, floor):  # type: ignore[no-untyped-def]
    """Compute a tile of 1 <= rows <= ROWS rows and WIDTH columns, k >= 1 (see the module's docstring).

    A[i, p] is a[i * a_row + p * a_step], B[p, j] is b[p * b_step + j], start likewise with `start_row`
    (0: the same row for all; a null pointer: zeros), c with `c_row`.
    """
    compiled_only()


MOST_TAPS, MOST_VECTORS, SQUARE = 7, 4, 9


def widest(rows: int) -> int:
    """Vectors that `multiply_taps` may take with so many rows: sums, B and a broadcast number need registers."""
    registers = 16 if AVX2 and not AVX512 else 32
    most = MOST_VECTORS if rows < SQUARE else 2  # so B's panels may be longer
    return max(v for v in range(1, most + 1) if v == 1 or rows * v + v + 1 <= registers)


def multiply_neighbours(a, table, b, start, start_row, c, k, rows, vectors, floor):  # type: ignore[no-untyped-def]
    """A tile whose rows of A lie side by side: A[i, p] is a[table[p] + i]. 1 <= vectors <= VECTORS.

    B and C are as wide as the tile, `vectors` vectors, row by row; `start` is as in `multiply_tile`.
    """
    compiled_only()


def multiply_listed(a, a_row, table, b, bias, c, c_row, k, rows, vectors, floor):  # type: ignore[no-untyped-def]
    """A tile whose rows of B lie anywhere: B[p, j] is b[table[p] + j]. 1 <= vectors <= VECTORS.

    A[i, p] is a[i * a_row + p]. Row i begins with bias[i], or with zeros where that is a null pointer.
    """
    compiled_only()


def multiply_taps(a, table, pitch, b, start, c, c_row, k, rows, vectors):  # type: ignore[no-untyped-def]
    """The same for few rows and many vectors: 1 <= rows <= MOST_TAPS, 1 <= vectors <= widest(rows).

    With SQUARE rows they are three lines of three neighbours, the lines `pitch` apart. Rows of c, and of
    start, are c_row apart.
    """
    compiled_only()
