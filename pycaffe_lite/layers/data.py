"""Data: batches from a database, read ahead in a thread; a small one is kept whole on a GPU."""

from __future__ import annotations

from .. import device
from ..data.batches import DatabaseBatches
from ..kernel import current_launcher
from ..layer import Shapes, between
from ..logs import tell
from ._data import StreamLayer, copy_of


class Data(StreamLayer, type="Data", param="data_param"):
    """Tops: images (batch, C, H, W) after transform_param, and labels (batch). Wraps round at the end."""

    tops = between(1, 2)

    def setup(self):
        self.passes = 0
        self.kept = None  # KeptData, on a GPU
        self.entries = None  # what is to be kept there, until it is there
        self.asked, self.kept_bytes = False, 0
        self.guard = None  # set by the runner, as that of fed blobs

    def open_stream(self, depth, seed):
        param = copy_of(self.param)
        param.source = self.find_file(param.source)
        return DatabaseBatches(param, self.transform_param(), self.phase, seed)

    def state_dict(self):
        state = super().state_dict()
        return state if self.kept is None else state | {"sample": self.kept.sample}

    def restore(self, state):
        super().restore(state)
        self.passes = int(self.stream().epoch)
        if not self.on_host:
            self.stream().pause()
        if self.kept is not None:
            self.kept.move_to(state["sample"], self.stream().skip)

    def shapes(self, bottom):
        stream = self.stream()
        if not self.asked and device.current().most_kept_data:
            self.asked = True
            self.entries = self.named(lambda: stream.everything(device.current().most_kept_data))
            self.on_host = self.entries is None
            self.kept_bytes = sum(array.size for array in self.entries or ()) * self.dtype.itemsize
        return Shapes(top=[stream.batch_shape, stream.label_shape][: len(self.message.top)])

    def forward(self, bottom, top):
        if not self.on_host:
            self.record(*top)
            return
        stream = self.stream()
        batch = stream.next()
        if int(stream.epoch) > self.passes:
            tell("data_layer.cpp:73", "Restarting data prefetching from start.")
            self.passes = int(stream.epoch)
        self.hand_on([batch.data, batch.labels], top)

    def record(self, data, label=None):
        """Record how the device finds the next batch in what it keeps."""
        from ..backend.gpu.kept import KeptData

        if self.kept is None:
            self.kept = KeptData(current_launcher().device, self.dtype, *self.entries)
            self.kept.move_to(self.stream().state()["sample"], self.stream().skip)
            self.entries = None
        self.kept.record(self.guard, self.stream().batch_size, data.data, None if label is None else label.data)
