"""Reshape: the same values in another shape."""

from __future__ import annotations

import math

from ..layer import Shapes
from ._view import View


class Reshape(View, type="Reshape", param="reshape_param"):
    """`shape` replaces `num_axes` axes from `axis` on; in it 0 copies the axis at its place and one -1 is inferred."""

    def setup(self):
        super().setup()
        dims, num_axes = list(self.param.shape.dim), self.param.num_axes
        if dims.count(-1) > 1:
            raise self.error(f"reshape_param.shape: one dim at most can be -1 (inferred), got {dims}")
        if min(dims, default=0) < -1:
            raise self.error(f"reshape_param.shape: a dim is positive, 0 (copied) or -1 (inferred), got {dims}")
        if num_axes < -1:
            raise self.error(
                f"reshape_param.num_axes: must not be negative (-1 for all axes that are left), got {num_axes}"
            )

    def shapes(self, bottom):
        (shape,) = bottom
        first, end = self.replaced(shape)
        new = [*shape[:first], *self.copied(shape, first), *shape[end:]]
        if -1 in new:
            given = math.prod(d for d in new if d != -1)
            if not given or math.prod(shape) % given:
                raise self.error(
                    f"reshape_param.shape: the {math.prod(shape)} elements of {shape} cannot be divided by the "
                    f"{given} of {tuple(new)} to infer -1"
                )
            new[new.index(-1)] = math.prod(shape) // given
        if math.prod(new) != math.prod(shape):
            raise self.error(
                f"reshape_param.shape: {shape} has {math.prod(shape)} elements, but {tuple(new)} has {math.prod(new)}"
            )
        return Shapes(top=[tuple(new)])

    def replaced(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """First axis that is replaced (-1 is behind the last), and the one behind the last such axis."""
        axis, count = self.param.axis, self.param.num_axes
        first = axis if axis >= 0 else len(shape) + 1 + axis
        if not 0 <= first <= len(shape):
            raise self.error(
                f"reshape_param.axis: must be in [{-len(shape) - 1}, {len(shape)}] for shape {shape}, got {axis}"
            )
        if first + count > len(shape):
            raise self.error(
                f"reshape_param.num_axes: {shape} has {len(shape) - first} axes from axis {first} on, got {count}"
            )
        return first, len(shape) if count == -1 else first + count

    def copied(self, shape: tuple[int, ...], first: int) -> list[int]:
        """The given dims, each 0 replaced by the bottom's axis at its place."""
        dims = list(self.param.shape.dim)
        for place, dim in enumerate(dims):
            if dim == 0 and first + place >= len(shape):
                raise self.error(
                    f"reshape_param.shape: dim {place} is 0 (copied), but {shape} has no axis {first + place}"
                )
        return [dim or shape[first + place] for place, dim in enumerate(dims)]
