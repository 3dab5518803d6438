"""What the layers that bring data into a net share: no bottoms, no gradient, files, transform_param."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import random
from ..blob import Blob
from ..errors import CaffeError, DataError
from ..layer import Layer, Shapes, exactly
from ..logs import log
from ..paths import find_path


class DataLayer(Layer):
    """A layer whose tops come from outside the net."""

    bottoms, tops = exactly(0), exactly(2)
    differentiable = False
    backward_reads = ()
    on_host = True

    def find_file(self, path: str) -> str:
        """A path as it is written, or else as seen from the prototxt's folder."""
        return find_path(path, self.folder)

    def transform_param(self) -> Any:
        """transform_param, its mean_file found."""
        param = copy_of(self.message.transform_param)
        if param.mean_file:
            param.mean_file = self.find_file(param.mean_file)
        return param

    def data_error(self, text: str) -> DataError:
        """A DataError that names this layer."""
        return DataError(f"layer {self.name!r} ({self.type}): {text}")

    def warn_of_ignored(self, message: str, *fields: str, instead: str) -> None:
        """Say which fields Caffe leaves aside in this layer, and where they count."""
        for field in fields:
            if getattr(self.message, message).HasField(field):
                log.warning(
                    "layer %r (%s): %s.%s is left aside, as in Caffe; %s.%s counts",
                    self.name, self.type, message, field, instead, field,
                )  # fmt: skip


class StreamLayer(DataLayer):
    """A layer that hands on batches from files. A subclass checks its fields in `setup` and says how to
    `open_stream`.
    """

    def __init__(self, *args: Any, **rest: Any):
        self._stream: Any = None
        super().__init__(*args, **rest)
        self.seed = random.new_key()

    def open_stream(self, depth: int, seed: int) -> Any:
        """The stream of batches, prepared `depth` batches ahead."""
        raise NotImplementedError

    def stream(self) -> Any:
        """The stream of batches (a Stream, or what acts like one), opened when first needed."""
        if self._stream is None:
            # Caffe takes the depth from data_param, whatever the type of the layer
            self._stream = self.named(lambda: self.open_stream(self.message.data_param.prefetch, self.seed))
        return self._stream

    def named(self, act: Callable[[], Any]) -> Any:
        """Do this; an error names the layer."""
        try:
            return act()
        except CaffeError as error:
            raise type(error)(f"layer {self.name!r} ({self.type}): {error}") from error

    def state_dict(self):
        return dict(self.stream().state())

    def restore(self, state):
        self.stream().restore(state)

    def shapes(self, bottom):
        return Shapes(top=self.stream().shapes)

    def forward(self, bottom, top):
        self.hand_on(self.stream().next(), top)

    def hand_on(self, batch: list[np.ndarray], top: Sequence[Blob]) -> None:
        """Give the tops a batch."""
        for blob, values in zip(top, batch):
            blob.reshape(values.shape)  # images of another size make another shape
            blob.feed(values)


def copy_of(message: Any) -> Any:
    """A copy of a message."""
    made = type(message)()
    made.CopyFrom(message)
    return made
