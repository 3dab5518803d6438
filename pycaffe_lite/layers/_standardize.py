"""What BatchNorm and MVN share: channels less their mean, over their standard deviation."""

from __future__ import annotations

from math import sqrt
from typing import Any

import numpy as np

from ..kernel import T, kernel
from ..ops import block_sum
from ._channels import CHANNELS, THREADS, WHOLE_BATCH


def statistics(channels: int) -> dict[str, Any]:
    """The scratch that the kernels here want: three numbers for each channel, and room for two sums."""
    numbers = dict.fromkeys(("mean", "variance", "inverse"), ((channels,), None))
    return numbers | dict.fromkeys(("sums", "products"), ((channels,), np.float64))


@kernel(
    f"x: T*, inside: double, outside: double, divide: int, {CHANNELS}"
    " -> y: T*, sums: double*, mean: T*, variance: T*, inverse: T*",
    **WHOLE_BATCH,
)
def standardize(i, x, inside, outside, divide, outer, channels, inner, per, y, sums, mean, variance, inverse):
    """y = (x - mean) * inverse by channel; inverse = 1 / (sqrt(variance + inside) + outside) if `divide`, else 1."""
    count, first, last = outer * inner, i * per, min((i + 1) * per, channels)
    for c in range(first, last):
        sums[c] = 0
    for o in range(outer):
        for c in range(first, last):
            start, total = (o * channels + c) * inner, 0.0
            for j in range(start, start + inner):
                total += x[j]
            sums[c] += block_sum(total)
    for c in range(first, last):
        mean[c] = T(sums[c] / count)
        sums[c] = 0
    for o in range(outer):
        for c in range(first, last):
            start, total, m = (o * channels + c) * inner, 0.0, mean[c]
            for j in range(start, start + inner):
                total += (x[j] - m) * (x[j] - m)
            sums[c] += block_sum(total)
    for c in range(first, last):
        variance[c] = T(sums[c] / count)
        inverse[c] = T(1 / (sqrt(sums[c] / count + inside) + outside) if divide else 1.0)
    for o in range(outer):
        for c in range(first, last):
            start, m, a = (o * channels + c) * inner, mean[c], inverse[c]
            for j in range(start, start + inner):
                y[j] = (x[j] - m) * a


standardize.cpu("channels", "standardize")
standardize.cuda(
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
    T a = divide ? 1 / (sqrt(squares + inside) + outside) : 1;
    for (int j = threadIdx.x; j < count; j += blockDim.x) {
        int at = (j / inner * channels + i) * inner + j % inner;
        y[at] = (x[at] - m) * a;
    }
    if (threadIdx.x == 0) { mean[i] = m; variance[i] = squares; inverse[i] = a; }
""",
    over="channels",
    block=THREADS,
)


@kernel(
    f"y: T*, dy: T*, inverse: T*, divide: int, {CHANNELS} -> dx: T*, sums: double*, products: double*",
    **WHOLE_BATCH,
)
def standardize_grad(i, y, dy, inverse, divide, outer, channels, inner, per, dx, sums, products):
    """dx = (dy - mean(dy) - y * mean(dy * y)) * inverse in every channel; without `divide`, dx = dy - mean(dy)."""
    count, first, last = outer * inner, i * per, min((i + 1) * per, channels)
    for c in range(first, last):
        sums[c] = 0
        products[c] = 0
    for o in range(outer):
        for c in range(first, last):
            start, total, product = (o * channels + c) * inner, 0.0, 0.0
            for j in range(start, start + inner):
                product += dy[j] * y[j]
                total += dy[j]
            sums[c] += block_sum(total)
            products[c] += block_sum(product)
    for o in range(outer):
        for c in range(first, last):
            start, a, m = (o * channels + c) * inner, inverse[c], T(sums[c] / count)
            slope = T(products[c] / count if divide else 0.0)
            for j in range(start, start + inner):
                dx[j] = (dy[j] - m - y[j] * slope) * a


standardize_grad.cpu("channels", "standardize_grad")
standardize_grad.cuda(
    """
    int count = outer * inner;
    double product = 0, total = 0;
    for (int j = threadIdx.x; j < count; j += blockDim.x) {
        int at = (j / inner * channels + i) * inner + j % inner;
        product += dy[at] * y[at];
        total += dy[at];
    }
    T slope = divide ? block_sum(product) / count : 0, m = block_sum(total) / count, a = inverse[i];
    for (int j = threadIdx.x; j < count; j += blockDim.x) {
        int at = (j / inner * channels + i) * inner + j % inner;
        dx[at] = (dy[at] - m - y[at] * slope) * a;
    }
""",
    over="channels",
    block=THREADS,
)
