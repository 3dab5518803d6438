"""What Flatten and Reshape share: the top is the bottom's memory, with another shape."""

from __future__ import annotations

from ..layer import Layer


class View(Layer):
    """Nothing is copied and nothing is computed, in either direction."""

    backward_reads = ()
    shares_data = shares_diff = True

    def setup(self):
        self.refuse_in_place()

    def forward(self, bottom, top):
        """Nothing: the top is the bottom."""

    def backward(self, top, propagate_down, bottom):
        """Nothing: so is its gradient."""
