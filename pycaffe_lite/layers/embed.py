"""Embed: a learnt row for every index."""

from __future__ import annotations

import math

import numpy as np

from .. import ops
from ..layer import Layer, Param, Shapes
from ._rows import add_to_rows, no_such_row, take_rows


class Embed(Layer, type="Embed", param="embed_param"):
    """(indices...) to (indices..., num_output): rows of the weights (input_dim, num_output), plus a bias."""

    backward_reads = ("bottom",)
    no_gradient_to = (0,)

    def setup(self):
        for field in ("num_output", "input_dim"):
            if getattr(self.param, field) < 1:
                raise self.error(f"embed_param.{field}: must be at least 1, got 0")

    def shapes(self, bottom):
        p, (shape,) = self.param, bottom
        self.sizes = p.input_dim, p.num_output, math.prod(shape)
        params = [Param((p.input_dim, p.num_output), p.weight_filler)]
        if p.bias_term:
            params.append(Param((p.num_output,), p.bias_filler))
        return Shapes(top=[(*shape, p.num_output)], params=params, scratch={"fault": ((1,), np.int64)})

    def forward(self, bottom, top):
        weight, *bias = self.params
        _, length, count = self.sizes
        take_rows(weight.data, bottom[0].data, *self.sizes, top[0].data, self.fault)
        if bias:
            ops.add_bias_rows(bias[0].data, count, length, top[0].data)

    def backward(self, top, propagate_down, bottom):
        weight, *bias = self.params
        _, length, count = self.sizes
        if self.learns(0):
            add_to_rows(top[0].diff, bottom[0].data, *self.sizes, weight.diff)
        if bias and self.learns(1):
            ops.add_rows(top[0].diff, count, length, bias[0].diff)

    def explain_fault(self, place, bottom):
        return no_such_row(self, bottom, 0, place, self.param.input_dim, f"its input_dim {self.param.input_dim}")
