"""Parameter: a blob that is learnt as it is."""

from __future__ import annotations

from .. import ops
from ..layer import Layer, Param, Shapes, exactly


class Parameter(Layer, type="Parameter", param="parameter_param"):
    """No bottoms; the top is the parameter, which starts as zeros."""

    bottoms = exactly(0)
    backward_reads = ()

    def shapes(self, bottom):
        shape = tuple(self.param.shape.dim)
        return Shapes(top=[shape], params=[Param(shape)])

    def forward(self, bottom, top):
        ops.copy(self.params[0].data, top[0].count, top[0].data)

    def backward(self, top, propagate_down, bottom):
        if self.learns(0):
            ops.add_to(top[0].diff, top[0].count, self.params[0].diff)
