"""Filter: only those items of a batch whose selector is not 0."""

from __future__ import annotations

import numpy as np

from ..layer import Layer, Shapes, at_least


class Filter(Layer, type="Filter"):
    """The last bottom selects items of all others; how many there are shows when it runs, on the host."""

    bottoms, tops = at_least(2), at_least(1)
    backward_reads = ()
    on_host = True

    def setup(self):
        bottoms, tops = len(self.message.bottom), len(self.message.top)
        if tops != bottoms - 1:
            raise self.error(f"takes one top for each bottom but the selector (the last), got {bottoms} and {tops}")
        self.no_gradient_to = (bottoms - 1,)

    def shapes(self, bottom):
        *items, selector = bottom
        if any(size != 1 for size in selector[1:]):
            raise self.error(f"selector: all axes but the first must have size 1, got shape {selector}")
        for index, shape in enumerate(items):
            if not shape or shape[:1] != selector[:1]:
                raise self.error(
                    f"bottom {index}: must have as many items as the selector {selector}, got shape {shape}"
                )
        return Shapes(top=items)  # as if all were selected, until it runs

    def forward(self, bottom, top):
        self.chosen = np.flatnonzero(bottom[-1].data)
        for x, y in zip(bottom, top):
            y.reshape(len(self.chosen), *x.shape[1:])
            y.data[...] = x.data[self.chosen]

    def backward(self, top, propagate_down, bottom):
        for x, y, wanted in zip(bottom, top, propagate_down):
            if wanted:
                x.diff[...] = 0
                x.diff[self.chosen] = y.diff
