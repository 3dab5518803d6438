"""Blob: an N-D array of values (`data`) and one of gradients (`diff`), each of four-state memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .arrays import assign
from .device import CPU
from .errors import ConfigError
from .memory import Memory

MAX_AXES = 32  # Caffe's kMaxBlobAxes
MAX_COUNT = 2**31 - 1  # Caffe counts elements in an int


class Blob:
    """Values and gradients of one shape. Nothing is allocated before it is touched.

    `data` and `diff` are numpy arrays of the blob's shape, valid on the host; writing into them takes
    effect, on a GPU too, where the copy happens when the other side next needs it. Assigning to them
    (`blob.data = x`) copies x, of any library and any type of number, which must have the blob's shape.

    A blob is itself an array of its values to numpy (`np.asarray(blob)`) and to all that speak DLPack
    (`torch.from_dlpack(blob)`), without a copy.
    """

    def __init__(self, shape: Sequence[int] = (), dtype: Any = np.float32, name: str = ""):
        self.name, self.dtype = name, np.dtype(dtype)
        self._shape = checked_shape(shape, name)
        self.data_memory = Memory(math.prod(self._shape), dtype)
        self.diff_memory = Memory(math.prod(self._shape), dtype)
        self.on_reshape: Callable[[], None] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        return self._shape

    @property
    def count(self) -> int:
        """Number of elements."""
        return math.prod(self._shape)

    @property
    def data(self) -> np.ndarray:
        """The values, as an array to read and to write into."""
        return self.data_memory.to_host_for_writing()[: self.count].reshape(self._shape)

    @data.setter
    def data(self, values: Any) -> None:
        assign(self, values, "data")

    @property
    def diff(self) -> np.ndarray:
        """The gradients, as an array to read and to write into."""
        return self.diff_memory.to_host_for_writing()[: self.count].reshape(self._shape)

    @diff.setter
    def diff(self, values: Any) -> None:
        assign(self, values, "diff")

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """The values as numpy wants them: those themselves, unless a copy or another type is asked for."""
        wanted = self.dtype if dtype is None else np.dtype(dtype)
        if copy is False and wanted != self.dtype:
            raise ValueError(f"blob {self.name!r} holds {self.dtype}: as {wanted} it must be copied")
        return self.data.astype(wanted, copy=bool(copy))

    def __dlpack__(self, **how: Any) -> Any:
        """The values for another library, where they are: on the host or on the net's GPU."""
        return self._shared().__dlpack__(**how)

    def __dlpack_device__(self) -> tuple[int, int]:
        """DLPack's numbers for where the values are."""
        if self.data_memory.device is CPU:
            return 1, 0
        return self._shared().__dlpack_device__()

    def _shared(self) -> Any:
        """The array that another library may read, and write into."""
        memory, device = self.data_memory, self.data_memory.device
        if device is CPU:
            return self.data
        memory.to_device(device)
        memory.written_on(device)  # as it may be
        device.synchronize()
        return memory.array_on(device)[: self.count].reshape(self._shape)

    def assign(self, values: np.ndarray, copy: Callable[[np.ndarray, np.ndarray], None] = np.copyto) -> None:
        """Take these values, all of them: first values that nobody has wanted so far are never made."""
        self.data_memory.first_values = None
        copy(self.data, values)

    def read(self) -> np.ndarray:
        """The values to be read only: what a GPU has of them stays valid, and need not go back to it."""
        view = self.data_memory.to_host()[: self.count].reshape(self._shape)
        view.flags.writeable = False
        return view

    def sum(self) -> float:
        """The sum of all values, in double precision."""
        values, count = self.data_memory.to_host(), self.count
        return values.item(0) if count == 1 else float(values[:count].sum(dtype=np.float64))

    def feed(self, values: np.ndarray) -> None:
        """Take the values of a batch, of the blob's shape: on a GPU they are on their way while others compute."""
        self.data_memory.feed(values)

    def reshape(self, *shape: int | Sequence[int]) -> None:
        """Take another shape: `reshape(2, 3)` or `reshape((2, 3))`; the net follows at its next forward.

        Memory is kept where it is large enough, so values survive a change to a smaller shape and back.
        """
        flat = shape[0] if len(shape) == 1 and not isinstance(shape[0], (int, np.integer)) else shape
        wanted = checked_shape(flat, self.name)  # type: ignore[arg-type]
        if wanted == self._shape:
            return
        self._shape = wanted
        if self.count > self.data_memory.count:
            self.data_memory = Memory(self.count, self.dtype)
        if self.count > self.diff_memory.count:
            self.diff_memory = Memory(self.count, self.dtype)
        if self.on_reshape:
            self.on_reshape()

    def share_data(self, other: Blob) -> None:
        """Hold the same values as `other` from now on, in the same memory."""
        if other.count != self.count:
            raise ConfigError(f"blob {self.name!r} {self.shape} cannot share the data of {other.name!r} {other.shape}")
        self.data_memory = other.data_memory

    def share_diff(self, other: Blob) -> None:
        """Hold the same gradients as `other` from now on, in the same memory."""
        if other.count != self.count:
            raise ConfigError(f"blob {self.name!r} {self.shape} cannot share the diff of {other.name!r} {other.shape}")
        self.diff_memory = other.diff_memory

    # Caffe's first blobs had exactly four axes; scripts still ask for them by name.
    num = property(lambda self: self.legacy_shape(0), doc="First axis of four.")
    channels = property(lambda self: self.legacy_shape(1), doc="Second axis of four.")
    height = property(lambda self: self.legacy_shape(2), doc="Third axis of four.")
    width = property(lambda self: self.legacy_shape(3), doc="Fourth axis of four.")

    def legacy_shape(self, axis: int) -> int:
        """Size along one of the four legacy axes; axes that are not there have size 1."""
        if len(self._shape) > 4:
            raise ConfigError(f"blob {self.name!r}: {len(self._shape)} axes, so it has no num/channels/height/width")
        return self._shape[axis] if axis < len(self._shape) else 1

    def __repr__(self) -> str:
        shape = " ".join(map(str, self._shape)) or "scalar"
        return f"<Blob {self.name!r} {shape} ({self.count}) {self.dtype}, data {self.data_memory.state.value}>"


def checked_shape(shape: Sequence[int], name: str = "") -> tuple[int, ...]:
    """The shape as a tuple of ints; ConfigError where Caffe would refuse it."""
    made = tuple(int(d) for d in shape)
    if len(made) > MAX_AXES:
        raise ConfigError(f"blob {name!r}: {len(made)} axes, but at most {MAX_AXES} are allowed")
    if any(d < 0 for d in made):
        raise ConfigError(f"blob {name!r}: shape {made} has a negative size")
    if math.prod(made) > MAX_COUNT:
        raise ConfigError(f"blob {name!r}: shape {made} has {math.prod(made)} elements, more than {MAX_COUNT}")
    return made
