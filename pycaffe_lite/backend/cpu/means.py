"""Average pooling of float32: its gradient in vectors, and pooling of a whole plane to one number.

A row of dx is the sum of the rows of outputs that it is under, which then is spread over the columns. Rows under
the same outputs are the same. So it takes kh / sh + kw / sw steps an element, not their product; sums are taken
in another order than in `layers/_pooling.py`.
"""

from __future__ import annotations

from dataclasses import astuple
from typing import Any

import numpy as np

from ...kernel import T, device_function, kernel
from .atoms import offset
from .band import zero_run
from .channels import put, some
from .gemm import ceil_div
from .pooling import KH, KW, OH, OW, PH, PW, ROOM, SH, SW, WHOLE, H, PlanePool, W, launch, mean_of
from .vector import LANES, add, divide, floats_at, load, multiply, splat, store, zip_high, zip_low
from .workspace import scratch

# Behind the sizes of a plan: rows of dx in a strip, strips in a plane; zeros in front of a line of outputs in scratch,
# the numbers of a line, and how many of them lie at or in front of a column of the plane.
STRIP, STRIPS, LEFT, LINE, REACH = range(10, 15)


@device_function
def share_rows(plan, spans, dy, first, last, shares):  # type: ignore[no-untyped-def]
    """Lines of gradients over the sizes of their windows, of rows first..last-1 of the outputs, zeros around them."""
    ow, line, left = plan[OW], plan[LINE], plan[LEFT]
    padded = (ow + LANES - 1) // LANES * LANES
    for r in range(first, last):
        height = splat(spans[padded + r])
        zero_run(shares, left)
        for o in range(0, ow, LANES):
            size = multiply(load(offset(spans, o)), height)
            store(offset(shares, left + o), divide(some(offset(dy, r * ow + o), ow - o), size))
        zero_run(offset(shares, left + padded), line - left - padded)
        shares = offset(shares, line)


@device_function
def add_lines(lines, count, line, sums):  # type: ignore[no-untyped-def]
    """The sum of so many lines."""
    for j in range(0, line, LANES):
        sum = splat(T(0))
        for r in range(count):
            sum = add(sum, load(offset(lines, r * line + j)))
        store(offset(sums, j), sum)


@device_function
def sum_of_taps(sums, taps):  # type: ignore[no-untyped-def]
    """The sum of `taps` neighbours, of which the last is at `sums`."""
    sum = splat(T(0))
    for t in range(1 - taps, 1):
        sum = add(sum, load(offset(sums, t)))
    return sum


@device_function
def spread_line(plan, sums, row):  # type: ignore[no-untyped-def]
    """A row of the padded plane from a line of sums: column j * stride + f is under outputs j, j - 1 ..."""
    stride, width = plan[SW], plan[KW]
    sums = offset(sums, plan[LEFT])
    for j in range(0, plan[REACH], LANES):
        at, target = offset(sums, j), offset(row, j * stride)
        if stride == 1:
            store(target, sum_of_taps(at, width))
        elif stride == 2:
            even, odd = sum_of_taps(at, (width + 1) // 2), sum_of_taps(at, width // 2)
            store(target, zip_low(even, odd))
            store(offset(target, LANES), zip_high(even, odd))
        else:
            for f in range(stride):
                store(offset(row, plan[REACH] * stride), sum_of_taps(at, (width - f + stride - 1) // stride))
                for k in range(LANES):
                    target[k * stride + f] = row[plan[REACH] * stride + k]


@kernel(
    "plan: long*, dy: T*, spans: T*, scratch: long*, thread: int, tasks: int, work: int -> dx: T*",
    over="tasks",
    work="work",
)
def mean_planes_grad(i, plan, dy, spans, scratch, thread, tasks, work, dx):  # type: ignore[no-untyped-def]
    """A strip of rows of the gradient of one plane."""
    h, w, oh, kh, sh, ph = plan[H], plan[W], plan[OH], plan[KH], plan[SH], plan[PH]
    plane, top = i // plan[STRIPS], i % plan[STRIPS] * plan[STRIP]
    bottom, line = min(top + plan[STRIP], h), plan[LINE]
    sums = floats_at(scratch[thread])
    row = offset(sums, line)
    shares = offset(row, (plan[REACH] + LANES) * plan[SW] + 2 * LANES)
    begin = max(0, (top + ph - kh) // sh + 1)
    share_rows(plan, spans, offset(dy, plane * oh * plan[OW]), begin, min(oh, (bottom - 1 + ph) // sh + 1), shares)
    before, behind = -1, -1
    for r in range(top, bottom):
        first, last = max(0, (r + ph - kh) // sh + 1), min(oh, (r + ph) // sh + 1)
        if first != before or last != behind:
            add_lines(offset(shares, (first - begin) * line), last - first, line, sums)
            spread_line(plan, sums, row)
            before, behind = first, last
        target = offset(dx, (plane * h + r) * w)
        for j in range(0, w, LANES):
            put(offset(target, j), load(offset(row, plan[PW] + j)), w - j)


@kernel("x: T*, planes: int, size: int -> y: T*", over="planes", work="size // 4 + 8")
def mean_plane(i, x, planes, size, y):  # type: ignore[no-untyped-def]
    """The mean of a whole plane."""
    y[i] = mean_of(offset(x, i * size), size)


@kernel("dy: T*, planes: int, size: int -> dx: T*", over="planes", work="size // 4 + 8")
def mean_plane_grad(i, dy, planes, size, dx):  # type: ignore[no-untyped-def]
    """The same share for a whole plane."""
    share = splat(dy[i] / T(size))
    for j in range(0, size, LANES):
        put(offset(dx, i * size + j), share, size - j)


def plan_of(of: PlanePool) -> tuple[np.ndarray, int]:
    """The plan of a gradient, and how many floats it needs in scratch."""
    left, reach = ceil_div(of.kw, of.sw) - 1, ceil_div(ceil_div(of.w + of.pw, of.sw), LANES) * LANES
    line = ceil_div(left + max(reach, ceil_div(of.ow, LANES) * LANES), LANES) * LANES
    strip = max(1, min(of.h, max(of.kh, (ROOM // line - 2) * of.sh - of.kh)))
    rows = (strip + of.kh) // of.sh + 2
    plan = [*astuple(of)[1:-1], strip, ceil_div(of.h, strip), left, line, reach]
    return np.array(plan, np.int64), (rows + 1) * line + (reach + LANES) * of.sw + 4 * LANES


def average_pool(x: Any, *rest: Any) -> bool:
    """Launch what `layers._pooling.average_pool` is called with; False for huge windows, which gain nothing."""
    of = PlanePool(*rest[:-1], mean=True)
    if of.method != WHOLE:
        return launch(of, x, rest[-1], None)
    mean_plane(x, of.planes, of.h * of.w, rest[-1])
    return True


def average_pool_grad(dy: Any, *rest: Any) -> bool:
    """Launch what `layers._pooling.average_pool_grad` is called with."""
    of = PlanePool(*rest[:-1], mean=True)
    if of.method == WHOLE:
        mean_plane_grad(dy, of.planes, of.h * of.w, rest[-1])
        return True
    plan, floats = plan_of(of)
    strips, rows = int(plan[STRIPS]), int(plan[STRIP])
    work = rows * ceil_div(of.w, LANES) * (8 + 2 * ceil_div(of.kh, of.sh) + 2 * ceil_div(of.kw, of.sw))
    mean_planes_grad(plan, dy, of.spans, scratch(4 * floats), 0, of.planes * strips, work, rest[-1])
    return True
