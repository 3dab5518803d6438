"""Gradients from the winners of a max pooling are those of the whole top, which is zero everywhere else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from convolution_cases import blobs, reference
from test_pooling import window_of

from pycaffe_lite.backend.cpu import pool as threads
from pycaffe_lite.backend.cpu import winners_data, winners_weights
from pycaffe_lite.backend.cpu.convolution import Convolution
from pycaffe_lite.geometry import Winners
from pycaffe_lite.layers._pooling import max_pool

#        batch channels size outputs kernel stride pad group; the pooling's kernel, stride and pad
TABLE: list[tuple[Any, ...]] = [
    (9, 1, (28, 28), 20, (5, 5), (1, 1), (0, 0), 1, 2, 2, 0),
    (3, 20, (12, 12), 50, (5, 5), (1, 1), (0, 0), 1, 2, 2, 0),
    (2, 3, (32, 30), 32, (5, 5), (1, 1), (2, 2), 1, 3, 2, 0),
    (2, 3, (47, 43), 9, (11, 11), (4, 4), (0, 0), 1, 3, 2, 0),
    (2, 10, (13, 11), 6, (3, 5), (1, 1), (1, 2), 2, 3, 2, 0),
    (1, 40, (9, 7), 5, (3, 3), (2, 1), (1, 0), 1, 2, 1, 1),
    (2, 7, (6, 9), 4, (3, 2), (1, 2), (3, 2), 1, 3, 3, 1),
    (2, 18, (8, 8), 33, (1, 1), (1, 1), (0, 0), 1, 2, 2, 0),
    (1, 150, (5, 5), 3, (3, 3), (1, 1), (1, 1), 1, 3, 2, 0),
    (1, 3, (26, 26), 2, (13, 13), (1, 1), (0, 0), 1, 2, 2, 0),
]


def case(
    shape: tuple[Any, ...], slope: float | None, guard: Any = None
) -> tuple[Convolution, Winners, Any, np.ndarray]:
    """A convolution, what a pooling behind it hands down, its blobs, and the gradient of its whole top."""
    *sizes, group, kernel, stride, pad = shape
    of = Convolution(*sizes, (1, 1), group)
    has = blobs(of, np.float32)
    planes = of.batch * of.outputs
    window = window_of((planes, *of.output), (kernel,) * 2, (stride,) * 2, (pad,) * 2)
    random = np.random.default_rng(1)
    top = random.standard_normal((planes, *of.output)).astype(np.float32)
    top[0] = np.nan  # windows without winner
    sizes_of_windows = planes, window.oh * window.ow
    values, argmax = np.empty(sizes_of_windows, np.float32), np.empty(sizes_of_windows, np.int32)
    max_pool(top, *window, values, argmax)
    assert (argmax < 0).any()
    dy = random.standard_normal(sizes_of_windows).astype(np.float32)
    whole = np.zeros((planes, of.positions))
    passed = dy if slope is None else np.where(values > 0, dy, np.float32(slope) * dy)
    for plane, window_of_plane in np.argwhere(argmax >= 0):
        whole[plane, argmax[plane, window_of_plane]] += passed[plane, window_of_plane]
    if guard:
        dy, argmax, values = guard(dy), guard(argmax), guard(values)
        has = {name: guard(array) for name, array in has.items()}
    relu = {} if slope is None else {"y": values, "slope": slope}
    return of, Winners(dy, argmax, sizes_of_windows[1], **relu), has, whole.reshape(has["dy"].shape)


def run(of: Convolution, winners: Winners, has: Any, adds: bool = True) -> None:
    has["dw"], has["db"] = np.ones_like(has["w"]), np.ones_like(has["b"])
    winners_weights.weights_grad(of.plane, has["x"], winners, has["dw"], has["db"], adds)
    winners_data.data_grad(of.plane, winners, has["w"], has["dx"])


def check(shape: tuple[Any, ...], slope: float | None = None, adds: bool = True) -> None:
    of, winners, has, whole = case(shape, slope)
    run(of, winners, has, adds)
    _, dx, dw, db = reference(of, has["x"], has["w"], has["b"], whole)
    for name, true in (("dx", dx), ("dw", dw + adds), ("db", db + 1)):
        error = np.abs(has[name] - true).max() / max(1.0, np.abs(true).max())
        assert error < 3e-6 * of.depth**0.5, (name, error)


@pytest.mark.parametrize("slope", [None, 0.0, 0.1])
@pytest.mark.parametrize("shape", TABLE, ids=str)
def test_gradients(shape: tuple[Any, ...], slope: float | None) -> None:
    check(shape, slope)


def test_the_gradient_of_weights_can_be_written_and_that_of_the_bias_left_alone() -> None:
    check(TABLE[1], adds=False)
    of, winners, has, _ = case(TABLE[1], None)
    run(of, winners, has)
    weights = np.ones_like(has["w"])
    winners_weights.weights_grad(of.plane, has["x"], winners, weights, None, True)
    np.testing.assert_array_equal(weights, has["dw"])


@pytest.mark.parametrize("shape", TABLE[:3], ids=str)
def test_the_same_bits_on_any_number_of_threads(shape: tuple[Any, ...]) -> None:
    before, found = threads.threads(), []
    try:
        for count in (1, 2, 4):
            threads.set_threads(count)
            of, winners, has, _ = case(shape, 0.0)
            run(of, winners, has)
            found.append(b"".join(has[name].tobytes() for name in ("dx", "dw", "db")))
    finally:
        threads.set_threads(before)
    assert found[0] == found[1] == found[2]


def test_shapes_decide_which_way_is_taken() -> None:
    lenet = Convolution(64, 20, (12, 12), 50, (5, 5), (1, 1), (0, 0), (1, 1))
    assert lenet.follows_winners(16, np.float32) == (True, True)
    assert lenet.follows_winners(16, np.float64) == (False, False)
    assert lenet.follows_winners(64, np.float32) == (False, False)  # as many windows as values
    dilated = Convolution(64, 20, (12, 12), 50, (3, 3), (1, 1), (0, 0), (2, 2))
    assert dilated.follows_winners(16, np.float32) == (False, False)
    large = Convolution(8, 3, (224, 224), 64, (7, 7), (2, 2), (3, 3), (1, 1))  # more than caches hold
    assert large.follows_winners(56 * 56, np.float32) == (False, False)
