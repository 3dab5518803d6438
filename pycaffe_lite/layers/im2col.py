"""Im2col: what every kernel position of a convolution sees, laid out as channels."""

from __future__ import annotations

import math

import numpy as np

from ..geometry import input_place, output_position
from ..kernel import T, kernel
from ..layer import Shapes, exactly
from ._convolution import ConvolutionBase

SIZES = "planes: int, size: int, taps: int, positions: int, axes: int, table: int*"


@kernel(f"x: T*, {SIZES} -> columns: T*", over="planes * taps", work="8 * axes * positions")
def image_to_columns(i, x, planes, size, taps, positions, axes, table, columns):
    """Row i: what one tap sees of its plane (a channel of an image) at every output position."""
    for p in range(positions):
        place = input_place(i % taps, p, axes, table)
        columns[i * positions + p] = x[i // taps * size + place] if place >= 0 else T(0)


image_to_columns.cuda(
    """
    int row = i / positions, place = input_place(row % taps, i % positions, axes, table);
    columns[i] = place >= 0 ? x[row / taps * size + place] : T(0);
""",
    over="planes * taps * positions",
)


@kernel(f"columns: T*, {SIZES} -> x: T*", over="planes", work="8 * axes * taps * size")
def columns_to_image(i, columns, planes, size, taps, positions, axes, table, x):
    """Every value of plane i: the sum of all that the columns hold for it."""
    for place in range(size):
        total = T(0)
        for tap in range(taps):
            position = output_position(tap, place, axes, table)
            if position >= 0:
                total += columns[(i * taps + tap) * positions + position]
        x[i * size + place] = total


columns_to_image.cuda(
    """
    T total = 0;
    for (int tap = 0; tap < taps; ++tap) {
        int position = output_position(tap, i % size, axes, table);
        if (position >= 0) total += columns[(i / size * taps + tap) * positions + position];
    }
    x[i] = total;
""",
    over="planes * size",
)


class Im2col(ConvolutionBase, type="Im2col", param="convolution_param"):
    """(N, C, size...) to (N, C * taps, size'...); only the geometry of convolution_param counts."""

    bottoms = tops = exactly(1)
    backward_reads = ()

    def setup(self):
        """Nothing to check: num_output and group mean nothing here."""

    def shapes(self, bottom):
        batch, leading, channels, size = self.read_geometry(bottom)
        if not size:
            raise self.error(
                f"bottom: must have a spatial axis behind channel axis {len(leading)}, got shape {bottom[0]}"
            )
        self.check_fit(size)
        output = self.geometry(batch, channels, size, channels).output
        taps = math.prod(self.kernel)
        self.sizes = batch * channels, math.prod(size), taps, math.prod(output), len(size)
        columns = size, output, self.kernel, self.stride, self.pad, self.dilation
        return Shapes(
            top=[(*leading, channels * taps, *output)],
            scratch={"table": np.array(columns, np.int32).T.copy()},
        )

    def forward(self, bottom, top):
        image_to_columns(bottom[0].data, *self.sizes, self.table, top[0].data)

    def backward(self, top, propagate_down, bottom):
        if propagate_down[0]:
            columns_to_image(top[0].diff, *self.sizes, self.table, bottom[0].diff)
