"""Images as Python programs see them: floats (H, W, K), channels in the order R, G, B, mostly from 0 to 1."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from ..arrays import as_numbers
from ..errors import ConfigError, DataError
from . import resample
from .images import pillow

if TYPE_CHECKING:
    from PIL import Image

_LUMINANCE = (0.2125, 0.7154, 0.0721)  # of R, G and B, as scikit-image weighs them


def load_image(filename: str | os.PathLike[str] | IO[bytes], color: bool = True) -> np.ndarray:
    """The image in a file (or open file), as float32 from 0 to 1: (H, W, 3) in RGB, or (H, W, 1) without `color`.

    Grey images are repeated for the three channels, and alpha is dropped. DataError if there is no image.
    """
    Image = pillow()
    if not isinstance(filename, (str, os.PathLike)) and not hasattr(filename, "read"):
        raise DataError(f"load_image: takes a path or an open file, got {type(filename).__name__}")
    name = filename if isinstance(filename, (str, os.PathLike)) else getattr(filename, "name", "the image")
    try:
        with Image.open(filename) as image:
            pixels = _pixels(image)
    except Image.DecompressionBombError as error:
        raise DataError(f"{name}: {error}") from error
    except (OSError, SyntaxError, ValueError) as error:  # Pillow raises all three for broken files
        if isinstance(error, OSError) and error.strerror:
            raise DataError(f"{name}: cannot be read: {error.strerror}") from error
        raise DataError(f"{name}: not an image that can be decoded ({error})") from error
    if pixels.ndim == 3 and not color:
        pixels = pixels @ np.array(_LUMINANCE)
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[:, :, None], 3 if color else 1, axis=2)
    return pixels.astype(np.float32)


def _pixels(image: Image.Image) -> np.ndarray:
    """Numbers (H, W) of a grey image, (H, W, 3) of any other."""
    if image.mode == "F":
        return np.asarray(image)
    if image.mode.startswith("I"):  # 16 bits for a pixel, which Pillow may hold in 32
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 0xFFFF:
            raise ValueError(f"values from {values.min()} to {values.max()}, which are not of 8 or 16 bits")
        return values / 0xFFFF
    if image.mode in ("1", "L", "LA", "La"):
        return np.asarray(image.convert("L")) / 255
    mode = "RGBA" if image.mode == "P" else "RGB"  # colours of a palette may be transparent
    return np.asarray(image.convert(mode))[:, :, :3] / 255


def resize_image(im: np.ndarray, new_dims: Sequence[int], interp_order: int = 1) -> np.ndarray:
    """An image (H, W, K) as float32 (*new_dims, K), values in the same range.

    `interp_order` is 0 (nearest), 1 (linear) or 3 (cubic). As in pycaffe, images of 1 and 3 channels are resized
    as by skimage.transform.resize (mode 'constant', no anti-aliasing), others as by scipy.ndimage.zoom.
    """
    image = image_array(im, "resize_image")
    height, width = dimensions(new_dims, "resize_image: new_dims")
    if not np.isscalar(interp_order) or interp_order not in resample.ORDERS:
        raise ConfigError(f"resize_image: interp_order: must be 0, 1 or 3, got {interp_order!r}")
    if image.shape[:2] == (height, width):
        return image.astype(np.float32)
    resized = resample.resize if image.shape[2] in (1, 3) else resample.zoom
    return resized(image, height, width, interp_order).astype(np.float32)


def oversample(images: Sequence[np.ndarray], crop_dims: Sequence[int]) -> np.ndarray:
    """Ten crops of each image (H, W, K), as float32 (10 N, *crop_dims, K).

    They are: top left, top right, bottom left, bottom right, centre, and the same five mirrored.
    """
    height, width = dimensions(crop_dims, "oversample: crop_dims")
    arrays = alike(images, "oversample")
    rows, columns = arrays[0].shape[0] - height, arrays[0].shape[1] - width
    if rows < 0 or columns < 0:
        raise ConfigError(f"oversample: crop_dims {(height, width)} is larger than the images {arrays[0].shape[:2]}")
    corners = [(0, 0), (0, columns), (rows, 0), (rows, columns), (rows // 2, columns // 2)]
    crops = np.empty((len(arrays), 10, height, width, arrays[0].shape[2]), np.float32)
    for image, ten in zip(arrays, crops):
        for crop, (top, left) in zip(ten, corners):
            crop[...] = image[top : top + height, left : left + width]
        ten[5:] = ten[:5, :, ::-1]
    return crops.reshape(-1, *crops.shape[2:])


def image_array(image: Any, what: str) -> np.ndarray:
    """An image (H, W, K) of numbers; DataError if it is none. `what` begins the message."""
    array = as_numbers(image, f"{what}: an image")
    if array.ndim != 3 or array.size == 0:
        hint = "; a grey image needs a third axis: image[:, :, None]" if array.ndim == 2 else ""
        raise DataError(f"{what}: an image must have shape (height, width, channels), got {array.shape}{hint}")
    return array


def image_arrays(images: Iterable[Any], what: str) -> list[np.ndarray]:
    """Images, at least one of them; DataError otherwise."""
    if isinstance(images, np.ndarray) and images.ndim == 3:
        raise DataError(f"{what}: takes a list of images, got one array of shape {images.shape}; put it into a list")
    if not isinstance(images, Iterable) or isinstance(images, (str, bytes)):
        raise DataError(f"{what}: takes a list of images, got {type(images).__name__}")
    arrays = [image_array(image, f"{what}: image {number}") for number, image in enumerate(images)]
    if not arrays:
        raise DataError(f"{what}: takes at least one image, got none")
    return arrays


def alike(images: Iterable[Any], what: str) -> list[np.ndarray]:
    """Images of one shape, at least one of them; DataError otherwise."""
    arrays = image_arrays(images, what)
    for number, array in enumerate(arrays):
        if array.shape != arrays[0].shape:
            raise DataError(
                f"{what}: images must have one shape, but image 0 has {arrays[0].shape} and {number} {array.shape}"
            )
    return arrays


def dimensions(sizes: Sequence[int], what: str) -> tuple[int, int]:
    """Height and width, as ints; ConfigError unless these are two whole numbers above 0."""
    try:
        height, width = (int(size) for size in sizes)
        if min(height, width) < 1 or (height, width) != tuple(sizes):
            raise ValueError
    except (TypeError, ValueError):
        raise ConfigError(f"{what}: must be (height, width), whole numbers above 0, got {sizes!r}") from None
    return height, width
