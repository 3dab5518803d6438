"""BatchNorm, the Scale behind it and perhaps a ReLU as one: a sweep that sums and a sweep that writes, each way.

z = ReLU(scale * y + shift), where y is the standardised x. The ReLU has a slope for what is not above 0; one of 1
changes nothing, and stands for no ReLU. There may be an Eltwise sum in front of the ReLU, too.
"""

from __future__ import annotations

from math import sqrt
from typing import Any

from ..kernel import T, current_launcher, kernel
from ..ops import block_sum
from ._channels import BY_SAMPLE, CHANNELS, ELEMENTS, THREADS, WHOLE_BATCH, Channels


@kernel(
    f"x: T*, eps: double, {CHANNELS} -> sums: double*, mean: T*, variance: T*, inverse: T*",
    **WHOLE_BATCH,
)
def measure(i, x, eps, outer, channels, inner, per, sums, mean, variance, inverse):
    """Mean, variance and 1 / deviation of every channel."""
    count, first, last = outer * inner, i * per, min((i + 1) * per, channels)
    for c in range(first, last):
        sums[c] = 0
    for o in range(outer):
        for c in range(first, last):
            start, total = (o * channels + c) * inner, T(0)
            for j in range(start, start + inner):
                total += x[j]
            sums[c] += block_sum(total)
    for c in range(first, last):
        mean[c] = T(sums[c] / count)
        sums[c] = 0
    for o in range(outer):  # the channel is still in the cache
        for c in range(first, last):
            start, total, m = (o * channels + c) * inner, T(0), mean[c]
            for j in range(start, start + inner):
                total += (x[j] - m) * (x[j] - m)
            sums[c] += block_sum(total)
    for c in range(first, last):
        variance[c] = T(sums[c] / count)
        inverse[c] = T(1 / sqrt(sums[c] / count + eps))


measure.cpu("norms", "measure")
measure.cuda(
    """
    int count = outer * inner;
    double total = 0, squares = 0;
    for (int j = threadIdx.x; j < count; j += blockDim.x) total += x[(j / inner * channels + i) * inner + j % inner];
    T m = block_sum(total) / count;
    for (int j = threadIdx.x; j < count; j += blockDim.x) {
        T d = x[(j / inner * channels + i) * inner + j % inner] - m;
        squares += d * d;
    }
    squares = block_sum(squares) / count;
    if (threadIdx.x == 0) { mean[i] = m; variance[i] = squares; inverse[i] = 1 / sqrt(squares + eps); }
""",
    over="channels",
    block=THREADS,
)


@kernel(
    "x: T*, mean: T*, inverse: T*, scale: T*, shift: T*, slope: T, other: T*, has_other: int, "
    f"{CHANNELS} -> y: T*, z: T*",
    **BY_SAMPLE,
)
def normalize(i, x, mean, inverse, scale, shift, slope, other, has_other, outer, channels, inner, per, y, z):
    """y = (x - mean) * inverse, and z from it; `other` is added in front of the ReLU, if there is one."""
    groups = (channels + per - 1) // per
    row, first = i // groups * channels, i % groups * per
    for c in range(first, min(first + per, channels)):
        start, m, f, a, b = (row + c) * inner, mean[c], inverse[c], scale[c], shift[c]
        for j in range(start, start + inner):
            standard = (x[j] - m) * f
            s = standard * a + b
            if has_other != 0:
                s += other[j]
            y[j] = standard
            z[j] = s if s > 0 else slope * s


normalize.cpu("norms", "normalize")
normalize.cuda(
    """
    int c = i / inner % channels;
    T standard = (x[i] - mean[c]) * inverse[c], s = standard * scale[c] + shift[c];
    if (has_other) s += other[i];
    y[i] = standard;
    z[i] = s > 0 ? s : slope * s;
""",
    over=ELEMENTS,
)


@kernel(
    f"y: T*, dz: T*, scale: T*, shift: T*, slope: T, {CHANNELS}"
    " -> sums: double*, products: double*, dscale: T*, dshift: T*",
    **WHOLE_BATCH,
)
def sum_norm_grad(i, y, dz, scale, shift, slope, outer, channels, inner, per, sums, products, dscale, dshift):
    """dshift += sum(ds) and dscale += sum(ds * y), with ds = dz, or slope * dz where the ReLU was closed."""
    first, last = i * per, min((i + 1) * per, channels)
    for c in range(first, last):
        sums[c] = 0
        products[c] = 0
    for o in range(outer):
        for c in range(first, last):
            start, total, product, a, b = (o * channels + c) * inner, T(0), T(0), scale[c], shift[c]
            for j in range(start, start + inner):
                ds = dz[j] if y[j] * a + b > 0 else slope * dz[j]
                product += ds * y[j]
                total += ds
            sums[c] += block_sum(total)
            products[c] += block_sum(product)
    for c in range(first, last):
        dscale[c] += T(products[c])
        dshift[c] += T(sums[c])


sum_norm_grad.cpu("norms", "sum_norm_grad")
sum_norm_grad.cuda(
    """
    double product = 0, total = 0;
    T a = scale[i], b = shift[i];
    for (int j = threadIdx.x; j < outer * inner; j += blockDim.x) {
        int at = (j / inner * channels + i) * inner + j % inner;
        T ds = y[at] * a + b > 0 ? dz[at] : slope * dz[at];
        product += ds * y[at];
        total += ds;
    }
    product = block_sum(product);
    total = block_sum(total);
    if (threadIdx.x == 0) { sums[i] = total; products[i] = product; dscale[i] += product; dshift[i] += total; }
""",
    over="channels",
    block=THREADS,
)


@kernel(
    "y: T*, dz: T*, scale: T*, shift: T*, slope: T, inverse: T*, sums: double*, products: double*, by_batch: int, "
    f"{CHANNELS} -> dx: T*",
    **BY_SAMPLE,
)
def norm_grad(
    i, y, dz, scale, shift, slope, inverse, sums, products, by_batch, outer, channels, inner, per, dx
):  # fmt: skip
    """dx from those sums: statistics of the batch have gradients, too.

    dx = (ds - mean(ds) - y * mean(ds * y)) * scale * inverse; without `by_batch`, dx = ds * scale * inverse.
    """
    groups, count = (channels + per - 1) // per, outer * inner
    row, first = i // groups * channels, i % groups * per
    for c in range(first, min(first + per, channels)):
        start, a, b, f = (row + c) * inner, scale[c], shift[c], scale[c] * inverse[c]
        m, k = T(sums[c] / count if by_batch else 0.0), T(products[c] / count if by_batch else 0.0)
        for j in range(start, start + inner):
            ds = dz[j] if y[j] * a + b > 0 else slope * dz[j]
            dx[j] = (ds - m - y[j] * k) * f


norm_grad.cpu("norms", "norm_grad")
norm_grad.cuda(
    """
    int c = i / inner % channels, count = outer * inner;
    T ds = y[i] * scale[c] + shift[c] > 0 ? dz[i] : slope * dz[i];
    T m = by_batch ? sums[c] / count : 0, k = by_batch ? products[c] / count : 0;
    dx[i] = (ds - m - y[i] * k) * (scale[c] * inverse[c]);
""",
    over=ELEMENTS,
)


@kernel(f"x: T*, mean: T*, inverse: T*, scale: T*, shift: T*, slope: T, {CHANNELS} -> z: T*", **BY_SAMPLE)
def apply_norm(i, x, mean, inverse, scale, shift, slope, outer, channels, inner, per, z):
    """z alone, where no backward will ask for y; x and z may be one."""
    groups = (channels + per - 1) // per
    row, first = i // groups * channels, i % groups * per
    for c in range(first, min(first + per, channels)):
        start, m, f, a, b = (row + c) * inner, mean[c], inverse[c], scale[c], shift[c]
        for j in range(start, start + inner):
            s = (x[j] - m) * f * a + b
            z[j] = s if s > 0 else slope * s


apply_norm.cuda(
    """
    int c = i / inner % channels;
    T s = (x[i] - mean[c]) * inverse[c] * scale[c] + shift[c];
    z[i] = s > 0 ? s : slope * s;
""",
    over=ELEMENTS,
)


@kernel(
    "bias: T*, means: T*, variances: T*, weight: T*, eps: double, scale: T*, shift: T*, channels: int"
    " -> factors: T*, biases: T*",
    over="channels",
)
def fold_norm(c, bias, means, variances, weight, eps, scale, shift, channels, factors, biases):
    """For each channel the factor of its weights, and the bias, with which a convolution does what is behind it."""
    part = 0.0 if weight[0] == 0 else 1.0 / weight[0]
    mean, inverse = T(means[c] * part), T(1 / sqrt(variances[c] * part + eps))
    factor = inverse * scale[c]
    factors[c] = factor
    biases[c] = (bias[c] - mean) * factor + shift[c]


fold_norm.cuda("""
    double part = weight[0] == 0 ? 0 : 1.0 / weight[0];
    T mean = means[i] * part, inverse = 1 / sqrt(variances[i] * part + eps), factor = inverse * scale[i];
    factors[i] = factor;
    biases[i] = (bias[i] - mean) * factor + shift[i];
""")


@kernel("w: T*, factors: T*, channels: int, depth: int -> weights: T*", over="channels", work="depth")
def scale_weights(c, w, factors, channels, depth, weights):
    """Weights (channels x depth) times the factor of their channel."""
    factor = factors[c]
    for j in range(c * depth, (c + 1) * depth):
        weights[j] = w[j] * factor


scale_weights.cuda("weights[i] = w[i] * factors[i / depth];", over="channels * depth")


def normalize_batch(
    x: Any, eps: float, scale: Any, shift: Any, slope: float, other: Any, view: Channels,
    sums: Any, mean: Any, variance: Any, inverse: Any, y: Any, z: Any,
) -> None:  # fmt: skip
    """`measure`, then `normalize`: as one kernel, where the device has one."""
    args = x, eps, scale, shift, slope, other, view, sums, mean, variance, inverse, y, z
    if not current_launcher().device.joint("normalize_batch", args):
        measure(x, eps, *view, sums, mean, variance, inverse)
        normalize(x, mean, inverse, scale, shift, slope, other, int(other is not None), *view, y, z)


def normalize_batch_grad(
    y: Any, dz: Any, scale: Any, shift: Any, slope: float, inverse: Any, behind: Any, view: Channels,
    sums: Any, products: Any, dscale: Any, dshift: Any, dx: Any,
) -> None:  # fmt: skip
    """`sum_norm_grad`, then `norm_grad`: as one kernel, likewise.

    With `behind` (`net.fuse_residual.Behind`) dz is to be computed first.
    """
    args = y, dz, scale, shift, slope, inverse, behind, view, sums, products, dscale, dshift, dx
    if not current_launcher().device.joint("normalize_batch_grad", args):
        if behind:
            behind.add_up(dz)
        gates = y, dz, scale, shift, slope
        sum_norm_grad(*gates, *view, sums, products, dscale, dshift)
        norm_grad(*gates, inverse, sums, products, 1, *view, dx)
