"""Exam rows of the layers that look at images through windows, other than Convolution."""

from __future__ import annotations

import math

import numpy as np
from exam import Case


def windows(layer, size):
    """Number and slice of every kernel position, in an image that has `size` outputs along each axis."""
    for number, tap in enumerate(np.ndindex(*layer.kernel)):
        starts = [d * t for d, t in zip(layer.dilation, tap)]
        yield (
            tap,
            number,
            tuple(slice(a, a + s * (n - 1) + 1, s) for a, s, n in zip(starts, layer.stride, size)),
        )


def deconvolved(bottoms, params, layer):
    """Every input value laid down, times the kernel, over the part of the output that it reaches."""
    tops = []
    for x in bottoms:
        x = x.reshape(-1, *x.shape[layer.param.axis :])
        weight, group, outputs = params[0], layer.param.group, layer.param.num_output
        output = layer.conv.size
        full = np.zeros((len(x), outputs, *(n + 2 * p for n, p in zip(output, layer.pad))))
        inputs, wide = x.shape[1] // group, outputs // group
        for g in range(group):
            part, w = x[:, g * inputs : (g + 1) * inputs], weight[g * inputs : (g + 1) * inputs]
            for tap, _, where in windows(layer, x.shape[2:]):
                laid = np.einsum("nc...,co->no...", part, w[(slice(None), slice(None), *tap)])
                full[(slice(None), slice(g * wide, (g + 1) * wide), *where)] += laid
        inside = tuple(slice(p, p + n) for n, p in zip(output, layer.pad))
        y = full[(slice(None), slice(None), *inside)]
        tops.append(y + params[1].reshape(-1, *[1] * len(output)) if len(params) > 1 else y)
    return tops


def columns(bottoms, params, layer):
    x = bottoms[0].reshape(-1, *bottoms[0].shape[layer.param.axis :])
    x = np.pad(x, [(0, 0), (0, 0), *((p, p) for p in layer.pad)])
    axes = zip(x.shape[2:], layer.kernel, layer.stride, layer.dilation)
    output = [(n - d * (k - 1) - 1) // s + 1 for n, k, s, d in axes]
    top = np.zeros((*x.shape[:2], math.prod(layer.kernel), *output))
    for _, number, where in windows(layer, output):
        top[:, :, number] = x[(slice(None), slice(None), *where)]
    return [top]


def deconvolution(fields, bottoms, **rest):
    body = f'type: "Deconvolution" convolution_param {{ {fields} }}'
    return Case(body, bottoms, tops=len(bottoms), reference=deconvolved, **rest)


def im2col(fields, bottom):
    return Case(f'type: "Im2col" convolution_param {{ {fields} }}', [bottom], reference=columns)


CASES: dict[str, list[Case]] = {
    "Deconvolution": [
        deconvolution("num_output: 2 kernel_size: 3", [(2, 3, 4, 5)]),
        deconvolution("num_output: 4 kernel_size: 4 stride: 2 pad: 1 group: 2", [(1, 6, 3, 5)] * 2),
        deconvolution(
            "num_output: 3 kernel_h: 1 kernel_w: 3 stride_h: 3 stride_w: 2 bias_term: false", [(2, 1, 3, 2)]
        ),
        deconvolution("num_output: 1 kernel_size: 3 dilation: 2 pad: 1", [(1, 2, 3, 3)]),
        deconvolution("num_output: 2 kernel_size: 3 stride: 2 pad: 1", [(3, 2, 4)]),
        deconvolution(
            "num_output: 2 kernel_size: 2 kernel_size: 3 kernel_size: 1 stride: 2", [(1, 2, 2, 3, 2)]
        ),
        deconvolution("num_output: 5 kernel_size: 1", [(1, 1, 1, 1)]),
        deconvolution("num_output: 2 kernel_size: 2 axis: 2", [(2, 2, 3, 2, 2)]),
    ],
    "Im2col": [
        im2col("kernel_size: 3", (2, 3, 4, 5)),
        im2col("kernel_size: 3 stride: 2 pad: 1 dilation: 2", (1, 2, 7, 6)),
        im2col("kernel_h: 1 kernel_w: 2 stride_h: 2 stride_w: 1 pad_h: 0 pad_w: 1", (2, 1, 5, 3)),
        im2col("kernel_size: 3 stride: 2", (3, 1, 8)),
        im2col("kernel_size: 2 kernel_size: 1 kernel_size: 3", (1, 2, 3, 2, 4)),
        im2col("kernel_size: 1", (1, 1, 1, 1)),
        im2col("kernel_size: 2 axis: 2", (2, 2, 3, 2, 2)),
    ],
}
