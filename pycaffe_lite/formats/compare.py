"""What differs between two files of weights, parameter by parameter."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np

from .stored import Shape, Stored, StoredLayer
from .weights import opened


@dataclass(frozen=True)
class Comparison:
    """One parameter in both files: its shapes (None where it is not there), and how far its values are apart.

    `relative` is the largest difference over the largest magnitude on either side.
    """

    layer: str
    index: int
    left: Shape | None
    right: Shape | None
    absolute: float = 0.0
    relative: float = 0.0
    identical: bool = False

    @property
    def comparable(self) -> bool:
        """Whether both files have it, in one shape."""
        return self.left is not None and self.left == self.right

    def same(self, tolerance: float) -> bool:
        """Whether it is the same within this relative tolerance."""
        return self.comparable and (self.identical or self.relative <= tolerance)


def compare(left: str, right: str) -> list[Comparison]:
    """Every parameter of two files, whatever their formats, in the order of the first."""
    with ExitStack() as stack:
        first, second = (stack.enter_context(opened(path)) for path in (left, right))
        return list(_pairs(list(first), list(second)))


def _pairs(first: list[StoredLayer], second: list[StoredLayer]) -> Iterator[Comparison]:
    others = {layer.name: layer for layer in reversed(second)}  # of two layers of one name, Caffe takes the first
    mine = {layer.name: layer for layer in reversed(first)}
    for name in dict.fromkeys([*(layer.name for layer in first), *(layer.name for layer in second)]):
        here = mine[name].params if name in mine else {}
        there = others[name].params if name in others else {}
        for index in sorted({*here, *there}):
            yield _parameter(name, index, here.get(index), there.get(index))


def _parameter(layer: str, index: int, left: Stored | None, right: Stored | None) -> Comparison:
    """Compare one parameter; a legacy shape of four axes equals the same shape without its leading ones."""
    shapes = left.shape if left else None, right.shape if right else None
    if left is None or right is None or not (left.fits(right.shape) or right.fits(left.shape)):
        return Comparison(layer, index, *shapes)
    shape = left.shape if right.legacy else right.shape
    a, b = left.read().reshape(-1), right.read().reshape(-1)
    if np.array_equal(a, b, equal_nan=True):
        return Comparison(layer, index, shape, shape, identical=True)
    a, b = a.astype(np.float64), b.astype(np.float64)
    absolute = float(np.abs(a - b).max())
    largest = float(max(np.abs(a).max(), np.abs(b).max()))
    return Comparison(layer, index, shape, shape, absolute, absolute / largest)
