"""Detector: windows of images, warped to the net's input, with and without their surroundings."""

from __future__ import annotations

import sys
import types

import numpy as np
import pytest
from deploy_nets import write_linear
from PIL import Image

import pycaffe_lite as caffe
from pycaffe_lite.errors import CaffeError, ConfigError, DataError

RNG = np.random.default_rng(0)
PICTURES = {"a.png": RNG.integers(0, 256, (20, 30, 3), np.uint8), "b.png": RNG.integers(0, 256, (9, 9, 3), np.uint8)}
MEAN = np.array([10.0, 20.0, 30.0])
OPTIONS = {"mean": MEAN, "raw_scale": 255, "channel_swap": (2, 1, 0)}


@pytest.fixture
def linear(tmp_path, monkeypatch):
    """A net for images 8 x 8 in batches of 2, and two pictures, in a folder that is entered."""
    monkeypatch.chdir(tmp_path)
    for name, pixels in PICTURES.items():
        Image.fromarray(pixels).save(name)
    return write_linear(tmp_path, (2, 3, 8, 8))


def test_windows_of_two_pictures(linear):
    model, trained, weights, bias = linear
    detector = caffe.Detector(model, trained, **OPTIONS)
    windows = {"a.png": [(0, 0, 20, 30), (3, 5, 11, 13)], "b.png": [np.array([1, 2, 9, 7])]}
    detections = detector.detect_windows(iter(windows.items()))
    assert [d["filename"] for d in detections] == ["a.png", "a.png", "b.png"]
    for found, window in zip(detections, [*windows["a.png"], *windows["b.png"]], strict=True):
        assert found["window"] is window
        top, left, bottom, right = window
        picture = (PICTURES[found["filename"]] / 255).astype(np.float32)
        crop = caffe.io.resize_image(picture[top:bottom, left:right], (8, 8))
        planes = crop.transpose(2, 0, 1)[::-1] * 255.0 - MEAN[:, None, None]
        np.testing.assert_allclose(found["prediction"], weights @ planes.ravel() + bias, rtol=1e-4, atol=1e-3)


def test_no_windows_no_detections(linear):
    detector = caffe.Detector(*linear[:2])
    assert detector.detect_windows([]) == detector.detect_windows([("a.png", [])]) == []


def test_a_window_may_end_beyond_the_image(linear):
    detector = caffe.Detector(*linear[:2])
    image = RNG.random((6, 7, 3))
    np.testing.assert_array_equal(detector.crop(image, (2, 3, 99, 99)), image[2:, 3:])
    np.testing.assert_array_equal(detector.crop(image, (-2, -3, 4, 4)), image[:4, :4])


def padded_by_hand(image, window, size, pad, mean):
    """R-CNN's crop with context, pixel by pixel from its description, for windows well inside and at the border."""
    top, left, bottom, right = window
    scale = size / (size - 2 * pad)
    half_height, half_width = (bottom - top + 1) / 2, (right - left + 1) / 2
    middle = top + half_height, left + half_width
    box = [
        round(middle[0] - scale * half_height), round(middle[1] - scale * half_width),
        round(middle[0] + scale * half_height), round(middle[1] + scale * half_width),
    ]  # fmt: skip
    scale_y, scale_x = size / (box[2] - box[0] + 1), size / (box[3] - box[1] + 1)
    pad_y, pad_x = round(max(0, -box[0]) * scale_y), round(max(0, -box[1]) * scale_x)
    height, width = image.shape[:2]
    inside = max(0, box[0]), max(0, box[1]), min(height, box[2]), min(width, box[3])
    rows = min(round((inside[2] - inside[0] + 1) * scale_y), size - pad_y)
    columns = min(round((inside[3] - inside[1] + 1) * scale_x), size - pad_x)
    made = np.empty((size, size, 3), np.float32)
    made[...] = mean
    part = caffe.io.resize_image(image[inside[0] : inside[2], inside[1] : inside[3]], (rows, columns))
    made[pad_y : pad_y + rows, pad_x : pad_x + columns] = part
    return made


@pytest.mark.parametrize("window", [(5, 8, 14, 20), (0, 0, 5, 5), (12, 20, 20, 30), (0, 0, 20, 30), (3, 3, 4, 4)])
@pytest.mark.parametrize("pad", [1, 2])
def test_surroundings(linear, window, pad):
    detector = caffe.Detector(*linear[:2], context_pad=pad, **OPTIONS)
    image = (PICTURES["a.png"] / 255).astype(np.float32)
    crop = detector.crop(image, window)
    assert crop.shape == (8, 8, 3)
    mean = MEAN[::-1] / 255  # in the image's own order of channels and range
    np.testing.assert_allclose(crop, padded_by_hand(image, window, 8, pad, mean), rtol=1e-5, atol=1e-6)


def test_outside_the_image_the_net_sees_zeros(linear):
    detector = caffe.Detector(*linear[:2], context_pad=2, **OPTIONS)
    seen = detector.transformer.preprocess("data", detector.crop(RNG.random((9, 9, 3)), (0, 0, 4, 4)))
    np.testing.assert_allclose(seen[:, 0], 0, atol=1e-4)
    assert abs(seen[:, 4, 4]).min() > 1e-3


def test_context_can_be_switched(linear):
    detector = caffe.Detector(*linear[:2], context_pad=2)
    image = RNG.random((9, 9, 3))
    assert detector.crop(image, (2, 2, 5, 5)).shape == (8, 8, 3)
    detector.configure_crop(0)
    assert detector.crop(image, (2, 2, 5, 5)).shape == (3, 3, 3)
    assert tuple(detector.crop_dims) == (8, 8, 3)


def test_selective_search(linear, monkeypatch):
    detector = caffe.Detector(*linear[:2])
    with pytest.raises(ConfigError, match=r"selective_search_ijcv_with_python.*MATLAB.*detect_windows"):
        detector.detect_selective_search(["a.png"])
    search = types.ModuleType("selective_search_ijcv_with_python")
    search.get_windows = lambda names, cmd: [np.array([[0, 0, 5, 5], [1, 1, 4, 4]]) for _ in names]
    monkeypatch.setitem(sys.modules, search.__name__, search)
    found = detector.detect_selective_search(["a.png", "b.png"])
    assert len(found) == 4
    assert all(d["filename"].startswith("/") or ":" in d["filename"] for d in found)


@pytest.mark.parametrize(
    ("windows", "message"),
    [
        ([(5, 5, 5, 9)], r"a.png: window \(ymin, xmin, ymax, xmax\) \(5, 5, 5, 9\) must have pixels in the image"),
        ([(30, 0, 40, 9)], "which is 20 high and 30 wide"),
        ([(1, 2, 3)], r"a window must be \(ymin, xmin, ymax, xmax\), got \(1, 2, 3\)"),
        ([7], r"a window must be .* got 7"),
    ],
)
def test_windows_that_are_none(linear, windows, message):
    with pytest.raises(DataError, match=message):
        caffe.Detector(*linear[:2]).detect_windows([("a.png", windows)])


def test_pictures_that_are_none(linear):
    with pytest.raises(DataError, match=r"gone.png: cannot be read: No such file"):
        caffe.Detector(*linear[:2]).detect_windows([("gone.png", [(0, 0, 1, 1)])])


@pytest.mark.parametrize(("shape", "pad"), [((1, 3, 8, 8), 4), ((1, 3, 8, 8), -1), ((1, 3, 8, 6), 2)])
def test_context_that_does_not_fit(tmp_path, shape, pad):
    with pytest.raises(CaffeError, match=r"context_pad: (must be from 0|only for nets with a square input)"):
        caffe.Detector(*write_linear(tmp_path, shape)[:2], context_pad=pad)
