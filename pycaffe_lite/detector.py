"""Detector: a net that is shown windows of images, as R-CNN does it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from .data.pictures import image_array, load_image, resize_image
from .errors import ConfigError, DataError
from .net.net import Net
from .proto import caffe_pb2
from .transformer import Transformer

Window = Sequence[int]
"""ymin, xmin, ymax, xmax in pixels; the last row and column are not part of it."""


class Detector(Net):
    """A Net in the TEST phase that classifies windows of images, warped to the size of its input.

    With `context_pad`, each window gets a border of its surroundings which is that many pixels wide in the net's
    input; what is outside the image is filled with the mean. The others are as in Transformer.
    """

    def __init__(
        self,
        model_file: str | os.PathLike[str],
        pretrained_file: str | os.PathLike[str],
        mean: Any = None,
        input_scale: float | None = None,
        raw_scale: float | None = None,
        channel_swap: Sequence[int] | None = None,
        context_pad: int | None = None,
    ):
        super().__init__(model_file, caffe_pb2.TEST, weights=pretrained_file)
        self.transformer = Transformer.of_net(self, mean, input_scale, raw_scale, channel_swap)
        self.configure_crop(context_pad)

    def detect_windows(self, images_windows: Iterable[tuple[str, Iterable[Window]]]) -> list[dict[str, Any]]:
        """Run the net on windows of image files: pairs of a filename and its windows.

        Returns a dict for each window: `window`, `prediction` (the net's first output for it) and `filename`.
        """
        detections: list[dict[str, Any]] = []
        inputs = []
        for filename, windows in images_windows:
            image = load_image(filename, color=self.crop_dims[2] != 1)
            for window in windows:
                try:
                    inputs.append(self.transformer.preprocess(self.inputs[0], self.crop(image, window)))
                except DataError as error:
                    raise DataError(f"{filename}: {error}") from error
                detections.append({"window": window, "filename": filename})
        if not inputs:
            return []
        batch: dict[str, Any] = {self.inputs[0]: np.stack(inputs)}
        predictions = self.forward_all(**batch)[self.outputs[0]]
        for detection, prediction in zip(detections, predictions):
            detection["prediction"] = prediction
        return detections

    def detect_selective_search(self, image_fnames: Iterable[str]) -> list[dict[str, Any]]:
        """detect_windows on the windows that Selective Search proposes.

        ConfigError where selective_search_ijcv_with_python is not installed (it needs MATLAB).
        """
        try:
            import selective_search_ijcv_with_python as selective_search
        except ImportError as error:
            raise ConfigError(
                "detect_selective_search: needs the Python module selective_search_ijcv_with_python, and MATLAB "
                "for it; for windows from elsewhere there is detect_windows"
            ) from error
        names = [os.path.abspath(name) for name in image_fnames]  # MATLAB works in another folder
        return self.detect_windows(zip(names, selective_search.get_windows(names, cmd="selective_search_rcnn")))

    def configure_crop(self, context_pad: int | None) -> None:
        """Set how many pixels of the net's input are surroundings, on each side; call it again for another mean."""
        in_ = self.inputs[0]
        shape = self.blobs[in_].shape
        order = np.argsort(self.transformer.transpose[in_])
        self.crop_dims = np.array(shape[1:])[order]
        if context_pad and not 0 <= 2 * context_pad < shape[3]:
            raise ConfigError(
                f"Detector: context_pad: must be from 0 to less than half the width {shape[3]} of the net's input, "
                f"got {context_pad}"
            )
        self.context_pad = context_pad
        if not context_pad:
            return
        if shape[2] != shape[3]:
            raise ConfigError(
                f"Detector: context_pad: only for nets with a square input, but {in_!r} has shape {shape}"
            )
        # What is outside the image has to be zero once the net's mean is subtracted.
        mean = np.zeros(shape[1:], np.float32)
        if in_ in self.transformer.mean:
            mean += self.transformer.mean[in_]
        if in_ in self.transformer.raw_scale:
            mean /= self.transformer.raw_scale[in_]
        if in_ in self.transformer.channel_swap:
            mean = mean[np.argsort(self.transformer.channel_swap[in_])]
        self.crop_mean = mean.transpose(order)

    def crop(self, im: np.ndarray, window: Window) -> np.ndarray:
        """A window of an image (H, W, K), with its surroundings and in the net's size if there is a context_pad.

        DataError for a window that has no pixels in the image.
        """
        image = image_array(im, "crop")
        top, left, bottom, right = _checked(window, image.shape)
        if not self.context_pad:
            return image[max(0, top) : bottom, max(0, left) : right]
        size = int(self.crop_dims[0])
        # Grow the window about its centre, so that `context_pad` pixels of the result are surroundings. As in R-CNN
        # (and pycaffe), boxes are counted as if their last row and column were part of them.
        half = np.array([bottom - top + 1, right - left + 1]) / 2
        centre = np.array([top, left]) + half
        grown = half * (size / (size - 2 * self.context_pad))
        low, high = np.round(centre - grown), np.round(centre + grown)
        scale = size / (high - low + 1)
        pad = [round(p) for p in np.maximum(0, -low) * scale]  # pixels of the result that are outside the image
        limits = np.array(image.shape[:2])
        low, high = np.clip(low, 0, limits).astype(int), np.clip(high, 0, limits).astype(int)
        inside = [min(round(n), size - p) for n, p in zip((high - low + 1) * scale, pad)]
        made = np.array(np.broadcast_to(self.crop_mean, (size, size, image.shape[2])), np.float32)
        if min(inside) > 0:
            part = resize_image(image[low[0] : high[0], low[1] : high[1]], inside)
            made[pad[0] : pad[0] + inside[0], pad[1] : pad[1] + inside[1]] = part
        return made


def _checked(window: Window, shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    """The four numbers of a window; DataError unless it has pixels that are in the image."""
    try:
        top, left, bottom, right = (int(edge) for edge in window)
    except (TypeError, ValueError):
        raise DataError(f"a window must be (ymin, xmin, ymax, xmax), got {window!r}") from None
    inside = max(0, top) < min(bottom, shape[0]) and max(0, left) < min(right, shape[1])
    if not inside:
        raise DataError(
            f"window (ymin, xmin, ymax, xmax) {(top, left, bottom, right)} must have pixels in the image, "
            f"which is {shape[0]} high and {shape[1]} wide"
        )
    return top, left, bottom, right
