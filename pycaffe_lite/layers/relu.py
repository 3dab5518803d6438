"""ReLU: y = x where x > 0, else negative_slope * x."""

from __future__ import annotations

from ._elementwise import Elementwise


class ReLU(Elementwise, type="ReLU", param="relu_param"):
    """y = max(x, 0) + negative_slope * min(x, 0)."""

    formula = "where(x > 0, x, slope * x)"
    gradient = "where(y > 0, dy, slope * dy)"
    constants = "slope"

    def setup(self):
        if self.param.negative_slope < 0:  # then the sign of y is not that of x
            self.in_place, self.backward_reads = False, ("bottom",)

    def values(self):
        return (self.param.negative_slope,)
