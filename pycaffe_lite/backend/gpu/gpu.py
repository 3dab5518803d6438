"""What every GPU is to the rest of the package, and the little that a kind of GPU has to provide.

`CupyGpu` (device.py) is the real one. The tests have another that runs the same sources through g++.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Literal, Protocol

import numpy as np

from ...geometry import Geometry
from . import gemm
from .convolution import Convolution
from .feed import Feed
from .program import Chain, Program
from .source import AnyKernel

Precision = Literal["fp16", "bf16"]
StreamName = Literal["compute", "copy"]


class Event(Protocol):
    """A mark on a stream. One that was never recorded holds nobody back."""

    def record(self, stream: StreamName) -> None:
        """Put the mark behind what has been given to this stream."""

    def hold_back(self, stream: StreamName) -> None:
        """Let what this stream is given from now on wait until the mark is reached."""

    def synchronize(self) -> None:
        """Let the host wait until the mark is reached."""


class Gpu(ABC):
    """A device whose memory is not the host's. Arrays look like CuPy's: slices, reshape, `get`, `set`."""

    name: str
    asynchronous = True
    most_kept_data = 256 << 20
    precision: Precision | None = None  # what products and convolutions round float32 to
    captures = True  # whether programs are captured into graphs

    def __init__(self) -> None:
        self._workspaces: dict[np.dtype[Any], Any] = {}

    # What a kind of GPU provides

    @abstractmethod
    def zeros(self, count: int, dtype: Any) -> Any:
        """A flat array of zeros."""

    @abstractmethod
    def owns(self, array: Any) -> bool:
        """Whether this is an array of such a device."""

    @abstractmethod
    def address(self, array: Any) -> int:
        """Where the array begins, on the device."""

    @abstractmethod
    def launcher(
        self, kernel: AnyKernel, dtype: np.dtype[Any], blocks: int, threads: int, packed: Sequence[np.generic]
    ) -> Callable[[], None]:
        """What launches a kernel with these arguments; its code is compiled and loaded by now."""

    @abstractmethod
    def stream(self) -> AbstractContextManager[Any]:
        """In this block, launches go to the stream of this device."""

    @abstractmethod
    def capture(self) -> AbstractContextManager[Any]:
        """In this block, launches are noted instead of run; its target then has a `graph` to `launch()`."""

    @abstractmethod
    def pinned(self, count: int, dtype: Any) -> np.ndarray:
        """An array of the host that copies in the background can be made of."""

    @abstractmethod
    def event(self) -> Event:
        """A mark to be put on a stream."""

    @abstractmethod
    def copy_behind(self, array: Any, pinned: np.ndarray) -> None:
        """Copy pinned memory to the device on the stream for copies, without waiting."""

    @abstractmethod
    def synchronize(self) -> None:
        """Wait until all that was launched is done."""

    # What follows

    def upload(self, host: np.ndarray) -> Any:
        """A copy of a host array on the device."""
        array = self.zeros(host.size, host.dtype)
        self.copy_in(array, host)
        return array.reshape(host.shape)

    def copy_in(self, array: Any, host: np.ndarray) -> None:
        """Host to device."""
        if array.size:
            array.set(np.ascontiguousarray(host).reshape(array.shape))

    def copy_out(self, host: np.ndarray, array: Any) -> None:
        """Device to host, when everything launched so far is done."""
        if array.size:
            host[...] = array.get().reshape(host.shape)

    def feed(self, array: Any, guard: Any) -> Feed:
        """What brings batch after batch to this array."""
        return Feed(self, array, guard)

    def program(self, dtype: Any) -> Program:
        """An empty program."""
        return Program(self, dtype)

    def chain(self, ranges: Sequence[tuple[Program, int, int]]) -> Chain:
        """Ranges of programs that run, and are captured, as one."""
        return Chain(self, ranges)

    def workspace(self, count: int, dtype: Any) -> Any:
        """An array of at least so many elements, for values that kernels hand to each other within a recipe.

        One for all: programs of a device run one after the other. Whoever recorded an older one keeps it.
        """
        dtype = np.dtype(dtype)
        if dtype not in self._workspaces or self._workspaces[dtype].size < count:
            self._workspaces[dtype] = self.zeros(count, dtype)
        return self._workspaces[dtype]

    def gemm(
        self, a: Any, b: Any, out: Any, m: int, n: int, k: int, trans_a: bool, trans_b: bool, accumulate: bool
    ) -> None:
        """Record out = op(a) op(b), or out += that."""
        gemm.gemm(a, b, out, m, n, k, trans_a, trans_b, accumulate)

    def convolution(self, geometry: Geometry) -> Any:
        """What records the convolutions of a geometry."""
        return geometry.copy_as(Convolution)

    def joint(self, work: str, args: tuple[Any, ...]) -> bool:
        """Nothing: here one kernel for each sweep has more threads."""
        return False
