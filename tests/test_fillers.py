"""The seven fillers: their distributions, their scale, and what they refuse."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pycaffe_lite import fillers
from pycaffe_lite.errors import ConfigError
from pycaffe_lite.proto import FillerParameter, text

SHAPE = (200, 50, 5, 5)  # 250,000 values: fan-in 1,250, fan-out 5,000


def fill(fields: str, shape=SHAPE, seed: int = 1, dtype=np.float32) -> np.ndarray:
    out = np.full(shape, np.nan, dtype)
    fillers.fill(out, text.parse(fields, FillerParameter()), np.random.default_rng(seed))
    return out


def check_uniform(values: np.ndarray, low: float, high: float) -> None:
    """Kolmogorov-Smirnov: the largest distance between the values' distribution and the uniform one."""
    assert low <= values.min() and values.max() <= high
    place = (np.sort(values.reshape(-1).astype(float)) - low) / (high - low)
    distance = np.abs(place - (np.arange(values.size) + 0.5) / values.size).max()
    assert distance < 1.95 / math.sqrt(values.size), "odds of 1 in 1000"


def check_normal(values: np.ndarray, mean: float, std: float) -> None:
    standard = np.sort((values.reshape(-1).astype(float) - mean) / std)
    below = np.array([0.5 * math.erfc(-v / math.sqrt(2)) for v in standard[::50]])
    distance = np.abs(below - (np.arange(values.size)[::50] + 0.5) / values.size).max()
    assert distance < 1.95 / math.sqrt(values.size)


def check_uncorrelated(values: np.ndarray) -> None:
    """Neighbours have nothing to do with each other."""
    flat = values.reshape(-1).astype(float)
    flat = (flat - flat.mean()) / flat.std()
    assert abs((flat[1:] * flat[:-1]).mean()) < 4 / math.sqrt(flat.size)


def test_no_filler_and_no_fields_fill_zeros():
    out = np.full((3, 4), np.nan, np.float32)
    fillers.fill(out, None, np.random.default_rng(0))
    assert not out.any()
    assert not fill("").any(), "the default is constant 0"


def test_constant():
    assert (fill('type: "constant" value: 0.25') == 0.25).all()


def test_uniform():
    values = fill('type: "uniform" min: -2 max: 3')
    check_uniform(values, -2, 3)
    check_uncorrelated(values)
    check_uniform(fill('type: "uniform"'), 0, 1)


def test_gaussian():
    values = fill('type: "gaussian" mean: 1.5 std: 0.2')
    check_normal(values, 1.5, 0.2)
    check_uncorrelated(values)
    check_normal(fill('type: "gaussian"'), 0, 1)


@pytest.mark.parametrize("sparse", [0, 15, 200, 500])
def test_sparse_gaussian_keeps_a_value_with_probability_sparse_over_outputs(sparse):
    values = fill(f'type: "gaussian" std: 2 sparse: {sparse}')
    share = min(1, sparse / SHAPE[0])
    kept = np.count_nonzero(values) / values.size
    assert abs(kept - share) <= 4 * math.sqrt(share * (1 - share) / values.size)
    if sparse:
        check_normal(values[values != 0], 0, 2)


def test_positive_unitball():
    values = fill('type: "positive_unitball"')
    assert (values >= 0).all()
    np.testing.assert_allclose(values.sum(axis=(1, 2, 3)), 1, rtol=1e-5)
    first = values[:, 0, 0, 0] * 1250 / 2  # nearly the uniform number it was made from: the sum is nearly n / 2
    assert 0.4 < first.mean() < 0.6 and first.max() < 1.1


@pytest.mark.parametrize("norm, n", [("", 1250), ("FAN_IN", 1250), ("FAN_OUT", 5000), ("AVERAGE", 3125)])
def test_xavier_and_msra_scale_with_the_fan(norm, n):
    option = f"variance_norm: {norm}" if norm else ""
    bound = math.sqrt(3 / n)
    values = fill(f'type: "xavier" {option}')
    check_uniform(values, -bound * 1.000001, bound * 1.000001)
    check_uncorrelated(values)
    values = fill(f'type: "msra" {option}')
    check_normal(values, 0, math.sqrt(2 / n))
    check_uncorrelated(values)


@pytest.mark.parametrize(
    "shape, fan_in, fan_out",
    [((6, 4), 4, 6), ((7,), 1, 7), ((), 1, 1), ((2, 3, 4), 12, 8), ((2, 3, 4, 5, 6), 360, 240)],
)
def test_fan_of_any_number_of_axes(shape, fan_in, fan_out):
    norm = FillerParameter
    assert fillers.fan(shape, norm.FAN_IN) == fan_in
    assert fillers.fan(shape, norm.FAN_OUT) == fan_out
    assert fillers.fan(shape, norm.AVERAGE) == (fan_in + fan_out) / 2


@pytest.mark.parametrize("side", range(1, 9))
def test_bilinear_is_caffes_tent(side):
    values = fill('type: "bilinear"', (3, 2, side, side))
    f = math.ceil(side / 2.0)
    c = (side - 1) / (2.0 * f)
    for y in range(side):
        for x in range(side):
            want = (1 - abs(x / f - c)) * (1 - abs(y / f - c))
            assert values[:, :, y, x] == pytest.approx(np.full((3, 2), want))


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_bilinear_weights_upsample_a_constant_to_itself(factor):
    """Kernel 2f - f % 2 and stride f: every output pixel is a weighted mean of input pixels."""
    side = 2 * factor - factor % 2
    line = fill('type: "bilinear"', (1, 1, side, side))[0, 0]
    for first in range(factor):
        for second in range(factor):
            assert line[first::factor, second::factor].sum() == pytest.approx(1)


@pytest.mark.parametrize("kind", fillers.FILLERS)
def test_a_seed_gives_one_filling_and_another_seed_another(kind):
    first, again, other = (fill(f'type: "{kind}"', (8, 3, 4, 4), seed) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert np.array_equal(first, other) == (kind in ("constant", "bilinear"))


@pytest.mark.parametrize("kind", [k for k in fillers.FILLERS if k != "bilinear"])
@pytest.mark.parametrize("shape", [(), (5,), (0, 3), (3, 0)])
def test_every_shape_is_filled(kind, shape):
    assert np.isfinite(fill(f'type: "{kind}"', shape, dtype=np.float64)).all()


@pytest.mark.parametrize(
    "fields, problem",
    [
        ('type: "xaver"', "unknown filler type 'xaver'; did you mean 'xavier'.; known: constant, uniform"),
        ('type: "uniform" min: 1 max: 0', "uniform filler: max must not be below min 1, got 0"),
        ('type: "uniform" max: inf', "uniform filler: max must be a finite number, got inf"),
        ("value: nan", "constant filler: value must be a finite number, got nan"),
        ('type: "gaussian" std: -1', "gaussian filler: std must be above 0, got -1"),
        ('type: "gaussian" std: 0', "gaussian filler: std must be above 0, got 0"),
        ('type: "gaussian" sparse: -2', "gaussian filler: sparse must be -1 .off. or a number of inputs, got -2"),
        ('type: "xavier" sparse: 3', "xavier filler: sparse is only for the gaussian filler, got 3"),
        ('type: "bilinear"', r"bilinear filler: the blob must be 4-D with a square kernel, got shape \(4, 3, 2, 5\)"),
    ],
)
def test_bad_fillers_are_refused(fields, problem):
    with pytest.raises(ConfigError, match=problem):
        fill(fields, (4, 3, 2, 5))
