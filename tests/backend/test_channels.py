"""BatchNorm's, MVN's and Scale's sums in vectors, held against float64."""

from __future__ import annotations

import numpy as np
import pytest
from test_pooling import run

from pycaffe_lite.backend.cpu import norms
from pycaffe_lite.backend.cpu.program import Program
from pycaffe_lite.backend.cpu.workspace import aligned
from pycaffe_lite.device import CPU
from pycaffe_lite.kernel import recording
from pycaffe_lite.layers._channels import affine_channels_grad, see
from pycaffe_lite.layers._normalize import (
    measure,
    norm_grad,
    normalize,
    normalize_batch,
    normalize_batch_grad,
    sum_norm_grad,
)
from pycaffe_lite.layers._standardize import standardize, standardize_grad
from pycaffe_lite.net.fuse_norm import Behind

SHAPES = [(3, 5, 7, 7), (2, 3, 40, 41), (4, 70, 1, 1), (2, 33, 3, 3), (2, 9, 5, 16), (1, 2, 5, 16), (1, 1, 1, 1)]


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
            (normalize, (x, mean, inverse, scale, shift, 0.2, None, 0, *view, y, z)),
            (sum_norm_grad, (*gates, *view, sums, products, dscale, dshift)),
            (norm_grad, (*gates, inverse, sums, products, 0, *view, dx)),
            (norm_grad, (*gates, inverse, sums, products, 1, *view, dx)),
        ):
            run(kernel, kernel.cpu_form if fast else None, args)
        found.append((mean, variance, inverse, y, z, dx, dscale, dshift))
    for plain, fast in zip(*found):
        np.testing.assert_allclose(fast, plain, rtol=1e-5, atol=1e-5 * np.abs(plain).max())


def check_joint(shape: tuple[int, ...], sources: int) -> None:
    """The same as one kernel each way, with a sum in front of the ReLU whose top gets so many gradients (0: no sum)."""
    random = np.random.default_rng(0)
    view, size = see(shape, 1, 2), shape[1]
    x, dz, other, top, a, b = (random.standard_normal(shape, np.float32) for _ in range(6))
    scale, shift = random.standard_normal((2, size)).astype(np.float32)
    behind = Behind(top, 0.3, [a, b][:sources], x.size) if sources else None
    found = []
    for joint in (False, True):
        y, z, dx, down = (aligned(x.size).reshape(shape) for _ in range(4))
        down[...] = dz
        mean, variance, inverse = np.zeros((3, size), np.float32)
        dscale, dshift = np.ones((2, size), np.float32)
        sums, products = np.zeros((2, size))
        affine, statistics = (scale, shift, 0.2), (sums, mean, variance, inverse)
        forward = x, 1e-3, *affine, other if sources else None, view, *statistics, y, z
        backward = y, down, *affine, inverse, behind, view, sums, products, dscale, dshift, dx
        launched, program = True, Program()
        with recording(program), pytest.MonkeyPatch.context() as patch:
            if joint:
                launched = norms.normalize_batch(*forward) and norms.normalize_batch_grad(*backward)
            else:
                patch.setattr(CPU, "joint", lambda *args: False)
                normalize_batch(*forward)
                normalize_batch_grad(*backward)
        program.run()
        found.append((mean, variance, inverse, y, z, down, dx, dscale, dshift))
        assert launched == (not joint or size >= norms.FEWEST * view.per)
    for plain, fast in zip(*found) if launched else ():
        np.testing.assert_allclose(fast, plain, rtol=1e-5, atol=1e-5 * np.abs(plain).max())


@pytest.mark.parametrize("shape", SHAPES)
def test_norm_scale_and_relu_agree_with_the_plain_kernels(shape: tuple[int, ...]) -> None:
    check_normalize(shape)


@pytest.mark.parametrize("sources", [0, 1, 2])
@pytest.mark.parametrize("shape", SHAPES)
def test_and_so_do_all_of_them_as_one(shape: tuple[int, ...], sources: int) -> None:
    check_joint(shape, sources)


@pytest.mark.parametrize("shape", [(2, 3, 8, 32), (3, 16, 4, 16)])
def test_what_goes_past_the_caches_is_the_same(shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(norms, "MUCH", 0)
    monkeypatch.setattr(norms, "LONG", 0)
    check_normalize(shape)
    check_joint(shape, 2)


def test_channels_that_no_cache_keeps_are_gone_through_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(norms, "KEPT", 100)
    view, empty = see((2, 9, 5, 16), 1, 2), np.zeros(0, np.float32)
    assert not norms.normalize_batch(empty, 0, empty, empty, 1, None, view, *[empty] * 6)
    assert not norms.normalize_batch_grad(empty, empty, empty, empty, 1, empty, None, view, *[empty] * 5)


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
