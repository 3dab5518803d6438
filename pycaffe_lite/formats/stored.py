"""What every format of weights comes down to: layers by name, each with its numbered parameters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from . import files

Shape = tuple[int, ...]


def numbers(blob: Any, dtype: Any, what: str = "data") -> np.ndarray:
    """The values or gradients of a blob as `dtype`, to be read: `blob.data` is to be written into as well."""
    memory = blob.data_memory if what == "data" else blob.diff_memory
    return memory.to_host()[: blob.count].reshape(blob.shape).astype(dtype, copy=False)


@dataclass(frozen=True)
class Stored:
    """A parameter in a file: its shape, which costs nothing to know, and how to read its values.

    So a net can refuse a parameter of the wrong size, be it 5 GB, before anything is read. A `legacy`
    shape has four axes, of which the net's parameter may lack leading ones.
    """

    shape: Shape
    read: Callable[[], np.ndarray]
    read_diff: Callable[[], np.ndarray] | None = None
    legacy: bool = False

    def fits(self, shape: Shape) -> bool:
        """Whether Caffe takes it for a parameter of this shape (Blob::ShapeEquals)."""
        if not self.legacy:
            return self.shape == shape
        return len(shape) <= 4 and (1,) * (4 - len(shape)) + shape == self.shape


@dataclass
class StoredLayer:
    """A layer in a file. `partial` says that parameters may be missing that the net shares with another layer."""

    name: str
    params: dict[int, Stored] = field(default_factory=dict)
    partial: bool = False

    def mismatch(self, layer: Any, owned: set[int]) -> str:
        """Why these are not the parameters of a layer of the net; an empty string if they are.

        `owned` are the ids of blobs that the net's layers do not share from another.
        """
        here = f"layer {layer.name!r} ({layer.type})"
        wanted = set(range(len(layer.blobs)))
        if self.partial:
            wanted = {index for index in wanted if id(layer.blobs[index]) in owned or index in self.params}
        if wanted != set(self.params):
            return f"{here} has {len(layer.blobs)} parameter(s) in the net and {len(self.params)} in the file"
        for index, stored in self.params.items():
            shape = layer.blobs[index].shape
            if not stored.fits(shape):
                return f"{here}, parameter {index}: shape {stored.shape} in the file, {shape} in the net"
        return ""

    def copy_to(self, layer: Any) -> None:
        """Give the layer these parameters, and gradients where the file has them."""
        for index, stored in self.params.items():
            blob = layer.blobs[index]
            blob.assign(stored.read().reshape(blob.shape), files.copy)
            if stored.read_diff:
                files.copy(blob.diff, stored.read_diff().reshape(blob.shape))
