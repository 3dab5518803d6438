"""Convolution and its three gradients, in any number of dimensions."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np

from ...geometry import Geometry, Winners
from ...ops import fill
from . import depthwise, depthwise_grad, im2col, pixels, shifts, winners_data, winners_weights
from .convolve import convolve
from .deconvolve import deconvolve
from .gemm import gemm
from .plane import Plane
from .pooling import PlanePool
from .program import one_run
from .reduce import add_channels
from .thin import thin, thin_grad
from .weights_grad import weights_grad
from .workspace import workspace


class Convolution(Geometry):
    """A convolution on the CPU; its methods launch kernels on blobs.

    Results are overwritten; the gradient of the bias is added to, and that of w with `accumulate`.
    """

    def is_fast(self, blob: np.ndarray) -> bool:
        """Whether the fast kernels can compute it: they know planes, lines and float32."""
        return len(self.size) in (1, 2) and blob.dtype == np.float32

    @property
    def is_depthwise(self) -> bool:
        return self.group == self.channels == self.outputs > 1

    @cached_property
    def step(self) -> tuple[int, ...]:
        """The stride, but none that is longer than the way: no room is made for a step that is never taken."""
        axes = zip(self.size, self.kernel, self.stride, self.pad, self.dilation)
        return tuple(min(s, size + 2 * pad - dilation * (k - 1)) for size, k, s, pad, dilation in axes)

    @cached_property
    def plane(self) -> Plane:
        """The forward pass over planes; a line is a plane of height 1."""
        line = len(self.size) == 1
        names = ("kernel", "step", "pad", "dilation")
        pairs = [(int(name != "pad"), *getattr(self, name)) if line else getattr(self, name) for name in names]
        size, output = ((1, *self.size), (1, *self.output)) if line else (self.size, self.output)
        numbers = [self.batch, self.channels, *size, self.outputs, *output, *(n for pair in pairs for n in pair)]
        return Plane(*[*numbers, self.group])

    @property
    def turns(self) -> bool:
        """Whether dx is best computed as a convolution of dy.

        That makes products for every value of x, and cuts columns of dy that only few channels of dx may share.
        """
        channels, outputs = self.channels // self.group, self.outputs // self.group
        return max(self.stride) == 1 and self.points <= 1.25 * self.positions and channels >= min(16, outputs)

    @property
    def is_thin(self) -> bool:
        """Whether it strides over most of x, meeting each value that it meets once."""
        return self.taps == 1 and max(self.stride) > 1 and max(self.pad) == 0 and not self.is_depthwise

    @cached_property
    def dense(self) -> Convolution:
        """A thin convolution of only those values that it meets."""
        ones = (1,) * len(self.size)
        whole = (self.outputs, ones, ones, (0,) * len(self.size), ones, self.group, self.engine)
        return Convolution(self.batch, self.channels, self.output, *whole)

    def met(self, like: np.ndarray) -> np.ndarray:
        """Room for the values of x that a thin convolution meets."""
        return workspace("values that are met", self.batch * self.channels * self.positions, like.dtype)

    def joins(self, x: np.ndarray) -> bool:
        if not self.is_fast(x) or self.is_depthwise:
            return False
        return self.dense.joins(x) if self.is_thin else way_of(self.plane, turned=False) is pixels.convolve

    def forward(
        self, x: np.ndarray, w: np.ndarray, bias: np.ndarray | None, y: np.ndarray, relu: bool = False, **more: Any
    ) -> None:
        """y = w * x, plus the bias of each output channel, then ReLU.

        Where it `joins`, the weights of each output channel can be multiplied by `factors` first, and `other`, which
        is not y, be added in front of the ReLU.
        """
        with one_run():
            if not self.is_fast(x):
                im2col.forward(self, x, w, bias, y, relu)
            elif self.is_depthwise:
                depthwise.convolve(self.plane, x, w, bias, y, relu, turned=False)
            elif self.is_thin:
                self.dense.forward(self.thinned(x), w, bias, y, relu, **more)
            else:
                way_of(self.plane, turned=False)(self.plane, x, w, bias, y, relu, **more)

    @property
    def takes_pool(self) -> bool:
        """Whether `forward_pool` can compute it."""
        dense = len(self.size) in (1, 2) and not self.is_depthwise and not self.is_thin
        return dense and shifts.pays(self.plane)

    def forward_pool(
        self,
        x: np.ndarray,
        w: np.ndarray,
        bias: np.ndarray | None,
        y: np.ndarray | None,
        relu: bool,
        window: tuple[int, ...],
        argmax: np.ndarray | None,
        pooled: np.ndarray,
    ) -> None:
        """What `forward` does, then a pool: of maxima with their places, or of means. y need not be written."""
        pool = PlanePool(*window, mean=argmax is None)
        shifts.convolve(self.plane, x, w, bias, y, relu, pool, pooled, argmax)

    def backward_data(self, dy: np.ndarray, w: np.ndarray, dx: np.ndarray) -> None:
        """dx = the gradient of x."""
        with one_run():
            if not self.is_fast(dy):
                im2col.backward_data(self, dy, w, dx)
            elif self.is_depthwise:
                depthwise_grad.deconvolve(self.plane, dy, w, dx)
            elif self.is_thin:
                met = self.met(dy)
                self.dense.backward_data(dy, w, met)
                thin_grad(met, self.batch * self.channels, *self.thinning, dx)
            elif self.turns:
                plane = self.plane.turned()
                way_of(plane, turned=True)(plane, dy, w, None, dx, relu=False, turned=True)
            else:
                deconvolve(self.plane, dy, w, dx)

    def backward_weights(self, x: np.ndarray, dy: np.ndarray, dw: np.ndarray, accumulate: bool = True) -> None:
        """dw = the gradient of w, added to what is there with `accumulate`."""
        with one_run():
            if not self.is_fast(x):
                im2col.backward_weights(self, x, dy, dw, accumulate)
            elif self.is_depthwise:
                if not accumulate:
                    fill(0, dw.size, dw)  # they are few
                depthwise_grad.add_weights_grad(self.plane, x, dy, dw)
            elif self.is_thin:
                self.dense.backward_weights(self.thinned(x), dy, dw, accumulate)
            else:
                weights_grad(self.plane, x, dy, dw, accumulate)

    @property
    def thinning(self) -> tuple[int, ...]:
        """Sizes of x and y and strides, as the kernels of `thin` take them."""
        of = self.plane
        return of.height, of.width, of.out_height, of.out_width, of.stride_y, of.stride_x

    def thinned(self, x: np.ndarray) -> np.ndarray:
        """The values of x that are met, copied."""
        met = self.met(x)
        thin(x, self.batch * self.channels * self.plane.out_height, *self.thinning, met)
        return met

    def follows_winners(self, windows: int, dtype: Any) -> tuple[bool, bool]:
        """Whether gradients of weights, and of x, had better be those of the winners of so many windows of a plane."""
        fast = len(self.size) in (1, 2) and dtype == np.float32 and self.batch > 0
        if not fast or self.is_depthwise or self.is_thin or max(self.dilation) > 1:
            return False, False
        return winners_weights.pays(self.plane, windows), winners_data.pays(self.plane, windows)

    def backward_weights_of_winners(
        self, x: np.ndarray, winners: Winners, dw: np.ndarray, db: np.ndarray | None, accumulate: bool = True
    ) -> None:
        """dw = the gradient of w (added to what is there with `accumulate`), db += that of the bias."""
        with one_run():
            winners_weights.weights_grad(self.plane, x, winners, dw, db, accumulate)

    def backward_data_of_winners(self, winners: Winners, w: np.ndarray, dx: np.ndarray) -> None:
        """dx = the gradient of x."""
        with one_run():
            winners_data.data_grad(self.plane, winners, w, dx)

    def backward_bias(self, dy: np.ndarray, db: np.ndarray) -> None:
        """db += the gradient of the bias."""
        add_channels(dy.reshape(self.batch, self.outputs, -1), db)


def way_of(of: Plane, turned: bool) -> Callable[..., None]:
    """The fastest of four ways, which the shape decides."""
    covers = of.taps == of.height * of.width and of.pad_y == of.pad_x == 0
    if covers and of.positions == of.group == 1 and not turned:
        return multiply
    if not turned and shifts.pays(of):
        return shifts.convolve
    return pixels.convolve if pixels.pays(of) else convolve


def multiply(of: Plane, x: np.ndarray, w: np.ndarray, bias: np.ndarray | None, y: np.ndarray, relu: bool) -> None:
    """y = w * x where a kernel covers its image: an inner product."""
    gemm(False, True, of.batch, of.outputs, of.depth, x, of.depth, w, of.depth, y, of.outputs, bias=bias, relu=relu)
