"""A band: some rows of some images, copied to scratch with their padding, split by stride.

Convolution reads its input from bands: there every tap of every output position exists, and what one tap
meets at neighbouring positions is neighbours too, whatever the stride. A row of a band is `stride` phases:
phase f holds columns f, f + stride, f + 2 * stride ... of the padded row.

Bands, like everything in scratch, are written upwards in whole vectors: what spills over an end is
overwritten by what comes next, and nothing needs a mask but the last read of a row.
"""

from __future__ import annotations

from ...kernel import T, device_function, inline_function
from .atoms import offset
from .plane import (
    BAND_CHANNEL,
    BAND_ROW,
    CHANNELS,
    COLUMN,
    COUNT,
    HEIGHT,
    IMAGE_WIDTH,
    LEFT,
    PAD_Y,
    PHASE_FIELDS,
    PHASES,
    RIGHT,
    SLICE,
    STRIDE_X,
)
from .vector import LANES, above, choose, evens, load, load_some, splat, steps, store, whole

HALF = LANES // 2


@device_function
def zero_run(target, count):  # type: ignore[no-untyped-def]
    """Zeros, at least `count`."""
    for j in range(0, count, LANES):
        store(offset(target, j), splat(T(0)))


@device_function
def copy_run(source, target, count):  # type: ignore[no-untyped-def]
    """Copy `count` numbers; zeros follow them up to a whole vector."""
    whole = count // LANES * LANES
    for j in range(0, whole, LANES):
        store(offset(target, j), load(offset(source, j)))
    if whole < count:
        store(offset(target, whole), load_some(offset(source, whole), count - whole))


@inline_function
def copy_rows(source, pitch, rows, target, count):  # type: ignore[no-untyped-def]
    """Rows of `count` numbers, to one behind the other."""
    first = 0
    if count % LANES == HALF:  # two rows are whole vectors, one of which holds the end of one and the next one's begin
        low = above(whole(HALF), steps(0, 1))
        for first in range(0, rows - 1, 2):
            line, place = offset(source, first * pitch), offset(target, first * count)
            for j in range(0, count - HALF, LANES):
                store(offset(place, j), load(offset(line, j)))
            both = choose(low, load(offset(line, count - HALF)), load(offset(line, pitch - HALF)))
            store(offset(place, count - HALF), both)
            for j in range(HALF, count, LANES):
                store(offset(place, count + j), load(offset(line, pitch + j)))
        first = rows // 2 * 2
    for r in range(first, rows):
        copy_run(offset(source, r * pitch), offset(target, r * count), count)


@device_function
def copy_strided(source, stride, target, count):  # type: ignore[no-untyped-def]
    """target[j] = source[j * stride]."""
    if stride == 2:
        for j in range(0, count, LANES):
            store(offset(target, j), every_second(offset(source, 2 * j), 2 * (count - j) - 1))
    elif stride == 4:
        for j in range(0, count, LANES):
            place, there = offset(source, 4 * j), 4 * (count - j) - 3
            near = every_second(place, there)
            far = every_second(offset(place, 2 * LANES), there - 2 * LANES)
            store(offset(target, j), evens(near, far))
    else:
        for j in range(count):
            target[j] = source[j * stride]


@device_function
def every_second(source, there):  # type: ignore[no-untyped-def]
    """LANES numbers, two apart; only the first `there` numbers at `source` are read, zeros stand for the others."""
    if there >= 2 * LANES:
        return evens(load(source), load(offset(source, LANES)))
    return evens(load_some(source, there), load_some(offset(source, LANES), there - LANES))


@device_function
def fill_rows(plan, source, rows, target):  # type: ignore[no-untyped-def]
    """So many rows of an image, all inside it."""
    width, pitch, stride = plan[IMAGE_WIDTH], plan[BAND_ROW], plan[STRIDE_X]
    phases = offset(plan, plan[PHASES])
    column, left, count, right = phases[COLUMN], phases[LEFT], phases[COUNT], phases[RIGHT]
    if stride == 1 and count == width and pitch == width:
        copy_run(source, target, rows * width)
    elif stride == 1:
        for r in range(rows):
            line = offset(target, r * pitch)
            zero_run(line, left)
            copy_run(offset(source, r * width + column), offset(line, left), count)
            zero_run(offset(line, left + count), right)
    else:
        for r in range(rows):
            fill_phases(phases, stride, offset(source, r * width), offset(target, r * pitch))


@device_function
def fill_phases(phases, stride, source, target):  # type: ignore[no-untyped-def]
    """All phases of a row."""
    for phase in range(stride):
        of = offset(phases, phase * PHASE_FIELDS)
        left, count, right = of[LEFT], of[COUNT], of[RIGHT]
        zero_run(target, left)
        target = offset(target, left)
        copy_strided(offset(source, of[COLUMN]), stride, target, count)
        target = offset(target, count)
        zero_run(target, right)
        target = offset(target, right)


@device_function
def fill_band(plan, x, image, images, channel, channels, row, rows, band):  # type: ignore[no-untyped-def]
    """Rows from `row` on of the padded images, for so many images and channels from these on."""
    height, width, pitch = plan[HEIGHT], plan[IMAGE_WIDTH], plan[BAND_ROW]
    above = min(rows, max(0, plan[PAD_Y] - row))
    inside = max(0, min(rows, height + plan[PAD_Y] - row) - above)
    first = row + above - plan[PAD_Y]
    for n in range(images):
        for c in range(channels):
            source = offset(x, (((image + n) * plan[CHANNELS] + channel + c) * height + first) * width)
            target = offset(band, (n * plan[SLICE] + c) * plan[BAND_CHANNEL])
            zero_run(target, above * pitch)
            fill_rows(plan, source, inside, offset(target, above * pitch))
            below = rows - above - inside
            zero_run(offset(target, (above + inside) * pitch), below * pitch)
