"""A band: some rows of some images, copied to scratch with their padding, split by stride.

Convolution reads its input from bands: there every tap of every output position exists, and what one tap
meets at neighbouring positions is neighbours too, whatever the stride. A row of a band is `stride` phases:
phase f holds columns f, f + stride, f + 2 * stride ... of the padded row.

Bands, like everything in scratch, are written upwards in whole vectors: what spills over an end is
overwritten by what comes next, and nothing needs a mask but the last read of a row.
"""

from __future__ import annotations

from ...kernel import T, device_function
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
from .vector import LANES, evens, load, load_some, splat, store


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


@device_function
def copy_strided(source, stride, target, count):  # type: ignore[no-untyped-def]
    """target[j] = source[j * stride]."""
    done = 0
    if stride == 2 or stride == 4:
        # A vector's worth ends with a number that is wanted, so no read goes beyond the last but stride - 1.
        done = max(0, count - 1) // LANES * LANES
        for j in range(0, done, LANES):
            place = offset(source, j * stride)
            near = evens(load(place), load(offset(place, LANES)))
            if stride == 4:
                far = evens(load(offset(place, 2 * LANES)), load(offset(place, 3 * LANES)))
                near = evens(near, far)
            store(offset(target, j), near)
    for j in range(done, count):
        target[j] = source[j * stride]


@device_function
def fill_rows(plan, source, rows, target):  # type: ignore[no-untyped-def]
    """So many rows of an image, all inside it."""
    width, stride = plan[IMAGE_WIDTH], plan[STRIDE_X]
    phases = offset(plan, plan[PHASES])
    if stride == 1 and phases[COUNT] == width and plan[BAND_ROW] == width:
        copy_run(source, target, rows * width)
        return
    for _ in range(rows):
        for phase in range(stride):
            of = offset(phases, phase * PHASE_FIELDS)
            column, left, count, right = of[COLUMN], of[LEFT], of[COUNT], of[RIGHT]
            zero_run(target, left)
            target = offset(target, left)
            if stride == 1:
                copy_run(offset(source, column), target, count)
            else:
                copy_strided(offset(source, column), stride, target, count)
            target = offset(target, count)
            zero_run(target, right)
            target = offset(target, right)
        source = offset(source, width)


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
