"""What layers with one number (or statistic) per channel share: a blob seen as (outer, channels, inner).

BatchNorm, MVN, Scale, Bias and PReLU are all maps of that view. One index of a kernel is a few neighbouring
channels: of one sample where nothing is summed, else of the whole batch (on the GPU, a block of threads
for each channel). Only where planes are small is it more than one: what shares a cache line shares an index.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from ..kernel import T, kernel
from ..layer import Layer
from ..ops import block_sum
from ..proto import caffe_pb2

NEIGHBOURS = 64  # elements of a sample that an index should at least have


class Channels(NamedTuple):
    """Sizes of the view, and how many channels one index of a kernel takes."""

    outer: int
    channels: int
    inner: int
    per: int


CHANNELS = ", ".join(f"{size}: int" for size in Channels._fields)
BY_SAMPLE: Any = {"over": "outer * ((channels + per - 1) // per)", "work": "per * inner"}
WHOLE_BATCH: Any = {"over": "(channels + per - 1) // per", "work": "4 * outer * per * inner", "any_order": True}
ELEMENTS = "outer * channels * inner"
THREADS = 256  # of a channel's block on the GPU


def see(shape: Sequence[int], first: int, end: int) -> Channels:
    """The view in which the axes from `first` to `end` (excluded) are the channels."""
    channels, inner = math.prod(shape[first:end]), math.prod(shape[end:])
    return Channels(math.prod(shape[:first]), channels, inner, max(1, min(channels, NEIGHBOURS // max(1, inner))))


def four_axes(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape as Caffe's oldest layers see it: with at least four axes."""
    return (*shape, *[1] * (4 - len(shape)))


def operand_view(layer: Layer, bottom: Sequence[tuple[int, ...]]) -> tuple[tuple[int, ...], Channels]:
    """For Scale and Bias: the shape of what is repeated over the first bottom, and the view that goes with it."""
    p, shape = layer.param, bottom[0]
    if len(bottom) == 2 and bottom[1] == ():
        first, operand = 0, ()
    else:
        first = layer.axis(p.axis, shape, f"{layer.param_field}.axis")
        operand = bottom[1] if len(bottom) == 2 else parameter_shape(layer, shape, first)
    if shape[first : first + len(operand)] != operand:
        raise layer.error(
            f"bottom 1: its shape {operand} must be that of bottom 0, {shape}, from axis {first} on "
            f"({shape[first : first + len(operand)]})"
        )
    if not operand:  # one number is the same at every axis: this view has work for several threads
        first = min(1, len(shape))
    return operand, see(shape, first, first + len(operand))


def parameter_shape(layer: Layer, shape: tuple[int, ...], first: int) -> tuple[int, ...]:
    """The `num_axes` axes of the bottom from `first` on; -1 means all."""
    count, field = layer.param.num_axes, f"{layer.param_field}.num_axes"
    if count < -1:
        raise layer.error(f"{field}: must not be negative (-1 for all axes that are left), got {count}")
    if first + count > len(shape):
        raise layer.error(f"{field}: bottom {shape} has {len(shape) - first} axes from axis {first} on, got {count}")
    return shape[first:] if count == -1 else shape[first : first + count]


def filler_or(param: Any, field: str, value: float) -> Any:
    """The filler in this field of a layer's parameters, or else the constant `value`."""
    return getattr(param, field) if param.HasField(field) else caffe_pb2.FillerParameter(type="constant", value=value)


@kernel(f"x: T*, centre: T*, scale: T*, shift: T*, {CHANNELS} -> y: T*", **BY_SAMPLE)
def affine_channels(i, x, centre, scale, shift, outer, channels, inner, per, y):
    """y = (x - centre) * scale + shift, with three numbers for each channel."""
    groups = (channels + per - 1) // per
    row, first = i // groups * channels, i % groups * per
    for c in range(first, min(first + per, channels)):
        m, a, b = centre[c], scale[c], shift[c]
        start = (row + c) * inner
        for j in range(start, start + inner):
            y[j] = (x[j] - m) * a + b


affine_channels.cuda("int c = i / inner % channels; y[i] = (x[i] - centre[c]) * scale[c] + shift[c];", over=ELEMENTS)


@kernel(f"x: T*, dy: T*, scale: T*, wanted: int, {CHANNELS} -> dx: T*, dscale: T*, dshift: T*", **WHOLE_BATCH)
def affine_channels_grad(i, x, dy, scale, wanted, outer, channels, inner, per, dx, dscale, dshift):
    """dscale += sum(dy * x) and dshift += sum(dy) in every channel; dx = dy * scale if it is wanted."""
    for o in range(outer):
        for c in range(i * per, min((i + 1) * per, channels)):
            start, product, total, a = (o * channels + c) * inner, 0.0, 0.0, scale[c]
            for j in range(start, start + inner):
                product += dy[j] * x[j]
                total += dy[j]
            dscale[c] += T(block_sum(product))
            dshift[c] += T(block_sum(total))
            if wanted:  # the plane is still in the cache
                for j in range(start, start + inner):
                    dx[j] = dy[j] * a


affine_channels_grad.cpu("channels", "affine_channels_grad")
affine_channels_grad.cuda(
    """
    double product = 0, total = 0;
    for (int j = threadIdx.x; j < outer * inner; j += blockDim.x) {
        int at = (j / inner * channels + i) * inner + j % inner;
        product += dy[at] * x[at];
        total += dy[at];
        if (wanted) dx[at] = dy[at] * scale[i];
    }
    product = block_sum(product);
    total = block_sum(total);
    if (threadIdx.x == 0) { dscale[i] += product; dshift[i] += total; }
""",
    over="channels",
    block=THREADS,
)
