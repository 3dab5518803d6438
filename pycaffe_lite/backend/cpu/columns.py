"""Cutting columns of the matrix that convolution multiplies from a band."""

from __future__ import annotations

from ...kernel import device_function
from .atoms import offset
from .plane import BAND_CHANNEL, BAND_ROW, OUT_HEIGHT, OUT_WIDTH, SLICE, STRIDE_Y, TAP_OFFSETS, TAPS
from .tile import WIDTH
from .vector import LANES, load, store

RUNS = 4 * (WIDTH + 4)  # floats for the list of runs in a panel, two long numbers each, and whole cache lines


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
def cut_columns(plan, band, channels, runs, found, panel, pitch):  # type: ignore[no-untyped-def]
    """Columns: for every channel and tap, `pitch` numbers apart, what it meets at the positions of the runs.

    Runs are copied as whole vectors: the next run, or the next column, overwrites what spills.
    """
    taps, offsets = plan[TAPS], offset(plan, plan[TAP_OFFSETS])
    for channel in range(channels):
        source = offset(band, channel * plan[BAND_CHANNEL])
        target = offset(panel, channel * taps * pitch)
        if found <= 2:
            cut_two(offsets, source, taps, runs, target, pitch)
        elif found <= 4:
            cut_four(offsets, source, taps, runs, target, pitch)
        else:
            for tap in range(taps):
                for s in range(found):
                    place = offset(target, tap * pitch + runs[2 * s + 1])
                    store(place, load(offset(source, offsets[tap] + runs[2 * s])))


@device_function
def cut_two(offsets, source, taps, runs, target, pitch):  # type: ignore[no-untyped-def]
    """What `cut_columns` does with at most two runs: their places stay in registers."""
    from_0, from_1 = offset(source, runs[0]), offset(source, runs[2])
    to_0, to_1 = offset(target, runs[1]), offset(target, runs[3])
    for tap in range(taps):
        place = offsets[tap]
        store(offset(to_0, tap * pitch), load(offset(from_0, place)))
        store(offset(to_1, tap * pitch), load(offset(from_1, place)))


@device_function
def cut_four(offsets, source, taps, runs, target, pitch):  # type: ignore[no-untyped-def]
    """What `cut_columns` does with three or four runs."""
    from_0, from_1, from_2, from_3 = (
        offset(source, runs[0]), offset(source, runs[2]), offset(source, runs[4]), offset(source, runs[6])
    )  # fmt: skip
    to_0, to_1, to_2, to_3 = (
        offset(target, runs[1]), offset(target, runs[3]), offset(target, runs[5]), offset(target, runs[7])
    )  # fmt: skip
    for tap in range(taps):
        place = offsets[tap]
        store(offset(to_0, tap * pitch), load(offset(from_0, place)))
        store(offset(to_1, tap * pitch), load(offset(from_1, place)))
        store(offset(to_2, tap * pitch), load(offset(from_2, place)))
        store(offset(to_3, tap * pitch), load(offset(from_3, place)))
