"""Exam rows of the layers that look at images through windows, other than Convolution."""

from __future__ import annotations

import math

import numpy as np
from exam import Case, spread


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


def pooled(bottoms, params, layer):
    """Each window looked at by itself, and the place of its maximum."""
    p, x = layer.param, bottoms[0]
    size = x.shape[2:]
    kernel, stride, pad = size, (1,) * len(size), (0,) * len(size)
    if not p.global_pooling:
        kernel, stride, pad = (layer.spread(name, len(size)) for name in ("kernel_size", "stride", "pad"))
    out = layer.shapes([x.shape]).top[0]
    top, mask = np.zeros(out), np.zeros(out)
    places = np.arange(math.prod(size)).reshape(size)
    for at in np.ndindex(*out[2:]):
        starts = [i * s - q for i, s, q in zip(at, stride, pad)]
        inside = tuple(slice(max(a, 0), a + k) for a, k in zip(starts, kernel))
        window = x[(slice(None), slice(None), *inside)].reshape(*x.shape[:2], -1)
        ends = [min(a + k, n + q) for a, k, n, q in zip(starts, kernel, size, pad)]
        area = math.prod(e - a for a, e in zip(starts, ends))
        where = (slice(None), slice(None), *at)
        if not window.size:
            mask[where] = -1
        elif p.pool == p.MAX:
            top[where], mask[where] = window.max(2), places[inside].ravel()[window.argmax(2)]
        elif p.pool == p.AVE:
            top[where] = window.sum(2) / area
        else:
            top[where] = (window**2).sum(2) / window.sum(2)
    return [top, mask][: len(layer.message.top)]


def spp(bottoms, params, layer):
    """Bin by bin: level l cuts the padded image into 2^l by 2^l."""
    x, parts = bottoms[0], []
    for level in range(layer.param.pyramid_height):
        bins = 2**level
        kernel = [-(-n // bins) for n in x.shape[2:]]
        pad = [(k * bins - n + 1) // 2 for k, n in zip(kernel, x.shape[2:])]
        made = np.zeros((*x.shape[:2], bins, bins))
        for at in np.ndindex(bins, bins):
            starts = [i * k - q for i, k, q in zip(at, kernel, pad)]
            window = x[(slice(None), slice(None), *(slice(max(a, 0), a + k) for a, k in zip(starts, kernel)))]
            ends = (min(a + k, n + q) for a, k, n, q in zip(starts, kernel, x.shape[2:], pad))
            made[(slice(None), slice(None), *at)] = {
                layer.param.MAX: window.max((2, 3)),
                layer.param.AVE: window.sum((2, 3)) / math.prod(e - a for a, e in zip(starts, ends)),
                layer.param.STOCHASTIC: (window**2).sum((2, 3)) / window.sum((2, 3)),
            }[layer.param.pool]
        parts.append(made.reshape(len(x), -1))
    return [parts[0].reshape(*x.shape[:2], 1, 1) if len(parts) == 1 else np.concatenate(parts, 1)]


def deconvolution(fields, bottoms, **rest):
    body = f'type: "Deconvolution" convolution_param {{ {fields} }}'
    return Case(body, bottoms, tops=len(bottoms), reference=deconvolved, **rest)


def im2col(fields, bottom):
    return Case(f'type: "Im2col" convolution_param {{ {fields} }}', [bottom], reference=columns)


def pooling(fields, bottom=(2, 3, 5, 7), reference=pooled, **rest):
    return Case(f'type: "Pooling" pooling_param {{ {fields} }}', [bottom], reference=reference, **rest)


def spp_of(fields, bottom=(2, 3, 13, 11), reference=spp, **rest):
    return Case(f'type: "SPP" spp_param {{ {fields} }}', [bottom], reference=reference, **rest)


POSITIVE = spread((2, 2, 5, 7), low=0.1)

CASES: dict[str, list[Case]] = {
    "Deconvolution": [
        deconvolution("num_output: 2 kernel_size: 3", [(2, 3, 4, 5)]),
        deconvolution("num_output: 4 kernel_size: 4 stride: 2 pad: 1 group: 2", [(1, 6, 3, 5)] * 2),
        deconvolution("num_output: 3 kernel_h: 1 kernel_w: 3 stride_h: 3 stride_w: 2 bias_term: false", [(2, 1, 3, 2)]),
        deconvolution("num_output: 1 kernel_size: 3 dilation: 2 pad: 1", [(1, 2, 3, 3)]),
        deconvolution("num_output: 2 kernel_size: 3 stride: 2 pad: 1", [(3, 2, 4)]),
        deconvolution("num_output: 2 kernel_size: 2 kernel_size: 3 kernel_size: 1 stride: 2", [(1, 2, 2, 3, 2)]),
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
    "Pooling": [
        pooling("kernel_size: 2 stride: 2"),
        pooling("kernel_size: 3 stride: 2 pad: 1", (2, 1, 6, 9), tops=2, gradient=False),
        pooling("kernel_size: 3 stride: 2 pad: 1", (2, 1, 6, 9)),
        pooling("kernel_size: 3 stride: 2", (1, 2, 2, 8)),  # rounded up, a kernel may reach over the edge
        pooling("kernel_size: 1 stride: 3", (1, 1, 5, 5)),  # and a window may begin behind it
        pooling("kernel_h: 1 kernel_w: 3 stride_h: 2 stride_w: 1 round_mode: FLOOR"),
        pooling("kernel_size: 2 stride: 2 torch_pooling: true"),
        pooling("kernel_h: 2 kernel_w: 1 stride: 3 pad_h: 1 pad_w: 0", (1, 1, 4, 6)),
        pooling("global_pooling: true", (2, 2, 3, 4)),
        pooling("kernel_size: 1", (1, 1, 1, 1)),
        pooling("pool: AVE kernel_size: 3 stride: 2 pad: 1", (1, 2, 6, 9)),
        pooling("pool: AVE kernel_size: 2 stride: 3", (1, 2, 7, 8)),
        pooling("pool: AVE global_pooling: true", (2, 2, 3, 4)),
        pooling("kernel_size: 3 stride: 2", (3, 2, 9)),
        pooling("pool: AVE kernel_size: 2 pad: 1", (1, 1, 4)),
        pooling("kernel_size: 2 stride: 2", (2, 2, 3, 4, 5)),
        pooling("kernel_size: 2 stride: 2", (2, 2, 3, 4, 5), tops=2, gradient=False),
        pooling("kernel_size: 3 stride: 2 pad: 1", (1, 2, 3, 2, 3, 4), tops=2, gradient=False),
        pooling("pool: AVE kernel_size: 3 stride: 2 pad: 1", (1, 2, 4, 3, 5)),
        pooling("pool: AVE global_pooling: true", (1, 2, 2, 3, 2, 2)),
        pooling("pool: STOCHASTIC kernel_size: 3 stride: 2", POSITIVE, None),
        pooling("pool: STOCHASTIC kernel_size: 3 stride: 2", POSITIVE, phase="TEST"),
        pooling("pool: STOCHASTIC kernel_size: 2", spread((2, 1, 6), low=0.1), phase="TEST"),
        pooling("pool: STOCHASTIC global_pooling: true", np.ones((1, 1, 1, 1)), phase="TEST"),
    ],
    "SPP": [
        spp_of("pyramid_height: 3"),
        spp_of("pyramid_height: 2 pool: AVE", (1, 1, 5, 7)),
        spp_of("pyramid_height: 1", (2, 2, 3, 4)),
        spp_of("pyramid_height: 1 pool: AVE", (1, 1, 1, 1)),
        spp_of("pyramid_height: 2 pool: STOCHASTIC", spread((2, 2, 4, 6), low=0.1), None),
        spp_of("pyramid_height: 2 pool: STOCHASTIC", spread((2, 2, 4, 6), low=0.1), phase="TEST"),
        spp_of("pyramid_height: 1 pool: STOCHASTIC", spread((1, 2, 3, 3), low=0.1), phase="TEST"),
    ],
}
