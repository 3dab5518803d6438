"""Scale: y = scale * x (+ bias), both repeated over the axes they do not have."""

from __future__ import annotations

from .. import ops
from ..layer import Layer, Param, Shapes, between
from ._channels import affine_channels, affine_channels_grad, filler_or, operand_view


class Scale(Layer, type="Scale", param="scale_param"):
    """The scale is a parameter over `num_axes` axes from `axis` on, or the second bottom; the bias is a parameter."""

    bottoms = between(1, 2)
    diff_in_place = True
    backward_reads = ("bottom",)

    def shapes(self, bottom):
        operand, self.view = operand_view(self, bottom)
        params = [] if len(bottom) == 2 else [Param(operand, filler_or(self.param, "filler", 1))]
        if self.param.bias_term:
            params.append(Param(operand, self.param.bias_filler))
        per_channel = ((self.view.channels,), None)
        return Shapes(top=[bottom[0]], params=params, scratch={"zeros": per_channel, "unwanted": per_channel})

    def scale(self, bottom):
        """The scale: parameter 0, or bottom 1."""
        return bottom[1] if len(bottom) == 2 else self.params[0]

    def forward(self, bottom, top):
        shift = self.params[-1].data if self.param.bias_term else self.zeros
        affine_channels(bottom[0].data, self.zeros, self.scale(bottom).data, shift, *self.view, top[0].data)

    def backward(self, top, propagate_down, bottom):
        dy, scale = top[0].diff, self.scale(bottom)
        dx = bottom[0].diff if propagate_down[0] else None
        scale_wanted = propagate_down[1] if len(bottom) == 2 else self.learns(0)
        bias_wanted = self.param.bias_term and self.learns(len(self.params) - 1)
        if scale_wanted or bias_wanted:
            if scale_wanted and len(bottom) == 2:
                ops.fill(0, scale.count, scale.diff)
            affine_channels_grad(
                bottom[0].data, dy, scale.data, propagate_down[0], *self.view, dx,
                scale.diff if scale_wanted else self.unwanted,
                self.params[-1].diff if bias_wanted else self.unwanted,
            )  # fmt: skip
        elif propagate_down[0]:
            affine_channels(dy, self.zeros, scale.data, self.zeros, *self.view, dx)
