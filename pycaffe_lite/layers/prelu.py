"""PReLU: y = x where x > 0, else slope * x, with learnt slopes."""

from __future__ import annotations

import numpy as np

from ..kernel import T, kernel, where
from ..layer import Layer, Param, Shapes
from ..ops import block_sum
from ._channels import BY_SAMPLE, CHANNELS, ELEMENTS, THREADS, WHOLE_BATCH, filler_or, see


@kernel(f"x: T*, slope: T*, distinct: int, {CHANNELS} -> y: T*", **BY_SAMPLE)
def prelu(i, x, slope, distinct, outer, channels, inner, per, y):
    """y = x where x > 0, else slope * x; the slopes are `distinct` (1) or channels share one (0)."""
    groups = (channels + per - 1) // per
    row, first = i // groups * channels, i % groups * per
    for c in range(first, min(first + per, channels)):
        a = slope[c * distinct]
        start = (row + c) * inner
        for j in range(start, start + inner):
            y[j] = where(x[j] > 0, x[j], a * x[j])


prelu.cuda("y[i] = x[i] > 0 ? x[i] : slope[i / inner % channels * distinct] * x[i];", over=ELEMENTS)


@kernel(
    f"x: T*, dy: T*, slope: T*, distinct: int, wanted: int, {CHANNELS} -> dx: T*, partial: double*",
    **WHOLE_BATCH,
)
def prelu_grad(i, x, dy, slope, distinct, wanted, outer, channels, inner, per, dx, partial):
    """partial = the sum of dy * x over all x <= 0 of a channel; dx = dy, or slope * dy there, if it is wanted."""
    for o in range(outer):
        for c in range(i * per, min((i + 1) * per, channels)):
            start, total, a = (o * channels + c) * inner, 0.0, slope[c * distinct]
            for j in range(start, start + inner):
                total += where(x[j] > 0, T(0), dy[j] * x[j])
            partial[c] = block_sum(total) + (partial[c] if o else 0)
            if wanted:
                for j in range(start, start + inner):
                    dx[j] = where(x[j] > 0, dy[j], a * dy[j])


prelu_grad.cuda(
    """
    double total = 0;
    T a = slope[i * distinct];
    for (int j = threadIdx.x; j < outer * inner; j += blockDim.x) {
        int at = (j / inner * channels + i) * inner + j % inner;
        if (!(x[at] > 0)) total += dy[at] * x[at];
        if (wanted) dx[at] = x[at] > 0 ? dy[at] : a * dy[at];
    }
    total = block_sum(total);
    if (threadIdx.x == 0) partial[i] = total;
""",
    over="channels",
    block=THREADS,
)


@kernel("partial: double*, distinct: int, channels: int -> dslope: T*", over="1", work="channels")
def add_slopes(i, partial, distinct, channels, dslope):
    """dslope += the sums of the channels, each to its own or all to the one."""
    for c in range(channels):
        dslope[c * distinct] += partial[c]


add_slopes.cuda("for (int c = 0; c < channels; ++c) dslope[c * distinct] += partial[c];")


class PReLU(Layer, type="PReLU", param="prelu_param"):
    """One slope for each channel (axis 1), or one for all with `channel_shared`."""

    backward_reads = ("bottom",)

    def shapes(self, bottom):
        (shape,) = bottom
        if len(shape) < 2:
            raise self.error(f"bottom: must have at least 2 axes (N, C ...), got shape {shape}")
        self.view, self.distinct = see(shape, 1, 2), int(not self.param.channel_shared)
        slopes = () if self.param.channel_shared else (shape[1],)
        return Shapes(
            top=bottom,
            params=[Param(slopes, filler_or(self.param, "filler", 0.25))],
            scratch={"partial": ((shape[1],), np.float64)},
        )

    def forward(self, bottom, top):
        prelu(bottom[0].data, self.params[0].data, self.distinct, *self.view, top[0].data)

    def backward(self, top, propagate_down, bottom):
        (slope,), wanted = self.params, propagate_down[0]
        dx = bottom[0].diff if wanted else None
        prelu_grad(bottom[0].data, top[0].diff, slope.data, self.distinct, wanted, *self.view, dx, self.partial)
        if self.learns(0):
            add_slopes(self.partial, self.distinct, self.view.channels, slope.diff)
