"""LRN in vectors, held against the plain kernels."""

from __future__ import annotations

import numpy as np
import pytest
from test_pooling import run

from pycaffe_lite.layers.lrn import Box, normalize_locally, normalize_locally_grad

# (samples, channels, places), local_size, k
TABLE = [((2, 9, 40), 5, 1.0), ((1, 3, 700), 3, 2.0), ((3, 2, 5), 7, 1.0), ((1, 1, 1), 1, 1.0), ((2, 6, 33), 5, 1e-20)]


def check(shape: tuple[int, int, int], local_size: int, k: float) -> None:
    """Forward and backward with and without vectors."""
    random = np.random.default_rng(0)
    box = Box(*shape[:2], 1, shape[2], (local_size - 1) // 2, 0)
    x, dy = (random.standard_normal(shape, np.float32) for _ in range(2))
    found = []
    for forward, backward in ((None, None), (normalize_locally.cpu_form, normalize_locally_grad.cpu_form)):
        y, norm, dx = (np.full_like(x, np.nan) for _ in range(3))
        run(normalize_locally, forward, (x, k, 0.3, 0.75, *box, y, norm))
        run(normalize_locally_grad, backward, (x, y, norm, dy, 0.3, 0.75, *box, dx))
        found.append((norm, y, dx))
    for plain, fast in zip(*found):
        np.testing.assert_allclose(fast, plain, rtol=3e-6, atol=3e-6 * np.abs(plain).max())


@pytest.mark.parametrize(("shape", "local_size", "k"), TABLE)
def test_vectors_agree_with_plain_kernels(shape: tuple[int, int, int], local_size: int, k: float) -> None:
    check(shape, local_size, k)


def test_norms_that_are_no_numbers_come_out_as_in_caffe() -> None:
    x, y, norm = np.array([[[0, 1, np.inf, np.nan, 1e30]]], np.float32), *np.ones((2, 1, 1, 5), np.float32)
    normalize_locally(x, 0.0, 1.0, 0.75, *Box(1, 1, 1, 5, 0, 0), y, norm)
    assert np.isnan(y[0, 0, [0, 2, 3]]).all()
    assert y[0, 0, 1] == pytest.approx(1, rel=1e-6)
    assert y[0, 0, 4] == 0  # its square is infinite
