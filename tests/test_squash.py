"""Sigmoid and tanh as polynomials: over the whole range, and beyond it."""

from __future__ import annotations

import numpy as np
import pytest

from pycaffe_lite.kernel import expression, kernel
from pycaffe_lite.squash import sigmoid

bend = expression("bend", "y", "x", "tanh(x)")


@kernel("x: T*, count: int -> y: T*")
def squash(i, x, count, y):
    """y = sigmoid(x)."""
    y[i] = sigmoid(x[i])


VALUES = np.concatenate([np.linspace(-60, 60, 4801), np.logspace(-30, 300, 331), -np.logspace(-30, 300, 331), [0.0]])


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1.2e-7), (np.float64, 1e-14)])
def test_they_are_right(dtype, tolerance):
    x = VALUES[np.abs(VALUES) < np.finfo(dtype).max].astype(dtype)
    y = np.empty_like(x)
    bend(x, x.size, y)
    want = np.tanh(x.astype(np.float64))
    assert (np.abs(y - want) <= tolerance * np.abs(want)).all()  # to the last digits of small values too
    squash(x, x.size, y)
    assert np.abs(y - 1 / (1 + np.exp(-x.astype(np.float64).clip(-700)))).max() <= tolerance


def test_infinities_saturate_and_a_nan_stays_one():
    x, y = np.array([np.inf, -np.inf, np.nan]), np.empty(3)
    bend(x, 3, y)
    assert y[:2].tolist() == [1, -1] and np.isnan(y[2])
    squash(x, 3, y)
    assert y[0] == 1 and y[1] < 1e-17 and np.isnan(y[2])
