"""Silence: takes blobs that nobody else wants, so that they are no outputs of the net."""

from __future__ import annotations

from .. import ops
from ..layer import Layer, Shapes, at_least, exactly


class Silence(Layer, type="Silence"):
    """No tops; the gradient to every bottom is zero."""

    bottoms, tops = at_least(1), exactly(0)
    backward_reads = ()

    def shapes(self, bottom):
        return Shapes(top=[])

    def forward(self, bottom, top):
        """Nothing."""

    def backward(self, top, propagate_down, bottom):
        for blob, wanted in zip(bottom, propagate_down):
            if wanted:
                ops.fill(0, blob.count, blob.diff)
