"""The gradients of depthwise convolution.

As in the forward pass, kernels of 3x3 go straight from the images, and small planes are packed. Otherwise dy,
or x, is copied to a band; for the gradient of the weights, four taps share what is loaded of dy.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ...kernel import T, device_function, kernel
from . import packs
from .atoms import offset
from .band import copy_run, fill_band, zero_run
from .deconvolve import taps_by_phase
from .depthwise import STRIPS, ZEROS, convolve, packs_pay, strip_cost, strips_for, work_of
from .gemm import ceil_div
from .plane import (
    BAND_ROW,
    BAND_ROWS,
    BATCH,
    CHANNELS,
    HEIGHT,
    IMAGE_WIDTH,
    OUT_HEIGHT,
    OUT_WIDTH,
    OWN,
    PAD_X,
    PAD_Y,
    STRIDE_X,
    STRIDE_Y,
    TAP_OFFSETS,
    TAPS,
    Band,
    Plane,
)
from .strips import put, spread_strip_3x3, sum_strip_3x3
from .vector import LANES, floats_at, load, multiply_add, splat, store, total, zip_high, zip_low
from .workspace import scratch

NEIGHBOURS = 4  # channels whose weight gradients are summed up together: memory likes long runs


@kernel(
    "plan: long*, dy: T*, w: T*, tasks: int, work: int -> dx: T*",
    over="tasks",
    work="work",
)
def spread_channel(i, plan, dy, w, tasks, work, dx):  # type: ignore[no-untyped-def]
    """dx of one channel of one image, for kernels of 3x3 at stride 2."""
    height, width, rows, columns = plan[OUT_HEIGHT], plan[OUT_WIDTH], plan[HEIGHT], plan[IMAGE_WIDTH]
    plane, target = offset(dy, i * height * width), offset(dx, i * rows * columns)
    weights = offset(w, i % plan[CHANNELS] * plan[TAPS])
    for j in range(0, columns, 2 * LANES):
        there = offset(target, j)
        spread_strip_3x3(
            plane, height, width, plan[PAD_Y], plan[PAD_X], weights, j // 2, there, columns, rows, columns - j
        )


# Where kernels are not known to strips.py, the plan describes the band of dy; its own numbers the convolution.
ROWS, COLUMNS, ROW_STRIDE, COLUMN_STRIDE, ROW_PAD, COLUMN_PAD, ROW_KERNEL, COLUMN_KERNEL = range(OWN, OWN + 8)


@kernel(
    "plan: long*, row_taps: long*, column_taps: long*, dy: T*, w: T*, scratch: long*, thread: int, tasks: int, "
    "work: int -> dx: T*",
    over="tasks",
    work="work",
)
def deconvolve_channel(i, plan, row_taps, column_taps, dy, w, scratch, thread, tasks, work, dx):  # type: ignore[no-untyped-def]
    """One channel of one image. Rows and columns at one place in the stride are met by the same taps."""
    image, channel = i // plan[CHANNELS], i % plan[CHANNELS]
    spare = floats_at(scratch[thread])
    band = offset(spare, LANES)
    fill_band(plan, dy, image, 1, channel, 1, 0, plan[BAND_ROWS], band)
    weights = offset(w, channel * plan[ROW_KERNEL] * plan[COLUMN_KERNEL])
    width, stride, row_stride = plan[COLUMNS], plan[COLUMN_STRIDE], plan[ROW_STRIDE]
    for row in range(plan[ROWS]):
        y = (row + plan[ROW_PAD]) // row_stride
        taps = offset(row_taps, (row + plan[ROW_PAD] - y * row_stride) * (2 * plan[ROW_KERNEL] + 1))
        lines = offset(band, (y + plan[PAD_Y]) * plan[BAND_ROW] + plan[PAD_X])
        target = offset(dx, (i * plan[ROWS] + row) * width)
        for j in range(0, (width + stride - 1) // stride, LANES):
            begin, count = offset(target, j * stride), width - j * stride
            if stride == 1:
                put(begin, sum_phase(plan, lines, weights, taps, column_taps, 0, j), count)
            elif stride == 2:
                even = sum_phase(plan, lines, weights, taps, column_taps, 0, j)
                odd = sum_phase(plan, lines, weights, taps, column_taps, 1, j)
                put(begin, zip_low(even, odd), count)
                put(offset(begin, LANES), zip_high(even, odd), count - LANES)
            else:
                for phase in range(stride):
                    store(spare, sum_phase(plan, lines, weights, taps, column_taps, phase, j))
                    for lane in range(min(LANES, (count - phase + stride - 1) // stride)):
                        begin[lane * stride + phase] = spare[lane]


@device_function
def sum_phase(plan, lines, weights, row_taps, column_taps, phase, j):  # type: ignore[no-untyped-def]
    """LANES values of every COLUMN_STRIDE-th column, from `phase` on."""
    stride = plan[COLUMN_STRIDE]
    x = (phase + plan[COLUMN_PAD]) // stride
    taps = offset(column_taps, (phase + plan[COLUMN_PAD] - x * stride) * (2 * plan[COLUMN_KERNEL] + 1))
    sum = splat(T(0))
    for s in range(row_taps[0]):
        line = offset(lines, row_taps[2 + 2 * s] * plan[BAND_ROW] + x + j)
        for t in range(taps[0]):
            weight = weights[row_taps[1 + 2 * s] * plan[COLUMN_KERNEL] + taps[1 + 2 * t]]
            sum = multiply_add(load(offset(line, taps[2 + 2 * t])), splat(weight), sum)
    return sum


@kernel(
    "plan: long*, x: T*, dy: T*, scratch: long*, thread: int, channels: int, work: int -> dw: T*",
    over=f"(channels + {NEIGHBOURS - 1}) // {NEIGHBOURS}",
    work="work",
)
def sum_channel_weights(i, plan, x, dy, scratch, thread, channels, work, dw):  # type: ignore[no-untyped-def]
    """The kernels of some channels: for every tap the sum, over all images, of what it met times dy."""
    taps, height, width = plan[TAPS], plan[OUT_HEIGHT], plan[OUT_WIDTH]
    first, last = i * NEIGHBOURS, min(i * NEIGHBOURS + NEIGHBOURS, channels)
    room = (taps + 3) * LANES
    sums = floats_at(scratch[thread])
    zero_run(sums, NEIGHBOURS * room + ZEROS)
    zeros = offset(sums, NEIGHBOURS * room)
    for image in range(plan[BATCH]):
        for channel in range(first, last):
            number, own = image * channels + channel, offset(sums, (channel - first) * room)
            gradient = offset(dy, number * height * width)
            if plan[STRIPS] == 3:
                sum_strips(plan, offset(x, number * plan[HEIGHT] * plan[IMAGE_WIDTH]), gradient, zeros, own)
            else:
                sum_band(plan, x, image, channel, gradient, offset(zeros, ZEROS), own)
    for channel in range(first, last):
        for tap in range(taps):
            dw[channel * taps + tap] += total(load(offset(sums, (channel - first) * room + tap * LANES)))


@device_function
def sum_strips(plan, plane, gradient, zeros, sums):  # type: ignore[no-untyped-def]
    """Add what the taps of a 3x3 kernel met in one image, straight from the image."""
    stride, width = plan[STRIDE_X], plan[OUT_WIDTH]
    for j in range(0, width, LANES):
        sum_strip_3x3(
            plane, plan[HEIGHT], plan[IMAGE_WIDTH], -plan[PAD_Y], j * stride - plan[PAD_X], stride,
            offset(gradient, j), width, plan[OUT_HEIGHT], width - j, zeros, sums
        )  # fmt: skip


@device_function
def sum_band(plan, x, image, channel, dy, spare, sums):  # type: ignore[no-untyped-def]
    """Add what the taps met in one image, four taps at a time."""
    height, width = plan[OUT_HEIGHT], plan[OUT_WIDTH]
    pitch = (width + LANES - 1) // LANES * LANES
    gradient, band = spare, offset(spare, height * pitch)
    fill_band(plan, x, image, 1, channel, 1, 0, plan[BAND_ROWS], band)
    # Lanes without an output read on, into the next row or beyond the last: times zero, if it is a number.
    zero_run(offset(band, plan[BAND_ROWS] * plan[BAND_ROW]), LANES)
    for row in range(height):
        copy_run(offset(dy, row * width), offset(gradient, row * pitch), width)
    for tap in range(0, plan[TAPS], 4):
        sum_four_taps(plan, band, gradient, pitch, tap, offset(sums, tap * LANES))


@device_function
def sum_four_taps(plan, band, gradient, pitch, tap, sums):  # type: ignore[no-untyped-def]
    """Add what four taps from this one on met in one image; past the last tap, the last one again, for nothing."""
    offsets, last, step = offset(plan, plan[TAP_OFFSETS]), plan[TAPS] - 1, plan[STRIDE_Y] * plan[BAND_ROW]
    at_a, at_b = offset(band, offsets[tap]), offset(band, offsets[min(tap + 1, last)])
    at_c, at_d = offset(band, offsets[min(tap + 2, last)]), offset(band, offsets[min(tap + 3, last)])
    a, b = load(sums), load(offset(sums, LANES))
    c, d = load(offset(sums, 2 * LANES)), load(offset(sums, 3 * LANES))
    for row in range(plan[OUT_HEIGHT]):
        for j in range(0, pitch, LANES):
            place, gradients = row * step + j, load(offset(gradient, row * pitch + j))
            a = multiply_add(load(offset(at_a, place)), gradients, a)
            b = multiply_add(load(offset(at_b, place)), gradients, b)
            c = multiply_add(load(offset(at_c, place)), gradients, c)
            d = multiply_add(load(offset(at_d, place)), gradients, d)
    store(sums, a)
    store(offset(sums, LANES), b)
    store(offset(sums, 2 * LANES), c)
    store(offset(sums, 3 * LANES), d)


def deconvolve(of: Plane, dy: np.ndarray, w: np.ndarray, dx: np.ndarray) -> None:
    """dx = the gradient of the x that `of` convolves with w to y."""
    if of.stride_y == of.stride_x == 1:
        convolve(of.turned(), dy, w, None, dx, relu=False, turned=True)
        return
    pack, known = packs.backward_pack(of), strips_for(of) == 3
    if packs_pay(of, pack, ceil_div(of.width, 2 * LANES) * (60 + 7 * of.height) if known else 0):
        packs.gather(of, pack, dy, w, None, dx, relu=False)
        return
    if known:
        spread_channel(Band(of, 1, 1).plan([]), dy, w, of.batch * of.channels, work_of(of), dx)
        return
    # Taps that met a row of dx lie at the row (row + pad) // stride of dy, and up to `above` rows before it.
    above, left = _reach(of.kernel_y, of.stride_y, of.dilation_y), _reach(of.kernel_x, of.stride_x, of.dilation_x)
    seen = replace(
        of, height=of.out_height, width=of.out_width, stride_y=1, stride_x=1, dilation_y=1, dilation_x=1,
        pad_y=above, pad_x=left, kernel_y=above + 1, kernel_x=left + 1,
        out_height=(of.height - 1 + of.pad_y) // of.stride_y + 1,
        out_width=(of.width - 1 + of.pad_x) // of.stride_x + 1,
    )  # fmt: skip
    band = Band(seen, 1, seen.out_height)
    own = of.height, of.width, of.stride_y, of.stride_x, of.pad_y, of.pad_x, of.kernel_y, of.kernel_x
    rows = np.array(taps_by_phase(of.kernel_y, of.stride_y, of.dilation_y), np.int64)
    columns = np.array(taps_by_phase(of.kernel_x, of.stride_x, of.dilation_x), np.int64)
    room = scratch(4 * (LANES + band.floats(1)))
    deconvolve_channel(band.plan(own), rows, columns, dy, w, room, 0, of.batch * of.channels, work_of(of), dx)


def _reach(kernel: int, stride: int, dilation: int) -> int:
    """How far before an input's own output the first output lies that it takes part in."""
    return ceil_div((kernel - 1) * dilation, stride)


def add_weights_grad(of: Plane, x: np.ndarray, dy: np.ndarray, dw: np.ndarray) -> None:
    """dw += the gradient of the weights."""
    pack = packs.forward_pack(of)
    if packs_pay(of, pack, strip_cost(of) if strips_for(of) == 3 else 0):
        packs.add_weights_grad(of, pack, x, dy, dw)
        return
    band = Band(of, 1, of.out_height)
    gradient = of.out_height * ceil_div(of.out_width, LANES) * LANES
    room = scratch(4 * (NEIGHBOURS * (of.taps + 3) * LANES + ZEROS + gradient + band.floats(1)))
    work = NEIGHBOURS * of.batch * work_of(of)
    sum_channel_weights(band.plan([strips_for(of)]), x, dy, room, 0, of.channels, work, dw)
