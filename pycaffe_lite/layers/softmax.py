"""Softmax: y = exp(x) / sum exp(x) along one axis."""

from __future__ import annotations

import math
from math import exp

from ..kernel import T, kernel
from ..layer import Layer, Shapes

COLUMNS = {"over": "outer * inner", "work": "40 * channels"}


@kernel("x: T*, outer: int, channels: int, inner: int -> y: T*", **COLUMNS)
def softmax(i, x, outer, channels, inner, y):
    """y = softmax of x (outer, channels, inner) along the middle axis; one index is one column."""
    start = (i // inner) * channels * inner + i % inner
    largest = x[start]
    for c in range(1, channels):
        value = x[start + c * inner]
        largest = value if value > largest else largest
    total = T(0)
    for c in range(channels):
        at = start + c * inner
        y[at] = exp(x[at] - largest)
        total += y[at]
    for c in range(channels):
        y[start + c * inner] /= total


softmax.cpu("softmax", "softmax")
softmax.cuda("""
    int start = i / inner * channels * inner + i % inner;
    T largest = x[start], total = 0;
    for (int c = 1; c < channels; ++c) largest = max(largest, x[start + c * inner]);
    for (int c = 0; c < channels; ++c) total += y[start + c * inner] = exp(x[start + c * inner] - largest);
    for (int c = 0; c < channels; ++c) y[start + c * inner] /= total;
""")


@kernel("y: T*, dy: T*, outer: int, channels: int, inner: int -> dx: T*", over="outer * inner", work="6 * channels")
def softmax_grad(i, y, dy, outer, channels, inner, dx):
    """dx = (dy - sum(dy * y)) * y in every column."""
    start = (i // inner) * channels * inner + i % inner
    dot = T(0)
    for c in range(channels):
        dot += y[start + c * inner] * dy[start + c * inner]
    for c in range(channels):
        at = start + c * inner
        dx[at] = (dy[at] - dot) * y[at]


softmax_grad.cpu("softmax", "softmax_grad")
softmax_grad.cuda("""
    int start = i / inner * channels * inner + i % inner;
    T dot = 0;
    for (int c = 0; c < channels; ++c) dot += y[start + c * inner] * dy[start + c * inner];
    for (int c = 0; c < channels; ++c) { int at = start + c * inner; dx[at] = (dy[at] - dot) * y[at]; }
""")


class Softmax(Layer, type="Softmax", param="softmax_param"):
    """Probabilities along `axis`; the largest value is subtracted first, so nothing overflows."""

    in_place = True
    backward_reads = ("top",)

    def shapes(self, bottom):
        (shape,) = bottom
        axis = self.axis(self.param.axis, shape, "softmax_param.axis")
        self.columns = math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])
        return Shapes(top=bottom)

    def forward(self, bottom, top):
        softmax(bottom[0].data, *self.columns, top[0].data)

    def backward(self, top, propagate_down, bottom):
        if propagate_down[0]:
            softmax_grad(top[0].data, top[0].diff, *self.columns, bottom[0].diff)
