"""Depthwise convolution: every channel has a kernel of its own, so there is no product of matrices.

Kernels that `strips.py` knows are taken straight from the image, if rows fill vectors; small planes go through
`packs.py`. In what is left a channel is copied to a band, and vectors of neighbouring outputs are summed up tap
by tap, four rows at a time, which share the weights.
"""

from __future__ import annotations

import numpy as np

from ...kernel import T, device_function, kernel
from . import packs
from .atoms import offset
from .band import fill_band, zero_run
from .gemm import ceil_div
from .plane import (
    BAND_ROW,
    BAND_ROWS,
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
from .strips import convolve_strip_3x3, convolve_strip_5x5, put
from .tile import FLAT
from .vector import LANES, at_least, floats_at, load, multiply_add, splat
from .workspace import scratch

BLOCK = 16  # rows of output that are done before those below them: their images stay in the first cache
ZEROS = 3 * LANES  # that stand for a row which is not there
STRIPS = OWN  # in the plan: the size of a kernel that strips.py knows, else 0


@kernel(
    "plan: long*, x: T*, w: T*, turned: int, bias: T*, has_bias: int, floor: T, scratch: long*, thread: int, "
    "tasks: int, work: int -> y: T*",
    over="tasks",
    work="work",
)
def convolve_channel(i, plan, x, w, turned, bias, has_bias, floor, scratch, thread, tasks, work, y):  # type: ignore[no-untyped-def]
    """One channel of one image."""
    image, channel = i // plan[CHANNELS], i % plan[CHANNELS]
    weights = floats_at(scratch[thread])
    taps = plan[TAPS]
    for tap in range(taps):
        weights[tap] = w[channel * taps + (tap if turned == 0 else taps - 1 - tap)]
    start = bias[channel] if has_bias != 0 else T(0)
    plane, target = offset(x, i * plan[HEIGHT] * plan[IMAGE_WIDTH]), offset(y, i * plan[OUT_HEIGHT] * plan[OUT_WIDTH])
    zeros = offset(weights, (taps + LANES - 1) // LANES * LANES)
    zero_run(zeros, ZEROS)
    band = offset(zeros, ZEROS)
    if plan[STRIPS] == 0:
        fill_band(plan, x, image, 1, channel, 1, 0, plan[BAND_ROWS], band)
    rows, width = plan[OUT_HEIGHT], plan[OUT_WIDTH]
    high = BLOCK if plan[STRIPS] == 3 else rows
    for row in range(0, rows, high):
        for j in range(0, width, LANES):
            # The last columns may overlap those before them; computed again, they come out the same.
            column = max(0, min(j, width - LANES))
            there = offset(target, row * width + column)
            if plan[STRIPS] == 0:
                convolve_columns(plan, offset(band, column), weights, start, floor, there, column)
            else:
                convolve_strip(plan, plane, weights, start, floor, there, row, min(high, rows - row), column, zeros)


@device_function
def convolve_strip(plan, plane, weights, start, floor, target, row, rows, column, zeros):  # type: ignore[no-untyped-def]
    """Up to LANES columns of outputs from this one on in some rows, straight from the image."""
    height, width, pitch = plan[HEIGHT], plan[IMAGE_WIDTH], plan[OUT_WIDTH]
    y, x, count = row * plan[STRIDE_Y] - plan[PAD_Y], column * plan[STRIDE_X] - plan[PAD_X], pitch - column
    if plan[STRIPS] == 3:
        stride = plan[STRIDE_X]
        convolve_strip_3x3(plane, height, width, y, x, stride, weights, start, floor, target, pitch, rows, count, zeros)
    else:
        convolve_strip_5x5(plane, height, width, y, x, weights, start, floor, target, pitch, rows, count)


@device_function
def convolve_columns(plan, band, weights, start, floor, target, column):  # type: ignore[no-untyped-def]
    """Up to LANES columns of outputs from this one on, tap by tap from a band."""
    step, height, width = plan[STRIDE_Y] * plan[BAND_ROW], plan[OUT_HEIGHT], plan[OUT_WIDTH]
    count = width - column
    for first in range(0, height - 3, 4):
        place, there = offset(band, first * step), offset(target, first * width)
        sum_four_rows(plan, place, step, weights, start, floor, there, width, count)
    for row in range(height // 4 * 4, height):
        sum_row(plan, offset(band, row * step), weights, start, floor, offset(target, row * width), count)


@device_function
def sum_four_rows(plan, source, step, weights, start, floor, target, pitch, count):  # type: ignore[no-untyped-def]
    """Up to LANES outputs in each of four rows."""
    a = b = c = d = splat(start)
    offsets = offset(plan, plan[TAP_OFFSETS])
    for tap in range(plan[TAPS]):
        weight, place = splat(weights[tap]), offset(source, offsets[tap])
        a = multiply_add(load(place), weight, a)
        b = multiply_add(load(offset(place, step)), weight, b)
        c = multiply_add(load(offset(place, 2 * step)), weight, c)
        d = multiply_add(load(offset(place, 3 * step)), weight, d)
    least = splat(floor)
    put(target, at_least(a, least), count)
    put(offset(target, pitch), at_least(b, least), count)
    put(offset(target, 2 * pitch), at_least(c, least), count)
    put(offset(target, 3 * pitch), at_least(d, least), count)


@device_function
def sum_row(plan, source, weights, start, floor, target, count):  # type: ignore[no-untyped-def]
    """Up to LANES outputs of one row."""
    a = splat(start)
    for tap in range(plan[TAPS]):
        place = offset(source, plan[plan[TAP_OFFSETS] + tap])
        a = multiply_add(load(place), splat(weights[tap]), a)
    put(target, at_least(a, splat(floor)), count)


ROW_COST = {(3, 1): 8, (3, 2): 15, (5, 1): 17}  # cycles that a row of a strip takes, for what strips.py knows


def kind_of(of: Plane) -> tuple[int, int]:
    """The size of the kernel and the stride, if both are the same along both axes and nothing is dilated."""
    plain = of.dilation_y == of.dilation_x == 1 and of.kernel_y == of.kernel_x and of.stride_y == of.stride_x
    return (of.kernel_y, of.stride_y) if plain else (0, 0)


def strips_for(of: Plane) -> int:
    """The size of the kernel, if strips.py knows it, else 0."""
    return of.kernel_y if kind_of(of) in ROW_COST else 0


def strip_cost(of: Plane) -> int:
    """What a plane costs in strips, in cycles; 0 where they do not know the kernel."""
    return ceil_div(of.out_width, LANES) * (100 + ROW_COST[kind_of(of)] * of.out_height) if strips_for(of) else 0


def packs_pay(of: Plane, pack: packs.Pack, strips: int) -> bool:
    """Whether planes are best packed; strips take so many cycles, or 0 if they are no choice."""
    fits = pack.places <= packs.MOST_PLACES and 2 * of.channels >= LANES
    return fits and (strips == 0 or pack.cost(of) < strips)


def work_of(of: Plane) -> int:
    """What a channel of an image costs, in elementary operations."""
    return of.positions * of.taps // LANES * 4 + 2 * of.height * of.width // LANES + 100


def convolve(
    of: Plane, x: np.ndarray, w: np.ndarray, bias: np.ndarray | None, y: np.ndarray, relu: bool, turned: bool
) -> None:
    """y = w * x, channel by channel; with `turned`, kernels are turned around."""
    pack = packs.forward_pack(of, turned)
    if packs_pay(of, pack, strip_cost(of)):
        packs.gather(of, pack, x, w, bias, y, relu)
        return
    band = Band(of, 1, of.out_height)
    room = scratch(4 * (of.taps + LANES + ZEROS + band.floats(1)))
    convolve_channel(
        band.plan([strips_for(of)]), x, w, int(turned), bias, int(bias is not None), 0.0 if relu else FLAT,
        room, 0, of.batch * of.channels, work_of(of), y,
    )  # fmt: skip
