"""Pooling of float32 planes in vectors of neighbouring outputs.

The rows that some rows of outputs need are copied to scratch, as `band.py` does it for convolutions: with
their padding, and split by stride, so that what one tap meets at neighbouring outputs is neighbours too.
Padding is a value that cannot change the result. Results are those of the kernels in
`layers/_pooling.py`, bit for bit.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import Any

import numpy as np

from ...kernel import T, device_function, inline_function, kernel
from .atoms import offset
from .band import HALF, copy_rows, copy_run, copy_strided
from .channels import put, some
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
    load_ints,
    load_some,
    multiply_add,
    odds,
    splat,
    steps,
    store,
    total,
    whole,
)
from .workspace import scratch

LOWEST = -3.4028234663852886e38  # where Caffe starts a maximum: padding with it never wins
ROOM = 8192  # floats of a band: half of the first cache
MOST_TAPS = 1024

# A plan: sizes, the layout of a band, where two lists begin: how the phases of a row are made (so much padding, then
# numbers from a column of the plane on, then padding), and for each tap where it is in the band and in the plane.
H, W, OH, OW, KH, KW, SH, SW, PH, PW, STRIPS, STRIP, PITCH, PHASES, PLACES, METHOD, LISTS = range(17)
PAIRS, SQUARES, MAXIMA, MEANS, WHOLE = range(5)
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


@device_function
def take_maxima(plan, first, last, band, y, argmax):  # type: ignore[no-untyped-def]
    """Maxima and their places in rows of a plane's outputs, from a band filled for them."""
    ow, places = plan[OW], offset(plan, plan[PLACES])
    for r in range(first, last):
        line, start = offset(band, (r - first) * plan[SH] * plan[PITCH]), (r * plan[SH] - plan[PH]) * plan[W] - plan[PW]
        end = whole(plan[W] if r * plan[SH] - plan[PH] < plan[H] else -plan[PW] - 1)  # of the columns that there are
        for o in range(0, ow, LANES):
            most, best, none = splat(T(LOWEST)), whole(-1), whole(-1)
            for tap in range(plan[KH] * plan[KW]):
                value = load(offset(line, o + places[2 * tap]))
                wins = above(value, most)
                most, best = choose(wins, value, most), choose(wins, whole(places[2 * tap + 1]), best)
            inside = above(end, steps(o * plan[SW] - plan[PW], plan[SW]))  # a window may begin behind the image
            put(offset(y, r * ow + o), choose(inside, most, splat(T(0))), ow - o)
            found = above(best, none)  # or hold nothing but NaN
            place = add(best, steps(start + o * plan[SW], plan[SW]))
            put(offset(argmax, r * ow + o), choose(found, place, none), ow - o)


@device_function
def take_means(plan, spans, first, last, band, y):  # type: ignore[no-untyped-def]
    """Sums over sizes of windows; `spans` are their widths, and behind them heights."""
    ow, places = plan[OW], offset(plan, plan[PLACES])
    for r in range(first, last):
        line = offset(band, (r - first) * plan[SH] * plan[PITCH])
        height = splat(spans[(ow + LANES - 1) // LANES * LANES + r])
        for o in range(0, ow, LANES):
            sum = splat(T(0))
            for tap in range(plan[KH] * plan[KW]):
                sum = add(sum, load(offset(line, o + places[2 * tap])))
            size = multiply_add(load(offset(spans, o)), height, splat(T(0)))
            put(offset(y, r * ow + o), divide(sum, size), ow - o)


@device_function
def mean_of(x, size):  # type: ignore[no-untyped-def]
    """The mean of so many numbers, in four sums."""
    a, b, c, d = splat(T(0)), splat(T(0)), splat(T(0)), splat(T(0))
    most = size // (4 * LANES) * (4 * LANES)
    for j in range(0, most, 4 * LANES):
        at = offset(x, j)
        a, b = add(a, load(at)), add(b, load(offset(at, LANES)))
        c, d = add(c, load(offset(at, 2 * LANES))), add(d, load(offset(at, 3 * LANES)))
    for j in range(most, size, LANES):
        a = add(a, some(offset(x, j), size - j))
    return total(add(add(a, b), add(c, d))) / T(size)


@device_function
def take_pairs(plane, w, oh, ow, kh, sh, y, argmax):  # type: ignore[no-untyped-def]
    """Maxima of a plane whose windows are two columns wide, side by side and inside: straight from where it is."""
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
            put(offset(y, r * ow + o), most, count)
            put(offset(argmax, r * ow + o), choose(found, add(best, place), none), count)


@device_function
def take_squares(plan, planes, x, band, y, argmax):  # type: ignore[no-untyped-def]
    """Maxima of small planes of windows of 2 x 2, side by side: of all at once, whatever row they are in."""
    w, oh, size = plan[W], plan[OH], plan[OH] * plan[OW]
    upper, lower = band, offset(band, plan[PITCH])
    places = offset(plan, plan[PLACES])
    right, below = whole(1), whole(w)
    for _ in range(planes):
        copy_rows(x, 2 * w, oh, upper, w)
        copy_rows(offset(x, w), 2 * w, oh, lower, w)
        for o in range(0, size, LANES):
            a, b = load(offset(upper, 2 * o)), load(offset(upper, 2 * o + LANES))
            c, d = load(offset(lower, 2 * o)), load(offset(lower, 2 * o + LANES))
            place = load_ints(places, o)
            most, best = higher(evens(a, b), place, splat(T(LOWEST)), whole(-1))
            most, best = higher(odds(a, b), add(place, right), most, best)
            place = add(place, below)
            most, best = higher(evens(c, d), place, most, best)
            most, best = higher(odds(c, d), add(place, right), most, best)
            put(offset(y, o), most, size - o)
            put(offset(argmax, o), best, size - o)
        x, y, argmax = offset(x, 2 * oh * w), offset(y, size), offset(argmax, size)


@inline_function
def higher(value, place, most, best):  # type: ignore[no-untyped-def]
    """The higher of two numbers, and its place."""
    wins = above(value, most)
    return choose(wins, value, most), choose(wins, place, best)


@device_function
def pool_strip(plan, spans, plane, first, last, band, y, argmax):  # type: ignore[no-untyped-def]
    """Rows first..last-1 of a plane's outputs, by way of a band."""
    needed = (last - 1 - first) * plan[SH] + plan[KH]
    if plan[METHOD] == MAXIMA:
        fill_strip(plan, plane, first * plan[SH], needed, T(LOWEST), band)
        take_maxima(plan, first, last, band, y, argmax)
    else:
        fill_strip(plan, plane, first * plan[SH], needed, T(0), band)
        take_means(plan, spans, first, last, band, y)


@device_function
def pool_whole(plan, spans, planes, x, band, y, argmax):  # type: ignore[no-untyped-def]
    """So many whole planes."""
    if plan[METHOD] == SQUARES:
        take_squares(plan, planes, x, band, y, argmax)
        return
    size, oh = plan[OH] * plan[OW], plan[OH]
    for p in range(planes):
        plane, out, places = offset(x, p * plan[H] * plan[W]), offset(y, p * size), offset(argmax, p * size)
        if plan[METHOD] == PAIRS:
            take_pairs(plane, plan[W], oh, plan[OW], plan[KH], plan[SH], out, places)
        elif plan[METHOD] == WHOLE:
            out[0] = mean_of(plane, plan[H] * plan[W])
        else:
            for first in range(0, oh, plan[STRIP]):
                pool_strip(plan, spans, plane, first, min(first + plan[STRIP], oh), band, out, places)


@kernel(
    "plan: long*, x: T*, spans: T*, scratch: long*, thread: int, tasks: int, work: int -> y: T*, argmax: int*",
    over="tasks",
    work="work",
)
def pool_planes(i, plan, x, spans, scratch, thread, tasks, work, y, argmax):  # type: ignore[no-untyped-def]
    """A strip of rows of one plane: maxima and where they are, or means."""
    plane, first = i // plan[STRIPS], i % plan[STRIPS] * plan[STRIP]
    last, out = min(first + plan[STRIP], plan[OH]), plane * plan[OH] * plan[OW]
    band, source = floats_at(scratch[thread]), offset(x, plane * plan[H] * plan[W])
    if plan[STRIPS] == 1:
        pool_whole(plan, spans, 1, source, band, offset(y, out), offset(argmax, out))
    else:
        pool_strip(plan, spans, source, first, last, band, offset(y, out), offset(argmax, out))


def max_pool(x: Any, *rest: Any) -> bool:
    """Launch what `layers._pooling.max_pool` is called with; False for huge windows, which gain nothing."""
    return launch(PlanePool(*rest[:-2]), x, rest[-2], rest[-1])


def launch(of: PlanePool, x: Any, y: Any, argmax: Any) -> bool:
    """Pool planes as they lie."""
    if of.pays:
        work = of.strip * (ceil_div(of.ow, LANES) * (3 * of.kh * of.kw + 8) + of.sh * (of.w // LANES + 4) * 2)
        pool_planes(of.plan, x, of.spans, scratch(4 * of.floats), 0, of.planes * of.strips, work, y, argmax)
    return of.pays


@dataclass(frozen=True)
class PlanePool:
    """A pool over planes (the fields of `layers._pooling.Window`), of maxima or means, and how it is cut."""

    planes: int
    h: int
    w: int
    oh: int
    ow: int
    kh: int
    kw: int
    sh: int
    sw: int
    ph: int
    pw: int
    mean: bool = False

    @property
    def method(self) -> int:
        """How it is computed."""
        if self.mean and self.oh == self.ow == 1 and (self.kh, self.kw, self.ph, self.pw) == (self.h, self.w, 0, 0):
            return WHOLE
        inside = self.ph == self.pw == 0 and 2 * self.ow <= self.w and (self.oh - 1) * self.sh + self.kh <= self.h
        if self.mean or not inside or not self.kw == self.sw == 2:
            return MEANS if self.mean else MAXIMA
        squares = self.kh == self.sh == 2 and 2 * self.ow == self.w and 2 * self.oh == self.h and self.w % LANES == HALF
        return SQUARES if squares and self.oh * self.w <= ROOM // 2 else PAIRS

    @property
    def pays(self) -> bool:
        """Whether the window is not huge."""
        return self.kh * self.kw <= MOST_TAPS or self.method in (PAIRS, WHOLE)

    @property
    def phase(self) -> int:
        """Numbers in a phase of a row of a band."""
        return ceil_div(self.ow, LANES) * LANES + (self.kw - 1) // self.sw

    @property
    def pitch(self) -> int:
        """From row to row of a band; SQUARES has two, of all upper and of all lower rows."""
        if self.method == SQUARES:
            return ceil_div(self.oh * self.w, 2 * LANES) * 2 * LANES
        return self.phase * min(self.sw, self.kw)

    @property
    def strip(self) -> int:
        """Rows of outputs that a band is for."""
        if self.method in (PAIRS, SQUARES, WHOLE):
            return self.oh
        return max(1, min(self.oh, (ROOM // self.pitch - self.kh) // self.sh + 1))

    @property
    def strips(self) -> int:
        return ceil_div(self.oh, self.strip)

    @property
    def floats(self) -> int:
        """Room for a band."""
        if self.method in (PAIRS, SQUARES, WHOLE):
            return 2 * self.pitch + 2 * LANES if self.method == SQUARES else 0
        return ((self.strip - 1) * self.sh + self.kh) * self.pitch + 2 * LANES

    @property
    def spans(self) -> np.ndarray | None:
        """What `take_means` divides by."""
        if not self.mean:
            return None
        spans = np.ones(ceil_div(self.ow, LANES) * LANES + self.oh, np.float32)
        spans[: self.ow] = span(self.ow, self.w, self.kw, self.sw, self.pw)
        spans[-self.oh :] = span(self.oh, self.h, self.kh, self.sh, self.ph)
        return spans

    @property
    def plan(self) -> np.ndarray:
        kh, kw, sw, w = self.kh, self.kw, self.sw, self.w
        if self.method in (PAIRS, SQUARES, WHOLE):
            outputs = np.arange(ceil_div(self.oh * self.ow, LANES) * LANES)
            corners = (2 * outputs + outputs // self.ow * w).astype(np.int32).view(np.int64)
            cut = 1, self.oh, self.pitch, LISTS, LISTS, self.method
            return np.array([*astuple(self)[1:-1], *cut, *corners], np.int64)
        taps = [(a, b) for a in range(kh) for b in range(kw)]
        places = [n for a, b in taps for n in (a * self.pitch + b % sw * self.phase + b // sw, a * w + b)]
        phases = [n for f in range(min(sw, kw)) for n in phase_fields(f - self.pw, sw, w, self.phase)]
        cut = self.strips, self.strip, self.pitch, LISTS, LISTS + len(phases), self.method
        return np.array([*astuple(self)[1:-1], *cut, *phases, *places], np.int64)


def span(count: int, size: int, kernel: int, stride: int, pad: int) -> np.ndarray:
    """How many places each of `count` windows has along an axis: padding counts, what is behind it does not."""
    first = np.arange(count) * stride - pad
    return np.maximum(1, np.minimum(first + kernel, size + pad) - first)


def phase_fields(column: int, stride: int, width: int, phase: int) -> list[int]:
    """How a phase of so many numbers is made, which begins at this column of a plane."""
    left = min(phase, max(0, ceil_div(-column, stride)))
    count = max(0, min(phase, ceil_div(width - column, stride)) - left)
    return [column + left * stride, left, count, phase - left - count]
