"""Convolution and its gradients against a slow, obvious reference in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from convolution_cases import TABLE, check, run
from hypothesis import assume, given, settings
from hypothesis import strategies as some

from pycaffe_lite.backend.cpu import convolution, pixels, pool, shifts
from pycaffe_lite.backend.cpu.convolution import Convolution


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", TABLE, ids=str)
def test_table(shape: tuple[Any, ...], dtype: Any) -> None:
    of = Convolution(*shape)
    check(of, dtype)
    check(of, dtype, bias=False, relu=True)


@pytest.mark.parametrize("way", ["columns", "pixels", "packed pixels", "shifts"])
@pytest.mark.parametrize("shape", [shape for shape in TABLE if len(shape[2]) <= 2], ids=str)
def test_all_ways_compute_any_shape(shape: tuple[Any, ...], way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pixels, "pays", lambda of: way.endswith("pixels"))
    monkeypatch.setattr(pixels, "USES", 0 if way == "packed pixels" else 1 << 30)
    monkeypatch.setattr(shifts, "pays", lambda of: way == "shifts" and shifts.can(of))
    check(Convolution(*shape), np.float32, relu=True)


@pytest.mark.parametrize("batch", [1, 9])
def test_a_kernel_that_covers_its_image_is_an_inner_product(batch: int) -> None:
    of = Convolution(batch, 3, (4, 5), 7, (4, 5), (1, 1), (0, 0), (1, 1))
    check(of, np.float32)
    check(of, np.float32, bias=False, relu=True)
    assert convolution.way_of(of.plane, turned=False) is convolution.multiply
    padded = Convolution(batch, 3, (3, 3), 7, (3, 3), (3, 3), (1, 1), (1, 1))
    check(padded, np.float32)


def pairs(first: int, last: int) -> Any:
    return some.tuples(some.integers(first, last), some.integers(first, last))


@settings(deadline=None, max_examples=120)
@given(
    some.integers(1, 9), some.integers(1, 3), some.integers(1, 9), some.sampled_from([1, 2, 3, 5, 9, 14, 32]),
    pairs(1, 40), pairs(1, 6),
    pairs(1, 3), pairs(0, 4), pairs(1, 2), some.booleans(),
)  # fmt: skip
def test_any_shape(
    batch: int, group: int, channels: int, outputs: int, size: Any, kernel: Any, stride: Any, pad: Any, dilation: Any,
    depthwise: bool,
) -> None:  # fmt: skip
    if depthwise:
        group, channels, outputs = channels, 1, 1
    of = Convolution(batch, group * channels, size, group * outputs, kernel, stride, pad, dilation, group)
    assume(min(of.output) > 0)
    check(of, np.float32)


@pytest.mark.parametrize("shape", TABLE[::2], ids=str)
def test_threads_do_not_change_a_bit(shape: tuple[Any, ...]) -> None:
    before = pool.threads()
    try:
        results = []
        for count in (1, 2, 4):
            pool.set_threads(count)
            results.append(run(Convolution(*shape), np.float32))
    finally:
        pool.set_threads(before)
    for name, value in results[0].items():
        assert all(np.array_equal(value, other[name]) for other in results[1:]), name
