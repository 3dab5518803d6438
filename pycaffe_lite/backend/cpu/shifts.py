"""Convolution whose tiles are output channels times neighbouring positions, from copies of the image.

    y[outputs, positions] = weights[outputs, (channel, tap)] * columns[(channel, tap), positions]

Of each channel a copy is made for each column of the kernel: the image shifted to where that column meets
it, and as wide as y. There what one tap meets at neighbouring positions are neighbours from row to row of y,
too, so a table of places is all the matrix of columns there has to be; tiles go straight to y, weights are read
where they are. The price is the copies, which many outputs and many rows of the kernel share.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass

import numpy as np

from ...kernel import T, device_function, kernel
from . import pixels
from .atoms import offset
from .band import copy_rows, copy_run, zero_run
from .gemm import ceil_div, collide, tile_height, wanted_tasks
from .panels import merge
from .plane import (
    CHANNELS,
    DILATION_X,
    GROUP,
    HEIGHT,
    IMAGE_WIDTH,
    KERNEL_X,
    OUT_HEIGHT,
    OUT_WIDTH,
    OUTPUTS,
    PAD_X,
    PAD_Y,
    TAPS,
    Plane,
)
from .pooling import PlanePool, pool_whole
from .tile import FLAT, ROWS, WIDTH, multiply_listed
from .vector import LANES, floats_at
from .workspace import scratch

# The pass's own numbers in its plan, behind the sizes; then the table of places.
TILE, BLOCK, BLOCKS, ROWS_OF_COPY, PITCH, PLANES, BAND, POOLED, TABLE = range(TAPS + 1, TAPS + 10)

FEW_CHANNELS = 4
ROOM = 1 << 16  # floats in the copies of an image: half of the second cache at most


@kernel(
    "plan: long*, x: T*, w: T*, bias: T*, has_bias: int, floor: T, pool: long*, spans: T*, scratch: long*, "
    "thread: int, tasks: int -> y: T*, pooled: T*, argmax: int*",
    over="tasks",
    work="1 << 15",
)
def convolve_shifts(  # type: ignore[no-untyped-def]
    i, plan, x, w, bias, has_bias, floor, pool, spans, scratch, thread, tasks, y, pooled, argmax
):
    """Task i: a block of output channels of one group, everywhere in an image; and their pool."""
    block = i % plan[BLOCKS]
    group = i // plan[BLOCKS] % plan[GROUP]
    image = i // (plan[BLOCKS] * plan[GROUP])
    channels, outputs = plan[CHANNELS] // plan[GROUP], plan[OUTPUTS] // plan[GROUP]
    size, depth = plan[OUT_HEIGHT] * plan[OUT_WIDTH], channels * plan[TAPS]
    tile = floats_at(scratch[thread])
    planes = offset(tile, ROWS * WIDTH)
    band = offset(planes, plan[PLANES])
    copies = offset(band, plan[BAND])
    source = offset(x, (image * plan[CHANNELS] + group * channels) * plan[HEIGHT] * plan[IMAGE_WIDTH])
    shift_channels(plan, source, channels, copies)
    first = block * plan[BLOCK]
    for output in range(first, min(first + plan[BLOCK], outputs), plan[TILE]):
        rows = min(plan[TILE], outputs - output)
        channel = group * outputs + output
        plane = image * plan[OUTPUTS] + channel
        start = offset(bias, channel) if has_bias != 0 else floats_at(0)
        target = offset(y, plane * size) if plan[PLANES] == 0 else planes
        multiply_rows_of(plan, offset(w, channel * depth), depth, copies, start, rows, floor, tile, size, target)
        if plan[POOLED] > 0:
            place = plane * plan[POOLED]
            pool_whole(pool, spans, rows, target, band, offset(pooled, place), offset(argmax, place))


@device_function
def multiply_rows_of(plan, w, depth, copies, bias, rows, floor, tile, size, y):  # type: ignore[no-untyped-def]
    """Some output channels at all positions."""
    table = offset(plan, TABLE)
    for q in range(0, size, WIDTH):
        count = min(WIDTH, size - q)
        vectors = (count + LANES - 1) // LANES
        columns, place = offset(copies, q), offset(y, q)
        if count == vectors * LANES:
            multiply_listed(w, depth, table, columns, bias, place, size, depth, rows, vectors, floor)
        else:
            multiply_listed(w, depth, table, columns, bias, tile, WIDTH, depth, rows, vectors, floor)
            merge(tile, False, tile, 0, place, size, rows, count, T(FLAT))


@device_function
def shift_channels(plan, x, channels, copies):  # type: ignore[no-untyped-def]
    """The copies: for each column of the kernel one of all channels, as wide as y."""
    height, width, out_width = plan[HEIGHT], plan[IMAGE_WIDTH], plan[OUT_WIDTH]
    for b in range(plan[KERNEL_X]):
        column, target = b * plan[DILATION_X] - plan[PAD_X], offset(copies, b * channels * plan[PITCH])
        if plan[PAD_X] == 0 and plan[PAD_Y] == 0:
            copy_rows(offset(x, column), width, channels * height, target, out_width)
        else:
            left = min(out_width, max(0, -column))
            count = max(0, min(out_width, width - column) - left)
            for c in range(channels):
                source = offset(x, c * height * width + column + left)
                shift_padded(plan, source, left, count, offset(target, c * plan[PITCH]))


@device_function
def shift_padded(plan, x, left, count, target):  # type: ignore[no-untyped-def]
    """A copy of one channel: in each row zeros, `count` numbers, zeros."""
    out_width, rows = plan[OUT_WIDTH], plan[ROWS_OF_COPY]
    above = min(rows, plan[PAD_Y])
    inside = max(0, min(rows, plan[HEIGHT] + plan[PAD_Y]) - above)
    zero_run(target, above * out_width)
    for r in range(inside):
        line = offset(target, (above + r) * out_width)
        zero_run(line, left)
        copy_run(offset(x, r * plan[IMAGE_WIDTH]), offset(line, left), count)
        zero_run(offset(line, left + count), out_width - left - count)
    zero_run(offset(target, (above + inside) * out_width), (rows - above - inside) * out_width)


@dataclass(frozen=True)
class Cut:
    """How a convolution is cut into tasks."""

    of: Plane
    pool: PlanePool | None = None
    keeps: bool = True  # y, and not its pool only

    @property
    def rows(self) -> int:
        """Rows of a copy."""
        return self.of.out_height + (self.of.kernel_y - 1) * self.of.dilation_y

    @property
    def pitch(self) -> int:
        """From channel to channel of a copy."""
        return self.rows * self.of.out_width

    @property
    def floats(self) -> int:
        """Room for all copies of an image, and for what spills over their end."""
        return self.of.group_channels * self.of.kernel_x * self.pitch + 2 * WIDTH

    @property
    def blocks(self) -> int:
        """Blocks of output channels: this only decides who computes what."""
        tiles = ceil_div(self.of.group_outputs, tile_height(self.of.group_outputs))
        return min(tiles, ceil_div(wanted_tasks(), self.of.batch * self.of.group))

    @property
    def tasks(self) -> int:
        return self.of.batch * self.of.group * self.blocks

    @property
    def planes(self) -> int:
        """Room for the planes of a tile, if they are wanted for their pool only."""
        return 0 if self.keeps else tile_height(self.of.group_outputs) * self.of.positions

    @property
    def band(self) -> int:
        """Room for what pooling needs."""
        return ceil_div(self.pool.floats, WIDTH) * WIDTH if self.pool else 0

    @property
    def plan(self) -> np.ndarray:
        of, tile = self.of, tile_height(self.of.group_outputs)
        block = ceil_div(ceil_div(of.group_outputs, tile), self.blocks) * tile
        c, a, b = np.ogrid[: of.group_channels, : of.kernel_y, : of.kernel_x]
        table = (b * of.group_channels + c) * self.pitch + a * of.dilation_y * of.out_width
        pooled = self.pool.oh * self.pool.ow if self.pool else 0
        own = tile, block, self.blocks, self.rows, self.pitch, self.planes, self.band, pooled
        return np.array([*astuple(of), of.taps, *own, *table.flat], np.int64)

    @property
    def scratch(self) -> int:
        """Bytes."""
        return 4 * (ROWS * WIDTH + self.planes + self.band + self.floats)


def can(of: Plane) -> bool:
    """Whether this way can compute it."""
    return max(of.stride_x, of.stride_y) == 1


def pays(of: Plane) -> bool:
    """Whether this way is faster than those that cut columns or pack weights.

    Positions must fill vectors, copies stay in the second cache. Packed weights win where outputs fill vectors,
    but for so few channels that turning their tiles around would cost more than it spares.
    """
    if not can(of) or of.taps == 1 or collide(of.depth) or Cut(of).floats > ROOM:
        return False
    filled = of.positions / (ceil_div(of.positions, LANES) * LANES)
    return filled >= 0.9 and (of.group_channels <= FEW_CHANNELS or not pixels.pays(of))


def convolve(
    of: Plane,
    x: np.ndarray,
    w: np.ndarray,
    bias: np.ndarray | None,
    y: np.ndarray | None,
    relu: bool,
    pool: PlanePool | None = None,
    pooled: np.ndarray | None = None,
    argmax: np.ndarray | None = None,
) -> None:
    """y = w * x; then its pool, which may be all that is wanted."""
    cut = Cut(of, pool, y is not None)
    floor, plan, spans = 0.0 if relu else FLAT, pool and pool.plan, pool and pool.spans
    room, has_bias = scratch(cut.scratch), int(bias is not None)
    convolve_shifts(cut.plan, x, w, bias, has_bias, floor, plan, spans, room, 0, cut.tasks, y, pooled, argmax)
