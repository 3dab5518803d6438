"""The gradient of the weights of a convolution, summed over all positions of all images.

    dw'[(channel, tap), outputs] = columns[(channel, tap), positions] * dy'[positions, outputs]

Columns are cut from a band as in the forward pass; they are the left factor now, and dy, transposed, gives
the panels. A task adds up some of the images for some of the channels; a second kernel adds the partial
sums, in order, and turns them around.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np

from ...kernel import T, device_function, kernel
from . import points, taps
from .atoms import offset
from .band import fill_band
from .chunks import Chunks
from .columns import cut_columns, find_runs
from .gemm import ceil_div, tile_height
from .panels import pack
from .plane import (
    BAND_ROWS,
    BATCH,
    CHANNELS,
    GROUP,
    OUT_HEIGHT,
    OUT_WIDTH,
    OUTPUTS,
    OWN,
    SLICE,
    STRIDE_Y,
    TAPS,
    Band,
    Plane,
)
from .tile import FLAT, WIDTH, multiply_tile
from .vector import LANES, add, floats_at, load, load_some, longs, store, store_some, transpose
from .workspace import scratch, workspace

# The pass's own numbers in its plan.
IMAGES, CHUNK, SLICES, ROWS_AT_ONCE, PITCH, TILE, PANELS, RUNS = range(OWN, OWN + 8)

TARGET = 256  # positions that are summed up in registers
DEPTH = 256  # rows (channel, tap) of a task: as often dy is used once it is transposed


@kernel(
    "plan: long*, x: T*, dy: T*, scratch: long*, thread: int, tasks: int -> partial: T*",
    over="tasks",
    work="1 << 15",
)
def sum_weights(i, plan, x, dy, scratch, thread, tasks, partial):  # type: ignore[no-untyped-def]
    """Task i: one chunk of images, one group, one slice of its channels."""
    channel = i % plan[SLICES] * plan[SLICE]
    group = i // plan[SLICES] % plan[GROUP]
    first = i // (plan[SLICES] * plan[GROUP]) * plan[CHUNK]
    last = min(first + plan[CHUNK], plan[BATCH])
    group_channels = plan[CHANNELS] // plan[GROUP]
    channels = min(plan[SLICE], group_channels - channel)
    pitch = plan[PANELS] * WIDTH
    rows = i // plan[SLICES] * group_channels * plan[TAPS] + channel * plan[TAPS]
    sums = offset(partial, rows * pitch)
    columns = floats_at(scratch[thread])
    panels = offset(columns, plan[SLICE] * plan[TAPS] * plan[PITCH])
    runs = offset(panels, pitch * plan[PITCH])
    band = offset(runs, plan[RUNS])
    begun = 0
    for image in range(first, last, plan[IMAGES]):
        images = min(plan[IMAGES], last - image)
        for row in range(0, plan[OUT_HEIGHT], plan[ROWS_AT_ONCE]):
            count = images * min(plan[ROWS_AT_ONCE], plan[OUT_HEIGHT] - row) * plan[OUT_WIDTH]
            begin = group * group_channels + channel
            fill_band(plan, x, image, images, begin, channels, row * plan[STRIDE_Y], plan[BAND_ROWS], band)
            found = find_runs(plan, row * plan[OUT_WIDTH], count, row, longs(runs))
            cut_columns(plan, band, channels, longs(runs), found, columns, plan[PITCH])
            transpose_outputs(plan, dy, image, images, group, row, panels)
            multiply_columns(plan, columns, channels * plan[TAPS], panels, count, begun, sums)
            begun = 1


@device_function
def transpose_outputs(plan, dy, image, images, group, row, panels):  # type: ignore[no-untyped-def]
    """dy of a group at the positions of some rows as panels: WIDTH outputs at each position."""
    outputs = plan[OUTPUTS] // plan[GROUP]
    size = plan[OUT_HEIGHT] * plan[OUT_WIDTH]
    count = min(plan[ROWS_AT_ONCE], plan[OUT_HEIGHT] - row) * plan[OUT_WIDTH]
    for n in range(images):
        source = offset(dy, ((image + n) * plan[OUTPUTS] + group * outputs) * size + row * plan[OUT_WIDTH])
        for output in range(0, outputs, WIDTH):
            panel = offset(panels, output * plan[PITCH] + n * count * WIDTH)
            pack(offset(source, output * size), size, 1, min(WIDTH, outputs - output), count, panel, WIDTH)


@device_function
def multiply_columns(plan, columns, rows, panels, count, begun, sums):  # type: ignore[no-untyped-def]
    """Add the products at `count` positions to the sums."""
    pitch = plan[PANELS] * WIDTH
    for row in range(0, rows, plan[TILE]):
        lines = offset(columns, row * plan[PITCH])
        for column in range(0, pitch, WIDTH):
            place = offset(sums, row * pitch + column)
            start = place if begun != 0 else floats_at(0)
            panel = offset(panels, column * plan[PITCH])
            height = min(plan[TILE], rows - row)
            multiply_tile(lines, plan[PITCH], 1, panel, WIDTH, start, pitch, place, pitch, count, height, T(FLAT))


@kernel(
    "partial: T*, chunks: int, groups: int, outputs: int, pitch: int, depth: int, adds: int, scratch: long*, "
    "thread: int -> dw: T*",
    over=f"groups * ((outputs + {LANES - 1}) // {LANES})",
    work=f"chunks * depth * {LANES // 4}",
)
def add_weights(i, partial, chunks, groups, outputs, pitch, depth, adds, scratch, thread, dw):  # type: ignore[no-untyped-def]
    """Add the partial sums of LANES outputs, chunk by chunk, turn them around and write them, or add them, to dw."""
    blocks = (outputs + LANES - 1) // LANES
    group, output = i // blocks, i % blocks * LANES
    count = min(LANES, outputs - output)
    square = floats_at(scratch[thread])
    turned = offset(square, LANES * LANES)
    for row in range(0, depth, LANES):
        rows = min(LANES, depth - row)
        for r in range(rows):
            place = offset(partial, (group * depth + row + r) * pitch + output)
            total = load(place)
            for chunk in range(1, chunks):
                total = add(total, load(offset(place, chunk * groups * depth * pitch)))
            store(offset(square, r * LANES), total)
        transpose(square, LANES, rows, count, turned, LANES)
        for r in range(count):
            place = offset(dw, (group * outputs + output + r) * depth + row)
            value = load(offset(turned, r * LANES))
            store_some(place, add(load_some(place, rows), value) if adds != 0 else value, rows)


class Cut(Chunks):
    """How the sum is cut into tasks."""

    @cached_property
    def slice(self) -> int:
        """Channels of a task."""
        channels = self.of.group_channels
        return ceil_div(channels, ceil_div(channels, max(1, DEPTH // self.of.taps)))

    @property
    def parts(self) -> int:
        return ceil_div(self.of.group_channels, self.slice)

    @cached_property
    def at_once(self) -> tuple[int, int]:
        """Images and rows of output that are summed up in registers: some images, or some rows of one."""
        if self.of.positions <= TARGET:
            return min(self.chunk, TARGET // self.of.positions), self.of.out_height
        return 1, min(self.of.out_height, max(1, TARGET // self.of.out_width))

    @property
    def band(self) -> Band:
        return Band(self.of, self.slice, self.at_once[1])

    @property
    def positions(self) -> int:
        images, rows = self.at_once
        return images * rows * self.of.out_width

    @property
    def pitch(self) -> int:
        """From one row of columns to the next: an odd number of cache lines."""
        return (ceil_div(self.positions, LANES) | 1) * LANES

    @property
    def panels(self) -> int:
        return ceil_div(self.of.group_outputs, WIDTH)

    pays = True  # wherever nothing else does

    def add_sums(self, x: np.ndarray, dy: np.ndarray, room: np.ndarray, sums: np.ndarray) -> None:
        """Launch the sums of every chunk: (chunk, group, channel, tap, `line` outputs)."""
        sum_weights(self.plan, x, dy, room, 0, self.tasks, sums)

    @property
    def line(self) -> int:
        """From one row of the sums to the next."""
        return self.panels * WIDTH

    @property
    def runs(self) -> int:
        """Room for the list of runs: two long numbers each, at worst one for each position."""
        return 4 * (self.positions + LANES)

    @property
    def plan(self) -> np.ndarray:
        images, rows = self.at_once
        tile = tile_height(self.slice * self.of.taps)
        return self.band.plan([images, self.chunk, self.parts, rows, self.pitch, tile, self.panels, self.runs])

    @property
    def scratch(self) -> int:
        """Bytes: columns, panels, runs, a band."""
        columns = self.slice * self.of.taps + self.panels * WIDTH
        return 4 * (columns * self.pitch + self.runs + self.band.floats(self.at_once[0]))


def weights_grad(of: Plane, x: np.ndarray, dy: np.ndarray, dw: np.ndarray, adds: bool) -> None:
    """dw = the gradient of the weights, or dw += that; the fastest of three ways, which the shape decides."""
    cut = next(way for way in (points.Cut(of), taps.Cut(of), Cut(of)) if way.pays)
    room = scratch(max(cut.scratch, 8 * LANES * LANES))
    if isinstance(cut, points.Cut) and cut.direct:
        cut.add_sums(x, dy, room, dw, adds)
        return
    partial = workspace("sums of weights", cut.room)
    cut.add_sums(x, dy, room, partial)
    if isinstance(cut, points.Cut) and not cut.turned:
        points.add_chunks(partial, cut.chunks, of.outputs, of.group_channels, cut.line, int(adds), dw)
    else:
        add_weights(partial, cut.chunks, of.group, of.group_outputs, cut.line, of.depth, int(adds), room, 0, dw)
