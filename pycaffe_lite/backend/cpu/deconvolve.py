"""The gradient of x for any stride: what convolution gathers, given back.

    products[(channel, tap), positions] = weights'[(channel, tap), outputs] * dy[outputs, positions]

A task takes some channels of some images (or some rows of one). Products stay in scratch, and every
value of dx picks up the products of the taps that met it, column by column: nothing is scattered,
nothing is computed that no one wants.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass
from functools import cached_property

import numpy as np

from ...kernel import T, device_function, kernel
from .atoms import offset
from .gemm import DEPTH, ceil_div, tile_height, wanted_tasks
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
from .tile import FLAT, ROWS, WIDTH, multiply_tile
from .vector import LANES, add, floats_at, load, load_between, load_some, longs, splat, store, store_some
from .workspace import scratch

# The pass's own numbers in its plan, behind the geometry; there is no band.
IMAGES, SLICE, SLICES, BLOCK, BLOCKS, AT_ONCE, TILE, LENGTH, COLUMN_TAPS, FIELDS = range(TAPS + 1, TAPS + 11)

LINE, LINES, ROW, SPAN_FIELDS = range(4)  # of dy that a row of the kernel meets

FEW = 6144  # products at a time: 24 KB, half of L1
ROOM = 1 << 18  # floats of products of one channel, or of dy, that a task should keep: a megabyte
FEWEST_ROWS = 112  # (channel, tap) of a task: they share the packing of dy
TARGET = 64  # positions of a task, at least, if there are as many images


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
    panels = offset(products, plan[AT_ONCE] * plan[TAPS] * plan[LENGTH])
    sums = offset(panels, plan[OUTPUTS] // plan[GROUP] * plan[LENGTH])
    spans = longs(offset(sums, plan[BLOCK] * LANES))
    find_spans(plan, first, last, row, rows, spans)
    pack_rows(plan, dy, image, images, group, first, last, panels)
    each = (last - first) * plan[OUT_WIDTH]
    for c in range(channel, channel + channels, plan[AT_ONCE]):
        some = min(plan[AT_ONCE], channel + channels - c)
        multiply_dy(plan, w, group, c, some, panels, images * each, products)
        for n in range(images):
            for k in range(some):
                place = ((image + n) * plan[CHANNELS] + group * group_channels + c + k) * plan[HEIGHT] + row
                lines = offset(products, k * plan[TAPS] * plan[LENGTH] + n * each)
                gather_rows(plan, lines, spans, rows, sums, offset(dx, place * plan[IMAGE_WIDTH]))


@device_function
def pack_rows(plan, dy, image, images, group, first, last, panels):  # type: ignore[no-untyped-def]
    """Rows first..last-1 of dy in a group, for some images, as panels."""
    outputs, size = plan[OUTPUTS] // plan[GROUP], plan[OUT_HEIGHT] * plan[OUT_WIDTH]
    each = (last - first) * plan[OUT_WIDTH]
    source = offset(dy, (image * plan[OUTPUTS] + group * outputs) * size + first * plan[OUT_WIDTH])
    for q in range(0, images * each, WIDTH):
        panel = offset(panels, q * outputs)
        pack_positions(source, plan[OUTPUTS] * size, size, each, q, images * each, outputs, panel)


@device_function
def multiply_dy(plan, weights, group, channel, channels, panels, positions, products):  # type: ignore[no-untyped-def]
    """The products of all taps of some channels with dy; there are few channels, so that products stay in L1."""
    outputs, rows, tile, length = plan[OUTPUTS] // plan[GROUP], channels * plan[TAPS], plan[TILE], plan[LENGTH]
    step = plan[CHANNELS] // plan[GROUP] * plan[TAPS]  # from the weights of one output to those of the next
    lines = offset(weights, group * outputs * step + channel * plan[TAPS])
    for o in range(0, outputs, DEPTH):
        depth = min(DEPTH, outputs - o)
        for q in range(0, positions, WIDTH):
            panel = offset(panels, q * outputs + o * WIDTH)
            for row in range(0, rows, tile):
                a, height = offset(lines, o * step + row), min(tile, rows - row)
                place = offset(products, row * length + q)
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
def gather_rows(plan, products, spans, rows, sums, dx):  # type: ignore[no-untyped-def]
    """Some rows of dx in one channel: every value is the sum of the products of the taps that met it."""
    stride, width = plan[STRIDE_X], plan[IMAGE_WIDTH]
    for phase in range(stride):
        x = (phase + plan[PAD_X]) // stride
        column_taps = offset(plan, plan[COLUMN_TAPS] + (phase + plan[PAD_X] - x * stride) * (2 * plan[KERNEL_X] + 1))
        count = (width - phase + stride - 1) // stride
        for j in range(0, count, LANES):
            for r in range(rows):
                store(offset(sums, r * LANES), splat(T(0)))
            for t in range(column_taps[0]):
                at = x + j + column_taps[2 + 2 * t]
                place = offset(products, column_taps[1 + 2 * t] * plan[LENGTH] + at)
                add_column(plan, place, spans, -at, plan[OUT_WIDTH] - at, sums)
            for r in range(rows):
                line = offset(dx, r * width + j * stride + phase)
                if stride == 1:
                    store_some(line, load(offset(sums, r * LANES)), count - j)
                else:
                    for lane in range(min(LANES, count - j)):
                        line[lane * stride] = sums[r * LANES + lane]


@device_function
def add_column(plan, products, spans, low, high, sums):  # type: ignore[no-untyped-def]
    """What the taps of one column of the kernel gave to LANES values of each row; lanes low..high-1 exist."""
    width, step = plan[OUT_WIDTH], plan[STRIDE_Y] * LANES
    for tap in range(plan[KERNEL_Y]):
        span = offset(spans, tap * SPAN_FIELDS)
        place = offset(sums, span[ROW] * LANES)
        line = offset(products, tap * plan[KERNEL_X] * plan[LENGTH] + span[LINE] * width)
        for i in range(span[LINES]):
            at = offset(place, i * step)
            store(at, add(load(at), load_between(offset(line, i * width), low, high)))


@device_function
def find_spans(plan, first, last, row, rows, spans):  # type: ignore[no-untyped-def]
    """For each row of the kernel: from which line of dy on (seen from `first`) it meets which of these rows of dx."""
    stride = plan[STRIDE_Y]
    for tap in range(plan[KERNEL_Y]):
        span = offset(spans, tap * SPAN_FIELDS)
        shift = row + plan[PAD_Y] - tap * plan[DILATION_Y]  # row r meets line (r + shift) / stride
        begin, end = max(first, (max(0, shift) + stride - 1) // stride), min(last, (shift + rows - 1) // stride + 1)
        span[LINE], span[LINES], span[ROW] = begin - first, max(0, end - begin), begin * stride - shift


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
        while rows > 1 and max(of.taps, of.group_outputs) * self.out_rows(rows) * of.out_width > ROOM:
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
        """Channels of a task: they share the packing of dy."""
        of, channels, slices = self.of, self.of.group_channels, 1
        others = ceil_div(of.batch, self.images) * ceil_div(of.height, self.block) * of.group
        while slices * others < wanted_tasks() and ceil_div(channels, slices) * of.taps > FEWEST_ROWS:
            slices += 1
        return ceil_div(channels, slices)

    @property
    def at_once(self) -> int:
        """Channels whose products are kept at a time: enough to fill a tile."""
        return min(self.slice, max(FEW // (self.of.taps * self.length), ceil_div(ROWS, self.of.taps)))

    @property
    def slices(self) -> int:
        return ceil_div(self.of.group_channels, self.slice)

    @property
    def tile(self) -> int:
        return tile_height(self.at_once * self.of.taps)

    @property
    def tasks(self) -> int:
        blocks = ceil_div(self.of.height, self.block)
        return ceil_div(self.of.batch, self.images) * blocks * self.of.group * self.slices

    @property
    def plan(self) -> np.ndarray:
        of = self.of
        columns = taps_by_phase(of.kernel_x, of.stride_x, of.dilation_x)
        blocks = ceil_div(of.height, self.block)
        own = self.images, self.slice, self.slices, self.block, blocks, self.at_once, self.tile, self.length
        return np.array([*astuple(of), of.taps, *own, FIELDS, *columns], np.int64)

    @property
    def scratch(self) -> int:
        """Bytes: products, panels, sums of rows, spans."""
        products = (self.at_once * self.of.taps + self.of.group_outputs) * self.length
        return 4 * (products + self.block * LANES + 2 * SPAN_FIELDS * self.of.kernel_y + WIDTH)


def deconvolve(of: Plane, dy: np.ndarray, w: np.ndarray, dx: np.ndarray) -> None:
    """dx = the gradient of the x that `of` convolves with w to y."""
    cut = Cut(of)
    deconvolve_block(cut.plan, w, dy, scratch(cut.scratch), 0, cut.tasks, dx)
