"""C = A B' where A has fewer rows than B: computed turned around, so that A is packed and B is read where it lies.

    C'[columns of C, rows of C] = B[columns of C, steps] * A'[steps, rows of C]

The matrix of weights of a fully connected layer is B; A has a row for each image. Tiles are turned back on their
way to C.
"""

from __future__ import annotations

import numpy as np

from ...kernel import T, device_function, kernel
from .atoms import offset
from .panels import pack
from .tile import FLAT, ROWS, WIDTH, multiply_tile
from .vector import LANES, floats_at, splat, store, store_transposed
from .workspace import scratch, workspace

SLICE = 400  # steps at a time: so much of a tile of B stays in L1 until it has met all rows of A
STEPS = 128  # that are packed by one index
MOST = 256  # rows of A
LINES = -(-ROWS // LANES) * LANES  # of a tile in scratch: `store_transposed` reads squares

M, N, K, LDB, LDC, HEIGHT, BLOCK, DEPTH = range(8)


@kernel(
    "plan: long*, panels: T*, b: T*, bias: T*, has_bias: int, floor: T, scratch: long*, thread: int, tasks: int "
    "-> c: T*",
    over="tasks",
    work="1 << 15",
)
def multiply_turned(i, plan, panels, b, bias, has_bias, floor, scratch, thread, tasks, c):  # type: ignore[no-untyped-def]
    """Task i: some rows of B."""
    first, m, n, k = i * plan[BLOCK], plan[M], plan[N], plan[K]
    tiles = floats_at(scratch[thread])
    for row in range(first, min(first + plan[BLOCK], n), plan[HEIGHT]):
        rows = min(plan[HEIGHT], n - row)
        if has_bias != 0:
            spread(offset(bias, row), rows, m, tiles)
        for p in range(0, k, plan[DEPTH]):
            depth = min(plan[DEPTH], k - p)
            lines = offset(b, row * plan[LDB] + p)
            bound = floor if p + depth == k else T(FLAT)
            for q in range(0, m, WIDTH):
                tile = offset(tiles, q * LINES)
                start = tile if p > 0 or has_bias != 0 else floats_at(0)
                panel = offset(panels, q * k + p * WIDTH)
                multiply_tile(lines, plan[LDB], 1, panel, WIDTH, start, WIDTH, tile, WIDTH, depth, rows, bound)
        for q in range(0, m, LANES):
            columns, place = offset(tiles, q // WIDTH * WIDTH * LINES + q % WIDTH), offset(c, q * plan[LDC] + row)
            for r in range(0, rows, LANES):
                store_transposed(offset(columns, r * WIDTH), WIDTH, rows - r, m - q, offset(place, r), plan[LDC])


@device_function
def spread(bias, rows, m, tiles):  # type: ignore[no-untyped-def]
    """Each row of the tiles, all of it its bias."""
    for q in range(0, m, WIDTH):
        for r in range(rows):
            for j in range(0, WIDTH, LANES):
                store(offset(tiles, q * LINES + r * WIDTH + j), splat(bias[r]))


@kernel(
    "a: T*, lda: int, m: int, k: int -> panels: T*",
    over=f"(m + {WIDTH - 1}) // {WIDTH} * ((k + {STEPS - 1}) // {STEPS})",
    work=f"{STEPS * WIDTH * 4}",
)
def pack_rows(i, a, lda, m, k, panels):  # type: ignore[no-untyped-def]
    """Some steps of a panel: WIDTH rows of A, side by side."""
    parts = (k + STEPS - 1) // STEPS
    row, p = i // parts * WIDTH, i % parts * STEPS
    source, target = offset(a, row * lda + p), offset(panels, row * k + p * WIDTH)
    pack(source, lda, 1, min(WIDTH, m - row), min(STEPS, k - p), target, WIDTH)


def pays(m: int, n: int, k: int, ldb: int) -> bool:
    """Whether this way is faster: A fills panels, there is less to pack of it, and lines of B do not collide in L1."""
    return m <= MOST and 2 * m <= n and m / (-(-m // WIDTH) * WIDTH) >= 0.8 and ldb % 1024 != 0


def multiply(
    m: int, n: int, k: int, a: np.ndarray, lda: int, b: np.ndarray, ldb: int, c: np.ndarray, ldc: int,
    bias: np.ndarray | None, floor: float, height: int, tasks: int,
) -> None:  # fmt: skip
    """C (m x n) = A B' + bias, then the larger of that and `floor`; in so many tasks, of tiles of this height."""
    columns = -(-m // WIDTH) * WIDTH
    panels = workspace("rows side by side", columns * k)
    pack_rows(a, lda, m, k, panels)
    tiles = -(-n // height)
    block, depth = -(-tiles // min(tiles, tasks)) * height, -(-k // -(-k // SLICE))
    plan = np.array([m, n, k, ldb, ldc, height, block, depth], np.int64)
    room, has_bias = scratch(4 * columns * LINES), int(bias is not None)
    multiply_turned(plan, panels, b, bias, has_bias, floor, room, 0, -(-n // block), c)
