"""MemoryData: batches of arrays that the caller hands over (`net.set_input_arrays`)."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import random
from ..data.transform import DataTransformer
from ..layer import Shapes
from ..logs import log
from ._data import DataLayer


class MemoryData(DataLayer, type="MemoryData", param="memory_data_param"):
    """Data (N, C, H, W) and labels (N), `batch_size` of them in every forward, round and round."""

    remembers = ("position", "unread", "generator")

    def setup(self):
        p = self.param
        for field in ("batch_size", "channels", "height", "width"):
            if getattr(p, field) < 1:
                raise self.error(f"memory_data_param.{field}: must be at least 1, got {getattr(p, field)}")
        self.sample_shape = p.channels, p.height, p.width
        self.data: Any = None
        self.labels: Any = None
        self.position = 0
        self.unread = False  # images that were added and not yet all used
        self.generator = random.new_generator()

    def shapes(self, bottom):
        return Shapes(top=[(self.param.batch_size, *self.sample_shape), (self.param.batch_size,)])

    def reset(self, data: np.ndarray, labels: np.ndarray) -> None:
        """Take batches from these arrays from now on, as they are: no transform. They are not copied."""
        if self.message.HasField("transform_param"):
            log.warning("layer %r (MemoryData): arrays are taken as they are, without transform_param", self.name)
        self.take(np.asarray(data), np.asarray(labels).reshape(-1))

    def take(self, data: np.ndarray, labels: np.ndarray) -> None:
        """Check arrays and begin with their first batch."""
        if data.ndim != 4 or data.shape[1:] != self.sample_shape:
            wanted = ", ".join(map(str, self.sample_shape))
            raise self.data_error(f"data must have shape (n, {wanted}), got {data.shape}")
        if len(labels) != len(data):
            raise self.data_error(f"each of the {len(data)} samples must have one label, got {len(labels)}")
        if len(data) == 0 or len(data) % self.param.batch_size:
            rule = f"a multiple of batch_size {self.param.batch_size}"
            raise self.data_error(f"the number of samples must be {rule}, got {len(data)}")
        for what, array in (("data", data), ("labels", labels)):
            if array.dtype.kind not in "fiub":
                raise self.data_error(f"{what} must be numbers, got an array of {array.dtype}")
        self.data, self.labels, self.position = data, labels, 0

    def add_images(self, images: Any, labels: Any) -> None:
        """Transform images (C, H, W) as transform_param says, and take batches from them from now on."""
        if self.unread:
            raise self.data_error("cannot add images before those added last are used up")
        if len(images) == 0:
            raise self.data_error("there are no images to add")
        transformer = DataTransformer(self.transform_param(), self.phase)
        made = np.empty((len(images), *self.sample_shape), self.dtype)
        for image, out in zip(images, made):
            shape = transformer.output_shape(*image.shape)
            if shape != self.sample_shape:
                raise self.data_error(
                    f"images must be {self.sample_shape} once transformed, but {image.shape} becomes {shape}"
                )
            transformer.transform(np.asarray(image), out, self.generator)
        self.take(made, np.asarray(labels).reshape(-1))
        self.unread = True

    def forward(self, bottom, top):
        if self.data is None:
            raise self.data_error("has no data yet; call net.set_input_arrays(data, labels) first")
        rows = slice(self.position, self.position + self.param.batch_size)
        for blob, array in zip(top, (self.data, self.labels)):
            blob.feed(array[rows])
        self.position = rows.stop % len(self.data)
        if self.position == 0:
            self.unread = False
