"""A slow, obvious convolution with its gradients, in float64, and shapes to hold the fast one against it."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from pycaffe_lite.backend.cpu.convolution import Convolution


def reference(of: Convolution, x: Any, w: Any, b: Any, dy: Any) -> tuple[np.ndarray, ...]:
    """y, dx, dw, db, tap by tap: a tap of the kernel is a slice of the padded image."""
    x, w, b, dy = (a.astype(np.float64) for a in (x, w, b, dy))
    grown = [
        (0, 0),
        (0, 0),
        *((p, p + k * d + s) for p, k, d, s in zip(of.pad, of.kernel, of.dilation, of.stride)),
    ]
    padded = np.pad(x, grown)
    y, dpadded, dw = np.zeros_like(dy), np.zeros_like(padded), np.zeros_like(w)
    cg, og = of.channels // of.group, of.outputs // of.group
    for tap in itertools.product(*map(range, of.kernel)):
        window = tuple(
            slice(t * d, t * d + s * (o - 1) + 1, s) for t, d, s, o in zip(tap, of.dilation, of.stride, of.output)
        )
        for g in range(of.group):
            ins, outs = slice(g * cg, (g + 1) * cg), slice(g * og, (g + 1) * og)
            part, weights = padded[(slice(None), ins, *window)], w[(outs, slice(None), *tap)]
            y[:, outs] += np.einsum("nc...,oc->no...", part, weights)
            dpadded[(slice(None), ins, *window)] += np.einsum("no...,oc->nc...", dy[:, outs], weights)
            flat = (a.reshape(of.batch, -1, of.positions) for a in (part, dy[:, outs]))
            dw[(outs, slice(None), *tap)] += np.einsum("ncp,nop->oc", *flat)
    y += b.reshape(-1, *[1] * len(of.size))
    inside = tuple(slice(p, p + n) for p, n in zip(of.pad, of.size))
    return y, dpadded[(slice(None), slice(None), *inside)], dw, dy.sum(axis=(0, *range(2, dy.ndim)))


def blobs(of: Convolution, dtype: Any, seed: int = 0) -> dict[str, np.ndarray]:
    """Random x, w, b, dy, and poisoned outputs."""
    random = np.random.default_rng(seed)
    shapes = {
        "x": (of.batch, of.channels, *of.size),
        "w": (of.outputs, of.channels // of.group, *of.kernel),
        "b": (of.outputs,),
        "dy": (of.batch, of.outputs, *of.output),
    }
    made = {name: random.standard_normal(shape).astype(dtype) for name, shape in shapes.items()}
    return {**made, "y": np.full_like(made["dy"], np.nan), "dx": np.full_like(made["x"], np.nan)}


def run(of: Convolution, dtype: Any, bias: bool = True, relu: bool = False) -> dict[str, np.ndarray]:
    """Everything a convolution computes; the gradients of w and bias are added to ones."""
    has = blobs(of, dtype)
    has["dw"], has["db"] = np.ones_like(has["w"]), np.ones_like(has["b"])
    of.forward(has["x"], has["w"], has["b"] if bias else None, has["y"], relu)
    of.backward_data(has["dy"], has["w"], has["dx"])
    of.backward_weights(has["x"], has["dy"], has["dw"])
    of.backward_bias(has["dy"], has["db"])
    return has


def check(of: Convolution, dtype: Any, bias: bool = True, relu: bool = False) -> None:
    got = run(of, dtype, bias, relu)
    y, dx, dw, db = reference(of, got["x"], got["w"], got["b"] * bias, got["dy"])
    tolerance = 3e-6 if dtype == np.float32 else 1e-14
    for name, true in (("y", np.maximum(y, 0) if relu else y), ("dx", dx), ("dw", dw + 1), ("db", db + 1)):
        error = np.abs(got[name] - true).max() / max(1.0, np.abs(true).max())
        assert error < tolerance * max(1.0, of.depth**0.5), (name, error)


#        batch channels size       outputs kernel    stride   pad     dilation group
TABLE = [
    (2, 3, (9, 7), 5, (3, 3), (1, 1), (0, 0), (1, 1), 1),
    (1, 1, (1, 1), 1, (1, 1), (1, 1), (0, 0), (1, 1), 1),
    (2, 2, (1, 1), 3, (5, 3), (1, 1), (2, 1), (1, 1), 1),  # kernel larger than the image
    (3, 4, (9, 6), 6, (3, 2), (2, 1), (2, 1), (2, 1), 2),
    (2, 3, (17, 17), 20, (5, 5), (3, 3), (1, 1), (1, 1), 1),
    (5, 7, (5, 5), 33, (2, 2), (1, 1), (0, 0), (1, 1), 1),
    (3, 8, (16, 16), 40, (1, 1), (2, 2), (0, 0), (1, 1), 1),  # stride larger than the kernel
    (3, 8, (7, 7), 40, (1, 1), (1, 1), (0, 0), (1, 1), 2),
    (2, 6, (11, 9), 6, (3, 3), (2, 2), (1, 1), (1, 1), 6),  # depthwise
    (2, 6, (11, 40), 6, (3, 3), (1, 1), (1, 1), (1, 1), 6),
    (2, 6, (21, 12), 6, (5, 5), (1, 1), (2, 2), (1, 1), 6),
    (2, 4, (8, 8), 8, (3, 3), (1, 1), (1, 1), (1, 1), 4),  # two outputs for every channel
    (4, 1, (28, 28), 20, (5, 5), (1, 1), (0, 0), (1, 1), 1),
    (2, 20, (12, 12), 50, (5, 5), (1, 1), (0, 0), (1, 1), 1),
    (1, 3, (35, 35), 16, (11, 11), (4, 4), (0, 0), (1, 1), 1),
    (1, 64, (14, 14), 70, (3, 3), (1, 1), (1, 1), (1, 1), 1),
    (1, 3, (6, 9), 4, (3, 3), (1, 1), (4, 3), (1, 1), 1),  # more padding than kernel
    (2, 3, (5, 5), 4, (2, 2), (3, 4), (1, 0), (1, 1), 1),
    (1, 2, (3, 40), 5, (1, 20), (1, 1), (0, 3), (1, 1), 1),
    (1, 3, (40, 41), 5, (3, 3), (1, 1), (1, 1), (1, 1), 1),  # one image, several tasks
    (1, 3, (8, 70), 6, (3, 3), (1, 2), (1, 1), (2, 1), 1),
    (2, 5, (13, 30), 7, (4, 4), (4, 4), (1, 2), (1, 1), 1),
    (2, 5, (14, 35), 5, (3, 3), (2, 2), (0, 0), (1, 1), 5),  # depthwise: other paddings, strides, dilations
    (1, 5, (15, 70), 5, (3, 3), (2, 2), (2, 2), (1, 1), 5),
    (1, 5, (9, 33), 5, (5, 5), (2, 2), (2, 2), (1, 1), 5),
    (1, 5, (9, 8), 5, (3, 2), (3, 3), (1, 0), (2, 1), 5),
    (3, 2, (3, 3), 2, (5, 5), (1, 1), (2, 2), (1, 1), 2),
    (2, 20, (7, 7), 20, (3, 3), (1, 1), (1, 1), (1, 1), 20),  # small planes of many channels
    (40, 33, (14, 9), 33, (3, 3), (2, 2), (1, 1), (1, 1), 33),
    (3, 18, (13, 14), 18, (5, 5), (2, 2), (2, 2), (1, 1), 18),
    (2, 16, (3, 4), 16, (3, 2), (1, 3), (1, 1), (2, 1), 16),
    (1, 16, (8, 9), 16, (1, 1), (3, 3), (0, 0), (1, 1), 16),
    (2, 33, (6, 6), 65, (3, 3), (1, 1), (1, 1), (2, 2), 1),
    (6, 30, (7, 7), 46, (3, 3), (1, 1), (1, 1), (1, 1), 1),  # tiles of positions: several images and slices
    (5, 36, (13, 15), 32, (3, 3), (1, 1), (0, 0), (2, 2), 2),
    (3, 270, (9, 12), 31, (1, 1), (1, 1), (0, 0), (1, 1), 1),
    (1, 12, (40, 44), 80, (5, 3), (2, 2), (1, 2), (1, 1), 1),
    (2, 16, (30, 30), 16, (1, 1), (1, 1), (0, 0), (1, 1), 1),
    (2, 3, (20,), 5, (3,), (2,), (1,), (1,), 1),  # other numbers of axes
    (2, 3, (5, 6, 4), 5, (3, 2, 3), (2, 1, 1), (1, 0, 2), (1, 2, 1), 1),
    (1, 2, (3, 4, 3, 2), 2, (2, 2, 2, 2), (1, 1, 1, 1), (0, 1, 0, 1), (1, 1, 1, 1), 2),
]
