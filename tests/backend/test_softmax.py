"""Softmax in vectors, held against the plain kernels."""

from __future__ import annotations

import numpy as np
import pytest
from test_pooling import run

from pycaffe_lite.layers.softmax import softmax, softmax_grad

TABLE = [(3, 10, 1), (5, 1000, 1), (2, 1, 1), (2, 17, 1), (2, 16, 1), (2, 3, 40), (1, 21, 33), (4, 2, 2), (1, 1, 16)]


def check(outer: int, channels: int, inner: int) -> None:
    """Forward and backward with and without vectors."""
    random = np.random.default_rng(0)
    x, dy = (random.standard_normal((outer, channels, inner), np.float32) for _ in range(2))
    x *= 10
    found = []
    for forward, backward in ((None, None), (softmax.cpu_form, softmax_grad.cpu_form)):
        y, dx = np.full_like(x, np.nan), np.full_like(x, np.nan)
        run(softmax, forward, (x, outer, channels, inner, y))
        run(softmax_grad, backward, (y, dy, outer, channels, inner, dx))
        found.append((y, dx))
    for plain, fast in zip(*found):
        np.testing.assert_allclose(fast, plain, rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize(("outer", "channels", "inner"), TABLE)
def test_vectors_agree_with_plain_kernels(outer: int, channels: int, inner: int) -> None:
    check(outer, channels, inner)


@pytest.mark.parametrize("inner", [1, 2])
def test_scores_that_are_no_numbers_come_out_as_from_the_plain_kernel(inner: int) -> None:
    inf, nan = np.inf, np.nan
    rows = [[3e38, -3e38, 0], [0, inf, 1], [-inf, 0, 1], [-inf, -inf, -inf], [nan, 0, 1], [0, nan, 1], [-200, 0, 1]]
    x = np.repeat(np.array(rows, np.float32)[:, :, None], inner, 2)
    y, plain = np.empty_like(x), np.empty_like(x)
    run(softmax, softmax.cpu_form, (x, *x.shape, y))
    run(softmax, None, (x, *x.shape, plain))
    np.testing.assert_allclose(y, plain, rtol=1e-6)
    assert np.isnan(y[[1, 3, 4, 5]]).all()
    assert not np.isnan(y[[0, 2, 6]]).any()
    assert y[0, :, 0].tolist() == [1, 0, 0]
