"""Pooling in vectors gives what the plain kernels give, whatever the numbers are; forward bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pycaffe_lite.backend.cpu.program import Program
from pycaffe_lite.kernel import Kernel, recording
from pycaffe_lite.layers._pooling import Window, average_pool, average_pool_grad, max_pool

# (planes, h, w), kernel, stride, pad; rounded up as Caffe does it, so that windows may hang over.
TABLE: list[tuple[tuple[int, int, int], tuple[int, int], tuple[int, int], tuple[int, int]]] = [
    ((3, 24, 24), (2, 2), (2, 2), (0, 0)),
    ((2, 40, 70), (3, 2), (2, 2), (0, 0)),
    ((2, 33, 35), (2, 2), (2, 2), (0, 0)),
    ((3, 14, 14), (3, 3), (1, 1), (1, 1)),
    ((3, 7, 7), (3, 3), (1, 1), (1, 1)),
    ((2, 55, 56), (3, 3), (2, 2), (0, 0)),
    ((2, 13, 13), (3, 3), (2, 2), (1, 1)),
    ((2, 14, 14), (5, 5), (3, 3), (0, 0)),
    ((4, 7, 7), (7, 7), (1, 1), (0, 0)),
    ((5, 9, 11), (3, 2), (2, 3), (1, 1)),
    ((3, 1, 37), (1, 5), (1, 4), (0, 2)),
    ((2, 40, 1), (4, 1), (3, 1), (1, 0)),
    ((2, 33, 35), (3, 3), (5, 5), (2, 2)),
    ((2, 5, 5), (1, 1), (3, 3), (0, 0)),
    ((1, 500, 70), (3, 3), (2, 2), (0, 0)),
    ((1, 40, 40), (33, 33), (1, 1), (0, 0)),
    ((2, 56, 56), (56, 56), (1, 1), (0, 0)),
    ((2, 12, 50), (3, 3), (3, 3), (0, 0)),
    ((1, 300, 70), (4, 4), (2, 2), (2, 2)),
]


def window_of(shape: tuple[int, int, int], kernel: Any, stride: Any, pad: Any) -> Window:
    """The Window that Caffe makes of these."""
    out = []
    for size, k, s, p in zip(shape[1:], kernel, stride, pad):
        count = -(-(size + 2 * p - k) // s) + 1
        out.append(count - (any(pad) and (count - 1) * s >= size + p))
    return Window(*shape, *out, *kernel, *stride, *pad)


def numbers(shape: tuple[int, ...]) -> np.ndarray:
    """Few values, so that many are equal, and some that are none."""
    random = np.random.default_rng(0)
    x = random.integers(-4, 5, shape).astype(np.float32) / 3
    x[random.random(shape) < 0.1] = np.nan
    x[random.random(shape) < 0.1] = -np.inf
    x[0, : shape[1] // 2] = np.nan
    return x


def run(kernel: Kernel, form: tuple[str, str] | None, args: tuple[Any, ...]) -> None:
    """Run a kernel in this form."""
    own, kernel.cpu_form = kernel.cpu_form, form
    try:
        program = Program()
        with recording(program):
            kernel(*args)
        program.run()
    finally:
        kernel.cpu_form = own


def check(shape: tuple[int, int, int], kernel: Any, stride: Any, pad: Any) -> None:
    """Hold the vectors against the plain kernels."""
    assert max_pool.cpu_form
    assert average_pool.cpu_form
    window = window_of(shape, kernel, stride, pad)
    x, size = numbers(shape), (window.planes, window.oh, window.ow)
    found: list[list[np.ndarray]] = []
    for forms in ((None, None), (max_pool.cpu_form, average_pool.cpu_form)):
        y, mean, argmax = np.full(size, 7, np.float32), np.full(size, 7, np.float32), np.full(size, -7, np.int32)
        run(max_pool, forms[0], (x, *window, y, argmax))
        run(average_pool, forms[1], (np.nan_to_num(x, neginf=-9), *window, mean))
        found.append([y.view(np.int32), argmax, mean if kernel == shape[1:] else mean.view(np.int32)])
    for plain, fast in zip(*found):
        if plain.dtype == np.float32:  # a whole plane is added up in another order
            np.testing.assert_allclose(fast, plain, rtol=1e-5, atol=1e-5)
        else:
            np.testing.assert_array_equal(fast, plain)
    check_grad(window)


def check_grad(window: Window) -> None:
    """The same for the gradient of means: every element of dx is written, whatever was there, and no other."""
    random = np.random.default_rng(1)
    dy = random.standard_normal((window.planes, window.oh, window.ow), np.float32)
    dy[random.random(dy.shape) < 0.02] = np.inf
    dy[random.random(dy.shape) < 0.02] = np.nan
    found = []
    for form in (None, average_pool_grad.cpu_form):
        dx = np.full(window.planes * window.h * window.w + 64, np.nan, np.float32)
        dx[-64:] = 7
        run(average_pool_grad, form, (dy, *window, dx))
        found.append(dx)
    np.testing.assert_allclose(found[1], found[0], rtol=1e-5, atol=1e-6)
    assert found[1][-64:].tolist() == [7] * 64


@pytest.mark.parametrize(("shape", "kernel", "stride", "pad"), TABLE)
def test_vectors_agree_with_plain_kernels(shape: Any, kernel: Any, stride: Any, pad: Any) -> None:
    check(shape, kernel, stride, pad)


def test_maxima_by_hand() -> None:
    x = np.array([[[1, 5, 5, np.nan], [5, 0, -np.inf, np.nan]]], np.float32)
    y, argmax = np.zeros((1, 1, 2), np.float32), np.zeros((1, 1, 2), np.int32)
    max_pool(x, *Window(1, 2, 4, 1, 2, 2, 2, 2, 2, 0, 0), y, argmax)
    assert y.tolist() == [[[5, 5]]]
    assert argmax.tolist() == [[[1, 2]]]  # the first of equals; a NaN never wins
