"""What both passes over the winners of a max pooling share: the sizes of what they meet, ReLU, and when they pay."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ...geometry import Winners
from ...kernel import T, device_function
from .atoms import offset
from .plane import Plane
from .vector import LANES, above, choose, load_some, multiply, splat, store


@dataclass(frozen=True)
class Met:
    """A convolution whose images, padded, have channels side by side, and the windows that are pooled of a plane."""

    of: Plane
    windows: int

    @property
    def met(self) -> int:
        """Numbers that one row of the kernel meets in a group."""
        return self.of.kernel_x * self.of.group_channels

    @property
    def rows(self) -> int:
        """Rows of an image."""
        return self.of.height + 2 * self.of.pad_y

    @property
    def row(self) -> int:
        """Numbers in a row of an image."""
        return (self.of.width + 2 * self.of.pad_x) * self.of.group_channels


def relu_of(winners: Winners) -> tuple[Any, int, float]:
    """The values whose signs a ReLU went by, whether there is one, and its slope."""
    return winners.y, int(winners.y is not None), winners.slope


@device_function
def pass_relu(dy, y, slope, count, dx):  # type: ignore[no-untyped-def]
    """The gradient of a ReLU, where y has its sign."""
    for j in range(0, count, LANES):
        there = load_some(offset(dy, j), count - j)
        passed = choose(above(load_some(offset(y, j), count - j), splat(T(0))), there, multiply(there, splat(slope)))
        store(offset(dx, j), passed)


def dense_cycles(of: Plane, filled: float = 1.0) -> float:
    """About how long one output of an image takes the dense way, its gradients written and read: see `pays`."""
    return of.positions * (of.depth / (1.9 * LANES * filled) + 0.6)


def slowness(floats: int) -> float:
    """How many cycles a vector takes to be met: one, while all of them stay in the second cache."""
    return 1 if floats <= 1 << 17 else 1.35 if floats <= 1 << 18 else 3.5
