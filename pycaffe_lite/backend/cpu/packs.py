"""Depthwise convolution of small planes: a vector holds one place of LANES channels.

Rows of small planes do not fill vectors. So the planes of LANES channels are transposed to a pack in scratch,
with their padding; there, a vector of sums is a few products of whole vectors whatever kernel, stride and
dilation are, and the results are transposed back. Where things lie in a pack is in tables, made once.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np

from ...kernel import T, device_function, kernel
from .atoms import offset
from .gemm import ceil_div
from .plane import Plane
from .tile import FLAT
from .vector import (
    LANES,
    add,
    at_least,
    floats_at,
    load,
    load_some,
    multiply,
    multiply_add,
    prefetch,
    prefetch_to_write,
    splat,
    store,
    store_transposed,
    transpose,
    transpose_to,
)
from .workspace import scratch

MOST_PLACES = 4096  # in a pack: 256 KB, which the second cache has room for
TASKS = 32  # that a pass is cut into, where it has as many
TILE = 8  # sums under way at a time
NINE = 9  # taps whose weight gradients are summed up at a time

# A plan: sizes, where its lists begin, and a header of four for every phase; then the lists.
BATCH, CHANNELS, PACKS, PART, SOURCE, TARGET, PLACES, EMPTY, EMPTY_END, TAPS, ROOM, PHASES, HEADERS = range(13)
TAP_COUNT, TAP_LIST, SUM_COUNT, SUM_LIST, HEADER = range(5)


@device_function
def pack_plane(plan, x, lanes, pack):  # type: ignore[no-untyped-def]
    """Transpose the planes of so many channels into their places, and have those of the next image fetched."""
    size, places = plan[SOURCE], offset(plan, plan[PLACES])
    ahead = offset(x, plan[CHANNELS] * size)
    for p in range(0, size, LANES):
        for line in range(lanes):
            prefetch(offset(ahead, p * lanes + line * LANES))
        at = max(0, min(p, size - LANES))  # the last square may overlap the one before it
        transpose_to(offset(x, at), size, lanes, size - at, pack, offset(places, at))


@device_function
def unpack_plane(sums, size, lanes, y):  # type: ignore[no-untyped-def]
    """Transpose the sums of `size` places back to planes."""
    for p in range(0, size, LANES):
        at = max(0, min(p, size - LANES))
        store_transposed(offset(sums, at * LANES), LANES, min(LANES, size - at), lanes, offset(y, at), size)


@device_function
def empty_pack(plan, pack):  # type: ignore[no-untyped-def]
    """Zeros where nothing will be written: padding."""
    for at in range(plan[EMPTY], plan[EMPTY_END]):
        store(offset(pack, plan[at]), splat(T(0)))


@device_function
def sum_one(taps, count, weights, source, start, least, target):  # type: ignore[no-untyped-def]
    """One vector of sums."""
    a = start
    for tap in range(count):
        a = multiply_add(load(offset(source, taps[2 * tap + 1])), load(offset(weights, taps[2 * tap])), a)
    store(target, at_least(a, least))


@device_function
def sum_eight(taps, count, weights, pack, places, start, least, target):  # type: ignore[no-untyped-def]
    """Eight vectors of sums; `places` are pairs: where the taps begin, and where the sums go."""
    a = b = c = d = e = f = g = h = start
    at_a, at_b, at_c = offset(pack, places[0]), offset(pack, places[2]), offset(pack, places[4])
    at_d, at_e, at_f = offset(pack, places[6]), offset(pack, places[8]), offset(pack, places[10])
    at_g, at_h = offset(pack, places[12]), offset(pack, places[14])
    for tap in range(count):
        weight, there = load(offset(weights, taps[2 * tap])), taps[2 * tap + 1]
        a = multiply_add(load(offset(at_a, there)), weight, a)
        b = multiply_add(load(offset(at_b, there)), weight, b)
        c = multiply_add(load(offset(at_c, there)), weight, c)
        d = multiply_add(load(offset(at_d, there)), weight, d)
        e = multiply_add(load(offset(at_e, there)), weight, e)
        f = multiply_add(load(offset(at_f, there)), weight, f)
        g = multiply_add(load(offset(at_g, there)), weight, g)
        h = multiply_add(load(offset(at_h, there)), weight, h)
    store(offset(target, places[1]), at_least(a, least))
    store(offset(target, places[3]), at_least(b, least))
    store(offset(target, places[5]), at_least(c, least))
    store(offset(target, places[7]), at_least(d, least))
    store(offset(target, places[9]), at_least(e, least))
    store(offset(target, places[11]), at_least(f, least))
    store(offset(target, places[13]), at_least(g, least))
    store(offset(target, places[15]), at_least(h, least))


@device_function
def sum_nine_taps(taps, count, weights, pack, places, start, least, target, ahead):  # type: ignore[no-untyped-def]
    """Vectors of sums of nine taps, in three parts: each step of a sum waits for the one before it."""
    w0, w1, w2 = load(offset(weights, taps[0])), load(offset(weights, taps[2])), load(offset(weights, taps[4]))
    w3, w4, w5 = load(offset(weights, taps[6])), load(offset(weights, taps[8])), load(offset(weights, taps[10]))
    w6, w7, w8 = load(offset(weights, taps[12])), load(offset(weights, taps[14])), load(offset(weights, taps[16]))
    t0, t1, t2, t3, t4 = taps[1], taps[3], taps[5], taps[7], taps[9]
    t5, t6, t7, t8 = taps[11], taps[13], taps[15], taps[17]
    for p in range(count):
        prefetch_to_write(offset(ahead, p * LANES))
        here = offset(pack, places[2 * p])
        a = multiply_add(load(offset(here, t0)), w0, start)
        b = multiply(load(offset(here, t3)), w3)
        c = multiply(load(offset(here, t6)), w6)
        a = multiply_add(load(offset(here, t1)), w1, a)
        b = multiply_add(load(offset(here, t4)), w4, b)
        c = multiply_add(load(offset(here, t7)), w7, c)
        a = multiply_add(load(offset(here, t2)), w2, a)
        b = multiply_add(load(offset(here, t5)), w5, b)
        c = multiply_add(load(offset(here, t8)), w8, c)
        store(offset(target, places[2 * p + 1]), at_least(add(add(a, b), c), least))


@kernel(
    "plan: long*, x: T*, w: T*, bias: T*, has_bias: int, floor: T, scratch: long*, thread: int, tasks: int, work: int"
    " -> y: T*",
    over="tasks",
    work="work",
)
def gather_pack(i, plan, x, w, bias, has_bias, floor, scratch, thread, tasks, work, y):  # type: ignore[no-untyped-def]
    """LANES channels of some images: every value of y from those of x that its taps meet."""
    channels, taps, source, target = plan[CHANNELS], plan[TAPS], plan[SOURCE], plan[TARGET]
    first, image = i % plan[PACKS] * LANES, i // plan[PACKS] * plan[PART]
    lanes = min(LANES, channels - first)
    weights = floats_at(scratch[thread])
    for tap in range(0, taps, LANES):
        kernels, to = offset(w, first * taps + tap), offset(weights, tap * LANES)
        transpose(kernels, taps, lanes, min(LANES, taps - tap), to, LANES)
    pack = offset(weights, taps * LANES)
    sums = offset(pack, plan[ROOM])
    empty_pack(plan, pack)
    start, least = splat(T(0)), splat(floor)
    if has_bias != 0:
        start = load_some(offset(bias, first), lanes)
    for n in range(image, min(image + plan[PART], plan[BATCH])):
        plane = n * channels + first
        there = offset(y, plane * target)
        pack_plane(plan, offset(x, plane * source), lanes, pack)
        for phase in range(plan[PHASES]):
            sum_phase(plan, offset(plan, HEADERS + phase * HEADER), weights, pack, start, least, sums, there)
        unpack_plane(sums, target, lanes, there)


@device_function
def sum_phase(plan, header, weights, pack, start, least, sums, there):  # type: ignore[no-untyped-def]
    """All sums of a phase; where they will be unpacked to is fetched meanwhile."""
    taps, places, count = offset(plan, header[TAP_LIST]), offset(plan, header[SUM_LIST]), header[SUM_COUNT]
    if header[TAP_COUNT] == NINE:
        sum_nine_taps(taps, count, weights, pack, places, start, least, sums, there)
        return
    for s in range(0, count, TILE):
        at = max(0, min(s, count - TILE))
        for line in range(TILE):
            prefetch_to_write(offset(there, (at + line) * LANES))
        if count >= TILE:
            sum_eight(taps, header[TAP_COUNT], weights, pack, offset(places, 2 * at), start, least, sums)
        else:
            for k in range(count):
                here = offset(pack, places[2 * k])
                sum_one(taps, header[TAP_COUNT], weights, here, start, least, offset(sums, places[2 * k + 1]))


@kernel(
    "plan: long*, x: T*, dy: T*, scratch: long*, thread: int, tasks: int, work: int -> dw: T*",
    over="tasks",
    work="work",
)
def sum_pack(i, plan, x, dy, scratch, thread, tasks, work, dw):  # type: ignore[no-untyped-def]
    """The kernels of LANES channels: for every tap the sum, over all images, of what it met times dy."""
    channels, taps, source, target = plan[CHANNELS], plan[TAPS], plan[SOURCE], plan[TARGET]
    first = i * LANES
    lanes = min(LANES, channels - first)
    pack = floats_at(scratch[thread])
    gradient = offset(pack, plan[ROOM])
    sums = offset(gradient, (target + LANES) * LANES)
    room = (taps + NINE - 1) // NINE * NINE
    for tap in range(room):
        store(offset(sums, tap * LANES), splat(T(0)))
    empty_pack(plan, pack)
    for n in range(plan[BATCH]):
        plane = n * channels + first
        pack_plane(plan, offset(x, plane * source), lanes, pack)
        for p in range(0, target, LANES):
            at = max(0, min(p, target - LANES))
            square, to = offset(dy, plane * target + at), offset(gradient, at * LANES)
            transpose(square, target, lanes, min(LANES, target - at), to, LANES)
        places, met = offset(plan, plan[HEADERS + SUM_LIST]), offset(plan, plan[HEADERS + TAP_LIST])
        for tap in range(0, room, NINE):
            add_nine(offset(met, 2 * tap), pack, places, gradient, target, offset(sums, tap * LANES))
    for lane in range(lanes):
        for tap in range(taps):
            dw[(first + lane) * taps + tap] += sums[tap * LANES + lane]


@device_function
def add_nine(taps, pack, places, gradient, count, sums):  # type: ignore[no-untyped-def]
    """Add what nine taps met in one image."""
    s0, s1, s2 = load(sums), load(offset(sums, LANES)), load(offset(sums, 2 * LANES))
    s3, s4, s5 = load(offset(sums, 3 * LANES)), load(offset(sums, 4 * LANES)), load(offset(sums, 5 * LANES))
    s6, s7, s8 = load(offset(sums, 6 * LANES)), load(offset(sums, 7 * LANES)), load(offset(sums, 8 * LANES))
    for p in range(count):
        here, dy = offset(pack, places[2 * p]), load(offset(gradient, places[2 * p + 1]))
        s0 = multiply_add(load(offset(here, taps[1])), dy, s0)
        s1 = multiply_add(load(offset(here, taps[3])), dy, s1)
        s2 = multiply_add(load(offset(here, taps[5])), dy, s2)
        s3 = multiply_add(load(offset(here, taps[7])), dy, s3)
        s4 = multiply_add(load(offset(here, taps[9])), dy, s4)
        s5 = multiply_add(load(offset(here, taps[11])), dy, s5)
        s6 = multiply_add(load(offset(here, taps[13])), dy, s6)
        s7 = multiply_add(load(offset(here, taps[15])), dy, s7)
        s8 = multiply_add(load(offset(here, taps[17])), dy, s8)
    store(sums, s0)
    store(offset(sums, LANES), s1)
    store(offset(sums, 2 * LANES), s2)
    store(offset(sums, 3 * LANES), s3)
    store(offset(sums, 4 * LANES), s4)
    store(offset(sums, 5 * LANES), s5)
    store(offset(sums, 6 * LANES), s6)
    store(offset(sums, 7 * LANES), s7)
    store(offset(sums, 8 * LANES), s8)


@dataclass(frozen=True)
class Axis:
    """Along one axis: `count` sums, each of some of `size` values, in phases: sums with the same taps."""

    size: int
    count: int
    phases: list[tuple[np.ndarray, np.ndarray]]
    """Pairs (tap, how far from the first value), and pairs (sum, where its first value is)."""

    @property
    def ends(self) -> tuple[int, int]:
        """The first and the last value that a pack has: before and behind those there are, padding."""
        met = [np.add.outer(sums[:, 1], taps[:, 1]) for taps, sums in self.phases if taps.size and sums.size]
        return min(0, *(m.min() for m in met)), max(self.size - 1, *(m.max() for m in met))


def forward_axis(size: int, count: int, kernel: int, stride: int, pad: int, dilation: int, turned: bool) -> Axis:
    """How outputs are made of inputs."""
    taps, outputs = np.arange(kernel), np.arange(count)
    return Axis(
        size, count, [(pairs(taps[::-1] if turned else taps, taps * dilation), pairs(outputs, outputs * stride - pad))]
    )


def backward_axis(size: int, count: int, kernel: int, stride: int, pad: int, dilation: int) -> Axis:
    """How the gradients of `count` inputs are made of those of `size` outputs."""
    phases = []
    taps, inputs = np.arange(kernel), np.arange(count)
    for phase in range(stride):
        met, seen = taps[(phase - taps * dilation) % stride == 0], inputs[(inputs + pad - phase) % stride == 0]
        phases.append((pairs(met, (phase - met * dilation) // stride), pairs(seen, (seen + pad - phase) // stride)))
    return Axis(size, count, phases)


def pairs(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Numbers side by side."""
    return np.stack([a, b], axis=1)


def every_pair(rows: np.ndarray, columns: np.ndarray, width: int, pitch: int, at: int) -> np.ndarray:
    """Pairs of two axes joined: which, in rows of `width`, and where, in rows of `pitch` that begin at `at`."""
    which = np.add.outer(rows[:, 0] * width, columns[:, 0])
    where = np.add.outer(rows[:, 1] * pitch, columns[:, 1]) + at
    return pairs(which.ravel(), where.ravel() * LANES)


@dataclass(frozen=True)
class Pack:
    """Where planes lie in a pack, with their padding, and what is summed up of them."""

    rows: Axis
    columns: Axis

    @cached_property
    def pitch(self) -> int:
        low, high = self.columns.ends
        return high - low + 1

    @cached_property
    def places(self) -> int:
        low, high = self.rows.ends
        return (high - low + 1) * self.pitch

    @property
    def size(self) -> int:
        return self.rows.size * self.columns.size

    @property
    def count(self) -> int:
        return self.rows.count * self.columns.count

    def plan(self, of: Plane, part: int) -> np.ndarray:
        """The tables, for tasks of so many images."""
        first = -self.rows.ends[0] * self.pitch - self.columns.ends[0]
        whole = (pairs(np.arange(n), np.arange(n)) for n in (self.rows.size, self.columns.size))
        places = every_pair(*whole, 0, self.pitch, first)[:, 1]
        empty = np.setdiff1d(np.arange(self.places) * LANES, places)
        lists: list[np.ndarray] = []
        at = HEADERS + HEADER * len(self.rows.phases) * len(self.columns.phases)

        def put(numbers: np.ndarray) -> int:
            nonlocal at
            lists.append(numbers.ravel())
            at += numbers.size
            return at - numbers.size

        headers: list[int] = []
        for (row_taps, row_sums), (column_taps, column_sums) in product(self.rows.phases, self.columns.phases):
            taps = every_pair(row_taps, column_taps, of.kernel_x, self.pitch, 0)
            sums = every_pair(row_sums, column_sums, self.columns.count, self.pitch, first)[:, ::-1] * (1, LANES)
            spare = np.repeat(taps[-1:], -len(taps) % NINE, axis=0)  # `add_nine` sums up for nothing what is missing
            headers += [len(taps), put(np.concatenate([taps, spare]) * (LANES, 1)), len(sums), put(sums)]
        sizes = of.batch, of.channels, ceil_div(of.channels, LANES), part, self.size, self.count
        where = put(places), put(empty)
        numbers = [*sizes, *where, at, of.taps, self.places * LANES, len(headers) // HEADER, *headers]
        return np.concatenate([np.array(numbers), *lists]).astype(np.int64)

    def cost(self, of: Plane) -> int:
        """What a plane costs, in cycles."""
        return (self.size + self.count) * (50 + 3 * of.taps) // 100


def forward_pack(of: Plane, turned: bool = False) -> Pack:
    """What the forward pass gathers; with `turned`, kernels are turned around."""
    return Pack(
        forward_axis(of.height, of.out_height, of.kernel_y, of.stride_y, of.pad_y, of.dilation_y, turned),
        forward_axis(of.width, of.out_width, of.kernel_x, of.stride_x, of.pad_x, of.dilation_x, turned),
    )


def backward_pack(of: Plane) -> Pack:
    """What the gradient of x gathers, at any stride."""
    return Pack(
        backward_axis(of.out_height, of.height, of.kernel_y, of.stride_y, of.pad_y, of.dilation_y),
        backward_axis(of.out_width, of.width, of.kernel_x, of.stride_x, of.pad_x, of.dilation_x),
    )


def gather(
    of: Plane, pack: Pack, x: np.ndarray, w: np.ndarray, bias: np.ndarray | None, y: np.ndarray, relu: bool
) -> None:
    """y = the sums that a pack makes of x, plus the bias of each channel, then ReLU."""
    packs = ceil_div(of.channels, LANES)
    part = max(1, min(of.batch, of.batch * packs // TASKS))
    room = scratch(4 * LANES * (ceil_div(of.taps, LANES) * LANES + pack.places + pack.count + 2 * LANES))
    tasks, work = packs * ceil_div(of.batch, part), LANES * part * pack.cost(of)
    gather_pack(pack.plan(of, part), x, w, bias, int(bias is not None), 0.0 if relu else FLAT, room, 0, tasks, work, y)


def add_weights_grad(of: Plane, pack: Pack, x: np.ndarray, dy: np.ndarray, dw: np.ndarray) -> None:
    """dw += the gradient of the weights."""
    room = scratch(4 * LANES * (ceil_div(of.taps, NINE) * NINE + pack.places + pack.count + 2 * LANES))
    tasks = ceil_div(of.channels, LANES)
    sum_pack(pack.plan(of, 1), x, dy, room, 0, tasks, LANES * of.batch * pack.cost(of), dw)
