"""Pooling over planes, for Pooling and SPP: the maximum of each window, its mean, or a value drawn from it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .. import random
from ..kernel import T, kernel
from ..layer import Layer
from ..proto import caffe_pb2
from ..random import philox
from .dropout import advance

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
PER_PLANE = {"over": "planes", "work": "oh * ow * kh * kw"}


@kernel(f"x: T*, {WINDOW} -> y: T*, argmax: int*", **PER_PLANE)
def max_pool(i, x, planes, h, w, oh, ow, kh, kw, sh, sw, ph, pw, y, argmax):
    """y = the maximum of each window of plane i, argmax its place in the plane (the first one of equals)."""
    for r in range(oh):
        top = r * sh - ph
        for o in range(ow):
            left = o * sw - pw
            most, best = T(LOWEST), -1
            for a in range(max(top, 0), min(top + kh, h)):
                for b in range(max(left, 0), min(left + kw, w)):
                    value = x[(i * h + a) * w + b]
                    wins = value > most  # selected, not branched on: which one wins cannot be predicted
                    most = value if wins else most
                    best = a * w + b if wins else best
            # Rounding up can put a window wholly outside the plane: it has no maximum. One of nothing but NaN
            # keeps the lowest number, as in Caffe: a 0 would hide that training has diverged.
            y[(i * oh + r) * ow + o] = most if top < h and left < w else T(0)
            argmax[(i * oh + r) * ow + o] = best


max_pool.cpu("pooling", "max_pool")
max_pool.cuda(
    """
    int plane = i / (oh * ow), top = i / ow % oh * sh - ph, left = i % ow * sw - pw, best = -1;
    T most = (T)-3.4028234663852886e38;
    const T* in = x + (long long)plane * h * w;
    for (int r = max(top, 0); r < min(top + kh, h); ++r)
        for (int c = max(left, 0); c < min(left + kw, w); ++c)
            if (in[r * w + c] > most) { best = r * w + c; most = in[best]; }
    y[i] = top < h && left < w ? most : (T)0; argmax[i] = best;
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


average_pool.cpu("means", "average_pool")
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


average_pool_grad.cpu("means", "average_pool_grad")
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


@kernel(f"x: T*, key: long*, state: long*, {WINDOW} -> y: T*, argmax: int*", **PER_PLANE)
def stochastic_pool(i, x, key, state, planes, h, w, oh, ow, kh, kw, sh, sw, ph, pw, y, argmax):
    """y = a value of each window, drawn with a probability in proportion to it; argmax its place."""
    for o in range(oh * ow):
        top, left = o // ow * sh, o % ow * sw
        bottom, right = min(top + kh, h), min(left + kw, w)
        total = T(0)
        for r in range(top, bottom):
            for c in range(left, right):
                total += x[(i * h + r) * w + c]
        # drawn from (0, 1], so that a leading 0 is never chosen
        goal = T((philox(key[0], state[0], i * oh * ow + o) + 1) * T(2.3283064365386963e-10)) * total
        chosen = (bottom - 1) * w + right - 1  # rounding, or negative values, may leave the goal out of reach
        total = T(0)
        found = False
        for r in range(top, bottom):
            for c in range(left, right):
                total += x[(i * h + r) * w + c]
                if total >= goal and not found:
                    found = True
                    chosen = r * w + c
        y[i * oh * ow + o] = x[i * h * w + chosen]
        argmax[i * oh * ow + o] = chosen


stochastic_pool.cuda(
    """
    int plane = i / (oh * ow), top = i / ow % oh * sh, left = i % ow * sw;
    int bottom = min(top + kh, h), right = min(left + kw, w), chosen = (bottom - 1) * w + right - 1;
    const T* in = x + (long long)plane * h * w;
    T total = 0;
    for (int r = top; r < bottom; ++r) for (int c = left; c < right; ++c) total += in[r * w + c];
    T goal = T((philox(key[0], state[0], i) + 1.0) * 2.3283064365386963e-10) * total;
    total = 0;
    bool found = false;
    for (int r = top; r < bottom; ++r)
        for (int c = left; c < right; ++c) {
            total += in[r * w + c];
            if (total >= goal && !found) { found = true; chosen = r * w + c; }
        }
    y[i] = in[chosen]; argmax[i] = chosen;
""",
    over="planes * oh * ow",
)


@kernel(f"x: T*, {WINDOW} -> y: T*", **PER_PLANE)
def weighted_pool(i, x, planes, h, w, oh, ow, kh, kw, sh, sw, ph, pw, y):
    """y = the mean of each window, every value weighted by itself: what stochastic_pool draws on average."""
    for o in range(oh * ow):
        top, left = o // ow * sh, o % ow * sw
        total, squares = T(0), T(0)
        for r in range(top, min(top + kh, h)):
            for c in range(left, min(left + kw, w)):
                value = x[(i * h + r) * w + c]
                total += value
                squares += value * value
        y[i * oh * ow + o] = squares / total if total > 0 else T(0)


weighted_pool.cuda(
    """
    int plane = i / (oh * ow), top = i / ow % oh * sh, left = i % ow * sw;
    T total = 0, squares = 0;
    for (int r = top; r < min(top + kh, h); ++r)
        for (int c = left; c < min(left + kw, w); ++c) {
            T value = x[((long long)plane * h + r) * w + c];
            total += value; squares += value * value;
        }
    y[i] = total > 0 ? squares / total : T(0);
""",
    over="planes * oh * ow",
)


@kernel(f"x: T*, dy: T*, {WINDOW} -> dx: T*", **PER_PLANE)
def weighted_pool_grad(i, x, dy, planes, h, w, oh, ow, kh, kw, sh, sw, ph, pw, dx):
    """dx += dy * (2 x - y) / (sum of x) in every window."""
    for at in range(i * h * w, (i + 1) * h * w):
        dx[at] = T(0)
    for o in range(oh * ow):
        top, left = o // ow * sh, o % ow * sw
        total, squares = T(0), T(0)
        for r in range(top, min(top + kh, h)):
            for c in range(left, min(left + kw, w)):
                value = x[(i * h + r) * w + c]
                total += value
                squares += value * value
        scale = dy[i * oh * ow + o] / total if total > 0 else T(0)
        y = squares / total if total > 0 else T(0)
        for r in range(top, min(top + kh, h)):
            for c in range(left, min(left + kw, w)):
                at = (i * h + r) * w + c
                dx[at] += scale * (2 * x[at] - y)


weighted_pool_grad.cuda("""
    for (int at = i * h * w; at < (i + 1) * h * w; ++at) dx[at] = 0;
    for (int out = i * oh * ow; out < (i + 1) * oh * ow; ++out) {
        int top = out / ow % oh * sh, left = out % ow * sw;
        T total = 0, squares = 0;
        for (int r = top; r < min(top + kh, h); ++r)
            for (int c = left; c < min(left + kw, w); ++c) {
                T value = x[(i * h + r) * w + c];
                total += value; squares += value * value;
            }
        T scale = total > 0 ? dy[out] / total : T(0), y = total > 0 ? squares / total : T(0);
        for (int r = top; r < min(top + kh, h); ++r)
            for (int c = left; c < min(left + kw, w); ++c) {
                int at = (i * h + r) * w + c;
                dx[at] += scale * (2 * x[at] - y);
            }
    }
""")


class PoolingBase(Layer):
    """A layer of one or more pools, all by one method; each has a number and a Window."""

    passing = ("argmax", "between", "mask", "level")
    backward_reads = ()  # for MAX and in training argmax says where every gradient goes

    def setup_method(self, name: str) -> None:
        """Take the method by the name it has in the enum."""
        self.method = name
        if name == "STOCHASTIC" and self.phase == caffe_pb2.TRAIN:
            self.stream = np.array([random.new_key()])
            self.remembers = ("stream", "key", "state")
        elif name == "STOCHASTIC":
            self.method, self.backward_reads = "WEIGHTED", ("bottom",)

    def outputs(
        self, size: int, kernel_: int, stride: int, pad: int, padded: bool, down: bool, field: str = "kernel_size"
    ) -> int:
        """Windows along one axis: rounded up, or down; with `padded` none that starts behind the image."""
        span = size + 2 * pad - kernel_
        count = (span // stride if down else -(-span // stride)) + 1
        if count < 1:
            rule = f"is larger than its input of {size} (with pad {pad} on both sides)"
            raise self.error(f"{self.param_field}.{field}: kernel {kernel_} {rule}")
        return count - (padded and (count - 1) * stride >= size + pad)

    def method_scratch(self, *shapes: tuple[int, ...]) -> dict[str, Any]:
        """What the method needs for pools with outputs of these shapes."""
        scratch: dict[str, Any] = {}
        if self.method in ("MAX", "STOCHASTIC"):
            scratch = {f"argmax{number}": (shape, np.int32) for number, shape in enumerate(shapes)}
        if self.method == "STOCHASTIC":
            scratch |= {"key": self.stream, "state": ((1,), np.int64)}
        return scratch

    def pool(self, number: int, x: Any, window: Window, y: Any) -> None:
        """y = the pool of x, by the layer's method."""
        if self.method == "AVE":
            average_pool(x, *window, y)
        elif self.method == "WEIGHTED":
            weighted_pool(x, *window, y)
        elif self.method == "MAX":
            max_pool(x, *window, y, getattr(self, f"argmax{number}"))
        else:
            advance(1, self.state)
            stochastic_pool(x, self.key, self.state, *window, y, getattr(self, f"argmax{number}"))

    def pool_grad(self, number: int, x: Any, dy: Any, window: Window, dx: Any) -> None:
        """dx = the gradient of that."""
        if self.method == "AVE":
            average_pool_grad(dy, *window, dx)
        elif self.method == "WEIGHTED":
            weighted_pool_grad(x, dy, *window, dx)
        else:
            max_pool_grad(dy, getattr(self, f"argmax{number}"), *window, dx)
