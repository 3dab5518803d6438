"""resize_image: what scikit-image and SciPy compute, by definition and, where they are installed, by themselves."""

from __future__ import annotations

import numpy as np
import pytest

from pycaffe_lite.data import resample
from pycaffe_lite.data.pictures import resize_image
from pycaffe_lite.errors import CaffeError

RNG = np.random.default_rng(0)
SIZES = [((4, 5), (7, 9)), ((7, 9), (4, 5)), ((6, 6), (6, 11)), ((1, 4), (3, 2)), ((2, 3), (5, 1)), ((40, 30), (9, 70))]


def hat(x):
    """The B-spline of order 1."""
    return np.maximum(0, 1 - abs(x))


def bell(x):
    """The B-spline of order 3."""
    x = abs(x)
    return np.where(x < 1, 2 / 3 - x**2 + x**3 / 2, np.where(x < 2, (2 - x) ** 3 / 6, 0))


def matrix(old, places, order, mirrored):
    """What each old pixel along an axis contributes at these places, by definition: splines through the pixels.

    Beyond the border lies the mirrored image, or zeros, of which 30 stand for all.
    """
    pad = 30
    around = np.arange(-pad, old + pad)
    if mirrored:
        period = max(1, 2 * (old - 1))
        source = np.minimum(around % period, -around % period)
    else:
        source = np.where((around >= 0) & (around < old), around, -1)
    samples = (source[:, None] == np.arange(old)).astype(float)  # of the extended line, from the old pixels
    if order == 0:
        return samples[np.floor(places + 0.5).astype(int) + pad]
    spline = hat if order == 1 else bell
    coefficients = np.linalg.solve(spline(around[:, None] - around), samples)
    return spline(places[:, None] - around) @ coefficients


def by_definition(image, size, order, mirrored):
    lowest = 0 if mirrored else image.min()
    rows, columns = (
        matrix(
            old,
            np.arange(new) * (old - 1) / max(1, new - 1) if mirrored else (np.arange(new) + 0.5) * old / new - 0.5,
            order,
            mirrored,
        )
        for old, new in zip(image.shape, size)
    )
    made = np.einsum("yh,hwk,xw->yxk", rows, image - lowest, columns) + lowest
    return made if mirrored else made.clip(lowest, image.max())


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("order", resample.ORDERS)
@pytest.mark.parametrize(("old", "new"), SIZES)
def test_by_definition(old, new, order, channels):
    image = RNG.normal(size=(*old, channels)) * 100
    made = resize_image(image, new, order)
    assert (made.shape, made.dtype) == ((*new, channels), np.float32)
    expected = by_definition(image, new, order, mirrored=channels not in (1, 3))
    np.testing.assert_allclose(made, expected, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("order", resample.ORDERS)
@pytest.mark.parametrize(("old", "new"), SIZES)
def test_as_scikit_image_and_scipy(old, new, order):
    transform, ndimage = pytest.importorskip("skimage.transform"), pytest.importorskip("scipy.ndimage")
    image = RNG.normal(size=(*old, 3))
    lowest, highest = image.min(), image.max()
    theirs = transform.resize((image - lowest) / (highest - lowest), new, order, mode="constant", anti_aliasing=False)
    np.testing.assert_allclose(resize_image(image, new, order), theirs * (highest - lowest) + lowest, atol=1e-6)
    image = RNG.normal(size=(*old, 4))
    theirs = ndimage.zoom(image, (new[0] / old[0], new[1] / old[1], 1), order=order)
    # SciPy may round the last row or column to beyond the image, and then makes it 0.
    np.testing.assert_allclose(resize_image(image, new, order)[:-1, :-1], theirs[:-1, :-1], atol=1e-6)


def test_linear_by_hand():
    image = np.array([[0.0, 1.0]])[:, :, None]
    # Twice as wide: centres at -1/4, 1/4, 3/4, 5/4; beyond the border there is the smallest value, 0.
    np.testing.assert_allclose(resize_image(image, (1, 4))[0, :, 0], [0, 0.25, 0.75, 0.75])
    # The same with points: at 0, 1/3, 2/3, 1.
    two = np.repeat(image, 2, axis=2)
    np.testing.assert_allclose(resize_image(two, (1, 4))[0, :, 1], [0, 1 / 3, 2 / 3, 1], rtol=1e-6)


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_what_stays_as_it_is(channels):
    image = RNG.normal(size=(5, 6, channels))
    np.testing.assert_array_equal(resize_image(image, (5, 6)), image.astype(np.float32))
    np.testing.assert_allclose(resize_image(np.full((3, 4, channels), 7), (6, 5)), 7)
    assert image.dtype == np.float64


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.float16, bool])
def test_other_types_of_numbers(dtype):
    image = (RNG.normal(size=(4, 4, 3)) * 100).astype(dtype)
    np.testing.assert_allclose(resize_image(image, (6, 5)), resize_image(image.astype(np.float64), (6, 5)), rtol=1e-6)


def test_strided_images_and_numpy_sizes():
    image = RNG.normal(size=(8, 10, 3))
    flipped = image[::2, ::-1]
    np.testing.assert_array_equal(resize_image(flipped, np.array([3, 3])), resize_image(flipped.copy(), (3, 3)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.zeros((4, 4)), (2, 2)), r"\(height, width, channels\), got \(4, 4\); a grey image needs a third axis"),
        ((np.zeros((0, 4, 3)), (2, 2)), r"got \(0, 4, 3\)"),
        ((np.array([[["a"]]]), (2, 2)), "an image must be numbers, got an array of <U1"),
        ((np.zeros((4, 4, 3)), (2, 0)), r"new_dims: .* got \(2, 0\)"),
        ((np.zeros((4, 4, 3)), (2.5, 2)), r"new_dims: .* got \(2.5, 2\)"),
        ((np.zeros((4, 4, 3)), 2), "new_dims: .* got 2"),
        ((np.zeros((4, 4, 3)), (2, 2, 3)), r"new_dims: .* got \(2, 2, 3\)"),
        ((np.zeros((4, 4, 3)), (2, 2), 2), "interp_order: must be 0, 1 or 3, got 2"),
    ],
)
def test_what_cannot_be_resized(arguments, message):
    with pytest.raises(CaffeError, match=message):
        resize_image(*arguments)
