"""InnerProduct: y = x W' + b over everything from `axis` on."""

from __future__ import annotations

import math

from .. import ops
from ..layer import Layer, Param, Shapes


class InnerProduct(Layer, type="InnerProduct", param="inner_product_param"):
    """A fully connected layer: (outer, K) to (outer, num_output); weights (num_output, K), or transposed."""

    backward_reads = ("bottom",)
    overwrites = (0,)

    def setup(self):
        if self.param.num_output < 1:
            raise self.error(f"inner_product_param.num_output: must be at least 1, got {self.param.num_output}")
        self.takes_relu = self.param.bias_term

    def shapes(self, bottom):
        p, (shape,) = self.param, bottom
        axis = self.axis(p.axis, shape, "inner_product_param.axis")
        self.rows, self.depth, self.width = math.prod(shape[:axis]), math.prod(shape[axis:]), p.num_output
        weight = (self.depth, self.width) if p.transpose else (self.width, self.depth)
        params = [Param(weight, p.weight_filler)]
        if p.bias_term:
            params.append(Param((self.width,), p.bias_filler))
        return Shapes(top=[(*shape[:axis], self.width)], params=params)

    def forward(self, bottom, top, relu=False):
        weight, *bias = self.params
        values = bottom[0].data, weight.data, bias[0].data if bias else None, top[0].data
        ops.inner_product(*values, self.rows, self.width, self.depth, not self.param.transpose, relu)

    def backward(self, top, propagate_down, bottom):
        weight, *bias = self.params
        x, dy, adds = bottom[0].data, top[0].diff, not weight.fresh
        if self.learns(0) and self.param.transpose:
            ops.gemm(x, dy, weight.diff, self.depth, self.width, self.rows, trans_a=True, accumulate=adds)
        elif self.learns(0):
            ops.gemm(dy, x, weight.diff, self.width, self.depth, self.rows, trans_a=True, accumulate=adds)
        if bias and self.learns(1):
            ops.add_rows(dy, self.rows, self.width, bias[0].diff)
        if propagate_down[0]:
            ops.gemm(dy, weight.data, bottom[0].diff, self.rows, self.depth, self.width, trans_b=self.param.transpose)
