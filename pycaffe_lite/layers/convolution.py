"""Convolution: cross-correlation with learnt kernels, over any number of spatial axes."""

from __future__ import annotations

from ..layer import Shapes
from ._convolution import ConvolutionBase


class Convolution(ConvolutionBase, type="Convolution", param="convolution_param"):
    """(N, C, size...) to (N, num_output, size'...), size' = floor((size + 2 pad - extent) / stride) + 1."""

    takes_relu = True

    def shapes(self, bottom):
        batch, leading, channels, size = self.read_geometry(bottom)
        self.check_groups(channels)
        self.check_fit(size)
        self.conv = self.geometry(batch, channels, size, self.param.num_output)
        weight = (self.param.num_output, channels // self.param.group, *self.kernel)
        top = (*leading, self.param.num_output, *self.conv.output)
        return Shapes(top=[top] * len(bottom), params=self.parameters(weight))

    def forward(self, bottom, top, relu=False):
        weight, *bias = self.params
        for x, y in zip(bottom, top):
            self.conv.forward(x.data, weight.data, bias[0].data if bias else None, y.data, relu)

    def backward(self, top, propagate_down, bottom, bias=True):
        weight, *biases = self.params
        adds = not weight.fresh
        for x, y, wanted in zip(bottom, top, propagate_down):
            if biases and bias and self.learns(1):
                self.conv.backward_bias(y.diff, biases[0].diff)
            if self.learns(0):
                self.conv.backward_weights(x.data, y.diff, weight.diff, accumulate=adds)
            if wanted:
                self.conv.backward_data(y.diff, weight.data, x.diff)
            adds = True
