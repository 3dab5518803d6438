"""Im2col: what every kernel position of a convolution sees, laid out as channels."""

from __future__ import annotations

import math

import numpy as np

from ..kernel import T, device_function, kernel
from ..layer import Shapes, exactly
from ._convolution import ConvolutionBase

FIELDS = 6  # of an axis in the table: size, output, kernel, stride, pad, dilation


@device_function
def input_place(tap, position, axes, table):
    """Where in its plane tap number `tap` of output number `position` looks; -1 in the padding."""
    place = 0
    pitch = 1
    for reverse in range(axes):
        at = (axes - 1 - reverse) * FIELDS
        size, output, taps = table[at], table[at + 1], table[at + 2]
        stride, pad, dilation = table[at + 3], table[at + 4], table[at + 5]
        coordinate = position % output * stride - pad + tap % taps * dilation
        if coordinate < 0 or coordinate >= size:
            return -1
        place += coordinate * pitch
        pitch *= size
        position //= output
        tap //= taps
    return place


input_place.cuda("""
__device__ int input_place(int tap, int position, int axes, const int* table) {
    int place = 0, pitch = 1;
    for (int axis = axes - 1; axis >= 0; --axis) {
        const int* t = table + axis * 6;
        int coordinate = position % t[1] * t[3] - t[4] + tap % t[2] * t[5];
        if (coordinate < 0 || coordinate >= t[0]) return -1;
        place += coordinate * pitch;
        pitch *= t[0]; position /= t[1]; tap /= t[2];
    }
    return place;
}
""")


@device_function
def output_position(tap, place, axes, table):
    """The output that looks at `place` with tap number `tap`; -1 if there is none."""
    position = 0
    pitch = 1
    for reverse in range(axes):
        at = (axes - 1 - reverse) * FIELDS
        size, output, taps = table[at], table[at + 1], table[at + 2]
        stride, pad, dilation = table[at + 3], table[at + 4], table[at + 5]
        offset = place % size + pad - tap % taps * dilation
        if offset < 0 or offset % stride != 0 or offset // stride >= output:
            return -1
        position += offset // stride * pitch
        pitch *= output
        place //= size
        tap //= taps
    return position


output_position.cuda("""
__device__ int output_position(int tap, int place, int axes, const int* table) {
    int position = 0, pitch = 1;
    for (int axis = axes - 1; axis >= 0; --axis) {
        const int* t = table + axis * 6;
        int offset = place % t[0] + t[4] - tap % t[2] * t[5];
        if (offset < 0 || offset % t[3] != 0 || offset / t[3] >= t[1]) return -1;
        position += offset / t[3] * pitch;
        pitch *= t[1]; place /= t[0]; tap /= t[2];
    }
    return position;
}
""")

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
