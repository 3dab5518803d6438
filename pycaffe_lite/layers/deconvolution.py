"""Deconvolution: convolution turned round, its gradient forward and itself backward; often to upsample."""

from __future__ import annotations

import math

from .. import ops
from ..kernel import kernel
from ..layer import Shapes
from ..ops import block_sum
from ._convolution import ConvolutionBase


@kernel("bias: T*, rows: int, channels: int, size: int -> y: T*", over="rows", work="size")
def add_channel_bias(i, bias, rows, channels, size, y):
    """Every value of row i (a channel of an image) += the bias of its channel."""
    shift = bias[i % channels]
    for j in range(i * size, (i + 1) * size):
        y[j] += shift


add_channel_bias.cuda("y[i] += bias[i / size % channels];", over="rows * size")


@kernel(
    "dy: T*, batch: int, channels: int, size: int -> db: T*",
    over="channels",
    work="batch * size",
    any_order=True,
)
def add_channel_sums(i, dy, batch, channels, size, db):
    """db += the sum of each channel over all images."""
    total = 0.0
    for n in range(batch):
        start = (n * channels + i) * size
        for j in range(start, start + size):
            total += dy[j]
    db[i] += block_sum(total)


add_channel_sums.cuda(
    """
    double total = 0;
    for (int j = threadIdx.x; j < batch * size; j += blockDim.x)
        total += dy[(j / size * channels + i) * size + j % size];
    total = block_sum(total);
    if (threadIdx.x == 0) db[i] += total;
    """,
    block=ops.THREADS,
)


class Deconvolution(ConvolutionBase, type="Deconvolution", param="convolution_param"):
    """(N, C, size...) to (N, num_output, size'...), size' = stride (size - 1) + extent - 2 pad."""

    def shapes(self, bottom):
        batch, leading, channels, size = self.read_geometry(bottom)
        self.check_groups(channels)
        axes = zip(size, self.kernel, self.stride, self.pad, self.dilation)
        output = tuple(s * (n - 1) + d * (k - 1) + 1 - 2 * pad for n, k, s, pad, d in axes)
        if min(output, default=1) < 1:
            raise self.error(
                f"convolution_param.pad: leaves no output of bottom {bottom[0]}: its size would be {output}"
            )
        # the convolution whose gradient this is: from our top to our bottom
        self.conv = self.geometry(batch, self.param.num_output, output, channels)
        self.planes = batch, self.param.num_output, math.prod(output)
        weight = (channels, self.param.num_output // self.param.group, *self.kernel)
        top = (*leading, self.param.num_output, *output)
        return Shapes(top=[top] * len(bottom), params=self.parameters(weight))

    def forward(self, bottom, top):
        weight, *bias = self.params
        batch, channels, size = self.planes
        for x, y in zip(bottom, top):
            self.conv.backward_data(x.data, weight.data, y.data)
            if bias:
                add_channel_bias(bias[0].data, batch * channels, channels, size, y.data)

    def backward(self, top, propagate_down, bottom):
        weight, *bias = self.params
        adds = not weight.fresh
        for x, y, wanted in zip(bottom, top, propagate_down):
            if bias and self.learns(1):
                add_channel_sums(y.diff, *self.planes, bias[0].diff)
            if self.learns(0):
                self.conv.backward_weights(y.diff, x.data, weight.diff, accumulate=adds)
            if wanted:
                self.conv.forward(y.diff, weight.data, None, x.diff)
            adds = True
