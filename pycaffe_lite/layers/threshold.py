"""Threshold: 1 where x is above a threshold, else 0."""

from __future__ import annotations

from ..kernel import expression
from ..layer import Layer, Shapes

is_above = expression("is_above", "y", "x", "where(x > threshold, 1, 0)", "threshold")


class Threshold(Layer, type="Threshold", param="threshold_param"):
    """Strictly above counts. There is no gradient."""

    in_place = True
    differentiable = False
    backward_reads = ()

    def shapes(self, bottom):
        return Shapes(top=bottom)

    def forward(self, bottom, top):
        is_above(bottom[0].data, self.param.threshold, top[0].count, top[0].data)
