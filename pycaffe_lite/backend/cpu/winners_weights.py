"""The gradient of the weights of a convolution behind a max pooling, from the winners of its windows alone.

    dw[output] = sum over windows of dy[output, window] * (what the kernel meets at the window's winner)

All but the winners have no gradient, so most products of the dense way are with zeros: three of four behind windows
of 2x2. What the kernel meets must then lie together. Images come with channels side by side, and every column of a
band holds, for each row of the image, the values that one row of the kernel meets: kernel_x * channels. What the
whole kernel meets are neighbours in a column. (Of a kernel that meets many numbers the band has a part at a time.)
"""

from __future__ import annotations

from dataclasses import astuple
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np

from ...geometry import Winners
from ...kernel import T, device_function, kernel
from .atoms import offset
from .band import copy_run, zero_run
from .gemm import ceil_div
from .plane import (
    BATCH,
    CHANNELS,
    GROUP,
    HEIGHT,
    IMAGE_WIDTH,
    OUT_WIDTH,
    OUTPUTS,
    PAD_X,
    PAD_Y,
    STRIDE_X,
    TAPS,
    Plane,
)
from .sparse import MOST_VECTORS, add_listed
from .vector import (
    LANES,
    above,
    add,
    choose,
    floats_at,
    load,
    load_some,
    load_some_ints,
    splat,
    store,
    total,
    transpose,
    whole,
)
from .winners import Met, dense_cycles, pass_relu, relu_of, slowness
from .workspace import scratch, workspace

# The pass's own numbers in its plan, behind the geometry.
WINDOWS, CHUNK, ROWS, ROW, LINE, HELD, NUMBERS, PARTS, PART_LIST = range(TAPS + 1, TAPS + 10)
FIRST, PITCH, COLUMN, WIDTH, SUMS, TABLE, PART_FIELDS = range(7)
"""A part: its first number of those that a row of the kernel meets, from there to those that the next row meets, and
to those of the next column; its sums, where in a line of sums they are, where its table is."""

TASKS = 8  # wanted; more chunks of images mean more sums to add up
BAND = 8192  # floats of a band: 32 KB, which stay in L1
ENOUGH = 8  # sums that are under way at a time


@kernel(
    "plan: long*, table: int*, x: T*, dy: T*, argmax: int*, y: T*, has_relu: int, slope: T, scratch: long*, "
    "thread: int, tasks: int -> partial: T*",
    over="tasks",
    work="1 << 15",
)
def sum_winners(i, plan, table, x, dy, argmax, y, has_relu, slope, scratch, thread, tasks, partial):  # type: ignore[no-untyped-def]
    """Task i: one chunk of images, one group. A row of sums begins with LANES of the bias."""
    group, chunk = i % plan[GROUP], i // plan[GROUP]
    channels, outputs = plan[CHANNELS] // plan[GROUP], plan[OUTPUTS] // plan[GROUP]
    windows, line, values = plan[WINDOWS], plan[LINE], plan[HEIGHT] * plan[IMAGE_WIDTH]
    pixels = floats_at(scratch[thread])
    band, passed = offset(pixels, plan[HELD]), offset(pixels, plan[NUMBERS])
    zero_run(pixels, plan[HELD])  # padding stays so
    sums = offset(partial, i * outputs * line)
    begun = 0
    for image in range(chunk * plan[CHUNK], min((chunk + 1) * plan[CHUNK], plan[BATCH])):
        turn_channels(plan, offset(x, (image * plan[CHANNELS] + group * channels) * values), channels, pixels)
        place = (image * plan[OUTPUTS] + group * outputs) * windows
        gradients, winners = offset(dy, place), offset(argmax, place)
        if has_relu != 0:
            pass_relu(gradients, offset(y, place), slope, outputs * windows, passed)
            gradients = passed
        for o in range(outputs):
            add_gradients(
                offset(gradients, o * windows), offset(winners, o * windows), windows, begun, offset(sums, o * line)
            )
        for p in range(plan[PARTS]):
            part = offset(plan, PART_LIST + p * PART_FIELDS)
            places, vectors = offset(table, part[TABLE]), part[WIDTH] // LANES
            fill_columns(plan, pixels, part, band)
            for o in range(outputs):
                target = offset(sums, o * line + part[SUMS])
                start = target if begun != 0 else floats_at(0)
                listed, numbers = offset(winners, o * windows), offset(gradients, o * windows)
                add_listed(listed, places, numbers, band, start, target, windows, vectors)
        begun = 1


@device_function
def add_gradients(dy, argmax, count, begun, sums):  # type: ignore[no-untyped-def]
    """Add up the gradients that go somewhere, in LANES sums."""
    some = load(sums) if begun != 0 else splat(T(0))
    for j in range(0, count, LANES):
        there = above(load_some_ints(offset(argmax, j), count - j), whole(-1))
        some = add(some, choose(there, load_some(offset(dy, j), count - j), splat(T(0))))
    store(sums, some)


@device_function
def turn_channels(plan, x, channels, pixels):  # type: ignore[no-untyped-def]
    """Some channels of an image, side by side at each place of the padded image."""
    height, width = plan[HEIGHT], plan[IMAGE_WIDTH]
    size = height * width
    lines, run = (1, size) if plan[PAD_X] == 0 else (height, width)
    for r in range(lines):
        source, target = offset(x, r * run), offset(pixels, (plan[PAD_Y] + r) * plan[ROW] + plan[PAD_X] * channels)
        if channels == 1:
            copy_run(source, target, run)
        elif 2 * channels < LANES:
            for c in range(channels):
                for j in range(run):
                    target[j * channels + c] = source[c * size + j]
        else:
            for p in range(0, run, LANES):
                # From the last channels to the first, as a vector of those spills into the next place.
                for c in range((channels - 1) // LANES * LANES, -1, -LANES):
                    square, place = offset(source, c * size + p), offset(target, p * channels + c)
                    transpose(square, size, channels - c, run - p, place, channels)


@device_function
def fill_columns(plan, pixels, part, band):  # type: ignore[no-untyped-def]
    """A part of what one row of the kernel meets, for each row of the image and each place of the kernel in it."""
    pitch, step = part[PITCH], plan[STRIDE_X] * (plan[CHANNELS] // plan[GROUP])
    for column in range(plan[OUT_WIDTH]):
        source, target = offset(pixels, column * step + part[FIRST]), offset(band, column * part[COLUMN])
        for r in range(plan[ROWS]):
            for j in range(0, pitch, LANES):
                store(offset(target, r * pitch + j), load(offset(source, r * plan[ROW] + j)))
    zero_run(offset(band, plan[OUT_WIDTH] * part[COLUMN]), part[WIDTH])  # what a window without winner meets


@kernel(
    "partial: T*, order: int*, chunks: int, outputs: int, depth: int, line: int, adds: int, has_bias: int, "
    "scratch: long*, thread: int -> dw: T*, db: T*",
    over="outputs",
    work="chunks * line // 4 + 2 * depth",
)
def add_winners(i, partial, order, chunks, outputs, depth, line, adds, has_bias, scratch, thread, dw, db):  # type: ignore[no-untyped-def]
    """Add up the sums of output i, chunk by chunk: its weights and its bias."""
    sums, first = floats_at(scratch[thread]), offset(partial, i * line)
    for j in range(0, line, LANES):
        some = load(offset(first, j))
        for chunk in range(1, chunks):
            some = add(some, load(offset(first, chunk * outputs * line + j)))
        store(offset(sums, j), some)
    if has_bias != 0:
        db[i] += total(load(sums))
    weights = offset(dw, i * depth)
    for j in range(depth):
        weights[j] = sums[order[j]] + (weights[j] if adds != 0 else T(0))


class Cut(Met):
    """How the sums are cut into tasks and into parts."""

    @cached_property
    def whole(self) -> bool:
        """Whether a band has no room between what rows of the kernel meet: fewer vectors, but not aligned."""
        vectors = ceil_div(self.met * self.of.kernel_y, LANES)
        return 3 * vectors < 2 * self.of.kernel_y * ceil_div(self.met, LANES) and vectors <= MOST_VECTORS

    @cached_property
    def parts(self) -> list[tuple[int, int, int]]:
        """Of what a row of the kernel meets: the first number of each part, numbers in a band, sums."""
        of = self.of
        if self.whole:
            return [(0, self.met, ceil_div(of.kernel_y * self.met, LANES) * LANES)]
        vectors = ceil_div(self.met, LANES)
        fit = BAND // (of.out_width * self.rows * LANES)
        most = min(MOST_VECTORS // of.kernel_y, max(fit, ceil_div(ENOUGH, of.kernel_y)))
        parts = ceil_div(vectors, most)
        ends = [ceil_div(vectors * p, parts) * LANES for p in range(parts + 1)]
        return [(first, end - first, of.kernel_y * (end - first)) for first, end in pairwise(ends)]

    def column(self, pitch: int) -> int:
        """From one column of a band to the next."""
        return ceil_div(self.rows * pitch, LANES) * LANES + LANES

    @property
    def band(self) -> int:
        """Room for a band, and for what a window without winner meets."""
        return max(self.of.out_width * self.column(pitch) + width + LANES for _, pitch, width in self.parts)

    @property
    def line(self) -> int:
        """Sums of an output: of its bias, and of its weights."""
        return LANES + sum(width for _, _, width in self.parts)

    @property
    def held(self) -> int:
        """Room for the pixels of an image, and for what spills over."""
        return (ceil_div(self.rows * self.row, LANES) + 3) * LANES

    @cached_property
    def chunk(self) -> int:
        """Images of a task."""
        return ceil_div(self.of.batch, min(self.of.batch, ceil_div(TASKS, self.of.group)))

    @property
    def chunks(self) -> int:
        return ceil_div(self.of.batch, self.chunk)

    @property
    def plan(self) -> np.ndarray:
        own = [self.windows, self.chunk, self.rows, self.row, self.line, self.held, self.held + self.band]
        numbers, sums = [*astuple(self.of), self.of.taps, *own, len(self.parts)], LANES
        for number, (first, pitch, width) in enumerate(self.parts):
            numbers += [first, pitch, self.column(pitch), width, sums, number * (self.of.positions + 1) + 1]
            sums += width
        return np.array(numbers, np.int64)

    @property
    def tables(self) -> np.ndarray:
        """For each part, where in a band the kernel begins that has its place in y; in front, where nothing is."""
        y, x = np.divmod(np.arange(self.of.positions), self.of.out_width)
        found: list[Any] = []
        for _, pitch, _ in self.parts:
            column = self.column(pitch)
            found += [[self.of.out_width * column], x * column + y * self.of.stride_y * pitch]
        return np.concatenate(found).astype(np.int32)

    @property
    def order(self) -> np.ndarray:
        """Where in a line of sums each weight of an output is."""
        of, places, sums = self.of, np.zeros((self.of.kernel_y, self.met), np.int32), LANES
        for first, pitch, width in self.parts:
            here = places[:, first : first + pitch]
            here[...] = sums + np.arange(of.kernel_y)[:, None] * pitch + np.arange(here.shape[1])
            sums += width
        places = places.reshape(of.kernel_y, of.kernel_x, of.group_channels).transpose(2, 0, 1)
        return np.ascontiguousarray(places).reshape(-1)

    @property
    def scratch(self) -> int:
        """Bytes: pixels, bands, gradients that a ReLU has passed."""
        return 4 * max(self.held + self.band + self.of.group_outputs * self.windows + LANES, self.line)


def pays(of: Plane, windows: int) -> bool:
    """Whether this is faster than the dense way, whose vectors of outputs may not be full."""
    if of.kernel_y > MOST_VECTORS:
        return False
    cut = Cut(of, windows)
    filled = of.group_outputs / (ceil_div(of.group_outputs, LANES) * LANES)
    own = windows * (cut.line / LANES * slowness(cut.band) + 2)
    return own < 0.9 * dense_cycles(of, filled)


def weights_grad(of: Plane, x: Any, winners: Winners, dw: Any, db: Any, adds: bool) -> None:
    """dw = the gradient of the weights, or dw += that; db += the gradient of the bias, if it is not None."""
    cut = Cut(of, winners.windows)
    partial, room = workspace("sums of weights", cut.chunks * of.outputs * cut.line), scratch(cut.scratch)
    tasks, has_bias = cut.chunks * of.group, int(db is not None)
    sum_winners(cut.plan, cut.tables, x, winners.dy, winners.argmax, *relu_of(winners), room, 0, tasks, partial)
    sizes = cut.chunks, of.outputs, of.depth, cut.line, int(adds), has_bias
    add_winners(partial, cut.order, *sizes, room, 0, dw, db if has_bias else dw)
