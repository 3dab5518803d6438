"""Flatten: several neighbouring axes become one."""

from __future__ import annotations

import math

from ..layer import Shapes
from ._view import View


class Flatten(View, type="Flatten", param="flatten_param"):
    """Axes `axis` to `end_axis` (included) become one; by default all but the first."""

    def shapes(self, bottom):
        (shape,) = bottom
        first = self.axis(self.param.axis, shape, "flatten_param.axis")
        last = self.axis(self.param.end_axis, shape, "flatten_param.end_axis")
        if last < first - 1:  # one less inserts an axis of size 1, as in Caffe
            raise self.error(f"flatten_param.end_axis: must not be before axis {first}, got {last} for shape {shape}")
        return Shapes(top=[(*shape[:first], math.prod(shape[first : last + 1]), *shape[last + 1 :])])
