"""Convolution whose tiles are neighbouring positions times output channels: no column is ever cut.

    y'[positions, outputs] = columns[positions, (channel, tap)] * weights'[(channel, tap), outputs]

What one tap meets at neighbouring positions of a row are neighbours in a band, so a table of places, one
for each channel and tap, is all the matrix of columns there has to be; where nothing is padded and no
stride taken, the image itself is the band. The price is that weights are packed with outputs side by side,
once a pass or by the tasks that use them, and that tiles are turned around on their way to y.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from ...kernel import T, device_function, kernel
from . import pool
from .atoms import offset
from .band import fill_band
from .gemm import ceil_div, wanted_tasks
from .panels import pack
from .plane import (
    BAND_ROW,
    BAND_ROWS,
    BATCH,
    CHANNELS,
    GROUP,
    HEIGHT,
    IMAGE_WIDTH,
    OUT_HEIGHT,
    OUT_WIDTH,
    OUTPUTS,
    OWN,
    STRIDE_Y,
    TAPS,
    Band,
    Plane,
)
from .tile import FLAT, ROWS, WIDTH, multiply_neighbours
from .vector import (
    LANES,
    add,
    at_least,
    floats_at,
    load,
    load_some,
    multiply,
    prefetch_to_write,
    splat,
    store,
    store_some,
    store_transposed,
)
from .workspace import scratch, workspace

# The pass's own numbers in its plan.
(
    IMAGES, BLOCK, BLOCKS, TILE, PANELS, PANEL_BLOCKS, DEPTH, IN_PLACE, PITCH, BAND_ROOM, PANEL_ROOM, LINE, BIAS_GROUP,
    TABLE,
) = range(OWN, OWN + 14)  # fmt: skip

STEPS = 256  # of a product at a time: a panel of the weights of so many is 32 KB, most of L1
ROOM = 1 << 17  # floats of a band: half a megabyte, for L2 to hold beside the weights
SMALL = 512  # values of a channel that is read where it lies
FEW_CHANNELS = 8
LONG, FEW = 512, 16  # positions in a row, and in all
FEWEST = 49  # in a task: fewer do not repay the packing of their weights
USES = 4  # of a panel of weights, up to which each task packs it anew: it goes through memory once instead of thrice
TARGET = 196  # positions in a task, wanted: as often a panel of weights is used once it is in L1
LINES = ceil_div(ROWS, LANES) * LANES  # of a tile in scratch: `store_transposed` reads squares


@kernel(
    "plan: long*, x: T*, weights: T*, factors: T*, has_factors: int, bias: T*, has_bias: int, other: T*, "
    "has_other: int, floor: T, scratch: long*, thread: int, tasks: int -> y: T*",
    over="tasks",
    work="1 << 15",
)
def convolve_pixels(  # type: ignore[no-untyped-def]
    i, plan, x, weights, factors, has_factors, bias, has_bias, other, has_other, floor, scratch, thread, tasks, y
):
    """Task i: some panels of output channels at a block of rows of some images, in one group."""
    panel = i % plan[PANEL_BLOCKS] * plan[PANELS]
    row = i // plan[PANEL_BLOCKS] % plan[BLOCKS] * plan[BLOCK]
    group = i // (plan[PANEL_BLOCKS] * plan[BLOCKS]) % plan[GROUP]
    image = i // (plan[PANEL_BLOCKS] * plan[BLOCKS] * plan[GROUP]) * plan[IMAGES]
    images = min(plan[IMAGES], plan[BATCH] - image)
    rows = min(plan[BLOCK], plan[OUT_HEIGHT] - row)
    channels, outputs = plan[CHANNELS] // plan[GROUP], plan[OUTPUTS] // plan[GROUP]
    sums = floats_at(scratch[thread])
    begin = group * channels
    source = offset(x, (image * plan[CHANNELS] + begin) * plan[HEIGHT] * plan[IMAGE_WIDTH] + row * plan[IMAGE_WIDTH])
    if plan[IN_PLACE] == 0:
        source = offset(sums, plan[BAND_ROOM])
        fill_band(plan, x, image, images, begin, channels, row * plan[STRIDE_Y], plan[BAND_ROWS], source)
    size = plan[OUT_HEIGHT] * plan[OUT_WIDTH]
    first = (image * plan[OUTPUTS] + group * outputs) * size + row * plan[OUT_WIDTH]
    bound = T(FLAT) if has_other != 0 else floor
    in_group = outputs if plan[LINE] > 0 else (outputs + WIDTH - 1) // WIDTH * WIDTH
    for output in range(panel * WIDTH, min((panel + plan[PANELS]) * WIDTH, outputs), WIDTH):
        start = offset(bias, group * plan[BIAS_GROUP] + output) if has_bias != 0 else floats_at(0)
        lines = offset(weights, (group * in_group + output) * channels * plan[TAPS])
        scale = offset(factors, group * outputs + output) if has_factors != 0 else floats_at(0)
        count = min(WIDTH, outputs - output)
        place = offset(y, first + output * size)
        multiply_panel(plan, source, images, rows, lines, scale, has_factors, count, start, bound, sums, place)
        if has_other != 0:
            for n in range(images):
                there = n * plan[OUTPUTS] * size
                terms = offset(other, first + output * size + there)
                add_terms(terms, offset(place, there), count, size, rows * plan[OUT_WIDTH], floor)


@device_function
def multiply_panel(  # type: ignore[no-untyped-def]
    plan, source, images, rows, weights, factors, has_factors, outputs, bias, floor, sums, y
):
    """A panel of output channels at all positions of the task."""
    depth = plan[CHANNELS] // plan[GROUP] * plan[TAPS]
    vectors = (outputs + LANES - 1) // LANES
    width, size = vectors * LANES, plan[OUT_HEIGHT] * plan[OUT_WIDTH]
    kept = LINES * width if depth > plan[DEPTH] else 0  # sums of several slices are kept, others leave at once
    for p in range(0, depth, plan[DEPTH]):
        steps = min(plan[DEPTH], depth - p)
        table, panel = offset(plan, plan[TABLE] + p), offset(weights, p * width)
        if plan[LINE] > 0:
            panel = offset(sums, plan[PANEL_ROOM])
            pack(offset(weights, p), plan[LINE], 1, outputs, steps, panel, width)
            if has_factors != 0:
                scale_panel(panel, steps, width, factors, outputs)
        is_last = p + steps == depth
        bound = floor if is_last else T(FLAT)
        tile = sums
        for n in range(images):
            for r in range(rows):
                line = offset(source, n * plan[PITCH] + r * plan[STRIDE_Y] * plan[BAND_ROW])
                for q in range(0, plan[OUT_WIDTH], plan[TILE]):
                    count = min(plan[TILE], plan[OUT_WIDTH] - q)
                    start, start_row = (tile, width) if p > 0 else (bias, 0)
                    place = offset(y, n * plan[OUTPUTS] * size + r * plan[OUT_WIDTH] + q)
                    if is_last:
                        for j in range(outputs):
                            prefetch_to_write(offset(place, j * size))
                    multiply_neighbours(
                        offset(line, q), table, panel, start, start_row, tile, steps, count, vectors, bound
                    )
                    if is_last:
                        turn_tile(tile, width, count, outputs, place, size)
                    tile = offset(tile, kept)


@device_function
def add_terms(terms, y, outputs, size, count, floor):  # type: ignore[no-untyped-def]
    """Add what another blob has at the same positions of some outputs, then take the larger of that and the floor."""
    for j in range(outputs):
        for p in range(0, count, LANES):
            place = j * size + p
            value = add(load_some(offset(y, place), count - p), load_some(offset(terms, place), count - p))
            store_some(offset(y, place), at_least(value, splat(floor)), count - p)


@device_function
def turn_tile(tile, width, positions, outputs, y, size):  # type: ignore[no-untyped-def]
    """A tile (positions, outputs) goes to y, where the positions of an output are neighbours."""
    for i in range(0, positions, LANES):
        for j in range(0, outputs, LANES):
            square = offset(tile, i * width + j)
            store_transposed(square, width, positions - i, outputs - j, offset(y, j * size + i), size)


@device_function
def scale_panel(panel, steps, width, factors, outputs):  # type: ignore[no-untyped-def]
    """Multiply the weights of each output by its factor."""
    for j in range(0, width, LANES):
        factor = load_some(offset(factors, j), outputs - j)
        for p in range(steps):
            place = offset(panel, p * width + j)
            store(place, multiply(load(place), factor))


@kernel(
    "w: T*, factors: T*, has_factors: int, outputs: int, depth: int, taps: int, line: int, step: int, groups: int"
    " -> packed: T*",
    over=f"groups * ((outputs + {WIDTH - 1}) // {WIDTH})",
    work=f"depth * {WIDTH // 4}",
)
def pack_panel(i, w, factors, has_factors, outputs, depth, taps, line, step, groups, packed):  # type: ignore[no-untyped-def]
    """Panel i of the weights: of output o, channel c and tap t of a group, w has it at o * line + c * step + t.

    With factors, there is one for each output.
    """
    panels = (outputs + WIDTH - 1) // WIDTH
    output = i % panels * WIDTH
    count = min(WIDTH, outputs - output)
    width = (count + LANES - 1) // LANES * LANES
    source = offset(w, i // panels * outputs * depth + output * line)
    target = offset(packed, i * WIDTH * depth)
    if taps == 1:
        pack(source, line, step, count, depth, target, width)
    elif step == taps:  # all channels of an output lie together
        pack(source, line, 1, count, depth, target, width)
    else:
        for c in range(depth // taps):
            pack(offset(source, c * step), line, 1, count, taps, offset(target, c * taps * width), width)
    if has_factors != 0:
        scale_panel(target, depth, width, offset(factors, i // panels * outputs + output), count)


@kernel("bias: T*, outputs: int, groups: int -> padded: T*", over="groups", work="outputs")
def pad_bias(group, bias, outputs, groups, padded):  # type: ignore[no-untyped-def]
    """The biases of each group, and zeros behind them up to a whole panel."""
    target = offset(padded, group * ((outputs + WIDTH - 1) // WIDTH * WIDTH))
    for j in range(0, outputs, LANES):
        store(offset(target, j), load_some(offset(bias, group * outputs + j), outputs - j))


@dataclass(frozen=True)
class Cut:
    """How a convolution is cut into tasks; `turned`: its taps are turned around."""

    of: Plane
    turned: bool

    @property
    def in_place(self) -> bool:
        """Whether images serve as bands."""
        return is_small(self.of)

    @property
    def tile(self) -> int:
        """Positions of a tile, so that those of a row have nearly as many."""
        return ceil_div(self.of.out_width, ceil_div(self.of.out_width, ROWS))

    @property
    def panels(self) -> int:
        """Panels of output channels in a group."""
        return ceil_div(self.of.group_outputs, WIDTH)

    @cached_property
    def images(self) -> int:
        """Images in a task: several small ones share the weights."""
        of = self.of
        room = 1 << 30 if self.in_place else max(1, ROOM // Band(of, of.group_channels, of.out_height).floats(1))
        images = min(of.batch, room, ceil_div(TARGET, of.positions))
        return ceil_div(of.batch, ceil_div(of.batch, images))

    @cached_property
    def parts(self) -> tuple[int, int]:
        """Rows of output and panels in a task: this only decides who computes what."""
        of, rows, panels = self.of, self.of.out_height, self.panels
        if self.images == 1:
            while rows > 1 and not self.in_place and Band(of, of.group_channels, rows).floats(1) > ROOM:
                rows = ceil_div(rows, 2)
            while rows > 1 and rows * of.out_width > 2 * TARGET:
                rows = ceil_div(rows, 2)
        if self.images == of.batch and of.batch * of.positions <= 2 * TARGET:
            heights = {ceil_div(rows, n) for n in (1, 2, 3, 4) if n == 1 or self.images == 1}
            shapes = [(r, p) for r in heights if r == rows or r * of.out_width >= FEWEST for p in range(1, panels + 1)]
            return min(shapes, key=self.time)
        while self.count(rows, panels) < wanted_tasks():
            if panels > 2:
                panels = ceil_div(panels, 2)
            elif self.images == 1 and rows * of.out_width > TARGET // 2 and rows > 1:
                rows = ceil_div(rows, 2)
            else:
                break
        return rows, panels

    def time(self, parts: tuple[int, int]) -> float:
        """About how many cycles a task takes, times how many a thread has to do."""
        of, (rows, panels) = self.of, parts
        packing = 0 if self.turned else 14
        panel = of.depth * (self.images * rows * of.out_width + 3 + packing)
        band = 0 if self.in_place else self.images * Band(of, of.group_channels, rows).floats(1) / 4
        return (ceil_div(self.count(rows, panels), pool.threads()) + 0.1) * (panels * panel + band + 300)

    def count(self, rows: int, panels: int) -> int:
        of = self.of
        sets = ceil_div(of.batch, self.images) * of.group
        return sets * ceil_div(of.out_height, rows) * ceil_div(self.panels, panels)

    @property
    def tasks(self) -> int:
        return self.count(*self.parts)

    @cached_property
    def band(self) -> Band:
        of, rows = self.of, self.parts[0]
        return Image(of, of.group_channels, rows) if self.in_place else Band(of, of.group_channels, rows)

    @property
    def kept(self) -> int:
        """Room for the sums of a panel, or for one tile of them."""
        rows, tiles = self.parts[0], ceil_div(self.of.out_width, self.tile)
        return LINES * WIDTH * (self.images * rows * tiles if self.of.depth > STEPS else 1)

    @cached_property
    def plan(self) -> np.ndarray:
        rows, panels = self.parts
        own = [
            self.images, rows, ceil_div(self.of.out_height, rows), self.tile, panels, ceil_div(self.panels, panels),
            self.steps, int(self.in_place),
            (self.of.channels if self.in_place else self.of.group_channels) * self.band.channel,
            self.kept, self.kept + self.band_room, self.of.depth if self.packs else 0,
            self.panels * WIDTH if self.pads else self.of.group_outputs,
        ]  # fmt: skip
        plan = self.band.plan([*own, 0])
        plan[TABLE] = plan.size
        taps = np.array(self.band.tap_offsets())[:: -1 if self.turned else 1]
        places = np.arange(self.of.group_channels)[:, None] * self.band.channel + taps
        return np.concatenate([plan, places.reshape(-1)])

    @property
    def steps(self) -> int:
        """Of a product at a time."""
        return ceil_div(self.of.depth, ceil_div(self.of.depth, STEPS))

    @property
    def band_room(self) -> int:
        return 0 if self.in_place else self.band.floats(self.images)

    @property
    def packs(self) -> bool:
        """Whether tasks pack their weights themselves, because few others need them."""
        uses = ceil_div(self.of.batch, self.images) * ceil_div(self.of.out_height, self.parts[0])
        return uses <= USES and not self.turned

    @property
    def pads(self) -> bool:
        """Whether biases need zeros behind them."""
        return self.of.group_outputs % LANES != 0

    @property
    def scratch(self) -> int:
        """Bytes: sums, a band, and a panel of weights."""
        return 4 * (self.kept + self.band_room + (WIDTH * self.steps if self.packs else 0))


def is_small(of: Plane) -> bool:
    """Whether images may serve as bands: the channels of large ones would pile up in few places of L1."""
    small = of.height * of.width <= SMALL or of.group_channels <= FEW_CHANNELS
    return small and of.stride_y == of.stride_x == 1 and of.pad_y == of.pad_x == 0


class Image(Band):
    """An image that is its own band."""

    @property
    def channel(self) -> int:
        return self.of.height * self.of.width


def flat(of: Plane) -> Plane:
    """The same convolution with its rows in one line or two, where few positions only meet themselves."""
    if of.taps == 1 and of.positions == of.height * of.width <= 2 * TARGET and of.pad_y == of.pad_x == 0:
        lines = 2 if of.positions % (2 * ROWS) == 0 else 1
        width = of.positions // lines
        return replace(of, height=lines, width=width, out_height=lines, out_width=width)
    return of


def pays(of: Plane) -> bool:
    """Whether this way is faster than `convolve.convolve`: where panels of outputs and tiles of a row are nearly full.

    Few positions do not repay the packing of the weights, and a very long row makes too few tasks.
    """
    filled = of.group_outputs / (ceil_div(of.group_outputs, LANES) * LANES)
    rows_fit = flat(of).out_width >= min(ROWS, 6) and of.out_width <= LONG
    return filled >= 0.8 and rows_fit and of.batch * of.positions >= FEW


def convolve(
    of: Plane, x: np.ndarray, w: np.ndarray, bias: np.ndarray | None, y: np.ndarray, relu: bool, turned: bool = False,
    factors: np.ndarray | None = None, other: np.ndarray | None = None,
) -> None:  # fmt: skip
    """y = w * x, where the weights of each output have first been multiplied by its factor, plus `other`.

    With `turned`, w has the axes of inputs and outputs exchanged and its taps are turned around.
    """
    of = flat(of)
    cut = Cut(of, turned)
    outputs, depth, rows = of.group_outputs, of.depth, cut.panels * WIDTH
    scale = factors, int(factors is not None)
    if not cut.packs:
        packed = workspace("panels of weights", of.group * rows * depth)
        line, step = (of.taps, outputs * of.taps) if turned else (depth, of.taps)
        pack_panel(w, *scale, outputs, depth, of.taps, line, step, of.group, packed)
        w = packed
    if bias is not None and cut.pads:
        padded = workspace("padded biases", of.group * rows)
        pad_bias(bias, outputs, of.group, padded)
        bias = padded
    floor, room = 0.0 if relu else FLAT, scratch(cut.scratch)
    more = bias, int(bias is not None), other, int(other is not None)
    convolve_pixels(cut.plan, x, w, *scale, *more, floor, room, 0, cut.tasks, y)
