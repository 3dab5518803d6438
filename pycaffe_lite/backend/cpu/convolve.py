"""Convolution as a matrix product whose right-hand matrix is never written down.

    y[outputs, positions] = weights[outputs, (channel, tap)] * columns[(channel, tap), positions]

A task takes a block of positions. It copies the input they see into a band, cuts panels of columns from
the band just before they are needed, and multiplies them with the packed weights like any matrix product.
"""

from __future__ import annotations

import numpy as np

from ...kernel import T, device_function, kernel
from .atoms import offset
from .band import fill_band
from .gemm import PANELS
from .panels import merge, pack
from .plane import (
    BAND_CHANNEL,
    BAND_ROW,
    BAND_ROWS,
    BATCH,
    BLOCK,
    BLOCKS,
    CHANNELS,
    GROUP,
    IMAGES,
    OUT_HEIGHT,
    OUT_WIDTH,
    OUTPUT_BLOCK,
    OUTPUT_BLOCKS,
    OUTPUTS,
    RUNS,
    SLICE,
    STRIDE_Y,
    TAP_OFFSETS,
    TAPS,
    TILE,
    Plane,
)
from .tile import FLAT, PITCH, ROWS, WIDTH, multiply_tile
from .vector import LANES, floats_at, load, longs, splat, store
from .workspace import scratch, workspace


@kernel(
    "plan: long*, x: T*, weights: T*, bias: T*, has_bias: int, floor: T, scratch: long*, thread: int, "
    "tasks: int -> y: T*",
    over="tasks",
    work="1 << 15",
)
def convolve_block(i, plan, x, weights, bias, has_bias, floor, scratch, thread, tasks, y):  # type: ignore[no-untyped-def]
    """Task i: a block of output channels at a block of positions of some images, in one group."""
    part = i % plan[OUTPUT_BLOCKS]
    block = i // plan[OUTPUT_BLOCKS] % plan[BLOCKS]
    group = i // (plan[OUTPUT_BLOCKS] * plan[BLOCKS]) % plan[GROUP]
    image = i // (plan[OUTPUT_BLOCKS] * plan[BLOCKS] * plan[GROUP]) * plan[IMAGES]
    images = min(plan[IMAGES], plan[BATCH] - image)
    first = block * plan[BLOCK]
    last = min(first + plan[BLOCK], images * plan[OUT_HEIGHT] * plan[OUT_WIDTH])
    first_row = first // plan[OUT_WIDTH]
    tile = floats_at(scratch[thread])
    runs = offset(tile, ROWS * WIDTH)
    panels = offset(runs, RUNS)
    band = offset(panels, PANELS * WIDTH * plan[SLICE] * plan[TAPS])
    group_channels = plan[CHANNELS] // plan[GROUP]
    for channel in range(0, group_channels, plan[SLICE]):
        channels = min(plan[SLICE], group_channels - channel)
        row = first_row * plan[STRIDE_Y]
        fill_band(plan, x, image, images, group * group_channels + channel, channels, row, plan[BAND_ROWS], band)
        is_last = channel + channels == group_channels
        for p in range(first, last, PANELS * WIDTH):
            stop = min(p + PANELS * WIDTH, last)
            depth = channels * plan[TAPS]
            for q in range(p, stop, WIDTH):
                found = find_runs(plan, q, min(WIDTH, stop - q), first_row, longs(runs))
                cut_columns(plan, band, channels, longs(runs), found, offset(panels, (q - p) * depth))
            multiply_panels(
                plan, weights, bias, has_bias, floor if is_last else T(FLAT), panels, tile, group,
                part, channel, depth, p, stop, offset(y, image * plan[OUTPUTS] * plan[OUT_HEIGHT] * plan[OUT_WIDTH])
            )  # fmt: skip


@device_function
def find_runs(plan, position, count, first_row, runs):  # type: ignore[no-untyped-def]
    """Positions from this one on as runs of at most LANES neighbours in a band; returns how many.

    runs[2 * s] is where run s begins in the band, runs[2 * s + 1] where in the panel; the last one is there
    twice, for who copies an even number of runs.
    """
    height, width = plan[OUT_HEIGHT], plan[OUT_WIDTH]
    image, y, x = position // (height * width), position // width % height, position % width
    found = lane = 0
    while lane < count:
        place = image * plan[SLICE] * plan[BAND_CHANNEL] + (y - first_row) * plan[STRIDE_Y] * plan[BAND_ROW] + x
        length = min(min(LANES, count - lane), width - x)
        runs[2 * found] = place
        runs[2 * found + 1] = lane
        found += 1
        lane += length
        x += length
        if x == width:
            x = 0
            y += 1
            if y == height:
                y = 0
                image += 1
    runs[2 * found], runs[2 * found + 1] = runs[2 * found - 2], runs[2 * found - 1]
    return found


@device_function
def cut_columns(plan, band, channels, runs, found, panel):  # type: ignore[no-untyped-def]
    """A panel of columns: for every channel and tap, what it meets at the positions of the runs.

    Runs are copied as whole vectors: the next run, or the next column, overwrites what spills.
    """
    taps, offsets = plan[TAPS], offset(plan, TAP_OFFSETS)
    for channel in range(channels):
        source = offset(band, channel * plan[BAND_CHANNEL])
        target = offset(panel, channel * taps * WIDTH)
        if found <= 2:
            cut_two(offsets, source, taps, runs, target)
        elif found <= 4:
            cut_four(offsets, source, taps, runs, target)
        else:
            for tap in range(taps):
                for s in range(found):
                    place = offset(target, tap * WIDTH + runs[2 * s + 1])
                    store(place, load(offset(source, offsets[tap] + runs[2 * s])))


@device_function
def cut_two(offsets, source, taps, runs, target):  # type: ignore[no-untyped-def]
    """What `cut_columns` does with at most two runs: their places stay in registers."""
    from_0, from_1 = offset(source, runs[0]), offset(source, runs[2])
    to_0, to_1 = offset(target, runs[1]), offset(target, runs[3])
    for tap in range(taps):
        place = offsets[tap]
        store(offset(to_0, tap * WIDTH), load(offset(from_0, place)))
        store(offset(to_1, tap * WIDTH), load(offset(from_1, place)))


@device_function
def cut_four(offsets, source, taps, runs, target):  # type: ignore[no-untyped-def]
    """What `cut_columns` does with three or four runs."""
    from_0, from_1, from_2, from_3 = (
        offset(source, runs[0]), offset(source, runs[2]), offset(source, runs[4]), offset(source, runs[6])
    )  # fmt: skip
    to_0, to_1, to_2, to_3 = (
        offset(target, runs[1]), offset(target, runs[3]), offset(target, runs[5]), offset(target, runs[7])
    )  # fmt: skip
    for tap in range(taps):
        place = offsets[tap]
        store(offset(to_0, tap * WIDTH), load(offset(from_0, place)))
        store(offset(to_1, tap * WIDTH), load(offset(from_1, place)))
        store(offset(to_2, tap * WIDTH), load(offset(from_2, place)))
        store(offset(to_3, tap * WIDTH), load(offset(from_3, place)))


@device_function
def multiply_panels(  # type: ignore[no-untyped-def]
    plan, weights, bias, has_bias, floor, panels, tile, group, part, channel, depth, first, last, y
):
    """The task's output channels at positions first..last-1: the products of one slice of channels."""
    outputs = plan[OUTPUTS] // plan[GROUP]
    whole = plan[CHANNELS] // plan[GROUP] * plan[TAPS]  # depth of all slices
    tiles = (outputs + plan[TILE] - 1) // plan[TILE]
    start = part * plan[OUTPUT_BLOCK]
    for row in range(start, min(start + plan[OUTPUT_BLOCK], outputs), plan[TILE]):
        rows = min(plan[TILE], outputs - row)
        lines = offset(weights, ((group * tiles + row // plan[TILE]) * whole + channel * plan[TAPS]) * PITCH)
        output = group * outputs + row
        for q in range(first, last, WIDTH):
            panel = offset(panels, (q - first) * depth)
            count = min(WIDTH, last - q)
            multiply_output(
                plan, lines, panel, depth, offset(bias, output * WIDTH), has_bias, channel, floor, tile,
                q, count, output, rows, y
            )  # fmt: skip


@device_function
def multiply_output(  # type: ignore[no-untyped-def]
    plan, lines, panel, depth, bias, has_bias, channel, floor, tile, position, count, output, rows, y
):
    """One tile: straight to y where its positions are neighbours there, else by way of scratch."""
    size = plan[OUT_HEIGHT] * plan[OUT_WIDTH]
    image = position // size
    position -= image * size
    y = offset(y, (image * plan[OUTPUTS] + output) * size)
    has_start = channel > 0 or has_bias != 0
    start, start_row = offset(y, position), size
    if channel == 0:
        start, start_row = bias if has_start else floats_at(0), WIDTH
    if count == WIDTH and position + WIDTH <= size:
        multiply_tile(lines, 1, PITCH, panel, WIDTH, start, start_row, offset(y, position), size, depth, rows, floor)
        return
    multiply_tile(lines, 1, PITCH, panel, WIDTH, floats_at(0), 0, tile, WIDTH, depth, rows, T(FLAT))
    lane = 0
    while lane < count:
        run = min(count - lane, size - position)
        place = offset(y, position)
        if channel > 0:
            start = place
        merge(offset(tile, lane), has_start, start, start_row, place, size, rows, run, floor)
        lane += run
        position = 0
        y = offset(y, plan[OUTPUTS] * size)


@kernel(
    "w: T*, bias: T*, has_bias: int, rows: int, tile: int, line: int, channels: int, step: int, taps: int, "
    "turned: int, group_pitch: int, groups: int -> packed: T*, bias_rows: T*",
    over="groups * ((rows + tile - 1) // tile)",
    work="channels * taps * 16",
)
def pack_weights(  # type: ignore[no-untyped-def]
    i,
    w,
    bias,
    has_bias,
    rows,
    tile,
    line,
    channels,
    step,
    taps,
    turned,
    group_pitch,
    groups,
    packed,
    bias_rows,
):
    """Tile i of the weights, as `multiply_tile` reads it, and its biases, each in every lane.

    Row r, channel c and tap t of a group are at w[r * line + c * step + t]; `turned` turns the taps around.
    """
    tiles = (rows + tile - 1) // tile
    row = i % tiles * tile
    count = min(tile, rows - row)
    source = offset(w, i // tiles * group_pitch + row * line)
    target = offset(packed, i * channels * taps * PITCH)
    if turned == 0:
        pack(source, line, 1, count, channels * taps, target, PITCH)
    else:
        for p in range(channels * taps):
            place = p // taps * step + taps - 1 - p % taps
            for r in range(count):
                target[p * PITCH + r] = source[r * line + place]
    if has_bias != 0:
        first = i // tiles * rows + row
        for r in range(first, first + count):
            for j in range(0, WIDTH, LANES):
                store(offset(bias_rows, r * WIDTH + j), splat(bias[r]))


def convolve(
    of: Plane, x: np.ndarray, w: np.ndarray, bias: np.ndarray | None, y: np.ndarray, relu: bool, turned: bool
) -> None:
    """y = w * x. With `turned`, w has the axes of inputs and outputs exchanged and its taps are turned around."""
    rows, channels = of.outputs // of.group, of.channels // of.group
    line, step = (of.taps, rows * of.taps) if turned else (of.depth, of.taps)
    packed, bias_rows = workspace("weights", of.packed_floats), workspace("biases", of.outputs * WIDTH)
    has_bias = int(bias is not None)
    pack_weights(
        w, bias, has_bias, rows, of.tile, line, channels, step, of.taps, int(turned), rows * of.depth, of.group,
        packed, bias_rows,
    )  # fmt: skip
    room = scratch(4 * of.scratch_floats)
    convolve_block(of.table, x, packed, bias_rows, has_bias, 0.0 if relu else FLAT, room, 0, of.tasks, y)
