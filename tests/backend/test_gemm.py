"""Matrix products against float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from pycaffe_lite.backend.cpu import pool
from pycaffe_lite.backend.cpu.gemm import gemm
from pycaffe_lite.backend.cpu.reduce import add_channels, add_rows

SHAPES = [
    (1, 1, 1), (1, 40, 30), (5, 7, 9), (14, 32, 16), (15, 33, 401), (64, 10, 500), (10, 50, 64),
    (64, 100, 800), (130, 70, 1000), (29, 600, 256), (600, 300, 256), (13, 31, 385),
    (28, 90, 300), (60, 151, 810), (100, 7, 33), (500, 33, 3), (3, 1000, 2), (17, 64, 1),
]  # fmt: skip


def product(
    ta: bool, tb: bool, m: int, n: int, k: int, dtype: Any, gap: int = 0, **more: Any
) -> tuple[np.ndarray, np.ndarray]:
    """`gemm` of random matrices whose rows lie `gap` elements apart, and the same in float64."""
    random = np.random.default_rng(m * n + k)
    accumulate, relu = more.get("accumulate", False), more.get("relu", False)

    def matrix(rows: int, columns: int) -> tuple[np.ndarray, np.ndarray]:
        whole = random.standard_normal((rows, columns + gap)).astype(dtype)
        whole = whole.reshape(-1)[: whole.size - gap]  # nothing may be touched behind the last row's end
        return whole, np.lib.stride_tricks.as_strided(
            whole, (rows, columns), (dtype().itemsize * (columns + gap), dtype().itemsize)
        )

    (a, a2), (b, b2), (c, c2) = (
        matrix(k, m) if ta else matrix(m, k),
        matrix(n, k) if tb else matrix(k, n),
        matrix(m, n),
    )
    if not accumulate:
        c2[:] = np.nan
    bias = random.standard_normal(n).astype(dtype) if more.pop("bias", False) else None
    true = (a2.T if ta else a2).astype(float) @ (b2.T if tb else b2) + (c2 if accumulate else 0)
    true = true + (0 if bias is None else bias)
    gaps = c.copy()
    lda, ldb = (m if ta else k) + gap, (k if tb else n) + gap
    gemm(ta, tb, m, n, k, a, lda, b, ldb, c, n + gap, bias=bias, **more)
    for row in range(m - 1):
        between = slice(row * (n + gap) + n, (row + 1) * (n + gap))
        assert np.array_equal(c[between], gaps[between])
    return c2, np.maximum(true, 0) if relu else true


def check(*args: Any, **more: Any) -> None:
    got, true = product(*args, **more)
    tolerance = 2e-6 if args[5] == np.float32 else 1e-14
    assert np.abs(got - true).max() <= tolerance * max(1.0, np.abs(true).max()) * max(1.0, args[4] ** 0.5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("ta", [False, True])
@pytest.mark.parametrize("tb", [False, True])
def test_shapes(ta: bool, tb: bool, shape: tuple[int, int, int], dtype: Any) -> None:
    check(ta, tb, *shape, dtype)
    check(ta, tb, *shape, dtype, gap=3, accumulate=True)
    check(ta, tb, *shape, dtype, bias=True)
    check(ta, tb, *shape, dtype, gap=1, bias=True, relu=True, accumulate=True)


@settings(deadline=None, max_examples=150)
@given(
    some.booleans(), some.booleans(), some.integers(1, 80), some.integers(1, 140), some.integers(1, 450),
    some.integers(0, 20), some.booleans(), some.booleans(), some.booleans(),
)  # fmt: skip
def test_any_shape(
    ta: bool, tb: bool, m: int, n: int, k: int, gap: int, accumulate: bool, bias: bool, relu: bool
) -> None:
    check(ta, tb, m, n, k, np.float32, gap=gap, accumulate=accumulate, bias=bias, relu=relu)


def test_threads_do_not_change_a_bit() -> None:
    before = pool.threads()
    try:
        results = []
        for count in (1, 2, 4):
            pool.set_threads(count)
            results.append([product(False, tb, *s, np.float32)[0] for s in SHAPES for tb in (False, True)])
    finally:
        pool.set_threads(before)
    for one, two, four in zip(*results):
        assert np.array_equal(one, two) and np.array_equal(one, four)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sums(dtype: Any) -> None:
    matrix = np.random.default_rng(0).standard_normal((37, 131)).astype(dtype)
    out = np.ones(131, dtype)
    add_rows(matrix, out)
    assert np.allclose(out, 1 + matrix.astype(float).sum(0), rtol=1e-5, atol=1e-5)
    images = np.random.default_rng(0).standard_normal((5, 7, 33)).astype(dtype)
    out = np.ones(7, dtype)
    add_channels(images, out)
    assert np.allclose(out, 1 + images.astype(float).sum((0, 2)), rtol=1e-5, atol=1e-5)
