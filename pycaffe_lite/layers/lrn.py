"""LRN: each value over a power of the sum of squares in its neighbourhood, across channels or within one."""

from __future__ import annotations

from math import pow, sqrt
from typing import NamedTuple

from ..kernel import T, kernel
from ..layer import Layer, Shapes
from ..proto import caffe_pb2

REGION = caffe_pb2.LRNParameter


class Box(NamedTuple):
    """Samples, channels, rows and columns; and how far the neighbourhood reaches: in channels, and in a plane."""

    samples: int
    channels: int
    h: int
    w: int
    deep: int
    wide: int


BOX = ", ".join(f"{side}: int" for side in Box._fields)
BY_PLANE = {"over": "samples * channels", "work": "h * w * (20 + (2 * deep + 1) * (2 * wide + 1) ** 2)"}


@kernel(f"x: T*, k: T, weight: T, beta: T, {BOX} -> y: T*, norm: T*", **BY_PLANE)
def normalize_locally(i, x, k, weight, beta, samples, channels, h, w, deep, wide, y, norm):
    """norm = k + weight * (sum of squares around), y = x * norm ^ -beta; one index is one plane."""
    first, c = i * h * w, i % channels
    for j in range(first, first + h * w):
        norm[j] = k
    for d in range(max(-deep, -c), min(deep, channels - 1 - c) + 1):
        for r in range(h):
            out = first + r * w
            for a in range(max(-wide, -r), min(wide, h - 1 - r) + 1):
                row = out + (d * h + a) * w
                for b in range(max(-wide, 1 - w), min(wide, w - 1) + 1):
                    for o in range(max(0, -b), min(w, w - b)):
                        norm[out + o] += weight * x[row + o + b] * x[row + o + b]
    if beta == T(0.75):  # what everybody uses; two roots are far cheaper than a power
        for j in range(first, first + h * w):
            y[j] = x[j] / (sqrt(norm[j]) * sqrt(sqrt(norm[j])))
    else:
        for j in range(first, first + h * w):
            y[j] = x[j] * pow(norm[j], -beta)


normalize_locally.cpu("lrn", "normalize")
normalize_locally.cuda(
    """
    int c = i / w / h % channels, r = i / w % h, o = i % w;
    T sum = k;
    for (int d = max(-deep, -c); d <= min(deep, channels - 1 - c); ++d)
        for (int a = max(-wide, -r); a <= min(wide, h - 1 - r); ++a)
            for (int b = max(-wide, -o); b <= min(wide, w - 1 - o); ++b) {
                T value = x[i + (d * h + a) * w + b];
                sum += weight * value * value;
            }
    norm[i] = sum;
    y[i] = x[i] * pow(sum, -beta);
""",
    over="samples * channels * h * w",
)


@kernel(f"x: T*, y: T*, norm: T*, dy: T*, weight: T, beta: T, {BOX} -> dx: T*", **BY_PLANE)
def normalize_locally_grad(i, x, y, norm, dy, weight, beta, samples, channels, h, w, deep, wide, dx):
    """dx = dy * norm ^ -beta - 2 * beta * weight * x * (sum of dy * y / norm around)."""
    first, c = i * h * w, i % channels
    for j in range(first, first + h * w):
        dx[j] = 0
    for d in range(max(-deep, -c), min(deep, channels - 1 - c) + 1):
        for r in range(h):
            out = first + r * w
            for a in range(max(-wide, -r), min(wide, h - 1 - r) + 1):
                row = out + (d * h + a) * w
                for b in range(max(-wide, 1 - w), min(wide, w - 1) + 1):
                    for o in range(max(0, -b), min(w, w - b)):
                        dx[out + o] += dy[row + o + b] * y[row + o + b] / norm[row + o + b]
    slope = 2 * beta * weight
    if beta == T(0.75):
        for j in range(first, first + h * w):
            dx[j] = dy[j] / (sqrt(norm[j]) * sqrt(sqrt(norm[j]))) - slope * x[j] * dx[j]
    else:
        for j in range(first, first + h * w):
            dx[j] = dy[j] * pow(norm[j], -beta) - slope * x[j] * dx[j]


normalize_locally_grad.cpu("lrn", "normalize_grad")
normalize_locally_grad.cuda(
    """
    int c = i / w / h % channels, r = i / w % h, o = i % w;
    T sum = 0;
    for (int d = max(-deep, -c); d <= min(deep, channels - 1 - c); ++d)
        for (int a = max(-wide, -r); a <= min(wide, h - 1 - r); ++a)
            for (int b = max(-wide, -o); b <= min(wide, w - 1 - o); ++b) {
                int at = i + (d * h + a) * w + b;
                sum += dy[at] * y[at] / norm[at];
            }
    dx[i] = dy[i] * pow(norm[i], -beta) - 2 * beta * weight * x[i] * sum;
""",
    over="samples * channels * h * w",
)


class LRN(Layer, type="LRN", param="lrn_param"):
    """ACROSS_CHANNELS: local_size channels at the same place. WITHIN_CHANNEL: a square of that side; k is 1."""

    passing = ("norm",)

    def setup(self):
        if self.param.local_size % 2 == 0:
            raise self.error(f"lrn_param.local_size: must be odd, got {self.param.local_size}")

    def shapes(self, bottom):
        (shape,) = bottom
        if len(shape) != 4:
            raise self.error(f"bottom: must have 4 axes (N, C, H, W), got shape {shape}")
        p, (n, c, h, w), reach = self.param, shape, (self.param.local_size - 1) // 2
        if p.norm_region == REGION.ACROSS_CHANNELS:  # what is a row there does not matter: the plane is one
            self.box, self.k, self.weight = Box(n, c, 1, h * w, reach, 0), p.k, p.alpha / p.local_size
        else:
            self.box, self.k, self.weight = Box(n, c, h, w, 0, reach), 1.0, p.alpha / p.local_size**2
        return Shapes(top=bottom, scratch={"norm": (shape, None)})

    def forward(self, bottom, top):
        normalize_locally(bottom[0].data, self.k, self.weight, self.param.beta, *self.box, top[0].data, self.norm)

    def backward(self, top, propagate_down, bottom):
        if propagate_down[0]:
            x, y, dy = bottom[0].data, top[0].data, top[0].diff
            normalize_locally_grad(x, y, self.norm, dy, self.weight, self.param.beta, *self.box, bottom[0].diff)
