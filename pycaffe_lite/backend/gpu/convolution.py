"""Convolution and its gradients as matrix products that read images in place, in any number of dimensions.

    y[output, (image, position)] = w[output, (channel, tap)] * x[(channel, tap), (image, position)]

Nothing is unfolded: a block looks up where a tap meets the image while it fetches its slab. These are our
own kernels, for `engine: CAFFE` and for where cuDNN is not.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

from ... import geometry
from ...geometry import Geometry
from ...kernel import current_launcher
from ...ops import block_sum, fill
from .source import CudaKernel
from .tile import THREADS, TILE, product_kernel, tiles

WINDOWS = vars(geometry)  # input_place, output_position
WANTED_BLOCKS = 512  # that a sum over all images is cut into; a constant: it decides how things are rounded
LEAST_PRODUCTS = 512  # of a part of such a sum

COUNTS = ("batch", "channels", "outputs", "points", "positions", "taps", "groups", "axes")
GEOMETRY = ", ".join(f"{count}: int" for count in COUNTS) + ", table: int*"
# Of a block: its group, and the first row and column of its tile.
GROUP_AND_TILE = """
    const int tile_rows = (rows + TILE - 1) / TILE, tile_columns = (columns + TILE - 1) / TILE;
    const int row0 = i % tile_rows * TILE, column0 = i / tile_rows % tile_columns * TILE;
    const int rest = i / tile_rows / tile_columns, group = rest % groups;
"""

convolve = product_kernel(
    "convolve",
    f"x: T*, w: T*, bias: T*, has_bias: int, relu: int, {GEOMETRY} -> y: T*",
    over=f"{tiles('(outputs // groups)')} * {tiles('(batch * positions)')} * groups",
    start=f"""
    const int rows = outputs / groups, columns = batch * positions, depth = channels / groups * taps;
    const int first = 0, last = depth;
    {GROUP_AND_TILE}
    """,
    a="w[(group * rows + row) * depth + k]",
    b="""
    int place = input_place(k % taps, column % positions, axes, table);
    if (place >= 0)
        value = x[(column / positions * channels + group * (channels / groups) + k / taps) * points + place];
    """,
    store="""
    const int output = group * rows + row;
    if (has_bias) total += bias[output];
    if (relu && total < 0) total = 0;
    y[(column / positions * outputs + output) * positions + column % positions] = total;
    """,
    names=WINDOWS,
)

convolve_back = product_kernel(
    "convolve_back",
    f"dy: T*, w: T*, {GEOMETRY} -> dx: T*",
    over=f"{tiles('(channels // groups)')} * {tiles('(batch * points)')} * groups",
    start=f"""
    const int rows = channels / groups, columns = batch * points, group_outputs = outputs / groups;
    const int first = 0, last = group_outputs * taps;
    {GROUP_AND_TILE}
    """,
    a="w[((group * group_outputs + k / taps) * rows + row) * taps + k % taps]",
    b="""
    int position = output_position(k % taps, column % points, axes, table);
    if (position >= 0)
        value = dy[(column / points * outputs + group * group_outputs + k / taps) * positions + position];
    """,
    store="dx[(column / points * channels + group * rows + row) * points + column % points] = total;",
    names=WINDOWS,
)

weigh = product_kernel(
    "weigh",
    f"x: T*, dy: T*, {GEOMETRY}, parts: int, part_length: int -> partial: T*",
    over=f"{tiles('(outputs // groups)')} * {tiles('(channels // groups * taps)')} * groups * parts",
    start=f"""
    const int rows = outputs / groups, columns = channels / groups * taps;
    {GROUP_AND_TILE}
    const int part = rest / groups;
    const int first = part * part_length, last = min(first + part_length, batch * positions);
    """,
    a="dy[(k / positions * outputs + group * rows + row) * positions + k % positions]",
    b="""
    int place = input_place(column % taps, k % positions, axes, table);
    if (place >= 0)
        value = x[(k / positions * channels + group * (channels / groups) + column / taps) * points + place];
    """,
    store="partial[((long long)part * outputs + group * rows + row) * columns + column] = total;",
    b_along="true",
    names=WINDOWS,
)

add_parts = CudaKernel(
    "add_parts",
    "partial: T*, parts: int, count: int -> out: T*",
    """
    T total = 0;
    for (int part = 0; part < parts; ++part) total += partial[(long long)part * count + i];
    out[i] += total;
    """,
    over="count",
    block=None,
    names={},
)

add_channels = CudaKernel(
    "add_channels",
    "x: T*, batch: int, channels: int, size: int -> out: T*",
    """
    double total = 0;
    for (int j = threadIdx.x; j < batch * size; j += blockDim.x)
        total += x[(j / size * channels + i) * size + j % size];
    total = block_sum(total);
    if (threadIdx.x == 0) out[i] += total;
    """,
    over="channels",
    block=THREADS,
    names={"block_sum": block_sum},
)


class Convolution(Geometry):
    """A convolution on a GPU; its methods record launches. Gradients of w and of the bias are added to."""

    @cached_property
    def sizes(self) -> tuple[Any, ...]:
        """What all kernels are told; the table lies on the device."""
        device = current_launcher().device
        numbers = self.batch, self.channels, self.outputs, self.points, self.positions, self.taps, self.group
        return *numbers, len(self.size), device.upload(self.table)

    def forward(self, x: Any, w: Any, bias: Any, y: Any, relu: bool = False) -> None:
        """y = w * x, plus the bias of each output channel, then ReLU."""
        convolve(x, w, bias, int(bias is not None), int(relu), *self.sizes, y)

    def backward_data(self, dy: Any, w: Any, dx: Any) -> None:
        """dx = the gradient of x."""
        convolve_back(dy, w, *self.sizes, dx)

    def backward_weights(self, x: Any, dy: Any, dw: Any, accumulate: bool = True) -> None:
        """dw = or += the gradient of w: parts of the sum over all images, then their sum."""
        count, products = self.outputs * self.depth, self.batch * self.positions
        blocks = -(-self.outputs // self.group // TILE) * -(-self.depth // TILE) * self.group
        parts = max(1, min(WANTED_BLOCKS // blocks, products // LEAST_PRODUCTS))
        length = -(-products // parts)
        partial = current_launcher().device.workspace(parts * count, dw.dtype)
        if not accumulate:
            fill(0, count, dw)
        weigh(x, dy, *self.sizes, parts, length, partial)
        add_parts(partial, parts, count, dw)

    def backward_bias(self, dy: Any, db: Any) -> None:
        """db += the gradient of the bias."""
        add_channels(dy, self.batch, self.outputs, self.positions, db)
