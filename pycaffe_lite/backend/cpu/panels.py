"""Getting operands into the order in which `multiply_tile` reads them, and partial tiles out of scratch."""

from __future__ import annotations

from ...kernel import device_function
from .atoms import offset
from .tile import WIDTH
from .vector import LANES, add, at_least, load, load_some, splat, store, store_some, transpose


@device_function
def pack(source, line, step, lines, steps, target, width):  # type: ignore[no-untyped-def]
    """target[p * width + r] = source[r * line + p * step], zero for lines <= r < width.

    `line` or `step` is 1, `width` is whole vectors. Nothing but the lines is read.
    """
    if step == 1:
        for r in range(0, width, LANES):
            some = offset(source, min(r, lines - 1) * line)
            for p in range(0, steps, LANES):
                place = offset(target, p * width + r)
                transpose(offset(some, p), line, lines - r, steps - p, place, width)
    elif lines == width:
        for p in range(steps):
            for r in range(0, width, LANES):
                store(offset(target, p * width + r), load(offset(source, p * step + r)))
    else:
        for p in range(steps):
            for r in range(0, width, LANES):
                some = load_some(offset(source, p * step + min(r, lines - 1)), lines - r)
                store(offset(target, p * width + r), some)


@device_function
def merge(tile, has_start, start, start_row, c, c_row, rows, columns, floor):  # type: ignore[no-untyped-def]
    """What `multiply_tile` does at its end, for the first columns of a tile that is in scratch."""
    for i in range(rows):
        for j in range(0, columns, LANES):
            value = load(offset(tile, i * WIDTH + j))
            if has_start:
                value = add(value, load_some(offset(start, i * start_row + j), columns - j))
            store_some(offset(c, i * c_row + j), at_least(value, splat(floor)), columns - j)
