"""The gradient of x of a convolution behind a max pooling, from the winners of its windows alone.

    dx[what the kernel meets at a place] += sum over outputs that won there of dy[output, window] * weights[output]

The winners of an image are listed place by place. One row of the kernel is taken at a time: it meets
kernel_x * channels numbers that lie together in an image with channels side by side, and so do its weights.
"""

from __future__ import annotations

from dataclasses import astuple
from functools import cached_property
from typing import Any

import numpy as np

from ...geometry import Winners
from ...kernel import T, device_function, kernel
from .atoms import offset
from .band import zero_run
from .gemm import ceil_div
from .plane import (
    CHANNELS,
    GROUP,
    HEIGHT,
    IMAGE_WIDTH,
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
from .sparse import MOST_VECTORS, add_entries
from .vector import LANES, floats_at, ints, splat, store, store_transposed
from .winners import Met, dense_cycles, pass_relu, relu_of, slowness
from .workspace import scratch, workspace

# The pass's own numbers in its plan, behind the geometry.
WINDOWS, ROW, PARTS, WIDTH, HELD, PASSED, ENDS, FIELDS = range(TAPS + 1, TAPS + 9)

PART = 6144  # weights of one row of the kernel at a time: 24 KB, half of L1


@kernel(
    "plan: long*, weights: T*, dy: T*, argmax: int*, y: T*, has_relu: int, slope: T, scratch: long*, "
    "thread: int, tasks: int -> dx: T*",
    over="tasks",
    work="1 << 15",
)
def spread_winners(i, plan, weights, dy, argmax, y, has_relu, slope, scratch, thread, tasks, dx):  # type: ignore[no-untyped-def]
    """Task i: one group of an image."""
    group, image = i % plan[GROUP], i // plan[GROUP]
    channels, outputs = plan[CHANNELS] // plan[GROUP], plan[OUTPUTS] // plan[GROUP]
    pixels = floats_at(scratch[thread])
    entries, ends = offset(pixels, plan[HELD]), ints(offset(pixels, plan[ENDS]))
    zero_run(pixels, plan[HELD])
    first = (image * plan[OUTPUTS] + group * outputs) * plan[WINDOWS]
    gradients, passed = offset(dy, first), offset(pixels, plan[PASSED])
    if has_relu != 0:
        pass_relu(gradients, offset(y, first), slope, outputs * plan[WINDOWS], passed)
        gradients = passed
    list_places(plan, gradients, offset(argmax, first), outputs, entries, ends)
    for row in range(plan[KERNEL_Y]):
        for part in range(plan[PARTS]):
            at = ((group * plan[KERNEL_Y] + row) * plan[PARTS] + part) * outputs * plan[WIDTH]
            target = offset(pixels, row * plan[ROW] + part * plan[WIDTH])
            meet_places(plan, offset(weights, at), channels, entries, ends, target)
    part_channels(plan, pixels, channels, offset(dx, i * channels * plan[HEIGHT] * plan[IMAGE_WIDTH]))


@device_function
def list_places(plan, dy, argmax, outputs, entries, ends):  # type: ignore[no-untyped-def]
    """For each place of a plane: where the weights are of the outputs that have won there, and their gradients.

    The list of a place begins where that of the place in front of it ends.
    """
    windows, where = plan[WINDOWS], ints(entries)
    places = plan[OUT_HEIGHT] * plan[OUT_WIDTH]
    for place in range(places + 1):
        ends[place] = 0
    for window in range(outputs * windows):
        ends[argmax[window] + 1] += 1  # the first counts windows without winner
    end = 0
    for place in range(1, places + 1):
        end, ends[place] = end + ends[place], end
    for o in range(outputs):
        for window in range(o * windows, (o + 1) * windows):
            place = argmax[window] + 1
            if place > 0:
                end = ends[place]
                where[2 * end], entries[2 * end + 1], ends[place] = o * plan[WIDTH], dy[window], end + 1
    ends[0] = 0


@device_function
def meet_places(plan, weights, channels, entries, ends, pixels):  # type: ignore[no-untyped-def]
    """Add what one row of the kernel gives at all places, down the columns: so what was just written can settle."""
    vectors = plan[WIDTH] // LANES
    for column in range(plan[OUT_WIDTH]):
        for r in range(plan[OUT_HEIGHT]):
            first, end = ends[r * plan[OUT_WIDTH] + column], ends[r * plan[OUT_WIDTH] + column + 1]
            if first < end:
                target = offset(pixels, r * plan[STRIDE_Y] * plan[ROW] + column * plan[STRIDE_X] * channels)
                add_entries(offset(entries, 2 * first), weights, target, target, end - first, vectors)


@device_function
def part_channels(plan, pixels, channels, dx):  # type: ignore[no-untyped-def]
    """What lies channel beside channel goes to a plane for each."""
    height, width = plan[HEIGHT], plan[IMAGE_WIDTH]
    size = height * width
    lines, run = (1, size) if plan[PAD_X] == 0 else (height, width)
    for r in range(lines):
        source = offset(pixels, (plan[PAD_Y] + r) * plan[ROW] + plan[PAD_X] * channels)
        target = offset(dx, r * run)
        for p in range(0, run, LANES):
            for c in range(0, channels, LANES):
                square, place = offset(source, p * channels + c), offset(target, c * size + p)
                store_transposed(square, channels, run - p, channels - c, place, size)


@kernel(
    "w: T*, order: int*, outputs: int, group_outputs: int, depth: int, parts: int, width: int -> packed: T*",
    over="outputs",
    work="depth * 2",
)
def pack_rows(i, w, order, outputs, group_outputs, depth, parts, width, packed):  # type: ignore[no-untyped-def]
    """The weights of output i: those of one row of the kernel, or a part of these, beside those of other outputs."""
    first = i // group_outputs * parts * group_outputs + i % group_outputs
    target = offset(packed, first * width)
    for part in range(parts):
        for j in range(0, width, LANES):
            store(offset(target, part * group_outputs * width + j), splat(T(0)))
    for j in range(depth):
        target[order[j]] = w[i * depth + j]


class Cut(Met):
    """How the pass is laid out."""

    @cached_property
    def parts(self) -> int:
        """Parts of these."""
        vectors = ceil_div(self.met, LANES)
        return ceil_div(vectors, min(MOST_VECTORS, max(1, PART // (self.of.group_outputs * LANES))))

    @property
    def width(self) -> int:
        return ceil_div(ceil_div(self.met, LANES), self.parts) * LANES

    @property
    def held(self) -> int:
        """Room for the pixels of an image, and for what spills over."""
        spill = self.parts * self.width + LANES * self.of.group_channels
        return ceil_div(self.rows * self.row + spill, LANES) * LANES

    @property
    def plan(self) -> np.ndarray:
        listed = self.of.group_outputs * self.windows
        own = [self.windows, self.row, self.parts, self.width, self.held]
        own += [self.held + 2 * listed, self.held + 3 * listed + LANES]
        return np.array([*astuple(self.of), self.of.taps, *own], np.int64)

    @property
    def order(self) -> np.ndarray:
        """Where each weight of an output goes, seen from its first."""
        c, y, x = np.indices((self.of.group_channels, self.of.kernel_y, self.of.kernel_x)).reshape(3, -1)
        part, at = np.divmod(x * self.of.group_channels + c, self.width)
        return ((y * self.parts + part) * self.of.group_outputs * self.width + at).astype(np.int32)

    @property
    def scratch(self) -> int:
        """Bytes: pixels, winners with their numbers, gradients that a ReLU has passed, where lists end."""
        return 4 * (self.held + 3 * self.of.group_outputs * self.windows + LANES + self.of.positions + 1)


def pays(of: Plane, windows: int) -> bool:
    """Whether this is faster than the dense way."""
    cut = Cut(of, windows)
    rows = of.kernel_y * cut.parts
    met = windows * rows * (cut.width / LANES * slowness(cut.scratch // 4) + 0.5) + 4 * windows
    return met + 12 * rows * of.positions / of.group_outputs < 0.9 * dense_cycles(of)


def data_grad(of: Plane, winners: Winners, w: Any, dx: Any) -> None:
    """dx = the gradient of x."""
    cut = Cut(of, winners.windows)
    rows = of.kernel_y * cut.parts
    packed = workspace("rows of weights", of.outputs * rows * cut.width)
    pack_rows(w, cut.order, of.outputs, of.group_outputs, of.depth, rows, cut.width, packed)
    tasks = of.batch * of.group
    spread_winners(cut.plan, packed, winners.dy, winners.argmax, *relu_of(winners), scratch(cut.scratch), 0, tasks, dx)
