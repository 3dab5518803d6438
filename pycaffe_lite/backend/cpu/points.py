"""The gradient of the weights of a 1x1 convolution: products of dy and x, one of them where it lies.

    dw[outputs, channels] = dy[outputs, positions] * x'[positions, channels], summed over images

or the same turned around, with x for its rows: whichever is cheaper. The rows are read in place (of small
planes several images are put side by side first), the other factor is packed into panels.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from ...kernel import T, device_function, kernel
from .atoms import offset
from .band import copy_run
from .chunks import Chunks
from .gemm import ceil_div, tile_height
from .panels import pack
from .tile import FLAT, WIDTH, multiply_tile
from .vector import LANES, add, floats_at, load, load_some, prefetch, store_some

# The numbers of a plan: channels in all and in a group of both factors, and how the sum is cut.
(
    BATCH, GROUP, SIZE, ALL_ROWS, ROWS, ALL_LANES, LANES_OF,
    IMAGES, EACH, CHUNK, BLOCK, BLOCKS, TILE, LINE, PITCH, ADDS,
) = range(16)  # fmt: skip

TARGET = 256  # positions that are summed up in registers: a panel of so many is 32 KB and stays in L1
TOGETHER = 512  # positions of images side by side: sums of many weights are not gone through twice
MOST, FEWEST = 256, 98  # rows of a task: as often the panels are used once they are packed
PACKING = 0.35  # cycles that a number takes to be packed


@kernel(
    "plan: long*, a: T*, b: T*, scratch: long*, thread: int, tasks: int -> sums: T*",
    over="tasks",
    work="1 << 15",
)
def multiply_points(i, plan, a, b, scratch, thread, tasks, sums):  # type: ignore[no-untyped-def]
    """Task i: a block of rows of one group, for one chunk of images."""
    row = i % plan[BLOCKS] * plan[BLOCK]
    group = i // plan[BLOCKS] % plan[GROUP]
    chunk = i // (plan[BLOCKS] * plan[GROUP])
    last = min((chunk + 1) * plan[CHUNK], plan[BATCH])
    rows = min(plan[BLOCK], plan[ROWS] - row)
    target = offset(sums, ((chunk * plan[GROUP] + group) * plan[ROWS] + row) * plan[LINE])
    size, panels = plan[SIZE], floats_at(scratch[thread])
    copied = offset(panels, plan[LINE] * plan[IMAGES] * plan[EACH])
    begun = plan[ADDS]
    for image in range(chunk * plan[CHUNK], last, plan[IMAGES]):
        images = min(plan[IMAGES], last - image)
        lines = offset(a, (image * plan[ALL_ROWS] + group * plan[ROWS] + row) * size)
        others = offset(b, (image * plan[ALL_LANES] + group * plan[LANES_OF]) * size)
        for p in range(0, size, plan[EACH]):
            each = min(plan[EACH], size - p)
            pack_lanes(plan, offset(others, p), images, each, panels)
            if plan[IMAGES] == 1:
                coming = min(plan[EACH], size - p - each)
                multiply_lines(plan, offset(lines, p), size, rows, panels, each, coming, begun, target)
            else:
                put_together(plan, lines, images, rows, copied)
                multiply_lines(plan, copied, plan[PITCH], rows, panels, images * each, 0, begun, target)
            begun = 1


@device_function
def pack_lanes(plan, b, images, each, panels):  # type: ignore[no-untyped-def]
    """Panels of WIDTH channels at `each` positions of some images."""
    for n in range(images):
        source = offset(b, n * plan[ALL_LANES] * plan[SIZE])
        for column in range(0, plan[LANES_OF], WIDTH):
            panel = offset(panels, (column * plan[IMAGES] * plan[EACH]) + n * each * WIDTH)
            count = min(WIDTH, plan[LANES_OF] - column)
            pack(offset(source, column * plan[SIZE]), plan[SIZE], 1, count, each, panel, WIDTH)


@device_function
def put_together(plan, a, images, rows, copied):  # type: ignore[no-untyped-def]
    """Rows of several images side by side."""
    for r in range(rows):
        for n in range(images):  # upwards: what spills over an end is overwritten by what comes next
            source = offset(a, (n * plan[ALL_ROWS] + r) * plan[SIZE])
            copy_run(source, offset(copied, r * plan[PITCH] + n * plan[SIZE]), plan[SIZE])


@device_function
def multiply_lines(plan, a, a_row, rows, panels, count, coming, begun, sums):  # type: ignore[no-untyped-def]
    """Add the products at `count` positions to the sums; what lies at so many behind them is brought to the cache."""
    line, last = plan[LINE], (plan[LANES_OF] - 1) // WIDTH * WIDTH
    for column in range(0, plan[LANES_OF], WIDTH):
        panel = offset(panels, column * plan[IMAGES] * plan[EACH])
        for row in range(0, rows, plan[TILE]):
            place = offset(sums, row * line + column)
            start = place if begun != 0 else floats_at(0)
            height = min(plan[TILE], rows - row)
            if column == last:
                fetch_rows(offset(a, row * a_row + count), a_row, height, coming)
            multiply_tile(
                offset(a, row * a_row), a_row, 1, panel, WIDTH, start, line, place, line, count, height, T(FLAT)
            )


@device_function
def fetch_rows(a, a_row, rows, count):  # type: ignore[no-untyped-def]
    """Begin to bring `count` numbers of some rows to the cache."""
    for r in range(rows):
        for j in range(0, count, LANES):
            prefetch(offset(a, r * a_row + j))


@kernel(
    "partial: T*, chunks: int, rows: int, width: int, line: int, adds: int -> dw: T*",
    over="rows",
    work="chunks * width // 4",
)
def add_chunks(i, partial, chunks, rows, width, line, adds, dw):  # type: ignore[no-untyped-def]
    """Row i of dw = or += the partial sums of every chunk, in their order."""
    target = offset(dw, i * width)
    for j in range(0, width, LANES):
        total = load(offset(partial, i * line + j))
        for chunk in range(1, chunks):
            total = add(total, load(offset(partial, (chunk * rows + i) * line + j)))
        if adds != 0:
            total = add(load_some(offset(target, j), width - j), total)
        store_some(offset(target, j), total, width - j)


class Cut(Chunks):
    """How the sum is cut into tasks."""

    @property
    def pays(self) -> bool:
        """Whether every position meets itself, in one weight."""
        of = self.of
        return of.taps == 1 and of.positions == of.height * of.width and of.pad_y == of.pad_x == 0

    @cached_property
    def turned(self) -> bool:
        """Whether the rows are channels of x."""
        outputs, channels = self.of.group_outputs, self.of.group_channels

        def cycles(rows: int, lanes: int) -> float:  # at one position
            return ceil_div(lanes, WIDTH) * rows + PACKING * lanes

        return cycles(channels, outputs) < cycles(outputs, channels)

    @property
    def rows(self) -> int:
        return self.of.group_channels if self.turned else self.of.group_outputs

    @property
    def lanes(self) -> int:
        return self.of.group_outputs if self.turned else self.of.group_channels

    @cached_property
    def block(self) -> int:
        """Rows of a task."""
        return ceil_div(self.rows, self.parts_of(self.rows, MOST, FEWEST))

    @property
    def parts(self) -> int:
        return ceil_div(self.rows, self.block)

    @cached_property
    def at_once(self) -> tuple[int, int]:
        """Images, and positions of each, that are summed up in registers."""
        positions = self.of.positions
        if positions <= TARGET // 2:
            images = min(self.chunk, TOGETHER // positions)
            return ceil_div(self.chunk, ceil_div(self.chunk, images)), positions
        return 1, ceil_div(positions, ceil_div(positions, TARGET))

    @property
    def direct(self) -> bool:
        """Whether tiles may be added to dw itself."""
        return self.chunks == 1 and not self.turned and self.lanes % WIDTH == 0

    @property
    def line(self) -> int:
        """From one row of the sums to the next."""
        return ceil_div(self.lanes, WIDTH) * WIDTH

    @property
    def pitch(self) -> int:
        """From one row of images side by side to the next: an odd number of cache lines."""
        images, each = self.at_once
        return (ceil_div(images * each, LANES) | 1) * LANES

    @property
    def plan(self) -> np.ndarray:
        of, (images, each) = self.of, self.at_once
        sizes = [of.batch, of.group, of.positions, self.rows * of.group, self.rows, self.lanes * of.group, self.lanes]
        cut = [images, each, self.chunk, self.block, self.parts, tile_height(self.block), self.line, self.pitch]
        return np.array([*sizes, *cut, 0], np.int64)

    @property
    def scratch(self) -> int:
        """Bytes: panels, and images side by side."""
        images, each = self.at_once
        copied = self.block * self.pitch + LANES if images > 1 else 0
        return 4 * (self.line * images * each + copied)

    def add_sums(self, x: Any, dy: Any, room: Any, sums: Any, adds: bool = False) -> None:
        """Launch the sums of every chunk: (chunk, group, rows, `line` lanes), or what `adds` them to those there."""
        a, b = (x, dy) if self.turned else (dy, x)
        plan = self.plan
        plan[ADDS] = int(adds)
        multiply_points(plan, a, b, room, 0, self.tasks, sums)
