"""Classifier: a net that takes images as they are and says how likely each class is."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from .data import pictures
from .errors import ConfigError, DataError
from .net.net import Net
from .proto import caffe_pb2
from .transformer import Transformer


class Classifier(Net):
    """A Net in the TEST phase with what has to be done to images in front of it.

    `image_dims` (height, width) is what images are resized to before crops of the net's size are taken; the net's
    size itself if not given. The others are as in Transformer (`mean` may be a path): raw_scale=255 and
    channel_swap=(2, 1, 0) for nets trained on Caffe's databases.
    """

    def __init__(
        self,
        model_file: str | os.PathLike[str],
        pretrained_file: str | os.PathLike[str],
        image_dims: Sequence[int] | None = None,
        mean: Any = None,
        input_scale: float | None = None,
        raw_scale: float | None = None,
        channel_swap: Sequence[int] | None = None,
    ):
        super().__init__(model_file, caffe_pb2.TEST, weights=pretrained_file)
        self.transformer = Transformer.of_net(self, mean, input_scale, raw_scale, channel_swap)
        size = self.blobs[self.inputs[0]].shape[2:]
        self.crop_dims = np.array(size)
        self.image_dims: Sequence[int] = size if image_dims is None or np.size(image_dims) == 0 else image_dims
        pictures.dimensions(self.image_dims, "Classifier: image_dims")
        if any(image < crop for image, crop in zip(self.image_dims, size)):
            raise ConfigError(
                f"Classifier: image_dims: must be at least the {size} of the net's input, got {self.image_dims}"
            )

    def predict(self, inputs: Sequence[np.ndarray], oversample: bool = True) -> np.ndarray:  # type: ignore[override]
        """The net's first output for each image (H, W, K), as load_image gives them: (N, classes).

        With `oversample`, the mean over ten crops (corners, centre, mirrored); without, the centre crop, and the
        output in its own shape. DataError for arrays that are no images for this net.
        """
        input_ = self.inputs[0]
        images = self._resized(inputs)
        crops = pictures.oversample(images, tuple(self.crop_dims)) if oversample else self._centres(images)
        batch: dict[str, Any] = {input_: np.stack([self.transformer.preprocess(input_, crop) for crop in crops])}
        predictions = self.forward_all(**batch)[self.outputs[0]]
        return predictions.reshape(len(predictions) // 10, 10, -1).mean(1) if oversample else predictions

    def _resized(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """All images in the size of image_dims."""
        channels = self.blobs[self.inputs[0]].shape[1]
        images = pictures.image_arrays(inputs, "predict")
        for number, image in enumerate(images):
            if image.shape[2] != channels:
                raise DataError(f"predict: image {number} {image.shape}: the net takes {channels} channel(s)")
        return [pictures.resize_image(image, self.image_dims) for image in images]

    def _centres(self, images: list[np.ndarray]) -> list[np.ndarray]:
        """The middle of all images, as large as the net takes it."""
        height, width = self.crop_dims
        top, left = (self.image_dims[0] - height) // 2, (self.image_dims[1] - width) // 2
        return [image[top : top + height, left : left + width] for image in images]
