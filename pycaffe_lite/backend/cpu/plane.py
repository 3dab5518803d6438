"""Sizes of a convolution over planes, and the band it reads its input from, as numbers that kernels read.

A kernel's plan is one table of int64: the geometry, the layout of a band, the pass's own numbers from
`OWN` on, and behind them two lists, where each tap is in a band and how the phases of a row are made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass

import numpy as np

from .gemm import ceil_div
from .vector import LANES

(
    BATCH, CHANNELS, HEIGHT, IMAGE_WIDTH, OUTPUTS, OUT_HEIGHT, OUT_WIDTH, KERNEL_Y, KERNEL_X,
    STRIDE_Y, STRIDE_X, PAD_Y, PAD_X, DILATION_Y, DILATION_X, GROUP, TAPS,
    SLICE, BAND_ROW, BAND_CHANNEL, BAND_ROWS, TAP_OFFSETS, PHASES, OWN,
) = range(24)  # fmt: skip

COLUMN, LEFT, COUNT, RIGHT, PHASE_FIELDS = range(5)
"""A phase of a row begins with so many zeros, then `COUNT` numbers from column `COLUMN` of the image on."""


@dataclass(frozen=True)
class Plane:
    """A convolution of x (batch, channels, height, width) to y (batch, outputs, out_height, out_width)."""

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
    def group_channels(self) -> int:
        return self.channels // self.group

    @property
    def group_outputs(self) -> int:
        return self.outputs // self.group

    @property
    def depth(self) -> int:
        """Products that make one output value."""
        return self.group_channels * self.taps

    def turned(self) -> Plane:
        """The convolution of dy that gives dx, where the stride is 1: kernels are turned by 180 degrees."""
        return Plane(
            self.batch, self.outputs, self.out_height, self.out_width, self.channels, self.height, self.width,
            self.kernel_y, self.kernel_x, 1, 1,
            self.dilation_y * (self.kernel_y - 1) - self.pad_y,
            self.dilation_x * (self.kernel_x - 1) - self.pad_x,
            self.dilation_y, self.dilation_x, self.group,
        )  # fmt: skip


@dataclass(frozen=True)
class Band:
    """How a band for so many rows of output is laid out; it holds `slice` channels of each image."""

    of: Plane
    slice: int
    out_rows: int

    @property
    def rows(self) -> int:
        return (self.out_rows - 1) * self.of.stride_y + (self.of.kernel_y - 1) * self.of.dilation_y + 1

    @property
    def phase(self) -> int:
        """Numbers in a phase of a row."""
        of = self.of
        if of.pad_x == 0 and of.stride_x == 1:
            return of.width  # whole rows can be copied in one go
        columns = (of.out_width - 1) * of.stride_x + (of.kernel_x - 1) * of.dilation_x + 1
        return ceil_div(columns, of.stride_x)

    @property
    def row(self) -> int:
        return self.phase * self.of.stride_x

    @property
    def channel(self) -> int:
        """Room for a channel, an odd number of cache lines: else channels pile up in a few places of the cache."""
        return (ceil_div(self.rows * self.row, LANES) | 1) * LANES

    def floats(self, images: int) -> int:
        """Room for the band of so many images, and for what spills over its end."""
        return images * self.slice * self.channel + 2 * LANES

    def tap_offsets(self) -> list[int]:
        """Where the taps of a kernel lie, seen from the first."""
        of = self.of
        y, x = np.divmod(np.arange(of.taps), of.kernel_x)
        step, phase = np.divmod(x * of.dilation_x, of.stride_x)
        return list(y * of.dilation_y * self.row + phase * self.phase + step)

    def phases(self) -> list[int]:
        """Where the phases of a row get their numbers from."""
        fields = []
        for phase in range(self.of.stride_x):
            column = phase - self.of.pad_x
            left = min(self.phase, max(0, ceil_div(-column, self.of.stride_x)))
            count = max(0, min(self.phase, ceil_div(self.of.width - column, self.of.stride_x)) - left)
            fields += [column + left * self.of.stride_x, left, count, self.phase - left - count]
        return fields

    def plan(self, own: Sequence[int]) -> np.ndarray:
        """The table of a pass with these numbers of its own."""
        taps = OWN + len(own)
        layout = [self.slice, self.row, self.channel, self.rows, taps, taps + self.of.taps]
        numbers = [*astuple(self.of), self.of.taps, *layout, *own, *self.tap_offsets(), *self.phases()]
        return np.array(numbers, np.int64)
