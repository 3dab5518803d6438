"""A convolution over planes, as the table of numbers that its kernels read.

Beside the geometry, the table says how images are cut into tasks and how bands are laid out; both follow
from the geometry alone. Forward convolution of x and, where the stride is 1, the gradient with respect to
x are passes of this form; for the latter x and y change places and the kernel is turned around.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass
from functools import cached_property

import numpy as np

from .gemm import DEPTH, FEWEST_TILES, PANELS, ceil_div, tile_height, wanted_tasks
from .tile import PITCH, ROWS, WIDTH
from .vector import LANES

(
    BATCH, CHANNELS, HEIGHT, IMAGE_WIDTH, OUTPUTS, OUT_HEIGHT, OUT_WIDTH, KERNEL_Y, KERNEL_X,
    STRIDE_Y, STRIDE_X, PAD_Y, PAD_X, DILATION_Y, DILATION_X, GROUP,
    IMAGES, BLOCK, BLOCKS, TILE, OUTPUT_BLOCK, OUTPUT_BLOCKS, SLICE,
    BAND_ROW, BAND_CHANNEL, BAND_ROWS, TAPS, PHASES, TAP_OFFSETS,
) = range(29)  # fmt: skip

COLUMN, LEFT, COUNT, RIGHT, PHASE_FIELDS = range(5)
"""A phase of a row begins with so many zeros, then `COUNT` numbers from column `COLUMN` of the image on."""

RUNS = 4 * (WIDTH + 4)  # floats for the list of runs in a panel, two long numbers each, and whole cache lines
TARGET = 512  # positions in a task: enough to reuse what it packs, few enough to stay in cache
SETS = 16  # of images, wanted


@dataclass(frozen=True)
class Plane:
    """Sizes of one pass from x (batch, channels, height, width) to y (batch, outputs, ...)."""

    batch: int
    channels: int
    height: int
    width: int
    outputs: int
    out_height: int
    out_width: int
    kernel_y: int
    kernel_x: int
    stride_y: int
    stride_x: int
    pad_y: int
    pad_x: int
    dilation_y: int
    dilation_x: int
    group: int

    @property
    def positions(self) -> int:
        return self.out_height * self.out_width

    @property
    def taps(self) -> int:
        return self.kernel_y * self.kernel_x

    @property
    def depth(self) -> int:
        """Products that make one output value."""
        return self.channels // self.group * self.taps

    @property
    def tile(self) -> int:
        """Output channels of a tile."""
        return tile_height(self.outputs // self.group)

    @property
    def tiles(self) -> int:
        """Tiles of output channels in a group."""
        return ceil_div(self.outputs // self.group, self.tile)

    @cached_property
    def slice(self) -> int:
        """Channels whose taps are taken at a time."""
        channels = self.channels // self.group
        return ceil_div(channels, ceil_div(channels, max(1, DEPTH // self.taps)))

    @cached_property
    def cut(self) -> tuple[int, int, int]:
        """Images in a task, positions in a task, tiles of output channels in a task."""
        # How images share panels decides how sums are rounded: it must follow from the shape alone.
        images = max(1, min(self.batch, TARGET // self.positions))
        while images > 1 and images * self.positions > TARGET // 2 and ceil_div(self.batch, images) < SETS:
            images = ceil_div(images, 2)
        images = ceil_div(self.batch, ceil_div(self.batch, images))
        panels = ceil_div(images * self.positions, WIDTH)
        blocks, tiles = ceil_div(panels * WIDTH, TARGET) if images == 1 else 1, self.tiles
        # The rest only decides who computes what.
        while ceil_div(self.batch, images) * blocks * self.group * ceil_div(self.tiles, tiles) < wanted_tasks():
            if images == 1 and panels // blocks > 2 * PANELS:
                blocks += 1
            elif tiles > FEWEST_TILES:
                tiles = ceil_div(tiles, 2)
            else:
                break
        return images, ceil_div(panels, blocks) * WIDTH, tiles

    @cached_property
    def blocks(self) -> int:
        """Tasks that share the positions of the same images."""
        images, positions, _ = self.cut
        return ceil_div(images * self.positions, positions)

    @cached_property
    def tasks(self) -> int:
        images, _, tiles = self.cut
        return ceil_div(self.batch, images) * self.blocks * self.group * ceil_div(self.tiles, tiles)

    @cached_property
    def band(self) -> tuple[int, int, int, int]:
        """Phase, row and channel pitch of a band, and its rows."""
        images, positions, _ = self.cut
        columns = (self.out_width - 1) * self.stride_x + (self.kernel_x - 1) * self.dilation_x + 1
        rows = self.out_height
        if self.blocks > 1:  # positions that do not begin with a row reach into one more
            rows = min(rows, ceil_div(positions - 1, self.out_width) + 1)
        rows = (rows - 1) * self.stride_y + (self.kernel_y - 1) * self.dilation_y + 1
        if self.pad_x == 0 and self.stride_x == 1:
            columns = self.width  # whole rows can be copied in one go
        phase = ceil_div(columns, self.stride_x)
        row = phase * self.stride_x
        # An odd number of cache lines: channels would pile up in the same few places of the cache else.
        channel = (ceil_div(rows * row, LANES) | 1) * LANES
        return phase, row, channel, rows

    @cached_property
    def table(self) -> np.ndarray:
        """All of this in the order of the names above, then where each tap is in a band."""
        images, positions, tiles = self.cut
        phase, row, channel, rows = self.band
        y, x = np.divmod(np.arange(self.taps), self.kernel_x)
        column = x * self.dilation_x
        offsets = y * self.dilation_y * row + column % self.stride_x * phase + column // self.stride_x
        plan = [
            images, positions, self.blocks, self.tile, tiles * self.tile, ceil_div(self.tiles, tiles),
            self.slice, row, channel, rows, self.taps, TAP_OFFSETS + self.taps, *offsets,
        ]  # fmt: skip
        return np.array([*astuple(self), *plan, *self._phases(phase)], np.int64)

    def _phases(self, length: int) -> list[int]:
        """Where the phases of a row, so long, get their numbers."""
        fields = []
        for phase in range(self.stride_x):
            column = phase - self.pad_x
            left = min(length, max(0, ceil_div(-column, self.stride_x)))
            count = max(0, min(length, ceil_div(self.width - column, self.stride_x)) - left)
            fields += [column + left * self.stride_x, left, count, length - left - count]
        return fields

    @cached_property
    def scratch_floats(self) -> int:
        """Scratch of a task: a tile, the list of runs in a panel, panels, a band, and room to spill."""
        _, _, channel, _ = self.band
        panels = PANELS * WIDTH * self.slice * self.taps
        return ROWS * WIDTH + RUNS + panels + self.cut[0] * self.slice * channel + 2 * WIDTH

    @property
    def packed_floats(self) -> int:
        """Weights, packed."""
        return self.group * self.tiles * self.depth * PITCH
