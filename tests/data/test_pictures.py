"""load_image and oversample: every kind of image file, and the ten crops in pycaffe's order."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from pycaffe_lite.data.pictures import load_image, oversample
from pycaffe_lite.errors import CaffeError, DataError

RNG = np.random.default_rng(0)
COLOR = RNG.integers(0, 256, (4, 5, 3), np.uint8)
GREY = RNG.integers(0, 256, (4, 5), np.uint8)
ALPHA = RNG.integers(0, 256, (4, 5, 1), np.uint8)
WEIGHTS = (0.2125, 0.7154, 0.0721)


def save(path, image, mode=None):
    Image.fromarray(image, mode).save(path) if mode is None else Image.fromarray(image).convert(mode).save(path)
    return path


def test_colour_is_rgb_from_0_to_1(tmp_path):
    image = load_image(save(tmp_path / "a.png", COLOR))
    assert image.dtype == np.float32
    np.testing.assert_array_equal(image, (COLOR / 255).astype(np.float32))
    grey = load_image(str(tmp_path / "a.png"), color=False)
    np.testing.assert_allclose(grey[:, :, 0], COLOR @ WEIGHTS / 255, rtol=1e-6)
    assert grey.shape == (4, 5, 1)


def test_grey_is_repeated_or_kept(tmp_path):
    path = save(tmp_path / "a.png", GREY)
    expected = (GREY / 255).astype(np.float32)
    np.testing.assert_array_equal(load_image(path), np.stack([expected] * 3, axis=2))
    np.testing.assert_array_equal(load_image(path, color=False), expected[:, :, None])


@pytest.mark.parametrize("color", [True, False])
def test_alpha_is_dropped(tmp_path, color):
    with_alpha = save(tmp_path / "rgba.png", np.concatenate([COLOR, ALPHA], axis=2))
    np.testing.assert_array_equal(load_image(with_alpha, color), load_image(save(tmp_path / "rgb.png", COLOR), color))
    with_alpha = save(tmp_path / "la.png", np.concatenate([GREY[:, :, None], ALPHA], axis=2))
    np.testing.assert_array_equal(load_image(with_alpha, color), load_image(save(tmp_path / "l.png", GREY), color))


@pytest.mark.filterwarnings("error")
def test_palettes_bits_and_other_colour_spaces(tmp_path):
    few = np.repeat(np.arange(20, dtype=np.uint8).reshape(4, 5, 1) * 12, 3, axis=2) + np.array([0, 5, 10], np.uint8)
    paletted = Image.fromarray(few).convert("P", palette=Image.Palette.ADAPTIVE)
    paletted.save(tmp_path / "p.png", transparency=bytes([0, 128]))
    np.testing.assert_array_equal(load_image(tmp_path / "p.png"), (few / 255).astype(np.float32))
    bits = save(tmp_path / "1.png", GREY > 127)
    np.testing.assert_array_equal(load_image(bits, color=False)[:, :, 0], GREY > 127)
    cmyk = Image.fromarray(COLOR).convert("CMYK")
    cmyk.save(tmp_path / "cmyk.tif")
    np.testing.assert_array_equal(load_image(tmp_path / "cmyk.tif"), load_image(save(tmp_path / "rgb.png", COLOR)))


def test_16_bits_and_floats(tmp_path):
    deep = RNG.integers(0, 2**16, (4, 5), np.uint16)
    for name in ("a.png", "a.tif"):
        np.testing.assert_array_equal(
            load_image(save(tmp_path / name, deep), color=False)[:, :, 0], (deep / 65535).astype(np.float32)
        )
    floats = RNG.normal(size=(4, 5)).astype(np.float32)
    np.testing.assert_array_equal(load_image(save(tmp_path / "f.tif", floats))[:, :, 2], floats)
    with pytest.raises(DataError, match=r"i.tif: .*values from -5 to -5, which are not of 8 or 16 bits"):
        load_image(save(tmp_path / "i.tif", np.full((2, 2), -5, np.int32)))


def test_an_open_file(tmp_path):
    content = save(tmp_path / "a.png", COLOR).read_bytes()
    np.testing.assert_array_equal(load_image(io.BytesIO(content)), load_image(tmp_path / "a.png"))


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "a.jpg: not an image"), (b"text", "a.jpg: not an image"), (None, "a.jpg: cannot be read: No such file")],
)
def test_what_is_no_image(tmp_path, content, message):
    if content is not None:
        (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(DataError, match=message):
        load_image(tmp_path / "a.jpg")
    with pytest.raises(DataError, match=r"cannot be read: Is a directory|not an image|Permission"):
        load_image(tmp_path)
    with pytest.raises(DataError, match="takes a path or an open file, got int"):
        load_image(7)
    with pytest.raises(DataError, match="the image: not an image"):
        load_image(io.BytesIO(content or b""))


@pytest.mark.parametrize("kept", [0.3, 0.9])
def test_an_image_that_is_cut_off(tmp_path, kept):
    path = tmp_path / "a.png"
    content = save(path, RNG.integers(0, 256, (50, 50, 3), np.uint8)).read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(DataError, match=r"a.png: not an image that can be decoded"):
        load_image(path)


def test_ten_crops_in_pycaffes_order():
    images = RNG.normal(size=(2, 5, 8, 3)).astype(np.float32)
    crops = oversample(images, (2, 3))
    assert (crops.shape, crops.dtype) == ((20, 2, 3, 3), np.float32)
    for image, ten in zip(images, crops.reshape(2, 10, 2, 3, 3)):
        expected = [image[:2, :3], image[:2, -3:], image[-2:, :3], image[-2:, -3:], image[1:3, 2:5]]
        np.testing.assert_array_equal(ten[:5], expected)
        np.testing.assert_array_equal(ten[5:], [crop[:, ::-1] for crop in expected])


def test_crops_as_large_as_the_image():
    image = RNG.normal(size=(4, 4, 1))
    crops = oversample([image], np.array([4, 4]))
    np.testing.assert_array_equal(crops[:5], np.stack([image] * 5).astype(np.float32))


@pytest.mark.parametrize(
    ("images", "size", "message"),
    [
        ([], (2, 2), "at least one image"),
        ([np.zeros((4, 4, 3))], (5, 2), r"crop_dims \(5, 2\) is larger than the images \(4, 4\)"),
        ([np.zeros((4, 4, 3)), np.zeros((4, 5, 3))], (2, 2), r"image 0 has \(4, 4, 3\) and 1 \(4, 5, 3\)"),
        (np.zeros((4, 4, 3)), (2, 2), "put it into a list"),
        ([np.zeros((4, 4))], (2, 2), r"image 0: .* got \(4, 4\); a grey image needs a third axis"),
        ([np.zeros((4, 4, 3))], 2, "crop_dims: must be"),
        (7, (2, 2), "takes a list of images, got int"),
    ],
)
def test_what_cannot_be_cropped(images, size, message):
    with pytest.raises(CaffeError, match=message):
        oversample(images, size)
