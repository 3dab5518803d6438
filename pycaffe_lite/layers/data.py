"""Data: batches from a database, read ahead in a thread."""

from __future__ import annotations

from ..data.batches import DatabaseBatches
from ..layer import Shapes, between
from ..logs import tell
from ._data import StreamLayer, copy_of


class Data(StreamLayer, type="Data", param="data_param"):
    """Tops: images (batch, C, H, W) after transform_param, and labels (batch). Wraps round at the end."""

    tops = between(1, 2)

    def setup(self):
        self.passes = 0

    def open_stream(self, depth, seed):
        param = copy_of(self.param)
        param.source = self.find_file(param.source)
        return DatabaseBatches(param, self.transform_param(), self.phase, seed)

    def restore(self, state):
        super().restore(state)
        self.passes = int(self.stream().epoch)

    def shapes(self, bottom):
        stream = self.stream()
        return Shapes(top=[stream.batch_shape, stream.label_shape][: len(self.message.top)])

    def forward(self, bottom, top):
        stream = self.stream()
        batch = stream.next()
        if int(stream.epoch) > self.passes:
            tell("data_layer.cpp:73", "Restarting data prefetching from start.")
            self.passes = int(stream.epoch)
        self.hand_on([batch.data, batch.labels], top)
