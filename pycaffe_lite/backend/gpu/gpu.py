"""What every GPU is to the rest of the package, and the little that a kind of GPU has to provide.

`CupyGpu` (cupy_gpu.py) is the real one. The tests have another that runs the same sources through g++.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from ...geometry import Geometry
from . import gemm
from .convolution import Convolution
from .program import Program
from .source import AnyKernel


class Gpu(ABC):
    """A device whose memory is not the host's. Arrays look like CuPy's: slices, reshape, `get`, `set`."""

    name: str
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

    def program(self, dtype: Any) -> Program:
        """An empty program."""
        return Program(self, dtype)

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
