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


e_to = expression("e_to", "y", "x", "exp(x)")
soft = expression("soft", "y", "x", "where(x > 0, x, 0) + log1p(exp(-fabs(x)))")


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 2.4e-7), (np.float64, 4e-16)])
def test_exp_and_its_sum_with_one_are_right(dtype, tolerance):
    x = np.concatenate([np.linspace(-87, 88, 4801), np.logspace(-30, 1, 331), -np.logspace(-30, 1, 331)]).astype(dtype)
    y = np.empty_like(x)
    for run, want in ((e_to, np.exp), (soft, lambda v: np.logaddexp(0, v))):
        run(x, x.size, y)
        wanted = want(x.astype(np.float64))
        assert (np.abs(y - wanted) <= tolerance * np.abs(wanted)).all()


def test_exp_beyond_what_float32_holds():
    x = np.array([np.inf, -np.inf, np.nan, 88.8, -104, 1e30, -1e30, -100], np.float32)
    y = np.empty_like(x)
    e_to(x, x.size, y)
    assert y[[0, 3, 5]].tolist() == [np.inf] * 3 and y[[1, 4, 6]].tolist() == [0] * 3 and np.isnan(y[2])
    assert y[7] == pytest.approx(np.exp(-100), rel=0.02)  # it has five bits left


log_of = expression("log_of", "y", "x", "log(x)")


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1.2e-7), (np.float64, 4e-16)])
def test_log_is_right(dtype, tolerance):
    x = np.concatenate([np.logspace(-44, 38, 9001), np.linspace(0.5, 2, 4801), 1 + np.logspace(-7, -1, 331)]).astype(
        dtype
    )
    y = np.empty_like(x)
    log_of(x, x.size, y)
    wanted = np.log(x.astype(np.float64))
    assert (np.abs(y - wanted) <= tolerance * np.abs(wanted)).all()
    assert y[x == 1].tolist() == [0] * np.count_nonzero(x == 1)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_log_of_what_has_none(dtype):
    x = np.array([0, -0.0, np.inf, -1, -np.inf, np.nan, -1e-40], dtype)
    y = np.empty_like(x)
    log_of(x, x.size, y)
    assert y[:3].tolist() == [-np.inf, -np.inf, np.inf]
    assert np.isnan(y[3:]).all()
