"""Concat: bottoms side by side along an axis."""

from __future__ import annotations

from ..layer import Shapes, at_least
from ._pieces import Pieces


class Concat(Pieces, type="Concat", param="concat_param"):
    """The top is as long along `axis` as all bottoms together; along the other axes they must agree."""

    bottoms = at_least(1)

    def shapes(self, bottom):
        first = bottom[0]
        axis = self.joint_axis(first, "concat_dim")
        for index, other in enumerate(bottom):
            if len(other) != len(first) or any(a != b for i, (a, b) in enumerate(zip(first, other)) if i != axis):
                raise self.error(
                    f"bottom {index}: its shape {other} must be that of bottom 0, {first}, but for axis {axis}"
                )
        sizes = [shape[axis] for shape in bottom]
        whole = (*first[:axis], sum(sizes), *first[axis + 1 :])
        self.note(whole, sizes, axis)
        return Shapes(top=[whole])

    def forward(self, bottom, top):
        self.join(bottom, top[0], "data")

    def backward(self, top, propagate_down, bottom):
        self.cut(top[0], bottom, "diff", propagate_down)
