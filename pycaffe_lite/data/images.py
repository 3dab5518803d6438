"""Decoding compressed images into arrays as Caffe (OpenCV) lays them out: planes in the order B, G, R."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np

from pycaffe_lite.errors import DataError

if TYPE_CHECKING:
    from PIL import Image

Planes = np.ndarray[tuple[int, int, int], np.dtype[np.uint8]]


def pillow() -> Any:
    """Pillow's module Image; DataError where it is not installed."""
    try:
        from PIL import Image
    except ImportError as error:
        raise DataError("images need Pillow; install it with: pip install Pillow") from error
    return Image


def decode_image(encoded: bytes, color: bool | None = None) -> Planes:
    """Decode a PNG, JPEG ... into uint8 (C, H, W); ``color`` forces 3 channels or 1, None neither."""
    Image = pillow()
    try:
        with Image.open(io.BytesIO(encoded)) as image:
            if color is False:
                # As OpenCV does: a JPEG holds its own brightness plane, better than one made from RGB.
                image.draft("L", image.size)
            mode = _mode(image, color)
            if image.format == "PNG" and mode == "L" and image.mode not in ("1", "L", "LA"):
                pixels = _grey_of_png(image)
            else:
                pixels = np.asarray(image.convert(mode))
    except (OSError, SyntaxError, ValueError) as error:  # Pillow raises all three for broken files
        raise DataError(f"not an image that can be decoded ({error})") from error
    if pixels.ndim == 2:
        return pixels[None]
    bgr = pixels[:, :, [2, 1, 0, 3][: pixels.shape[2]]]
    return np.ascontiguousarray(bgr.transpose(2, 0, 1))


def _grey_of_png(image: Image.Image) -> np.ndarray:
    """A coloured PNG in grey as libpng, which OpenCV leaves it to, computes it: rounded down."""
    red, green, blue = np.asarray(image.convert("RGB")).astype(np.int32).transpose(2, 0, 1)
    return (9797 * red + 19234 * green + 3737 * blue >> 15).astype(np.uint8)


def _mode(image: Image.Image, color: bool | None) -> str:
    """The Pillow mode that has the wanted channels, 8 bits each."""
    if image.mode.startswith(("I", "F")):
        raise DataError(f"an image must have 8 bits per channel; this one is of Pillow's mode {image.mode!r}")
    if color is not None:
        return "RGB" if color else "L"
    if image.mode in ("1", "L"):
        return "L"
    return "RGBA" if image.has_transparency_data else "RGB"
