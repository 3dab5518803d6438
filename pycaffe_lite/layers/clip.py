"""Clip: y = x, but not below `min` nor above `max`."""

from __future__ import annotations

from ._elementwise import Elementwise


class Clip(Elementwise, type="Clip", param="clip_param"):
    """Values outside [min, max] become the nearer end, and have no gradient."""

    formula = "where(x > high, high, where(x > low, x, low))"
    gradient = "dy * where(x >= low, where(x <= high, 1, 0), 0)"
    constants = "low high"

    def setup(self):
        low, high = self.values()
        if not (self.param.HasField("min") and self.param.HasField("max")):
            raise self.error("clip_param: needs min and max")
        if high < low:
            raise self.error(f"clip_param.max: must not be below min {low:g}, got {high:g}")

    def values(self):
        return self.param.min, self.param.max
