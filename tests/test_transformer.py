"""Transformer: images into a net's form and back, each step by itself and all in order, and what does not fit."""

from __future__ import annotations

import numpy as np
import pytest

import pycaffe_lite as caffe
from pycaffe_lite.errors import CaffeError, ConfigError
from pycaffe_lite.formats.mean import write_mean

RNG = np.random.default_rng(0)
IMAGE = RNG.random((4, 5, 3)).astype(np.float32)
PLANES = IMAGE.transpose(2, 0, 1)
MEAN = RNG.random((3, 4, 5)).astype(np.float32)


@pytest.fixture
def transformer():
    made = caffe.io.Transformer({"data": (10, 3, 4, 5)})
    made.set_transpose("data", (2, 0, 1))
    return made


def test_nothing_set_nothing_done():
    made = caffe.io.Transformer({"data": (10, 3, 4, 5)})
    np.testing.assert_array_equal(made.preprocess("data", IMAGE), IMAGE)
    np.testing.assert_array_equal(made.deprocess("data", IMAGE), IMAGE)


@pytest.mark.parametrize(
    ("step", "value", "expected"),
    [
        ("channel_swap", (2, 1, 0), PLANES[::-1]),
        ("channel_swap", [1, 2, 0], PLANES[[1, 2, 0]]),
        ("raw_scale", 255, PLANES * np.float32(255)),
        ("input_scale", 0.5, PLANES / 2),
        ("mean", np.array([1, 2, 3]), PLANES - np.array([1, 2, 3], np.float32).reshape(3, 1, 1)),
        ("mean", MEAN, PLANES - MEAN),
        ("mean", MEAN[0], PLANES - MEAN[0]),
    ],
)
def test_each_step_there_and_back(step, value, expected):
    transformer = caffe.io.Transformer({"data": (10, 3, 4, 5)})
    transformer.set_transpose("data", (2, 0, 1))
    if step == "mean" and value.ndim == 2:  # one plane fits inputs of one channel, as in pycaffe
        transformer = caffe.io.Transformer({"data": (10, 1, 4, 5)})
        transformer.set_mean("data", value)
        np.testing.assert_array_equal(transformer.preprocess("data", PLANES[0]), PLANES[0] - value)
        return
    getattr(transformer, f"set_{step}")("data", value)
    made = transformer.preprocess("data", IMAGE)
    np.testing.assert_array_equal(made, expected)
    assert made.dtype == np.float32
    np.testing.assert_allclose(transformer.deprocess("data", made), IMAGE, rtol=1e-6, atol=1e-6)


def test_all_steps_in_pycaffes_order(transformer):
    transformer.set_mean("data", MEAN * 100)
    transformer.set_raw_scale("data", 255.0)
    transformer.set_channel_swap("data", (2, 1, 0))
    transformer.set_input_scale("data", 0.017)
    before = IMAGE.copy()
    made = transformer.preprocess("data", IMAGE)
    np.testing.assert_allclose(made, (PLANES[::-1] * 255 - MEAN * 100) * 0.017, rtol=1e-5, atol=1e-6)
    kept = made.copy()
    np.testing.assert_allclose(transformer.deprocess("data", made[None]), IMAGE, atol=1e-6)
    np.testing.assert_array_equal(IMAGE, before)
    np.testing.assert_array_equal(made, kept)
    assert repr(transformer) == (
        "<Transformer data: ['transpose', 'channel_swap', 'raw_scale', 'mean', 'input_scale']>"
    )


def test_images_are_resized(transformer):
    large = RNG.random((9, 7, 3)).astype(np.float32)
    expected = caffe.io.resize_image(large, (4, 5)).transpose(2, 0, 1)
    np.testing.assert_array_equal(transformer.preprocess("data", large), expected)


def test_the_callers_array_is_not_written_into():
    transformer = caffe.io.Transformer({"data": (1, 3, 4, 5)})
    transformer.set_raw_scale("data", 255)  # nothing else that would make a copy
    image = np.ones((4, 5, 3), np.float32)
    transformer.preprocess("data", image)
    assert (image == 1).all()


def test_one_channel_there_and_back():
    transformer = caffe.io.Transformer({"data": (1, 1, 4, 5)})
    transformer.set_transpose("data", (2, 0, 1))
    transformer.set_mean("data", np.array([0.5]))
    made = transformer.preprocess("data", IMAGE[:, :, :1])
    assert made.shape == (1, 4, 5)
    np.testing.assert_allclose(transformer.deprocess("data", made[None]), IMAGE[:, :, :1], atol=1e-6)


def test_bytes_become_floats(transformer):
    image = RNG.integers(0, 256, (4, 5, 3), np.uint8)
    np.testing.assert_array_equal(transformer.preprocess("data", image), image.transpose(2, 0, 1).astype(np.float32))
    np.testing.assert_array_equal(transformer.deprocess("data", image.transpose(2, 0, 1)), image)


def test_a_mean_of_another_size_is_resized(transformer):
    mean = RNG.random((3, 8, 10)) * 255
    transformer.set_mean("data", mean)
    expected = caffe.io.resize_image(mean.transpose(1, 2, 0), (4, 5)).transpose(2, 0, 1)
    np.testing.assert_array_equal(transformer.mean["data"], expected)
    transformer.set_mean("data", np.full((3, 8, 10), 7.0))  # a constant one too
    np.testing.assert_array_equal(transformer.mean["data"], np.full((3, 4, 5), 7))


@pytest.mark.parametrize("name", ["mean.npy", "mean.binaryproto"])
def test_a_mean_file(transformer, tmp_path, name):
    write_mean(tmp_path / name, MEAN)
    transformer.set_mean("data", tmp_path / name)
    np.testing.assert_array_equal(transformer.preprocess("data", IMAGE), PLANES - MEAN)


def test_inputs_of_other_shapes():
    transformer = caffe.io.Transformer({"rows": (8, 6), "cube": [1, 2, 3, 4, 5]})
    np.testing.assert_array_equal(transformer.preprocess("rows", np.arange(6)), np.arange(6))
    transformer.set_transpose("cube", (3, 0, 1, 2))
    cube = RNG.random((3, 4, 5, 2)).astype(np.float32)
    np.testing.assert_array_equal(transformer.preprocess("cube", cube), cube.transpose(3, 0, 1, 2))


REFUSED = [
    (lambda t: t.preprocess("dat", IMAGE), r"'dat' is not one of the inputs: data; did you mean 'data'\?"),
    (lambda t: t.set_mean("label", MEAN), "'label' is not one of the inputs: data"),
    (lambda t: t.set_transpose("data", (1, 0)), r"transpose: must be 3 numbers from 0 to 2, got \(1, 0\)"),
    (lambda t: t.set_transpose("data", (0, 0, 1)), r"transpose: must not name an axis twice, got \(0, 0, 1\)"),
    (lambda t: t.set_transpose("data", (1, 2, 3)), r"transpose: must be 3 numbers from 0 to 2, got \(1, 2, 3\)"),
    (lambda t: t.set_channel_swap("data", (1, 0)), r"channel swap: must be 3 numbers from 0 to 2, got \(1, 0\)"),
    (lambda t: t.set_channel_swap("data", (3, 1, 0)), r"channel swap: must be .* got \(3, 1, 0\)"),
    (lambda t: t.set_channel_swap("data", "BGR"), "channel swap: must be .* got 'BGR'"),
    (lambda t: t.set_channel_swap("data", 2), "channel swap: must be .* got 2"),
    (lambda t: t.set_raw_scale("data", "255"), "raw scale must be numbers, got an array of <U3"),
    (lambda t: t.set_input_scale("data", float("nan")), "input scale: must be a finite number, got nan"),
    (lambda t: t.set_mean("data", np.zeros(2)), r"mean: must be one number for each of 3 channels, got \(2,\)"),
    (lambda t: t.set_mean("data", np.zeros((1, 4, 5))), r"mean: must have 3 channels.*, got \(1, 4, 5\)"),
    (lambda t: t.set_mean("data", np.zeros((4, 5))), r"mean: must have 3 channels.*, got \(4, 5\)"),
    (lambda t: t.set_mean("data", np.zeros((1, 3, 4, 5))), r"mean: .*got \(1, 3, 4, 5\); mean\[0\] has it"),
    (lambda t: t.set_mean("data", np.array("x")), "mean must be numbers"),
    (lambda t: t.set_mean("data", "gone.binaryproto"), "gone.binaryproto: no such mean file"),
    (
        lambda t: t.preprocess("data", np.zeros((4, 5))),
        r"an array \(4, 5\) cannot be brought into the form of the input .*axes",
    ),
    (lambda t: t.preprocess("data", np.zeros((7, 7))), r"must have shape \(height, width, channels\), got \(7, 7\)"),
    (lambda t: t.preprocess("data", np.array(["a"])), "must be numbers, got an array of <U1"),
]


@pytest.mark.parametrize(("call", "message"), REFUSED)
def test_what_does_not_fit_is_refused(transformer, call, message):
    with pytest.raises(CaffeError, match=message) as info:
        call(transformer)
    assert isinstance(info.value, ValueError)


def test_channels_that_the_input_has_not(transformer):
    transformer.set_channel_swap("data", (2, 1, 0))
    with pytest.raises(CaffeError, match=r"an array \(4, 5, 1\) cannot be brought into the form .*\(10, 3, 4, 5\)"):
        transformer.preprocess("data", IMAGE[:, :, :1])
    with pytest.raises(ConfigError, match="input 'data' \\(10, 3, 4, 5\\): mean"):
        transformer.set_mean("data", np.zeros(4))
