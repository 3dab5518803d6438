"""ArgMax: the indices of the largest values, or the values themselves."""

from __future__ import annotations

import math

from ..kernel import kernel
from ..layer import Layer, Shapes


@kernel(
    "x: T*, top_k: int, indices: int, values: int, outer: int, channels: int, inner: int -> y: T*",
    over="outer * inner",
    work="4 * top_k * channels",
)
def find_largest(i, x, top_k, indices, values, outer, channels, inner, y):
    """The top_k largest of a column of x, largest first, the later of equals first: `indices`, `values` or both."""
    o, at = i // inner, i % inner
    start, out = o * channels * inner + at, o * (indices + values) * top_k * inner + at
    last, last_place = x[start], channels
    for k in range(top_k):
        best, place = x[start], -1
        for c in range(channels):
            value = x[start + c * inner]
            behind = k == 0 or value < last or (value == last and c < last_place)
            if behind and (place < 0 or value >= best):
                best, place = value, c
        if indices:
            y[out + k * inner] = place
        if values:
            y[out + (indices * top_k + k) * inner] = best
        last, last_place = best, place


find_largest.cuda("""
    int o = i / inner, at = i % inner, last_place = channels;
    const T* column = x + o * channels * inner + at;
    T* out = y + o * (indices + values) * top_k * inner + at;
    T last = column[0];
    for (int k = 0; k < top_k; ++k) {
        T best = column[0];
        int place = -1;
        for (int c = 0; c < channels; ++c) {
            T value = column[c * inner];
            bool behind = k == 0 || value < last || (value == last && c < last_place);
            if (behind && (place < 0 || value >= best)) { best = value; place = c; }
        }
        if (indices) out[k * inner] = place;
        if (values) out[(indices * top_k + k) * inner] = best;
        last = best; last_place = place;
    }
""")


class ArgMax(Layer, type="ArgMax", param="argmax_param"):
    """(N, ...) to (N, 1, top_k), or (N, 2, top_k) with `out_max_val`; with `axis`, that axis becomes top_k long."""

    differentiable = False
    backward_reads = ()

    def setup(self):
        if self.param.top_k < 1:
            raise self.error("argmax_param.top_k: must be at least 1, got 0")

    def shapes(self, bottom):
        (shape,), p = bottom, self.param
        if not shape:
            raise self.error("bottom: must have at least 1 axis, got a scalar")
        if p.HasField("axis"):
            axis = self.axis(p.axis, shape, "argmax_param.axis")
            self.columns = math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])
            top = (*shape[:axis], p.top_k, *shape[axis + 1 :])
        else:
            self.columns = shape[0], math.prod(shape[1:]), 1
            top = (shape[0], 2 if p.out_max_val else 1, p.top_k, *[1] * (len(shape) - 3))
        if p.top_k > self.columns[1]:
            raise self.error(
                f"argmax_param.top_k: must be at most the {self.columns[1]} values of {shape}, got {p.top_k}"
            )
        self.both = p.out_max_val and not p.HasField("axis")
        return Shapes(top=[top])

    def forward(self, bottom, top):
        values = self.param.out_max_val
        indices = self.both or not values
        find_largest(bottom[0].data, self.param.top_k, indices, values, *self.columns, top[0].data)
