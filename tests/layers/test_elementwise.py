"""Elementwise layers at values that are no plain numbers."""

from __future__ import annotations

import numpy as np
import pytest

from pycaffe_lite.layers.power import Power, root, square

VALUES = [np.inf, -np.inf, np.nan, 0.0, -0.0, 1e-45, -1e-45, 1e-40, -1.0, 4.0, 3e38, -3e38]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("kernel", "power"), [(root, 0.5), (square, 2.0), (Power.run, 0.5), (Power.run, 3.0)])
def test_powers_are_those_of_pow(kernel, power, dtype):
    x = np.array(VALUES, dtype)
    y = np.empty_like(x)
    kernel(x, power, 1.0, 0.0, x.size, y)
    with np.errstate(invalid="ignore", over="ignore"):
        wanted = np.power(x + dtype(0), np.full_like(x, power))  # the shift of 0 makes 0 of -0
    np.testing.assert_allclose(y, wanted, rtol=1e-6)
    assert np.signbit(y[~np.isnan(y)]).tolist() == np.signbit(wanted[~np.isnan(wanted)]).tolist()
