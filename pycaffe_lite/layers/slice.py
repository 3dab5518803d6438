"""Slice: a blob cut into tops along an axis."""

from __future__ import annotations

from ..layer import Shapes, at_least
from ._pieces import Pieces


class Slice(Pieces, type="Slice", param="slice_param"):
    """Cut at the slice points (the indices at which all tops but the first begin), or into equal parts."""

    tops = at_least(1)

    def shapes(self, bottom):
        (shape,) = bottom
        axis = self.joint_axis(shape, "slice_dim")
        sizes = self.sizes(shape, axis)
        self.note(shape, sizes, axis)
        return Shapes(top=[(*shape[:axis], size, *shape[axis + 1 :]) for size in sizes])

    def sizes(self, shape: tuple[int, ...], axis: int) -> list[int]:
        """How long each top is along the axis."""
        points, tops, length = list(self.param.slice_point), len(self.message.top), shape[axis]
        if points and len(points) != tops - 1:
            raise self.error(
                f"slice_param.slice_point: give {tops - 1} for {tops} tops (or none), got {len(points)}: {points}"
            )
        if not points and length % tops:
            raise self.error(
                f"slice_param: {tops} tops must divide the {length} of axis {axis} of {shape}; or give slice_point"
            )
        if not points:
            return [length // tops] * tops
        sizes = [end - start for start, end in zip([0, *points], [*points, length])]
        if min(sizes) < 1:
            raise self.error(
                f"slice_param.slice_point: must increase between 0 and the {length} of axis {axis} of {shape}, "
                f"got {points}"
            )
        return sizes

    def forward(self, bottom, top):
        self.cut(bottom[0], top, "data", [True] * len(top))

    def backward(self, top, propagate_down, bottom):
        if propagate_down[0]:
            self.join(top, bottom[0], "diff")
