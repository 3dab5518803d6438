"""The gradient of x for any stride: what convolution gathers, given back.

    products[(channel, tap), positions] = weights'[(channel, tap), outputs] * dy[outputs, positions]

A task takes some channels of some images (or some rows of one). Their products stay in scratch, and every
value of dx picks up the products of the taps that met it, in the order of the taps: nothing is scattered,
nothing is computed that no one wants.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass
from functools import cached_property

import numpy as np

from ...kernel import T, device_function, kernel
from .atoms import offset
from .gemm import DEPTH, PANELS, ceil_div, tile_height, wanted_tasks
from .panels import pack
from .plane import (
    BATCH,
    CHANNELS,
    DILATION_Y,
    GROUP,
    HEIGHT,
    IMAGE_WIDTH,
    KERNEL_X,
    KERNEL_Y,
    OUT_HEIGHT,
    OUT_WIDTH,
    OUTPUTS,
    PAD_X,
    PAD_Y,
    STRIDE_X,
    STRIDE_Y,
    TAPS,
    Plane,
)
from .tile import FLAT, WIDTH, multiply_tile
from .vector import LANES, add, floats_at, load_between, load_some, splat, store, store_some
from .workspace import scratch

# The pass's own numbers in its plan, behind the geometry; there is no band.
IMAGES, SLICE, SLICES, BLOCK, BLOCKS, TILE, LENGTH, ROW_TAPS, COLUMN_TAPS, FIELDS = range(TAPS + 1, TAPS + 11)

ROOM = 1 << 16  # floats of products that a task should keep: a quarter of a megabyte
FEWEST_ROWS = 112  # (channel, tap) of a task: they share the packing of dy
TARGET = 128  # positions of a task, at least, if there are as many images


@kernel(
    "plan: long*, w: T*, dy: T*, scratch: long*, thread: int, tasks: int -> dx: T*",
    over="tasks",
    work="1 << 15",
)
def deconvolve_block(i, plan, w, dy, scratch, thread, tasks, dx):  # type: ignore[no-untyped-def]
    """Task i: a slice of channels in a group, a block of rows of dx, for some images."""
    part = i % plan[SLICES]
    row = i // plan[SLICES] % plan[BLOCKS] * plan[BLOCK]
    group = i // (plan[SLICES] * plan[BLOCKS]) % plan[GROUP]
    image = i // (plan[SLICES] * plan[BLOCKS] * plan[GROUP]) * plan[IMAGES]
    images = min(plan[IMAGES], plan[BATCH] - image)
    rows = min(plan[BLOCK], plan[HEIGHT] - row)
    group_channels = plan[CHANNELS] // plan[GROUP]
    channel = part * plan[SLICE]
    channels = min(plan[SLICE], group_channels - channel)
    # The rows of dy that the kernel reaches from these rows of dx.
    reach = (plan[KERNEL_Y] - 1) * plan[DILATION_Y]
    first = max(0, (row + plan[PAD_Y] - reach + plan[STRIDE_Y] - 1) // plan[STRIDE_Y])
    last = max(first, min(plan[OUT_HEIGHT], (row + rows - 1 + plan[PAD_Y]) // plan[STRIDE_Y] + 1))
    products = floats_at(scratch[thread])
    panels = offset(products, plan[SLICE] * plan[TAPS] * plan[LENGTH])
    multiply_dy(plan, w, dy, image, images, group, channel, channels, first, last, panels, products)
    for n in range(images):
        for c in range(channels):
            place = ((image + n) * plan[CHANNELS] + group * group_channels + channel + c) * plan[HEIGHT]
            lines = offset(products, c * plan[TAPS] * plan[LENGTH] + n * (last - first) * plan[OUT_WIDTH])
            for r in range(row, row + rows):
                gather_row(plan, lines, first, last, r, panels, offset(dx, (place + r) * plan[IMAGE_WIDTH]))


@device_function
def multiply_dy(plan, weights, dy, image, images, group, channel, channels, first, last, panels, products):  # type: ignore[no-untyped-def]
    """The products of all taps of some channels with rows first..last-1 of dy."""
    outputs, rows, tile, length = plan[OUTPUTS] // plan[GROUP], channels * plan[TAPS], plan[TILE], plan[LENGTH]
    size, each = plan[OUT_HEIGHT] * plan[OUT_WIDTH], (last - first) * plan[OUT_WIDTH]
    step = plan[CHANNELS] // plan[GROUP] * plan[TAPS]  # from the weights of one output to those of the next
    lines = offset(weights, group * outputs * step + channel * plan[TAPS])
    source = offset(dy, (image * plan[OUTPUTS] + group * outputs) * size + first * plan[OUT_WIDTH])
    for p in range(0, images * each, PANELS * WIDTH):
        stop = min(p + PANELS * WIDTH, images * each)
        for o in range(0, outputs, DEPTH):
            depth = min(DEPTH, outputs - o)
            for q in range(p, stop, WIDTH):
                panel = offset(panels, (q - p) * depth)
                pack_positions(offset(source, o * size), plan[OUTPUTS] * size, size, each, q, stop, depth, panel)
            for row in range(0, rows, tile):
                a, height = offset(lines, o * step + row), min(tile, rows - row)
                for q in range(p, stop, WIDTH):
                    place, panel = offset(products, row * length + q), offset(panels, (q - p) * depth)
                    start = place if o > 0 else floats_at(0)
                    multiply_tile(a, 1, step, panel, WIDTH, start, length, place, length, depth, height, T(FLAT))


@device_function
def pack_positions(source, image_pitch, channel_pitch, each, position, stop, depth, panel):  # type: ignore[no-untyped-def]
    """A panel of dy: so many channels at WIDTH positions (or up to `stop`), of which every image has `each`."""
    image = position // each
    position, stop = position - image * each, stop - image * each
    source = offset(source, image * image_pitch)
    count = min(WIDTH, stop - position)
    if position + count <= each:
        pack(offset(source, position), 1, channel_pitch, count, depth, panel, WIDTH)
        return
    for channel in range(depth):
        line, at, lane = offset(source, channel * channel_pitch), position, 0
        while lane < count:
            run = min(min(LANES, count - lane), each - at)
            # A whole vector: the next run, or the next channel, overwrites what spills.
            store(offset(panel, channel * WIDTH + lane), load_some(offset(line, at), run))
            lane += run
            at += run
            if at == each:
                line, at = offset(line, image_pitch), 0


@device_function
def gather_row(plan, products, first, last, row, spare, dx):  # type: ignore[no-untyped-def]
    """One row of dx in one channel: every value is the sum of the products of the taps that met it."""
    stride, width = plan[STRIDE_X], plan[IMAGE_WIDTH]
    y = (row + plan[PAD_Y]) // plan[STRIDE_Y]
    row_taps = offset(plan, plan[ROW_TAPS] + (row + plan[PAD_Y] - y * plan[STRIDE_Y]) * (2 * plan[KERNEL_Y] + 1))
    for phase in range(stride):
        x = (phase + plan[PAD_X]) // stride
        column_taps = offset(plan, plan[COLUMN_TAPS] + (phase + plan[PAD_X] - x * stride) * (2 * plan[KERNEL_X] + 1))
        count = (width - phase + stride - 1) // stride
        for j in range(0, count, LANES):
            total = gather_lanes(plan, products, first, last, y, x + j, row_taps, column_taps)
            if stride == 1:
                store_some(offset(dx, j), total, count - j)
            else:
                store(spare, total)
                for lane in range(min(LANES, count - j)):
                    dx[(j + lane) * stride + phase] = spare[lane]


@device_function
def gather_lanes(plan, products, first, last, y, x, row_taps, column_taps):  # type: ignore[no-untyped-def]
    """LANES values of dx: those whose first tap, if there were one, would meet them at output (y, x)."""
    width = plan[OUT_WIDTH]
    total = splat(T(0))
    for s in range(row_taps[0]):
        line = y + row_taps[2 + 2 * s]
        if line < first or line >= last:
            continue
        for t in range(column_taps[0]):
            at = x + column_taps[2 + 2 * t]
            tap = row_taps[1 + 2 * s] * plan[KERNEL_X] + column_taps[1 + 2 * t]
            place = offset(products, tap * plan[LENGTH] + (line - first) * width + at)
            total = add(total, load_between(place, -at, width - at))
    return total


def taps_by_phase(kernel: int, stride: int, dilation: int) -> list[int]:
    """For every place that an input can have in a stride: how many taps meet it, which, and at which output."""
    numbers = []
    for phase in range(stride):
        met = [(k, (phase - k * dilation) // stride) for k in range(kernel) if (phase - k * dilation) % stride == 0]
        numbers += [len(met), *(n for pair in met for n in pair), *[0] * (2 * (kernel - len(met)))]
    return numbers


@dataclass(frozen=True)
class Cut:
    """How the pass is cut into tasks: this only decides who computes what."""

    of: Plane

    @cached_property
    def images(self) -> int:
        images = min(self.of.batch, ceil_div(TARGET, self.of.positions))
        return ceil_div(self.of.batch, ceil_div(self.of.batch, images))

    @cached_property
    def block(self) -> int:
        """Rows of dx: all of them, unless the products of one channel alone take too much room."""
        of = self.of
        rows = of.height
        while rows > 1 and of.taps * self.out_rows(rows) * of.out_width > 4 * ROOM:
            rows = ceil_div(rows, 2)
        return rows

    def out_rows(self, rows: int) -> int:
        """Rows of dy that the kernel can reach from so many rows of dx."""
        of = self.of
        return min(of.out_height, (rows - 1 + (of.kernel_y - 1) * of.dilation_y) // of.stride_y + 1)

    @property
    def length(self) -> int:
        """Room for the products of one tap: an odd number of cache lines."""
        panels = ceil_div(self.images * self.out_rows(self.block) * self.of.out_width, WIDTH)
        return panels * WIDTH + LANES

    @cached_property
    def slice(self) -> int:
        """Channels of a task."""
        of, channels = self.of, self.of.group_channels
        slices = ceil_div(channels, max(1, ROOM // (of.taps * self.length)))
        others = ceil_div(of.batch, self.images) * ceil_div(of.height, self.block) * of.group
        while slices * others < wanted_tasks() and ceil_div(channels, slices) * of.taps > FEWEST_ROWS:
            slices += 1
        return ceil_div(channels, slices)

    @property
    def slices(self) -> int:
        return ceil_div(self.of.group_channels, self.slice)

    @property
    def tile(self) -> int:
        return tile_height(self.slice * self.of.taps)

    @property
    def tasks(self) -> int:
        blocks = ceil_div(self.of.height, self.block)
        return ceil_div(self.of.batch, self.images) * blocks * self.of.group * self.slices

    @property
    def plan(self) -> np.ndarray:
        of = self.of
        rows = taps_by_phase(of.kernel_y, of.stride_y, of.dilation_y)
        columns = taps_by_phase(of.kernel_x, of.stride_x, of.dilation_x)
        own = self.images, self.slice, self.slices, self.block, ceil_div(of.height, self.block), self.tile, self.length
        return np.array([*astuple(of), of.taps, *own, FIELDS, FIELDS + len(rows), *rows, *columns], np.int64)

    @property
    def scratch(self) -> int:
        """Bytes: products, panels, and room to spill."""
        panels = PANELS * WIDTH * min(DEPTH, self.of.group_outputs)
        return 4 * (self.slice * self.of.taps * self.length + panels + WIDTH)


def deconvolve(of: Plane, dy: np.ndarray, w: np.ndarray, dx: np.ndarray) -> None:
    """dx = the gradient of the x that `of` convolves with w to y."""
    cut = Cut(of)
    deconvolve_block(cut.plan, w, dy, scratch(cut.scratch), 0, cut.tasks, dx)
