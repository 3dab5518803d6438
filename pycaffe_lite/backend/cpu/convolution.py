"""Convolution and its three gradients, in any number of dimensions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from . import depthwise, im2col
from .convolve import convolve
from .deconvolve import deconvolve
from .plane import Plane
from .program import one_run
from .reduce import add_channels
from .weights_grad import add_weights_grad


@dataclass(frozen=True)
class Convolution:
    """The geometry of a convolution, one number per axis; its methods launch kernels on blobs.

    Blobs are C-contiguous: x (batch, channels, *size), w (outputs, channels / group, *kernel), bias
    (outputs) and y (batch, outputs, *output). `forward` and `backward_data` overwrite their results,
    gradients of w and of the bias are added to.
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
    def geometry(self) -> np.ndarray:
        """The table that kernels read: size, output, kernel, stride, pad, dilation of every axis."""
        columns = (self.size, self.output, self.kernel, self.stride, self.pad, self.dilation)
        return np.ascontiguousarray(np.array(columns, np.int32).T)

    def is_fast(self, blob: np.ndarray) -> bool:
        """Whether the fast kernels can compute it: they know planes, lines and float32."""
        return len(self.size) <= 2 and blob.dtype == np.float32

    @property
    def is_depthwise(self) -> bool:
        return self.group == self.channels == self.outputs > 1

    @cached_property
    def plane(self) -> Plane:
        """The forward pass over planes; a line is a plane of height 1."""
        line = len(self.size) == 1
        names = ("kernel", "stride", "pad", "dilation")
        pairs = [(int(name != "pad"), *getattr(self, name)) if line else getattr(self, name) for name in names]
        size, output = ((1, *self.size), (1, *self.output)) if line else (self.size, self.output)
        numbers = [n for pair in pairs for n in pair]
        return Plane(self.batch, self.channels, *size, self.outputs, *output, *numbers, self.group)

    @property
    def turns(self) -> bool:
        """Whether dx is best computed as a convolution of dy; it has as many products as x has values."""
        return all(s == 1 for s in self.stride) and self.points <= 1.25 * self.positions

    def forward(self, x: np.ndarray, w: np.ndarray, bias: np.ndarray | None, y: np.ndarray, relu: bool = False) -> None:
        """y = w * x, plus the bias of each output channel, then ReLU."""
        with one_run():
            if not self.is_fast(x):
                im2col.forward(self, x, w, bias, y, relu)
            elif self.is_depthwise:
                depthwise.convolve(self.plane, x, w, bias, y, relu, turned=False)
            else:
                convolve(self.plane, x, w, bias, y, relu, turned=False)

    def backward_data(self, dy: np.ndarray, w: np.ndarray, dx: np.ndarray) -> None:
        """dx = the gradient of x."""
        with one_run():
            if not self.is_fast(dy):
                im2col.backward_data(self, dy, w, dx)
            elif self.is_depthwise:
                depthwise.deconvolve(self.plane, dy, w, dx)
            elif self.turns:
                convolve(self.plane.turned(), dy, w, None, dx, relu=False, turned=True)
            else:
                deconvolve(self.plane, dy, w, dx)

    def backward_weights(self, x: np.ndarray, dy: np.ndarray, dw: np.ndarray) -> None:
        """dw += the gradient of w."""
        with one_run():
            if not self.is_fast(x):
                im2col.backward_weights(self, x, dy, dw)
            elif self.is_depthwise:
                depthwise.add_weights_grad(self.plane, x, dy, dw)
            else:
                add_weights_grad(self.plane, x, dy, dw)

    def backward_bias(self, dy: np.ndarray, db: np.ndarray) -> None:
        """db += the gradient of the bias."""
        add_channels(dy.reshape(self.batch, self.outputs, -1), db)
