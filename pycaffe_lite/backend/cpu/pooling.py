"""Pooling of float32 planes in vectors of neighbouring outputs.

The rows that some rows of outputs need are copied to scratch, as `band.py` does it for convolutions: with
their padding, and split by stride, so that what one tap meets at neighbouring outputs is neighbours too.
Padding is a value that cannot change the result. Results are those of the kernels in
`layers/_pooling.py`, bit for bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...kernel import T, device_function, kernel
from .atoms import offset
from .band import copy_run, copy_strided
from .channels import put
from .gemm import ceil_div
from .vector import (
    LANES,
    above,
    add,
    choose,
    divide,
    evens,
    floats_at,
    load,
    load_some,
    multiply_add,
    odds,
    splat,
    steps,
    store,
    whole,
)
from .workspace import scratch

LOWEST = -3.4028234663852886e38  # where Caffe starts a maximum: padding with it never wins
ROOM = 8192  # floats of a band: half of the first cache
MOST_TAPS = 1024

# A plan: sizes, the layout of a band, where two lists begin: how the phases of a row are made (so much padding, then
# numbers from a column of the plane on, then padding), and for each tap where it is in the band and in the plane.
H, W, OH, OW, KH, KW, SH, SW, PH, PW, STRIPS, STRIP, PITCH, PHASES, PLACES, LISTS = range(16)
COLUMN, LEFT, COUNT, RIGHT, PHASE_FIELDS = range(5)


@device_function
def spread(value, target, count):  # type: ignore[no-untyped-def]
    """The same number at least `count` times, in whole vectors."""
    for j in range(0, count, LANES):
        store(offset(target, j), splat(value))


@device_function
def fill_strip(plan, plane, first, rows, padding, band):  # type: ignore[no-untyped-def]
    """So many rows of the padded plane from `first` on, each in phases: columns f, f + stride, f + 2 * stride ..."""
    height, width, stride = plan[H], plan[W], plan[SW]
    for r in range(rows):
        row, target = first + r - plan[PH], offset(band, r * plan[PITCH])
        if row < 0 or row >= height:
            spread(padding, target, plan[PITCH])
            continue
        for at in range(plan[PHASES], plan[PLACES], PHASE_FIELDS):
            left, count, right = plan[at + LEFT], plan[at + COUNT], plan[at + RIGHT]
            source = offset(plane, row * width + plan[at + COLUMN])
            spread(padding, target, left)
            target = offset(target, left)
            if stride == 1:
                copy_run(source, target, count)
            else:
                copy_strided(source, stride, target, count)
            target = offset(target, count)
            spread(padding, target, right)
            target = offset(target, right)


@kernel(
    "plan: long*, x: T*, scratch: long*, thread: int, tasks: int, work: int -> y: T*, argmax: int*",
    over="tasks",
    work="work",
)
def max_pool_strip(i, plan, x, scratch, thread, tasks, work, y, argmax):  # type: ignore[no-untyped-def]
    """A strip of rows of one plane: maxima, and where they are."""
    strips, rows, oh, ow = plan[STRIPS], plan[STRIP], plan[OH], plan[OW]
    plane, first = i // strips, i % strips * rows
    last = min(first + rows, oh)
    band = floats_at(scratch[thread])
    needed = (last - 1 - first) * plan[SH] + plan[KH]
    fill_strip(plan, offset(x, plane * plan[H] * plan[W]), first * plan[SH], needed, T(LOWEST), band)
    places = offset(plan, plan[PLACES])
    for r in range(first, last):
        line, start = offset(band, (r - first) * plan[SH] * plan[PITCH]), (r * plan[SH] - plan[PH]) * plan[W] - plan[PW]
        out = (plane * oh + r) * ow
        end = whole(plan[W] if r * plan[SH] - plan[PH] < plan[H] else -plan[PW] - 1)  # of the columns that there are
        for o in range(0, ow, LANES):
            most, best, none = splat(T(LOWEST)), whole(-1), whole(-1)
            for tap in range(plan[KH] * plan[KW]):
                value = load(offset(line, o + places[2 * tap]))
                wins = above(value, most)
                most, best = choose(wins, value, most), choose(wins, whole(places[2 * tap + 1]), best)
            inside = above(end, steps(o * plan[SW] - plan[PW], plan[SW]))  # a window may begin behind the image
            put(offset(y, out + o), choose(inside, most, splat(T(0))), ow - o)
            found = above(best, none)  # or hold nothing but NaN
            place = add(best, steps(start + o * plan[SW], plan[SW]))
            put(offset(argmax, out + o), choose(found, place, none), ow - o)


@kernel(
    "plan: long*, x: T*, spans: T*, scratch: long*, thread: int, tasks: int, work: int -> y: T*",
    over="tasks",
    work="work",
)
def average_pool_strip(i, plan, x, spans, scratch, thread, tasks, work, y):  # type: ignore[no-untyped-def]
    """A strip of rows of one plane: sums over sizes of windows; `spans` are their widths, and behind them heights."""
    strips, rows, oh, ow = plan[STRIPS], plan[STRIP], plan[OH], plan[OW]
    plane, first = i // strips, i % strips * rows
    last = min(first + rows, oh)
    band, places = floats_at(scratch[thread]), offset(plan, plan[PLACES])
    needed = (last - 1 - first) * plan[SH] + plan[KH]
    fill_strip(plan, offset(x, plane * plan[H] * plan[W]), first * plan[SH], needed, T(0), band)
    for r in range(first, last):
        line = offset(band, (r - first) * plan[SH] * plan[PITCH])
        height = splat(spans[(ow + LANES - 1) // LANES * LANES + r])
        for o in range(0, ow, LANES):
            total = splat(T(0))
            for tap in range(plan[KH] * plan[KW]):
                total = add(total, load(offset(line, o + places[2 * tap])))
            size = multiply_add(load(offset(spans, o)), height, splat(T(0)))
            put(offset(y, (plane * oh + r) * ow + o), divide(total, size), ow - o)


@kernel(
    "x: T*, planes: int, h: int, w: int, oh: int, ow: int, kh: int, sh: int -> y: T*, argmax: int*",
    over="planes",
    work=f"oh * (ow + {LANES - 1}) // {LANES} * (8 * kh + 8)",
)
def max_pool_pairs(i, x, planes, h, w, oh, ow, kh, sh, y, argmax):  # type: ignore[no-untyped-def]
    """A plane whose windows are two columns wide, side by side and inside: straight from where it is."""
    plane, out = offset(x, i * h * w), i * oh * ow
    for r in range(oh):
        for o in range(0, ow, LANES):
            count = ow - o
            most, best, none = splat(T(LOWEST)), whole(-1), whole(-1)
            place = steps(r * sh * w + 2 * o, 2)
            for a in range(kh):
                line, there = offset(plane, (r * sh + a) * w + 2 * o), 2 * count
                near = load(line) if there >= LANES else load_some(line, there)
                far = offset(line, LANES)
                next_ = load(far) if there >= 2 * LANES else load_some(far, there - LANES)
                left, right = evens(near, next_), odds(near, next_)
                wins = above(left, most)
                most, best = choose(wins, left, most), choose(wins, whole(a * w), best)
                wins = above(right, most)
                most, best = choose(wins, right, most), choose(wins, whole(a * w + 1), best)
            found = above(best, none)
            put(offset(y, out + r * ow + o), most, count)
            put(offset(argmax, out + r * ow + o), choose(found, add(best, place), none), count)


def max_pool(x: Any, *rest: Any) -> bool:
    """Launch what `layers._pooling.max_pool` is called with; False for huge windows, which gain nothing."""
    window, y, argmax = rest[:-2], rest[-2], rest[-1]
    planes, h, w, oh, ow, kh, kw, sh, sw, ph, pw = window
    if kw == sw == 2 and ph == pw == 0 and 2 * ow <= w and (oh - 1) * sh + kh <= h:
        max_pool_pairs(x, planes, h, w, oh, ow, kh, sh, y, argmax)
        return True
    plan, room, tasks, work = plan_for(*window)
    if tasks:
        max_pool_strip(plan, x, room, 0, tasks, work, y, argmax)
    return tasks > 0


def average_pool(x: Any, *rest: Any) -> bool:
    """Launch what `layers._pooling.average_pool` is called with; False for huge windows, which gain nothing."""
    window, y = rest[:-1], rest[-1]
    _, h, w, oh, ow, kh, kw, sh, sw, ph, pw = window
    plan, room, tasks, work = plan_for(*window)
    if tasks:
        spans = np.ones(ceil_div(ow, LANES) * LANES + oh, np.float32)
        spans[:ow] = span(ow, w, kw, sw, pw)
        spans[-oh:] = span(oh, h, kh, sh, ph)
        average_pool_strip(plan, x, spans, room, 0, tasks, work, y)
    return tasks > 0


def span(count: int, size: int, kernel: int, stride: int, pad: int) -> np.ndarray:
    """How many places each of `count` windows has along an axis: padding counts, what is behind it does not."""
    first = np.arange(count) * stride - pad
    return np.maximum(1, np.minimum(first + kernel, size + pad) - first)


def plan_for(planes, h, w, oh, ow, kh, kw, sh, sw, ph, pw) -> tuple[Any, Any, int, int]:  # type: ignore[no-untyped-def]
    """The plan of a pool over these planes, scratch for it, how many strips there are, and the work for one."""
    if kh * kw > MOST_TAPS:
        return None, None, 0, 0
    phase = ceil_div(ow, LANES) * LANES + (kw - 1) // sw
    pitch = phase * min(sw, kw)
    strip = max(1, min(oh, (ROOM // pitch - kh) // sh + 1))
    strips = ceil_div(oh, strip)
    taps = [(a, b) for a in range(kh) for b in range(kw)]
    places = [number for a, b in taps for number in (a * pitch + b % sw * phase + b // sw, a * w + b)]
    phases = [number for f in range(min(sw, kw)) for number in phase_fields(f - pw, sw, w, phase)]
    sizes = h, w, oh, ow, kh, kw, sh, sw, ph, pw, strips, strip, pitch, LISTS, LISTS + len(phases)
    plan = np.array([*sizes, *phases, *places], np.int64)
    room = scratch(4 * (((strip - 1) * sh + kh) * pitch + 2 * LANES))
    work = strip * (ceil_div(ow, LANES) * (3 * kh * kw + 8) + sh * (w // LANES + 4) * 2)
    return plan, room, planes * strips, work


def phase_fields(column: int, stride: int, width: int, phase: int) -> list[int]:
    """How a phase of so many numbers is made, which begins at this column of a plane."""
    left = min(phase, max(0, ceil_div(-column, stride)))
    count = max(0, min(phase, ceil_div(width - column, stride)) - left)
    return [column + left * stride, left, count, phase - left - count]
