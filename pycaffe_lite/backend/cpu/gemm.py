"""Matrix product `C = op(A) op(B)`, with an optional bias and ReLU on its way out.

C is cut into blocks, one task each. A task takes the product in slices of at most `DEPTH` steps, so that
what it touches stays in cache: it packs its columns of B for one slice, `WIDTH` to a panel, and lets every
tile of rows of A meet every panel. How C is cut follows from the shape alone, never from the threads,
and every element is summed in one order: the same bits on any number of threads.
"""

from __future__ import annotations

import numpy as np

from ...kernel import T, device_function, kernel
from . import pool, turned
from .atoms import offset
from .dot import FEW, dots
from .panels import merge, pack
from .program import one_run
from .tile import FLAT, PITCH, ROWS, WIDTH, multiply_tile
from .vector import floats_at
from .workspace import scratch, workspace

DEPTH = 384  # a panel of B of this depth is 48 KB, a tile of A 21 KB: L1 and L2 hold what is read again
PANELS = 4  # of B in a task: as often a tile of A is used once it is in L1
TILES = 16  # of A in a task: as often a panel of B is used once it is packed
FEWEST_TILES = 4  # where there are few tasks: the packing of B is shared by them
TASKS = 6  # wanted per thread, to keep all busy to the end
PACK_FROM = 256  # columns of C that make it worthwhile to pack an A whose rows collide in L1

# The numbers a plan consists of.
(
    M, N, K, A_TILE, A_ROW, A_STEP, B_STEP, B_COLUMN, LDC,
    HEIGHT, BLOCK_ROWS, BLOCK_COLUMNS, BLOCKS, SLICE, IN_PLACE, ACCUMULATE, HAS_BIAS, RELU, FIELDS,
) = range(19)  # fmt: skip


@kernel(
    "plan: long*, a: T*, b: T*, bias: T*, scratch: long*, thread: int, tasks: int -> c: T*",
    over="tasks",
    work="1 << 15",
)
def multiply_block(i, plan, a, b, bias, scratch, thread, tasks, c):  # type: ignore[no-untyped-def]
    """Task i: one block of C."""
    first_row = i % plan[BLOCKS] * plan[BLOCK_ROWS]
    last_row = min(first_row + plan[BLOCK_ROWS], plan[M])
    first_column = i // plan[BLOCKS] * plan[BLOCK_COLUMNS]
    last_column = min(first_column + plan[BLOCK_COLUMNS], plan[N])
    tile = floats_at(scratch[thread])
    panels = offset(tile, ROWS * WIDTH)
    for p in range(0, plan[K], plan[SLICE]):
        depth = min(plan[SLICE], plan[K] - p)
        pack_columns(plan, offset(b, p * plan[B_STEP]), depth, first_column, last_column, panels)
        for row in range(first_row, last_row, plan[HEIGHT]):
            rows = min(plan[HEIGHT], last_row - row)
            lines = offset(a, row // plan[HEIGHT] * plan[A_TILE] + p * plan[A_STEP])
            for column in range(first_column, last_column, WIDTH):
                columns = min(WIDTH, last_column - column)
                panel, b_step = offset(panels, (column - first_column) * depth), WIDTH
                if plan[IN_PLACE] != 0 and columns == WIDTH:
                    panel, b_step = offset(b, p * plan[B_STEP] + column), plan[B_STEP]
                multiply_part(plan, lines, panel, b_step, bias, tile, p, depth, row, rows, column, columns, c)


@device_function
def pack_columns(plan, b, depth, first, last, panels):  # type: ignore[no-untyped-def]
    """Columns first..last-1 of B as panels, those left out that are used in place."""
    for column in range(first, last, WIDTH):
        columns = min(WIDTH, last - column)
        if plan[IN_PLACE] == 0 or columns < WIDTH:
            panel = offset(panels, (column - first) * depth)
            source = offset(b, column * plan[B_COLUMN])
            pack(source, plan[B_COLUMN], plan[B_STEP], columns, depth, panel, WIDTH)


@device_function
def multiply_part(plan, a, b, b_step, bias, tile, p, depth, row, rows, column, columns, c):  # type: ignore[no-untyped-def]
    """One tile of C: the products of steps p..p+depth-1, added to what was there, or to the bias."""
    place = offset(c, row * plan[LDC] + column)
    start, start_row, has_start = floats_at(0), 0, True
    if p > 0 or plan[ACCUMULATE] != 0:
        start, start_row = place, plan[LDC]
    elif plan[HAS_BIAS] != 0:
        start = offset(bias, column)
    else:
        has_start = False
    floor = T(0) if plan[RELU] != 0 and p + depth == plan[K] else T(FLAT)
    if columns == WIDTH:
        multiply_tile(a, plan[A_ROW], plan[A_STEP], b, b_step, start, start_row, place, plan[LDC], depth, rows, floor)
    else:
        multiply_tile(a, plan[A_ROW], plan[A_STEP], b, b_step, floats_at(0), 0, tile, WIDTH, depth, rows, T(FLAT))
        merge(tile, has_start, start, start_row, place, plan[LDC], rows, columns, floor)


@kernel(
    "a: T*, line: int, step: int, rows: int, k: int, height: int -> packed: T*",
    over="(rows + height - 1) // height",
    work="k * 8",
)
def pack_tile(i, a, line, step, rows, k, height, packed):  # type: ignore[no-untyped-def]
    """Tile i of A, `height` rows, as k steps of PITCH numbers."""
    first = i * height
    source = offset(a, first * line)
    pack(source, line, step, min(height, rows - first), k, offset(packed, i * k * PITCH), PITCH)


@kernel(
    "m: int, n: int, k: int, a: T*, a_row: int, a_step: int, b: T*, b_step: int, b_column: int, "
    "bias: T*, has_bias: int, relu: int, accumulate: int, ldc: int -> c: T*",
    over="m",
    work="n * k",
)
def multiply_rows(  # type: ignore[no-untyped-def]
    i, m, n, k, a, a_row, a_step, b, b_step, b_column, bias, has_bias, relu, accumulate, ldc, c
):
    """Row i of C, the plain way: what float64 takes."""
    for j in range(n):
        total = T(0)
        for p in range(k):
            total += a[i * a_row + p * a_step] * b[p * b_step + j * b_column]
        if accumulate != 0:
            total += c[i * ldc + j]
        elif has_bias != 0:
            total += bias[j]
        if relu != 0 and total < T(0):
            total = T(0)
        c[i * ldc + j] = total


@kernel("bias: T*, rows: int, columns: int, pitch: int -> c: T*", over="rows", work="columns")
def add_bias(i, bias, rows, columns, pitch, c):  # type: ignore[no-untyped-def]
    """Add the bias to row i."""
    for j in range(columns):
        c[i * pitch + j] += bias[j]


def ceil_div(a: int, b: int) -> int:
    """a / b, rounded up."""
    return -(-a // b)


def collide(pitch: int) -> bool:
    """Whether lines that many floats apart all land in the same few places of L1, and drive each other out."""
    return pitch % 1024 == 0


def tile_height(rows: int) -> int:
    """Rows of a tile, so that all tiles have nearly as many."""
    return ceil_div(rows, ceil_div(rows, ROWS))


def wanted_tasks() -> int:
    """How many tasks keep the threads busy. It must not decide how anything is rounded."""
    return TASKS * pool.threads() if pool.threads() > 1 else 1


def _blocks(m: int, n: int) -> tuple[int, int]:
    """Tiles and panels of a block of C: as many as pay, but few enough for plenty of blocks."""
    tiles, panels = min(TILES, ceil_div(m, ROWS)), min(PANELS, ceil_div(n, WIDTH))
    while ceil_div(ceil_div(m, ROWS), tiles) * ceil_div(ceil_div(n, WIDTH), panels) < wanted_tasks():
        if panels > 1:
            panels = ceil_div(panels, 2)
        elif tiles > FEWEST_TILES:
            tiles = ceil_div(tiles, 2)
        else:
            break
    blocks = ceil_div(ceil_div(m, ROWS), tiles)
    return ceil_div(ceil_div(m, ROWS), blocks), panels


def gemm(
    trans_a: bool,
    trans_b: bool,
    m: int,
    n: int,
    k: int,
    a: np.ndarray,
    lda: int,
    b: np.ndarray,
    ldb: int,
    c: np.ndarray,
    ldc: int,
    accumulate: bool = False,
    bias: np.ndarray | None = None,
    relu: bool = False,
) -> None:
    """C (m x n) = op(A) op(B), or C += that; then `bias[j]` is added to column j, then ReLU taken.

    Matrices are row-major, begin where their array begins, and have rows `lda`, `ldb`, `ldc` elements apart.
    """
    a_row, a_step = (1, lda) if trans_a else (lda, 1)
    b_step, b_column = (1, ldb) if trans_b else (ldb, 1)
    with one_run():
        if accumulate and bias is not None:
            add_bias(bias, m, n, ldc, c)
            bias = None
        options = int(accumulate), int(bias is not None), int(relu)
        if c.dtype != np.float32:
            multiply_rows(m, n, k, a, a_row, a_step, b, b_step, b_column, bias, *options[1:], options[0], ldc, c)
            return
        if m <= FEW and trans_b and not trans_a:
            dots(m, n, k, a, lda, b, ldb, c, ldc, bias, accumulate, 0.0 if relu else FLAT)
            return
        if trans_b and not trans_a and not accumulate and turned.pays(m, n, k, ldb):
            floor, height, tasks = 0.0 if relu else FLAT, tile_height(n), wanted_tasks()
            turned.multiply(m, n, k, a, lda, b, ldb, c, ldc, bias, floor, height, tasks)
            return
        height, tiles_of_a = tile_height(m), None
        if collide(lda) and n >= PACK_FROM:
            packed = workspace("tiles of A", ceil_div(m, height) * k * PITCH)
            pack_tile(a, a_row, a_step, m, k, height, packed)
            a, a_row, a_step, tiles_of_a = packed, 1, PITCH, k * PITCH
        tiles, panels = _blocks(m, n)
        depth = ceil_div(k, ceil_div(k, DEPTH))
        blocks = ceil_div(ceil_div(m, height), tiles)
        in_place = not trans_b and m <= 2 * height
        plan = np.array([
            m, n, k, tiles_of_a or height * a_row, a_row, a_step, b_step, b_column, ldc,
            height, tiles * height, panels * WIDTH, blocks, depth, in_place, *options,
        ], np.int64)  # fmt: skip
        tasks = blocks * ceil_div(n, panels * WIDTH)
        room = scratch(4 * (ROWS * WIDTH + panels * WIDTH * depth))
        multiply_block(plan, a, b, bias, room, 0, tasks, c)
