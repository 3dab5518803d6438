"""BatchReindex: items of a batch selected, repeated and reordered by index."""

from __future__ import annotations

import math

import numpy as np

from .. import ops
from ..layer import Layer, Shapes, exactly
from ._rows import add_to_rows, no_such_row, take_rows


class BatchReindex(Layer, type="BatchReindex"):
    """Item i of the top is item x1[i] of x0."""

    bottoms = exactly(2)
    backward_reads = ("bottom",)
    no_gradient_to = (1,)

    def shapes(self, bottom):
        shape, index = bottom
        if not shape or len(index) != 1:
            raise self.error(f"bottoms: must be a batch and its indices (1 axis), got shapes {shape} and {index}")
        self.sizes = shape[0], math.prod(shape[1:]), index[0]
        return Shapes(top=[(*index, *shape[1:])], scratch={"fault": ((1,), np.int64)})

    def forward(self, bottom, top):
        take_rows(bottom[0].data, bottom[1].data, *self.sizes, top[0].data, self.fault)

    def backward(self, top, propagate_down, bottom):
        if propagate_down[0]:
            ops.fill(0, bottom[0].count, bottom[0].diff)
            add_to_rows(top[0].diff, bottom[1].data, *self.sizes, bottom[0].diff)

    def explain_fault(self, place, bottom):
        return no_such_row(self, bottom, 1, place, self.sizes[0], f"the batch of bottom {self.bottom_names[0]!r}")
