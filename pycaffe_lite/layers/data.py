"""Data: batches from a database, read ahead in a thread."""

from __future__ import annotations

import weakref

from .. import random
from ..data.batches import DatabaseBatches
from ..errors import CaffeError
from ..layer import Layer, Shapes, between, exactly
from ..logs import tell
from ..paths import find_path
from ..proto import DataParameter, TransformationParameter


class Data(Layer, type="Data", param="data_param"):
    """Tops: images (batch, C, H, W) after transform_param, and labels (batch). Wraps round at the end."""

    bottoms, tops = exactly(0), between(1, 2)
    differentiable = False
    backward_reads = ()
    on_host = True

    def setup(self):
        self._batches: DatabaseBatches | None = None
        self._seed = random.new_key()
        self._passes = 0

    def batches(self) -> DatabaseBatches:
        """The stream of batches, opened when first needed."""
        if self._batches is None:
            param, transform = DataParameter(), TransformationParameter()
            param.CopyFrom(self.param)
            transform.CopyFrom(self.message.transform_param)
            param.source = find_path(param.source, self.folder)
            if transform.mean_file:
                transform.mean_file = find_path(transform.mean_file, self.folder)
            try:
                self._batches = DatabaseBatches(param, transform, self.phase, self._seed)
            except CaffeError as error:
                raise type(error)(f"layer {self.name!r} (Data): {error}") from error
            weakref.finalize(self, self._batches.close)
        return self._batches

    def state_dict(self):
        return dict(self.batches().state())

    def restore(self, state):
        self.batches().restore(state)
        self._passes = int(self.batches().epoch)

    def shapes(self, bottom):
        stream = self.batches()
        return Shapes(top=[stream.batch_shape, stream.label_shape][: len(self.message.top)])

    def forward(self, bottom, top):
        stream = self.batches()
        batch = stream.next()
        if int(stream.epoch) > self._passes:
            tell("data_layer.cpp:73", "Restarting data prefetching from start.")
        self._passes = int(stream.epoch)
        for blob, values in zip(top, (batch.data, batch.labels)):
            blob.reshape(values.shape)  # without crop_size, images of another size make another shape
            blob.data[...] = values
