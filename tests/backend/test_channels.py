"""BatchNorm's, MVN's and Scale's sums in vectors, held against float64."""

from __future__ import annotations

import numpy as np
import pytest
from test_pooling import run

from pycaffe_lite.backend.cpu import norms
from pycaffe_lite.backend.cpu.workspace import aligned
from pycaffe_lite.layers._channels import affine_channels_grad, see
from pycaffe_lite.layers._normalize import measure, norm_grad, normalize, sum_norm_grad
from pycaffe_lite.layers._standardize import standardize, standardize_grad

SHAPES = [(3, 5, 7, 7), (2, 3, 40, 41), (4, 70, 1, 1), (2, 33, 3, 3), (1, 2, 5, 16), (1, 1, 1, 1)]


def check(shape: tuple[int, ...], mean: float = 3.0) -> None:
    """Forward, backward and the gradients of scale and shift for one shape."""
    random = np.random.default_rng(0)
    view, axes, channels = see(shape, 1, 2), (0, 2, 3), shape[1]
    x, dy = (random.standard_normal(shape, np.float32) for _ in range(2))
    x += np.float32(mean)
    y, dx = np.full_like(x, np.nan), np.full_like(x, np.nan)
    m, variance, inverse = np.zeros((3, channels), np.float32)
    sums, products = np.zeros((2, channels))
    standardize(x, 1e-3, 0, True, *view, y, sums, m, variance, inverse)
    exact, up = x.astype(np.float64), dy.astype(np.float64)
    centre, spread = exact.mean(axes, keepdims=True), exact.var(axes, keepdims=True)
    factor = 1 / np.sqrt(spread + 1e-3)
    np.testing.assert_allclose(m, centre.reshape(-1), rtol=1e-6)
    np.testing.assert_allclose(variance, spread.reshape(-1), rtol=2e-6, atol=1e-9 * mean**2)
    np.testing.assert_allclose(y, (exact - centre) * factor, rtol=1e-5, atol=3e-7 * abs(mean) / np.sqrt(1e-3))
    standardize_grad(y, dy, inverse, True, *view, dx, sums, products)
    want = (up - up.mean(axes, keepdims=True) - y * (up * y).mean(axes, keepdims=True)) * factor
    np.testing.assert_allclose(dx, want, rtol=1e-5, atol=1e-5 * np.abs(factor).max())
    dscale, dshift = np.ones((2, channels), np.float32)
    affine_channels_grad(x, dy, inverse, True, *view, dx, dscale, dshift)
    np.testing.assert_allclose(dscale, 1 + (up * exact).sum(axes), rtol=1e-5, atol=1e-4 * mean)
    np.testing.assert_allclose(dshift, 1 + up.sum(axes), rtol=1e-5, atol=1e-4)
    np.testing.assert_array_equal(dx, dy * inverse.reshape(-1, 1, 1))


def check_normalize(shape: tuple[int, ...]) -> None:
    """BatchNorm, Scale and ReLU as one, held against the plain kernels."""
    random = np.random.default_rng(0)
    view, size = see(shape, 1, 2), shape[1]
    x, dz = (random.standard_normal(shape, np.float32) for _ in range(2))
    scale, shift = random.standard_normal((2, size)).astype(np.float32)
    found = []
    for fast in (False, True):
        y, z, dx = (aligned(x.size).reshape(shape) for _ in range(3))
        mean, variance, inverse = np.zeros((3, size), np.float32)
        dscale, dshift = np.ones((2, size), np.float32)
        sums, products = np.zeros((2, size))
        gates = y, dz, scale, shift, 0.2
        for kernel, args in (
            (measure, (x, 1e-3, *view, sums, mean, variance, inverse)),
            (normalize, (x, mean, inverse, scale, shift, 0.2, *view, y, z)),
            (sum_norm_grad, (*gates, *view, sums, products, dscale, dshift)),
            (norm_grad, (*gates, inverse, sums, products, 0, *view, dx)),
            (norm_grad, (*gates, inverse, sums, products, 1, *view, dx)),
        ):
            run(kernel, kernel.cpu_form if fast else None, args)
        found.append((mean, variance, inverse, y, z, dx, dscale, dshift))
    for plain, fast in zip(*found):
        np.testing.assert_allclose(fast, plain, rtol=1e-5, atol=1e-5 * np.abs(plain).max())


@pytest.mark.parametrize("shape", SHAPES)
def test_norm_scale_and_relu_agree_with_the_plain_kernels(shape: tuple[int, ...]) -> None:
    check_normalize(shape)


def test_what_goes_past_the_caches_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(norms, "MUCH", 0)
    check_normalize((2, 3, 8, 32))


@pytest.mark.parametrize("shape", SHAPES)
def test_sums_agree_with_float64(shape: tuple[int, ...]) -> None:
    check(shape)


def test_a_far_mean_does_not_eat_the_variance() -> None:
    check((4, 3, 20, 20), mean=1000.0)


def test_a_constant_channel_has_no_variance() -> None:
    x = np.full((2, 1, 30, 30), 0.1, np.float32)
    y, (m, variance, inverse), sums = np.ones_like(x), np.ones((3, 1), np.float32), np.zeros(1)
    standardize(x, 1e-5, 0, True, *see(x.shape, 1, 2), y, sums, m, variance, inverse)
    assert m[0] == np.float32(0.1)
    assert 0 <= variance[0] < 1e-12
    assert not y.any()
