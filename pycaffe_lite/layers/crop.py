"""Crop: a blob cut to the size of another."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

from .. import ops
from ..kernel import kernel
from ..layer import Layer, Shapes, exactly

LEVELS = 4  # axes that the kernel walks


class Span(NamedTuple):
    """Along one axis: where the window starts, how long it is, and how long the axis."""

    start: int
    length: int
    full: int


WHOLE = Span(0, 1, 1)
BOX = "a: int, b: int, c: int, d: int"
STEPS = ", ".join(f"{side}{step}: int" for side in "xy" for step in ("0", "a", "b", "c"))


@kernel(f"x: T*, {BOX}, {STEPS} -> y: T*", over="a * b * c", work="d")
def copy_box(i, x, a, b, c, d, x0, xa, xb, xc, y0, ya, yb, yc, y):
    """Copy a box of a x b x c rows of d elements: row (p, q, r) of x is at x0 + p xa + q xb + r xc, of y likewise."""
    p, q, r = i // c // b, i // c % b, i % c
    source, target = x0 + p * xa + q * xb + r * xc, y0 + p * ya + q * yb + r * yc
    for j in range(d):
        y[target + j] = x[source + j]


copy_box.cuda(
    """
    int j = i % d, r = i / d % c, q = i / d / c % b, p = i / d / c / b;
    y[y0 + p * ya + q * yb + r * yc + j] = x[x0 + p * xa + q * xb + r * xc + j];
""",
    over="a * b * c * d",
)


def merged(spans: Sequence[Span]) -> list[Span]:
    """The same window with few axes: one that is taken whole becomes part of the axis before it. At least LEVELS."""
    found = [WHOLE]
    for span in spans:
        before = found[-1]
        if span.length == span.full:
            found[-1] = Span(before.start * span.full, before.length * span.full, before.full * span.full)
        else:
            found.append(span)
    return [WHOLE] * (LEVELS - len(found)) + found


class Crop(Layer, type="Crop", param="crop_param"):
    """All axes from `axis` on are cut to those of x1, starting at `offset` (one for all these axes, or one each)."""

    bottoms = exactly(2)
    backward_reads = ()

    def shapes(self, bottom):
        shape, like = bottom
        axis = self.axis(self.param.axis, shape, "crop_param.axis")
        if len(like) < len(shape):  # more are left aside, as in Caffe
            raise self.error(f"bottom 1: must have as many axes as bottom 0, got shapes {shape} and {like}")
        spans = [Span(0, size, size) for size in shape[:axis]]
        for at, offset in enumerate(self.offsets(len(shape) - axis), axis):
            if offset + like[at] > shape[at]:
                raise self.error(
                    f"crop_param.offset: axis {at} of {shape} has {shape[at]}, too few for offset {offset} "
                    f"and the {like[at]} of {like}"
                )
            spans.append(Span(offset, like[at], shape[at]))
        self.spans = merged(spans)
        return Shapes(top=[tuple(span.length for span in spans)])

    def offsets(self, axes: int) -> list[int]:
        """Where the window starts along each of the last `axes` axes."""
        given = list(self.param.offset)
        if len(given) not in (0, 1, axes):
            times = f"0, 1 or {axes}" if axes > 1 else "0 or 1"
            raise self.error(f"crop_param.offset: give it {times} times (once for each axis cut), got {given}")
        return given if len(given) == axes else (given or [0]) * axes

    def copy(self, x, y, back: bool) -> None:
        """Copy the window of x to y, or `back`: y to the window of x."""
        full = [math.prod(s.full for s in self.spans[i + 1 :]) for i in range(len(self.spans))]
        cut = [math.prod(s.length for s in self.spans[i + 1 :]) for i in range(len(self.spans))]
        first = sum(s.start * step for s, step in zip(self.spans, full))
        box = [s.length for s in self.spans[-LEVELS:]]
        # More than four axes really cut: a launch for each place along the outermost ones.
        for outer in itertools.product(*(range(s.length) for s in self.spans[:-LEVELS])):
            in_x = first + sum(map(math.prod, zip(outer, full))), *full[-LEVELS:-1]
            in_y = sum(map(math.prod, zip(outer, cut))), *cut[-LEVELS:-1]
            if back:
                copy_box(y, *box, *in_y, *in_x, x)
            else:
                copy_box(x, *box, *in_x, *in_y, y)

    def forward(self, bottom, top):
        self.copy(bottom[0].data, top[0].data, back=False)

    def backward(self, top, propagate_down, bottom):
        for blob, wanted in zip(bottom, propagate_down):
            if wanted:  # x1 only lends its shape: its gradient is 0
                ops.fill(0, blob.count, blob.diff)
        if propagate_down[0]:
            self.copy(bottom[0].diff, top[0].diff, back=True)
