"""Dropout and fills in vectors, held against the plain kernels."""

from __future__ import annotations

import numpy as np
import pytest
from test_pooling import run

from pycaffe_lite.backend.cpu import elements
from pycaffe_lite.backend.cpu.workspace import aligned
from pycaffe_lite.layers.dropout import drop
from pycaffe_lite.ops import fill

COUNTS = [1, 9, 64, 1000, 4096, 10007]


def check(count: int) -> None:
    """The same numbers are dropped, and the others scaled, bit for bit."""
    x = np.random.default_rng(0).standard_normal(count).astype(np.float32)
    x[0] = np.nan
    for key, state in ((0x3234567812345678, (5 << 33) | 7), (3, 0)):
        found = []
        for form in (None, drop.cpu_form):
            y = np.full_like(x, 7)
            run(drop, form, (x, np.array([key]), np.array([state]), 2**30, 2.0, count, y))
            found.append(y.view(np.int32))
        np.testing.assert_array_equal(found[1], found[0])


@pytest.mark.parametrize("count", COUNTS)
def test_dropout_draws_what_the_plain_kernel_draws(count: int) -> None:
    check(count)


def test_much_memory_is_filled_to_its_end_and_no_further() -> None:
    count = elements.MUCH + 5
    y = aligned(count + 1)
    fill(3.0, count, y)
    assert (y[:count] == 3).all()
    assert y[count] == 0
