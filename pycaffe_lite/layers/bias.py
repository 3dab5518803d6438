"""Bias: y = x + bias, repeated over the axes it does not have."""

from __future__ import annotations

from .. import ops
from ..layer import Layer, Param, Shapes, between
from ._channels import affine_channels, affine_channels_grad, operand_view


class Bias(Layer, type="Bias", param="bias_param"):
    """The bias is a parameter over `num_axes` axes from `axis` on, or the second bottom."""

    bottoms = between(1, 2)
    in_place = True
    backward_reads = ()

    def shapes(self, bottom):
        operand, self.view = operand_view(self, bottom)
        params = [] if len(bottom) == 2 else [Param(operand, self.param.filler)]
        per_channel = ((self.view.channels,), None)
        scratch = {"zeros": per_channel, "ones": per_channel, "unwanted": per_channel}
        return Shapes(top=[bottom[0]], params=params, scratch=scratch)

    def bias(self, bottom):
        """The bias: parameter 0, or bottom 1."""
        return bottom[1] if len(bottom) == 2 else self.params[0]

    def forward(self, bottom, top):
        ops.fill(1, self.view.channels, self.ones)
        bias = self.bias(bottom).data
        affine_channels(bottom[0].data, self.zeros, self.ones, bias, *self.view, top[0].data)

    def backward(self, top, propagate_down, bottom):
        dy, bias = top[0].diff, self.bias(bottom)
        if len(bottom) == 2 and propagate_down[1]:
            ops.fill(0, bias.count, bias.diff)
        if propagate_down[1] if len(bottom) == 2 else self.learns(0):
            affine_channels_grad(dy, dy, self.ones, False, *self.view, None, self.unwanted, bias.diff)
        if propagate_down[0]:
            ops.copy(dy, top[0].count, bottom[0].diff)
