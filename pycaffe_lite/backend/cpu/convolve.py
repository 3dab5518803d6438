"""Convolution as a matrix product whose right-hand matrix is never written down.

    y[outputs, positions] = weights[outputs, (channel, tap)] * columns[(channel, tap), positions]

A task takes a block of positions. It copies the input they see into a band, cuts panels of columns from
the band just before they are needed, and multiplies them with the packed weights like any matrix product.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ...kernel import T, device_function, kernel
from .atoms import offset
from .band import fill_band
from .columns import RUNS, cut_columns, find_runs
from .gemm import DEPTH, FEWEST_TILES, PANELS, ceil_div, collide, tile_height, wanted_tasks
from .panels import merge, pack
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
from .tile import FLAT, PITCH, ROWS, WIDTH, multiply_tile
from .vector import LANES, floats_at, longs, splat, store
from .workspace import scratch, workspace

# The pass's own numbers in its plan.
IMAGES, BLOCK, BLOCKS, TILE, OUTPUT_BLOCK, OUTPUT_BLOCKS, LINE, STEP, TILE_PITCH, GROUP_PITCH = range(OWN, OWN + 10)

TARGET = 512  # positions in a task: enough to reuse what it packs, few enough to stay in cache
SETS = 16  # of images, wanted


@kernel(
    "plan: long*, x: T*, weights: T*, bias: T*, has_bias: int, floor: T, scratch: long*, thread: int, "
    "tasks: int -> y: T*",
    over="tasks",
    work="1 << 15",
)
def convolve_block(i, plan, x, weights, bias, has_bias, floor, scratch, thread, tasks, y):  # type: ignore[no-untyped-def]
    """Task i: a block of output channels at a block of positions of some images, in one group."""
    part = i % plan[OUTPUT_BLOCKS]
    block = i // plan[OUTPUT_BLOCKS] % plan[BLOCKS]
    group = i // (plan[OUTPUT_BLOCKS] * plan[BLOCKS]) % plan[GROUP]
    image = i // (plan[OUTPUT_BLOCKS] * plan[BLOCKS] * plan[GROUP]) * plan[IMAGES]
    images = min(plan[IMAGES], plan[BATCH] - image)
    first = block * plan[BLOCK]
    last = min(first + plan[BLOCK], images * plan[OUT_HEIGHT] * plan[OUT_WIDTH])
    first_row = first // plan[OUT_WIDTH]
    tile = floats_at(scratch[thread])
    runs = offset(tile, ROWS * WIDTH)
    panels = offset(runs, RUNS)
    band = offset(panels, PANELS * WIDTH * plan[SLICE] * plan[TAPS])
    group_channels = plan[CHANNELS] // plan[GROUP]
    for channel in range(0, group_channels, plan[SLICE]):
        channels = min(plan[SLICE], group_channels - channel)
        row = first_row * plan[STRIDE_Y]
        fill_band(plan, x, image, images, group * group_channels + channel, channels, row, plan[BAND_ROWS], band)
        is_last = channel + channels == group_channels
        for p in range(first, last, PANELS * WIDTH):
            stop = min(p + PANELS * WIDTH, last)
            depth = channels * plan[TAPS]
            for q in range(p, stop, WIDTH):
                found = find_runs(plan, q, min(WIDTH, stop - q), first_row, longs(runs))
                cut_columns(plan, band, channels, longs(runs), found, offset(panels, (q - p) * depth), WIDTH)
            multiply_panels(
                plan, weights, bias, has_bias, floor if is_last else T(FLAT), panels, tile, group,
                part, channel, depth, p, stop, offset(y, image * plan[OUTPUTS] * plan[OUT_HEIGHT] * plan[OUT_WIDTH])
            )  # fmt: skip


@device_function
def multiply_panels(  # type: ignore[no-untyped-def]
    plan, weights, bias, has_bias, floor, panels, tile, group, part, channel, depth, first, last, y
):
    """The task's output channels at positions first..last-1: the products of one slice of channels."""
    outputs = plan[OUTPUTS] // plan[GROUP]
    start = part * plan[OUTPUT_BLOCK]
    for row in range(start, min(start + plan[OUTPUT_BLOCK], outputs), plan[TILE]):
        rows = min(plan[TILE], outputs - row)
        place = group * plan[GROUP_PITCH] + row // plan[TILE] * plan[TILE_PITCH] + channel * plan[TAPS] * plan[STEP]
        lines = offset(weights, place)
        output = group * outputs + row
        for q in range(first, last, WIDTH):
            panel = offset(panels, (q - first) * depth)
            count = min(WIDTH, last - q)
            multiply_output(
                plan, lines, panel, depth, offset(bias, output * WIDTH), has_bias, channel, floor, tile,
                q, count, output, rows, y
            )  # fmt: skip


@device_function
def multiply_output(  # type: ignore[no-untyped-def]
    plan, lines, panel, depth, bias, has_bias, channel, floor, tile, position, count, output, rows, y
):
    """One tile: straight to y where its positions are neighbours there, else by way of scratch."""
    size, line, step = plan[OUT_HEIGHT] * plan[OUT_WIDTH], plan[LINE], plan[STEP]
    image = position // size
    position -= image * size
    y = offset(y, (image * plan[OUTPUTS] + output) * size)
    has_start = channel > 0 or has_bias != 0
    start, start_row = offset(y, position), size
    if channel == 0:
        start, start_row = bias if has_start else floats_at(0), WIDTH
    if count == WIDTH and position + WIDTH <= size:
        multiply_tile(lines, line, step, panel, WIDTH, start, start_row, offset(y, position), size, depth, rows, floor)
        return
    multiply_tile(lines, line, step, panel, WIDTH, floats_at(0), 0, tile, WIDTH, depth, rows, T(FLAT))
    lane = 0
    while lane < count:
        run = min(count - lane, size - position)
        place = offset(y, position)
        if channel > 0:
            start = place
        merge(offset(tile, lane), has_start, start, start_row, place, size, rows, run, floor)
        lane += run
        position = 0
        y = offset(y, plan[OUTPUTS] * size)


@kernel(
    "w: T*, rows: int, tile: int, line: int, channels: int, step: int, taps: int, turned: int, group_pitch: int, "
    "groups: int -> packed: T*",
    over="groups * ((rows + tile - 1) // tile)",
    work="channels * taps * 16",
)
def pack_weights(i, w, rows, tile, line, channels, step, taps, turned, group_pitch, groups, packed):  # type: ignore[no-untyped-def]
    """Tile i of the weights, as `multiply_tile` reads it.

    Row r, channel c and tap t of a group are at w[r * line + c * step + t]; `turned` turns the taps around.
    """
    tiles = (rows + tile - 1) // tile
    row = i % tiles * tile
    count = min(tile, rows - row)
    source = offset(w, i // tiles * group_pitch + row * line)
    target = offset(packed, i * channels * taps * PITCH)
    if turned == 0:
        pack(source, line, 1, count, channels * taps, target, PITCH)
    else:
        for p in range(channels * taps):
            place = p // taps * step + taps - 1 - p % taps
            for r in range(count):
                target[p * PITCH + r] = source[r * line + place]


@kernel("bias: T*, outputs: int -> rows: T*", over="outputs", work=str(WIDTH))
def spread_bias(i, bias, outputs, rows):  # type: ignore[no-untyped-def]
    """A row of a tile, all of it the bias of output i."""
    for j in range(0, WIDTH, LANES):
        store(offset(rows, i * WIDTH + j), splat(bias[i]))


@dataclass(frozen=True)
class Cut:
    """How a convolution is cut into tasks."""

    of: Plane
    turned: bool

    @property
    def packs(self) -> bool:
        """Whether weights are packed: when they are turned around, or when their rows would collide in L1."""
        return self.turned or collide(self.of.depth)

    @property
    def tile(self) -> int:
        """Output channels of a tile."""
        return tile_height(self.of.group_outputs)

    @property
    def tiles(self) -> int:
        """Tiles of output channels in a group."""
        return ceil_div(self.of.group_outputs, self.tile)

    @property
    def slice(self) -> int:
        """Channels whose taps are taken at a time."""
        channels = self.of.group_channels
        return ceil_div(channels, ceil_div(channels, max(1, DEPTH // self.of.taps)))

    @cached_property
    def images(self) -> int:
        """Images in a task. They share panels, which decides how sums are rounded: it follows from shapes alone."""
        batch, positions = self.of.batch, self.of.positions
        images = max(1, min(batch, TARGET // positions))
        while images > 1 and images * positions > TARGET // 2 and ceil_div(batch, images) < SETS:
            images = ceil_div(images, 2)
        return ceil_div(batch, ceil_div(batch, images))

    @property
    def sets(self) -> int:
        return ceil_div(self.of.batch, self.images)

    @cached_property
    def parts(self) -> tuple[int, int, int]:
        """Positions in a task, blocks of so many, tiles in a task: this only decides who computes what."""
        panels, tiles = ceil_div(self.images * self.of.positions, WIDTH), self.tiles
        blocks = ceil_div(panels * WIDTH, TARGET) if self.images == 1 else 1
        while self.sets * blocks * self.of.group * ceil_div(self.tiles, tiles) < wanted_tasks():
            if self.images == 1 and panels // blocks > 2 * PANELS:
                blocks += 1
            elif tiles > FEWEST_TILES:
                tiles = ceil_div(tiles, 2)
            else:
                break
        panels = ceil_div(panels, blocks)
        return panels * WIDTH, ceil_div(self.images * self.of.positions, panels * WIDTH), tiles

    @property
    def tasks(self) -> int:
        _, blocks, tiles = self.parts
        return self.sets * blocks * self.of.group * ceil_div(self.tiles, tiles)

    @cached_property
    def band(self) -> Band:
        positions, blocks, _ = self.parts
        rows = self.of.out_height
        if blocks > 1:  # a block that does not begin with a row reaches into one more
            rows = min(rows, ceil_div(positions - 1, self.of.out_width) + 1)
        return Band(self.of, self.slice, rows)

    @cached_property
    def plan(self) -> np.ndarray:
        positions, blocks, tiles = self.parts
        own = self.images, positions, blocks, self.tile, tiles * self.tile, ceil_div(self.tiles, tiles)
        depth = self.of.depth
        if self.packs:
            places = 1, PITCH, depth * PITCH, self.tiles * depth * PITCH
        else:
            places = depth, 1, self.tile * depth, self.of.group_outputs * depth
        return self.band.plan([*own, *places])

    @property
    def scratch(self) -> int:
        """Bytes: a tile, the runs of a panel, panels, a band."""
        panels = PANELS * WIDTH * self.slice * self.of.taps
        return 4 * (ROWS * WIDTH + RUNS + panels + self.band.floats(self.images))


def convolve(
    of: Plane, x: np.ndarray, w: np.ndarray, bias: np.ndarray | None, y: np.ndarray, relu: bool, turned: bool = False
) -> None:
    """y = w * x. With `turned`, w has the axes of inputs and outputs exchanged and its taps are turned around."""
    cut, bias_rows = Cut(of, turned), None
    rows = of.group_outputs
    if cut.packs:
        line, step = (of.taps, rows * of.taps) if turned else (of.depth, of.taps)
        packed = workspace("weights", of.group * cut.tiles * of.depth * PITCH)
        channels, pitch = of.group_channels, rows * of.depth
        pack_weights(w, rows, cut.tile, line, channels, step, of.taps, int(turned), pitch, of.group, packed)
        w = packed
    if bias is not None:
        bias_rows = workspace("biases", of.outputs * WIDTH)
        spread_bias(bias, of.outputs, bias_rows)
    floor, room = 0.0 if relu else FLAT, scratch(cut.scratch)
    convolve_block(cut.plan, x, w, bias_rows, int(bias is not None), floor, room, 0, cut.tasks, y)
