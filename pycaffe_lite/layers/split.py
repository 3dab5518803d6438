"""Split: one blob for several readers; inserted by the net, seldom written by hand."""

from __future__ import annotations

from .. import ops
from ..layer import Layer, Shapes, at_least


class Split(Layer, type="Split"):
    """Every top is the bottom's memory; the bottom's gradient is the sum of the tops' gradients."""

    tops = at_least(1)
    backward_reads = ()
    shares_data = True

    def setup(self):
        self.refuse_in_place()

    def shapes(self, bottom):
        return Shapes(top=[bottom[0]] * len(self.message.top))

    def forward(self, bottom, top):
        """Nothing: the tops are the bottom."""

    def backward(self, top, propagate_down, bottom):
        if propagate_down[0]:
            ops.add_up([t.diff for t in top], bottom[0].count, bottom[0].diff)
