"""The base class of layers that users write in Python, with pycaffe's names: `class Mine(caffe.Layer)`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .blob import Blob
from .proto import caffe_pb2


class ParameterBlobs(list[Blob]):
    """The parameters of a Python layer; `setup` adds to them and may write their first values."""

    def __init__(self, dtype: Any = np.float32):
        super().__init__()
        self.dtype = dtype

    def add_blob(self, *shape: int) -> None:
        """Give the layer one more parameter, of this shape, all zeros."""
        self.append(Blob(shape, self.dtype, f"[{len(self)}]"))


class Layer:
    """What a Python layer derives from; `pycaffe_lite.Layer`, as in pycaffe.

    Blobs have `data` and `diff`, numpy arrays to read and to write into, `shape`, and `reshape(...)`.
    """

    type = "Python"
    blobs: ParameterBlobs  # the parameters
    param_str: str = ""  # python_param.param_str, for the layer to make of it what it likes
    phase: int = caffe_pb2.TEST  # TRAIN or TEST

    def __init__(self, param: Any = None):
        """`param` is the LayerParameter."""

    @property
    def param_str_(self) -> str:
        """param_str under the name that it had in pycaffe until 2015."""
        return self.param_str

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Read param_str, check the bottoms, add parameters. Runs once."""

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Give every top its shape. Runs before every forward."""
        raise NotImplementedError

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Write top[i].data."""
        raise NotImplementedError

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        """Write bottom[i].diff where propagate_down[i], and add to the diffs of the parameters."""
        raise NotImplementedError

    # Beyond pycaffe

    def state_dict(self) -> dict[str, Any]:
        """What a snapshot must keep for the layer to go on where it was (its place in the data, say).

        Numbers, strings and arrays, in lists and dicts.
        """
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
