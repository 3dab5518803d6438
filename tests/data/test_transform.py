"""The transformer against Caffe's own loops, and its refusals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pycaffe_lite.data.transform import DataTransformer
from pycaffe_lite.errors import ConfigError
from pycaffe_lite.proto import TEST, TRAIN, TransformationParameter


def loops(
    image: np.ndarray, param: TransformationParameter, phase: int, mean: np.ndarray | None, draw: np.ndarray
) -> np.ndarray:
    """DataTransformer::Transform as Caffe writes it, element by element."""
    channels, height, width = image.shape
    crop_h, crop_w, top, left = height, width, 0, 0
    if param.crop_size:
        crop_h = crop_w = param.crop_size
        if phase == TRAIN:
            top, left = int(draw[1] * (height - crop_h + 1)), int(draw[2] * (width - crop_w + 1))
        else:
            top, left = (height - crop_h) // 2, (width - crop_w) // 2
    out = np.zeros((channels, crop_h, crop_w), np.float32)
    for c in range(channels):
        for h in range(crop_h):
            for w in range(crop_w):
                value = np.float32(image[c, top + h, left + w])
                if mean is not None:
                    value -= mean[c, top + h, left + w]
                elif param.mean_value:
                    value -= np.float32(param.mean_value[c if len(param.mean_value) > 1 else 0])
                mirrored = param.mirror and draw[0] < 0.5
                out[c, h, crop_w - 1 - w if mirrored else w] = value * np.float32(param.scale)
    return out


@st.composite
def cases(draw: st.DrawFn) -> tuple[np.ndarray, TransformationParameter, int, np.ndarray | None, int]:
    """Images, a parameter that suits them, a phase, a mean image or none, and a seed."""
    n, c, h, w = (draw(st.integers(1, top)) for top in (3, 4, 6, 6))
    seed = draw(st.integers(0, 2**32))
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (n, c, h, w), np.uint8)
    if draw(st.booleans()):
        images = images.astype(np.float32) / 7
    param = TransformationParameter(scale=draw(st.sampled_from([1, 0.00390625, 0.1])), mirror=draw(st.booleans()))
    param.crop_size = draw(st.integers(0, min(h, w)))
    mean = None
    kind = draw(st.sampled_from(["none", "one", "each", "image"]))
    if kind == "image":
        mean = rng.normal(100, 30, (c, h, w)).astype(np.float32)
    elif kind != "none":
        param.mean_value.extend(rng.normal(100, 30, c if kind == "each" else 1))
    return images, param, draw(st.sampled_from([TRAIN, TEST])), mean, seed


@settings(max_examples=150, deadline=None)
@given(cases())
def test_same_as_caffe(case: tuple[np.ndarray, TransformationParameter, int, np.ndarray | None, int]) -> None:
    images, param, phase, mean, seed = case
    transformer = DataTransformer(param, phase)
    if mean is not None:
        transformer.mean, transformer.mean_file = mean, "in memory"
    shape = transformer.output_shape(*images.shape[1:])
    draws = np.random.default_rng(seed).random((len(images), 3))
    expected = [loops(image, param, phase, mean, draw) for image, draw in zip(images, draws, strict=True)]

    batch = np.full((len(images), *shape), np.nan, np.float32)
    transformer.transform_batch(images, batch, np.random.default_rng(seed))
    np.testing.assert_array_equal(batch, expected)

    one_by_one = np.full_like(batch, np.nan)
    rng = np.random.default_rng(seed)
    for image, out in zip(images, one_by_one, strict=True):
        transformer.transform(image, out, rng)
    np.testing.assert_array_equal(one_by_one, expected)


def test_crop_of_height_and_width() -> None:
    image = np.arange(30, dtype=np.uint8).reshape(1, 5, 6)
    transformer = DataTransformer(TransformationParameter(crop_h=3, crop_w=2), TEST)
    assert transformer.output_shape(1, 5, 6) == (1, 3, 2)
    out = np.empty((1, 3, 2), np.float32)
    transformer.transform(image, out, np.random.default_rng(0))
    np.testing.assert_array_equal(out, image[:, 1:4, 2:4])


def test_random_crops_reach_every_place() -> None:
    image = np.arange(16, dtype=np.uint8).reshape(1, 4, 4)
    transformer = DataTransformer(TransformationParameter(crop_size=2, mirror=True), TRAIN)
    images = np.repeat(image[None], 400, axis=0)
    out = np.empty((400, 1, 2, 2), np.float32)
    transformer.transform_batch(images, out, np.random.default_rng(0))
    assert len(np.unique(out.reshape(400, -1), axis=0)) == 3 * 3 * 2


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"mean_file": "x", "mean_value": [1]}, "mean_file and mean_value cannot both"),
        ({"force_color": True, "force_gray": True}, "force_color and force_gray cannot both"),
        ({"crop_h": 3}, "crop_h and crop_w must be given together"),
        ({"crop_size": 3, "crop_h": 3, "crop_w": 3}, "either crop_size or crop_h and crop_w"),
        ({"allow_upscale": True}, r"transform_param\.allow_upscale: not supported"),
    ],
)
def test_contradictions(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        DataTransformer(TransformationParameter(**fields), TRAIN)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"crop_size": 7}, r"crop_size: must fit the image \(6 high, 9 wide\), got 7"),
        ({"crop_h": 2, "crop_w": 10}, "got 2 by 10"),
        ({"mean_value": [1, 2]}, r"mean_value: must be given once or 3 times .*, got 2 values"),
    ],
)
def test_what_does_not_fit_the_image(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        DataTransformer(TransformationParameter(**fields), TEST).output_shape(3, 6, 9)


def test_a_mean_file_has_the_size_of_the_uncropped_image(tmp_path: Path) -> None:
    np.save(tmp_path / "mean.npy", np.zeros((3, 4, 5)))
    param = TransformationParameter(mean_file=str(tmp_path / "mean.npy"))
    with pytest.raises(ConfigError, match=r"mean\.npy is of shape \(3, 4, 5\), the images .* of \(3, 4, 6\)"):
        DataTransformer(param, TEST).output_shape(3, 4, 6)
