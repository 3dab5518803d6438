"""Pooling: the maximum or the mean of each sliding window."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..kernel import T, kernel
from ..layer import Layer, Shapes, between
from ..proto import caffe_pb2

POOL = caffe_pb2.PoolingParameter
LOWEST = -3.4028234663852886e38  # -FLT_MAX, where Caffe starts a maximum: a NaN never wins


class Window(NamedTuple):
    """Planes, input plane, output plane, kernel, stride and pad: spread into every kernel call."""

    planes: int
    h: int
    w: int
    oh: int
    ow: int
    kh: int
    kw: int
    sh: int
    sw: int
    ph: int
    pw: int


WINDOW = ", ".join(f"{side}: int" for side in Window._fields)
PER_PLANE = dict(over="planes", work="oh * ow * kh * kw")


@kernel(f"x: T*, {WINDOW} -> y: T*, argmax: int*", **PER_PLANE)
def max_pool(i, x, planes, h, w, oh, ow, kh, kw, sh, sw, ph, pw, y, argmax):
    """y = the maximum of each window of plane i, argmax its place in the plane (the first one of equals)."""
    # One pass over an output row for each window element: the inner loop has no branch and vectorises.
    for r in range(oh):
        out = (i * oh + r) * ow
        for o in range(ow):
            y[out + o] = T(LOWEST)
            argmax[out + o] = -1
        for a in range(max(0, ph - r * sh), min(kh, h + ph - r * sh)):
            row = r * sh - ph + a
            for b in range(kw):
                first = max(0, (pw - b + sw - 1) // sw)
                last = min(ow, (w - 1 + pw - b) // sw + 1)
                place = row * w + b - pw
                for o in range(first, last):
                    value = x[i * h * w + place + o * sw]
                    wins = value > y[out + o]
                    y[out + o] = value if wins else y[out + o]
                    argmax[out + o] = place + o * sw if wins else argmax[out + o]
        for o in range(ow):  # a window that rounding up has put outside the plane
            y[out + o] = y[out + o] if argmax[out + o] >= 0 else T(0)


max_pool.cuda(
    """
    int plane = i / (oh * ow), top = i / ow % oh * sh - ph, left = i % ow * sw - pw, best = -1;
    T most = (T)-3.4028234663852886e38;
    const T* in = x + (long long)plane * h * w;
    for (int r = max(top, 0); r < min(top + kh, h); ++r)
        for (int c = max(left, 0); c < min(left + kw, w); ++c)
            if (in[r * w + c] > most) { best = r * w + c; most = in[best]; }
    y[i] = best < 0 ? (T)0 : most; argmax[i] = best;
""",
    over="planes * oh * ow",
)


@kernel(f"dy: T*, argmax: int*, {WINDOW} -> dx: T*", over="planes", work="h * w + 4 * oh * ow")
def max_pool_grad(i, dy, argmax, planes, h, w, oh, ow, kh, kw, sh, sw, ph, pw, dx):
    """Each gradient goes to the place its maximum came from."""
    for at in range(h * w):
        dx[i * h * w + at] = 0
    for o in range(i * oh * ow, (i + 1) * oh * ow):
        if argmax[o] >= 0:
            dx[i * h * w + argmax[o]] += dy[o]


max_pool_grad.cuda(
    """
    int plane = i / (h * w), at = i % (h * w), r = at / w + ph, c = at % w + pw;
    T sum = 0;
    for (int a = r < kh ? 0 : (r - kh) / sh + 1; a < min(oh, r / sh + 1); ++a)
        for (int b = c < kw ? 0 : (c - kw) / sw + 1; b < min(ow, c / sw + 1); ++b) {
            int o = plane * oh * ow + a * ow + b;
            if (argmax[o] == at) sum += dy[o];
        }
    dx[i] = sum;
""",
    over="planes * h * w",
)


@kernel(f"x: T*, {WINDOW} -> y: T*", **PER_PLANE)
def average_pool(i, x, planes, h, w, oh, ow, kh, kw, sh, sw, ph, pw, y):
    """y = the sum of each window over its size, padding counted but cut off at size + pad (as Caffe does)."""
    for r in range(oh):
        for o in range(ow):
            top, left = r * sh - ph, o * sw - pw
            size = (min(top + kh, h + ph) - top) * (min(left + kw, w + pw) - left)
            total = T(0)
            for a in range(max(top, 0), min(top + kh, h)):
                for b in range(max(left, 0), min(left + kw, w)):
                    total += x[(i * h + a) * w + b]
            y[(i * oh + r) * ow + o] = total / max(size, 1)


average_pool.cuda(
    """
    int plane = i / (oh * ow), top = i / ow % oh * sh - ph, left = i % ow * sw - pw;
    int size = (min(top + kh, h + ph) - top) * (min(left + kw, w + pw) - left);
    T total = 0;
    for (int r = max(top, 0); r < min(top + kh, h); ++r)
        for (int c = max(left, 0); c < min(left + kw, w); ++c) total += x[((long long)plane * h + r) * w + c];
    y[i] = total / max(size, 1);
""",
    over="planes * oh * ow",
)


@kernel(f"dy: T*, {WINDOW} -> dx: T*", **PER_PLANE)
def average_pool_grad(i, dy, planes, h, w, oh, ow, kh, kw, sh, sw, ph, pw, dx):
    """Every element of a window gets an equal share of its gradient."""
    for at in range(h * w):
        dx[i * h * w + at] = 0
    for r in range(oh):
        for o in range(ow):
            top, left = r * sh - ph, o * sw - pw
            size = (min(top + kh, h + ph) - top) * (min(left + kw, w + pw) - left)
            share = dy[(i * oh + r) * ow + o] / max(size, 1)
            for a in range(max(top, 0), min(top + kh, h)):
                for b in range(max(left, 0), min(left + kw, w)):
                    dx[(i * h + a) * w + b] += share


average_pool_grad.cuda(
    """
    int plane = i / (h * w), r = i / w % h + ph, c = i % w + pw;
    T sum = 0;
    for (int a = r < kh ? 0 : (r - kh) / sh + 1; a < min(oh, r / sh + 1); ++a)
        for (int b = c < kw ? 0 : (c - kw) / sw + 1; b < min(ow, c / sw + 1); ++b) {
            int top = a * sh - ph, left = b * sw - pw;
            int size = (min(top + kh, h + ph) - top) * (min(left + kw, w + pw) - left);
            sum += dy[(plane * oh + a) * ow + b] / max(size, 1);
        }
    dx[i] = sum;
""",
    over="planes * h * w",
)


@kernel("argmax: int*, count: int -> mask: T*")
def write_mask(i, argmax, count, mask):
    """The places of the maxima as the second top has them."""
    mask[i] = argmax[i]


write_mask.cuda("mask[i] = argmax[i];")


class Pooling(Layer, type="Pooling", param="pooling_param"):
    """MAX or AVE pooling of the last two axes; sizes round up unless round_mode is FLOOR."""

    tops = between(1, 2)
    backward_reads = ()  # argmax says where every gradient goes

    def setup(self):
        p = self.param
        if p.pool not in (POOL.MAX, POOL.AVE):
            raise self.error(f"pooling_param.pool: {POOL.PoolMethod.Name(p.pool)} is not built yet; MAX and AVE are")
        if len(self.message.top) > 1 and p.pool != POOL.MAX:
            raise self.error("the second top is the mask of MAX pooling, and there is none for AVE")
        if p.global_pooling:
            self.refuse_together("global_pooling", "kernel_size", "kernel_h", "kernel_w")
            return
        self.refuse_together("kernel_size", "kernel_h", "kernel_w")
        self.refuse_together("pad", "pad_h", "pad_w")
        self.refuse_together("stride", "stride_h", "stride_w")
        if not p.HasField("kernel_size") and not (p.HasField("kernel_h") and p.HasField("kernel_w")):
            raise self.error("pooling_param: needs kernel_size, or both kernel_h and kernel_w (or global_pooling: true)")

    def refuse_together(self, one: str, *others: str) -> None:
        given = [name for name in others if self.param.HasField(name)]
        if getattr(self.param, one) and self.param.HasField(one) and given:
            raise self.error(f"pooling_param: give {one} or {' and '.join(others)}, not both (got {one} and {', '.join(given)})")

    def side(self, name: str, plain: str) -> tuple[int, int]:
        """A pair (height, width) from its two fields, or from the one that stands for both."""
        both = getattr(self.param, plain)
        pair = [getattr(self.param, f"{name}_{a}") if self.param.HasField(f"{name}_{a}") else both for a in "hw"]
        return pair[0], pair[1]

    def shapes(self, bottom):
        (shape,) = bottom
        if len(shape) != 4:
            raise self.error(f"bottom: must have 4 axes (N, C, H, W), got shape {shape}")
        n, c, h, w = shape
        kernel_ = (h, w) if self.param.global_pooling else self.side("kernel", "kernel_size")
        stride, pad = self.side("stride", "stride"), self.side("pad", "pad")
        if self.param.global_pooling and (pad != (0, 0) or stride != (1, 1)):
            raise self.error(f"pooling_param: with global_pooling, pad must be 0 and stride 1, got pad {pad} and stride {stride}")
        out = [self.outputs(*sides) for sides in zip((h, w), kernel_, stride, pad)]
        self.window = Window(n * c, h, w, *out, *kernel_, *stride, *pad)
        tops = [(n, c, *out)] * len(self.message.top)
        scratch = {"argmax": ((n, c, *out), np.int32)} if self.param.pool == POOL.MAX else {}
        return Shapes(top=tops, scratch=scratch)

    def outputs(self, size: int, kernel_: int, stride: int, pad: int) -> int:
        """Windows along one axis: rounded up or down, and none that starts in the padding behind the image."""
        if kernel_ < 1 or stride < 1:
            raise self.error(f"pooling_param: kernel and stride must be at least 1, got kernel {kernel_} and stride {stride}")
        if pad >= kernel_:
            raise self.error(f"pooling_param.pad: must be smaller than the kernel {kernel_}, got {pad}")
        if kernel_ > size + 2 * pad:
            raise self.error(f"pooling_param: kernel {kernel_} is larger than its input of {size} (pad {pad} on both sides)")
        span = size + 2 * pad - kernel_
        count = (span // stride if self.param.round_mode == POOL.FLOOR else -(-span // stride)) + 1
        return count - (pad > 0 and (count - 1) * stride >= size + pad)

    def forward(self, bottom, top):
        if self.param.pool == POOL.AVE:
            average_pool(bottom[0].data, *self.window, top[0].data)
            return
        max_pool(bottom[0].data, *self.window, top[0].data, self.argmax)
        if len(top) > 1:
            write_mask(self.argmax, top[1].count, top[1].data)

    def backward(self, top, propagate_down, bottom):
        if not propagate_down[0]:
            return
        if self.param.pool == POOL.AVE:
            average_pool_grad(top[0].diff, *self.window, bottom[0].diff)
        else:
            max_pool_grad(top[0].diff, self.argmax, *self.window, bottom[0].diff)
