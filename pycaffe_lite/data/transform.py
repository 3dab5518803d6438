"""Caffe's DataTransformer: subtract the mean, scale, crop and mirror, on the way into the net."""

from __future__ import annotations

import numpy as np

from pycaffe_lite.errors import ConfigError
from pycaffe_lite.formats.mean import read_mean
from pycaffe_lite.proto import TRAIN, TransformationParameter

Shape = tuple[int, int, int]

_SUPPORTED = {
    *("scale", "mirror", "crop_size", "crop_h", "crop_w", "mean_file", "mean_value"),
    *("force_color", "force_gray", "display"),
}


class DataTransformer:
    """Turns images (channels, height, width) of uint8 or float into what a net takes: float32.

    A random transform draws three numbers from [0, 1) for each image, in this order: mirrored if
    below 1/2; row of the crop; column of the crop. It draws all three whatever is switched on, so
    that switching the mirror on leaves the crops as they were.
    """

    def __init__(self, param: TransformationParameter, phase: int) -> None:
        _check(param)
        self.scale = np.float32(param.scale)
        self.mirror = param.mirror
        self.crop = _crop(param)
        self.random_crop = phase == TRAIN and self.crop is not None
        self.color = True if param.force_color else False if param.force_gray else None
        self.mean_file = param.mean_file
        self.mean: np.ndarray | None = None
        if param.mean_file:
            self.mean = read_mean(param.mean_file)
        elif param.mean_value:
            self.mean = np.array(param.mean_value, np.float32)[:, None, None]

    @property
    def is_random(self) -> bool:
        """Whether two passes over the same image may differ."""
        # Caffe mirrors at random in the TEST phase too.
        return self.mirror or self.random_crop

    def output_shape(self, channels: int, height: int, width: int) -> Shape:
        """The shape an image of that shape gets; a ConfigError if this transform does not fit it."""
        self._check_mean((channels, height, width))
        if self.crop is None:
            return channels, height, width
        if self.crop[0] > height or self.crop[1] > width:
            raise ConfigError(
                f"transform_param.crop_size: must fit the image ({height} high, {width} wide),"
                f" got {_describe(self.crop)}"
            )
        return channels, *self.crop

    def transform(self, image: np.ndarray, out: np.ndarray, rng: np.random.Generator) -> None:
        """Transform one image (C, H, W) into ``out``, whose shape is `output_shape`'s."""
        self.transform_batch(image[None], out[None], rng)

    def transform_batch(self, images: np.ndarray, out: np.ndarray, rng: np.random.Generator) -> None:
        """Transform images (N, C, H, W) of one shape; the same as one after the other, but faster."""
        rows = images.shape[2] - out.shape[2]
        columns = images.shape[3] - out.shape[3]
        if not self.is_random:
            self._crop_and_scale(images, out, rows // 2, columns // 2)
            return
        for image, target, draw in zip(images, out, rng.random((len(images), 3)), strict=True):
            top, left = rows // 2, columns // 2
            if self.random_crop:
                top, left = int(draw[1] * (rows + 1)), int(draw[2] * (columns + 1))
            mirrored = self.mirror and draw[0] < 0.5
            self._crop_and_scale(image, target[:, :, ::-1] if mirrored else target, top, left)

    def _crop_and_scale(self, images: np.ndarray, out: np.ndarray, top: int, left: int) -> None:
        """``(window - mean) * scale``, the mean being cut like the images, of which there may be one."""
        height, width = out.shape[-2:]
        window = images[..., top : top + height, left : left + width]
        if self.mean is None:
            np.multiply(window, self.scale, out=out)
            return
        mean = self.mean
        if self.mean_file:
            mean = mean[:, top : top + height, left : left + width]
        np.subtract(window, mean, out=out)
        if self.scale != 1:
            np.multiply(out, self.scale, out=out)

    def _check_mean(self, shape: Shape) -> None:
        """A mean file has the size of the uncropped image, mean values are one or one for each channel."""
        if self.mean is None:
            return
        if self.mean_file and self.mean.shape != shape:
            raise ConfigError(
                f"transform_param.mean_file: {self.mean_file} is of shape {self.mean.shape},"
                f" the images before cropping of {shape}"
            )
        if len(self.mean) not in (1, shape[0]):
            raise ConfigError(
                f"transform_param.mean_value: must be given once or {shape[0]} times"
                f" (once for each channel), got {len(self.mean)} values"
            )


def _check(param: TransformationParameter) -> None:
    """Refuse what contradicts itself and what we do not do; never ignore it."""
    if param.mean_file and param.mean_value:
        raise ConfigError("transform_param: mean_file and mean_value cannot both be given")
    if param.force_color and param.force_gray:
        raise ConfigError("transform_param: force_color and force_gray cannot both be true")
    if bool(param.crop_h) != bool(param.crop_w):
        raise ConfigError("transform_param: crop_h and crop_w must be given together")
    if param.crop_size and param.crop_h:
        raise ConfigError("transform_param: give either crop_size or crop_h and crop_w, not both")
    for field, _ in param.ListFields():
        if field.name not in _SUPPORTED:
            raise ConfigError(f"transform_param.{field.name}: not supported by caffe-lite")


def _crop(param: TransformationParameter) -> tuple[int, int] | None:
    """Height and width of the crop, if there is one."""
    if param.crop_h:
        return param.crop_h, param.crop_w
    return (param.crop_size, param.crop_size) if param.crop_size else None


def _describe(crop: tuple[int, int]) -> str:
    return str(crop[0]) if crop[0] == crop[1] else f"{crop[0]} by {crop[1]}"
