"""The gradient of the weights of a convolution without cutting columns: what `pixels` is to `convolve`.

    dw'[(channel, tap), outputs] = columns[(channel, tap), positions] * dy'[positions, outputs]

Taps that are neighbours in a row of the kernel meet, at one position, neighbours in the band: they are the
rows of a tile, few, so the tile is wide; of a kernel of 3x3 all nine are. A table says where each position
is. Sums of tasks are added, and turned around, as in `weights_grad`.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np

from ...kernel import device_function, kernel
from .atoms import offset
from .band import fill_band
from .chunks import Chunks
from .gemm import ceil_div
from .panels import pack
from .pixels import Image, is_small
from .plane import (
    BAND_CHANNEL,
    BAND_ROW,
    BAND_ROWS,
    BATCH,
    CHANNELS,
    DILATION_Y,
    GROUP,
    HEIGHT,
    IMAGE_WIDTH,
    OUT_HEIGHT,
    OUT_WIDTH,
    OUTPUTS,
    OWN,
    SLICE,
    STRIDE_X,
    STRIDE_Y,
    TAPS,
    Band,
)
from .tile import MOST_TAPS, SQUARE, multiply_taps, widest
from .vector import LANES, floats_at

# The pass's own numbers in its plan.
IMAGES, CHUNK, SLICES, ROWS_AT_ONCE, VECTORS, LINE, HELD, IN_PLACE, RUNS, RUN_LIST, TABLE = range(OWN, OWN + 11)
TAP, COUNT, PLACE, RUN_FIELDS = range(4)  # of a run of taps: its first, how many, where that is in a band

PANEL = 8192  # numbers of dy in a panel: 32 KB, which stay in L1
DEPTH, FEWEST = 640, 200  # rows (channel, tap) of a task: as often dy is used once it is turned
LONGEST = 256  # positions in a row
ENOUGH = 8  # accumulators: as many products are under way at a time


@kernel(
    "plan: long*, x: T*, dy: T*, scratch: long*, thread: int, tasks: int -> partial: T*",
    over="tasks",
    work="1 << 15",
)
def sum_taps(i, plan, x, dy, scratch, thread, tasks, partial):  # type: ignore[no-untyped-def]
    """Task i: one chunk of images, one group, one slice of its channels."""
    channel = i % plan[SLICES] * plan[SLICE]
    group = i // plan[SLICES] % plan[GROUP]
    first = i // (plan[SLICES] * plan[GROUP]) * plan[CHUNK]
    last = min(first + plan[CHUNK], plan[BATCH])
    group_channels = plan[CHANNELS] // plan[GROUP]
    channels = min(plan[SLICE], group_channels - channel)
    begin = group * group_channels + channel
    sums = offset(partial, (i // plan[SLICES] * group_channels + channel) * plan[TAPS] * plan[LINE])
    panels = floats_at(scratch[thread])
    begun = 0
    for image in range(first, last, plan[IMAGES]):
        images = min(plan[IMAGES], last - image)
        for row in range(0, plan[OUT_HEIGHT], plan[ROWS_AT_ONCE]):
            each = min(plan[ROWS_AT_ONCE], plan[OUT_HEIGHT] - row) * plan[OUT_WIDTH]
            source = offset(x, ((image * plan[CHANNELS] + begin) * plan[HEIGHT] + row) * plan[IMAGE_WIDTH])
            if plan[IN_PLACE] == 0:
                source = offset(panels, plan[HELD] * plan[LINE])
                fill_band(plan, x, image, images, begin, channels, row * plan[STRIDE_Y], plan[BAND_ROWS], source)
            turn_outputs(plan, dy, image, images, group, row * plan[OUT_WIDTH], each, panels)
            multiply_positions(plan, source, channels, panels, images * each, begun, sums)
            begun = 1


@device_function
def turn_outputs(plan, dy, image, images, group, first, each, panels):  # type: ignore[no-untyped-def]
    """dy of a group at `each` positions of some images as panels: the outputs of a panel at each position."""
    outputs, size = plan[OUTPUTS] // plan[GROUP], plan[OUT_HEIGHT] * plan[OUT_WIDTH]
    for n in range(images):
        source = offset(dy, ((image + n) * plan[OUTPUTS] + group * outputs) * size + first)
        for output in range(0, outputs, plan[VECTORS] * LANES):
            count = min(plan[VECTORS] * LANES, outputs - output)
            width = (count + LANES - 1) // LANES * LANES
            panel = offset(panels, output * plan[HELD] + n * each * width)
            pack(offset(source, output * size), size, 1, count, each, panel, width)


@device_function
def multiply_positions(plan, source, channels, panels, count, begun, sums):  # type: ignore[no-untyped-def]
    """Add the products at `count` positions to the sums."""
    outputs, line = plan[OUTPUTS] // plan[GROUP], plan[LINE]
    table = offset(plan, plan[TABLE])
    for output in range(0, outputs, plan[VECTORS] * LANES):
        panel = offset(panels, output * plan[HELD])
        vectors = min(plan[VECTORS], (outputs - output + LANES - 1) // LANES)
        for channel in range(channels):
            band = offset(source, channel * plan[BAND_CHANNEL])
            for r in range(plan[RUNS]):
                run = offset(plan, plan[RUN_LIST] + r * RUN_FIELDS)
                place = offset(sums, (channel * plan[TAPS] + run[TAP]) * line + output)
                start = place if begun != 0 else floats_at(0)
                a, pitch, row = offset(band, run[PLACE]), plan[DILATION_Y] * plan[BAND_ROW], plan[STRIDE_X] * line
                multiply_taps(a, table, pitch, panel, start, place, row, count, run[COUNT], vectors)


class Cut(Chunks):
    """How the sum is cut into tasks."""

    @cached_property
    def slice(self) -> int:
        """Channels of a task."""
        channels = self.of.group_channels
        return ceil_div(channels, min(self.parts_of(self.of.depth, DEPTH, FEWEST), channels))

    @property
    def parts(self) -> int:
        return ceil_div(self.of.group_channels, self.slice)

    @property
    def in_place(self) -> bool:
        return is_small(self.of)

    @cached_property
    def at_once(self) -> tuple[int, int]:
        """Images and rows of output that are summed up in registers: some images, or some rows of one."""
        wanted = PANEL // (self.vectors * LANES)
        if self.of.positions <= wanted:
            images = min(self.chunk, wanted // self.of.positions)
            return ceil_div(self.chunk, ceil_div(self.chunk, images)), self.of.out_height
        blocks = ceil_div(self.of.out_height, max(1, wanted // self.of.out_width))
        return 1, ceil_div(self.of.out_height, blocks)

    @cached_property
    def runs(self) -> list[tuple[int, int]]:
        """Taps that are neighbours in a row of a band: the first, and how many."""
        of, found = self.of, []
        if of.kernel_y == of.kernel_x == 3 and of.stride_x == 1:
            return [(0, SQUARE)]
        for y in range(of.kernel_y):
            for phase in range(min(of.stride_x, of.kernel_x)):
                taps = range(y * of.kernel_x + phase, (y + 1) * of.kernel_x, of.stride_x)
                most = ceil_div(len(taps), ceil_div(len(taps), MOST_TAPS))
                found += [(taps[i], len(taps[i : i + most])) for i in range(0, len(taps), most)]
        return found

    @cached_property
    def vectors(self) -> int:
        """Vectors of outputs in a panel."""
        whole = ceil_div(self.of.group_outputs, LANES)
        return ceil_div(whole, ceil_div(whole, widest(max(count for _, count in self.runs))))

    @property
    def line(self) -> int:
        """From one row of the sums to the next."""
        return ceil_div(self.of.group_outputs, LANES) * LANES

    @cached_property
    def band(self) -> Band:
        return (Image if self.in_place else Band)(self.of, self.slice, self.at_once[1])

    @property
    def held(self) -> int:
        """Positions of a panel."""
        images, rows = self.at_once
        return images * rows * self.of.out_width

    @property
    def plan(self) -> np.ndarray:
        images, rows = self.at_once
        own = [images, self.chunk, self.parts, rows, self.vectors, self.line, self.held, int(self.in_place)]
        plan = self.band.plan([*own, len(self.runs), 0, 0])
        plan[RUN_LIST], plan[TABLE] = plan.size, plan.size + len(self.runs) * RUN_FIELDS
        offsets = self.band.tap_offsets()
        runs = [(tap, count, offsets[tap]) for tap, count in self.runs]
        pitch = self.band.channel * (self.of.channels if self.in_place else self.slice)
        image, row, column = (np.arange(n) for n in (images, rows, self.of.out_width))
        places = image[:, None, None] * pitch + (row * self.of.stride_y * self.band.row)[:, None] + column
        return np.concatenate([plan, np.array(runs).reshape(-1), places.reshape(-1)])

    @property
    def scratch(self) -> int:
        """Bytes: panels of dy, and a band."""
        return 4 * (self.held * self.line + (0 if self.in_place else self.band.floats(self.at_once[0])))

    @property
    def pays(self) -> bool:
        """Whether tiles of these runs are large enough to keep the processor busy."""
        of = self.of
        if of.dilation_x > 1 or of.out_width > LONGEST:
            return False
        return min(count for _, count in self.runs) * self.vectors >= ENOUGH

    def add_sums(self, x: np.ndarray, dy: np.ndarray, room: np.ndarray, sums: np.ndarray) -> None:
        """Launch the sums of every chunk: (chunk, group, channel, tap, `line` outputs)."""
        sum_taps(self.plan, x, dy, room, 0, self.tasks, sums)
