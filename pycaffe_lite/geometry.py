"""The geometry of a convolution: sizes that follow from its fields, and which input meets which output."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np

from .kernel import device_function

FIELDS = 6  # of an axis in the table: size, output, kernel, stride, pad, dilation


@dataclass(frozen=True)
class Winners:
    """The gradients behind a max pooling: of its windows, and which place of a plane each of them goes to (or -1).

    `dy`, `argmax` and `y` are (batch, channels, windows). Where a ReLU is in front of the pooling, `y` holds the
    windows' values, and `slope` is what the ReLU makes of those that are not above 0.
    """

    dy: Any
    argmax: Any
    windows: int
    y: Any = None
    slope: float = 1.0


@dataclass(frozen=True)
class Geometry:
    """Sizes of a convolution, one number per spatial axis.

    Blobs are C-contiguous: x (batch, channels, *size), w (outputs, channels / group, *kernel), bias
    (outputs) and y (batch, outputs, *output).
    """

    batch: int
    channels: int
    size: Sequence[int]
    outputs: int
    kernel: Sequence[int]
    stride: Sequence[int]
    pad: Sequence[int]
    dilation: Sequence[int]
    group: int = 1
    engine: str = "DEFAULT"  # who computes it on a GPU: our kernels (CAFFE), cuDNN, or cuDNN if it is there

    def copy_as(self, kind: type[Any]) -> Any:
        """The same geometry as an object of another class."""
        return kind(*(getattr(self, field.name) for field in fields(self)))

    def joins(self, x: Any) -> bool:
        """Whether forward takes `factors` of the weights, and `other` that is added, along."""
        return False

    def follows_winners(self, windows: int, dtype: Any) -> tuple[bool, bool]:
        """Whether gradients of weights, and of x, had better be those of the winners of so many windows of a plane."""
        return False, False

    @cached_property
    def output(self) -> tuple[int, ...]:
        """The spatial shape of y."""
        axes = zip(self.size, self.kernel, self.stride, self.pad, self.dilation)
        return tuple((size + 2 * pad - dilation * (k - 1) - 1) // s + 1 for size, k, s, pad, dilation in axes)

    @cached_property
    def points(self) -> int:
        """Values in a channel of x."""
        return math.prod(self.size)

    @cached_property
    def positions(self) -> int:
        """Values in a channel of y."""
        return math.prod(self.output)

    @cached_property
    def taps(self) -> int:
        """Weights that a channel of x meets on its way to a channel of y."""
        return math.prod(self.kernel)

    @cached_property
    def depth(self) -> int:
        """Products that make one output value."""
        return self.channels // self.group * self.taps

    @cached_property
    def table(self) -> np.ndarray:
        """What kernels read: `FIELDS` numbers for every axis."""
        columns = (self.size, self.output, self.kernel, self.stride, self.pad, self.dilation)
        return np.ascontiguousarray(np.array(columns, np.int32).T)


@device_function
def input_place(tap, position, axes, table):  # type: ignore[no-untyped-def]
    """Where in its plane tap number `tap` of output number `position` looks; -1 in the padding."""
    place = 0
    pitch = 1
    for reverse in range(axes):
        at = (axes - 1 - reverse) * FIELDS
        size, output, taps = table[at], table[at + 1], table[at + 2]
        stride, pad, dilation = table[at + 3], table[at + 4], table[at + 5]
        coordinate = position % output * stride - pad + tap % taps * dilation
        if coordinate < 0 or coordinate >= size:
            return -1
        place += coordinate * pitch
        pitch *= size
        position //= output
        tap //= taps
    return place


input_place.cuda("""
__device__ int input_place(int tap, int position, int axes, const int* table) {
    int place = 0, pitch = 1;
    for (int axis = axes - 1; axis >= 0; --axis) {
        const int* t = table + axis * FIELDS;
        int coordinate = position % t[1] * t[3] - t[4] + tap % t[2] * t[5];
        if (coordinate < 0 || coordinate >= t[0]) return -1;
        place += coordinate * pitch;
        pitch *= t[0]; position /= t[1]; tap /= t[2];
    }
    return place;
}
""")


@device_function
def output_position(tap, place, axes, table):  # type: ignore[no-untyped-def]
    """The output that looks at `place` with tap number `tap`; -1 if there is none."""
    position = 0
    pitch = 1
    for reverse in range(axes):
        at = (axes - 1 - reverse) * FIELDS
        size, output, taps = table[at], table[at + 1], table[at + 2]
        stride, pad, dilation = table[at + 3], table[at + 4], table[at + 5]
        offset = place % size + pad - tap % taps * dilation
        if offset < 0 or offset % stride != 0 or offset // stride >= output:
            return -1
        position += offset // stride * pitch
        pitch *= output
        place //= size
        tap //= taps
    return position


output_position.cuda("""
__device__ int output_position(int tap, int place, int axes, const int* table) {
    int position = 0, pitch = 1;
    for (int axis = axes - 1; axis >= 0; --axis) {
        const int* t = table + axis * FIELDS;
        int offset = place % t[0] + t[4] - tap % t[2] * t[5];
        if (offset < 0 || offset % t[3] != 0 || offset / t[3] >= t[1]) return -1;
        position += offset / t[3] * pitch;
        pitch *= t[1]; place /= t[0]; tap /= t[2];
    }
    return position;
}
""")
