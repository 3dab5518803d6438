"""Resizing images as OpenCV does it, which Caffe uses: bilinear, in fixed-point arithmetic, without smoothing."""

from __future__ import annotations

import numpy as np

BITS = 11  # of the weights of the two neighbours
ONE = 1 << BITS


def resize(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """A uint8 image (C, H, W) in another size, equal to cv2.resize's within one grey level."""
    channels, old_height, old_width = image.shape
    if (old_height, old_width) == (height, width):
        return image
    if (old_height, old_width) == (2 * height, 2 * width):  # OpenCV takes the mean of the four then
        four = image.reshape(channels, height, 2, width, 2).astype(np.int32).sum(axis=(2, 4))
        return (four + 2 >> 2).astype(np.uint8)
    left, right, weight = neighbours(old_width, width)
    lines = image[:, :, left] * (ONE - weight) + image[:, :, right] * weight
    above, below, weight = neighbours(old_height, height)
    weight = weight[:, None]
    lines >>= 4  # so that a product with a weight fits into 32 bits
    made = (lines[:, above] * (ONE - weight) >> 16) + (lines[:, below] * weight >> 16)
    return np.clip(made + 2 >> 2, 0, 255).astype(np.uint8)


def neighbours(old: int, new: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For every new pixel along an axis: the two old ones around its centre, and the second one's weight."""
    centres = ((np.arange(new) + 0.5) * (old / new) - 0.5).astype(np.float32)
    first = np.floor(centres).astype(np.intp)
    weight = np.rint((centres - first) * ONE).astype(np.int32)
    return first.clip(0, old - 1), (first + 1).clip(0, old - 1), weight  # the border is repeated
