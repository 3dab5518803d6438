"""A program on a GPU: launches with fixed arguments, run one by one or replayed as one captured graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .source import DTYPES, AnyKernel, block_size, grid_size

if TYPE_CHECKING:
    from .gpu import Gpu

LARGEST_INT = 2**31 - 1


class Program:
    """Rows appended one by one, then run as often as wanted, all of them or any range.

    Everything a row needs is fixed when it is appended.
    """

    def __init__(self, device: Gpu, dtype: Any = np.float32):
        self.device, self.dtype = device, np.dtype(dtype)
        self._rows: list[Callable[[], None]] = []
        self._alive: list[Any] = []  # arrays whose addresses the rows hold
        self.told: list[tuple[str, int]] = []  # of each row: its name, and the bytes of all arrays that it touches
        self._chains: dict[tuple[int, int], Chain] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def launch(self, kernel: AnyKernel, args: tuple[Any, ...]) -> None:
        """Append a launch; arrays must stay where they are as long as the program lives."""
        indices, blocks = grid_size(kernel, args)
        if indices <= 0:
            return
        dtype = element_type(kernel, args, self.dtype)
        packed = pack(self.device, kernel, args, dtype)
        row = self.device.launcher(kernel, dtype, blocks, block_size(kernel), [*packed, np.int32(indices)])
        self.append(row, args, kernel.name)

    def append(self, row: Callable[[], None], args: Sequence[Any], name: str) -> None:
        """Append any call that only puts work on the device's stream; arrays among its arguments are kept alive."""
        arrays = {self.device.address(arg): arg.nbytes for arg in args if self.device.owns(arg)}
        self._rows.append(row)
        self._alive.append(args)
        self.told.append((name, sum(arrays.values())))

    def run(self, first: int = 0, last: int | None = None) -> None:
        """Run rows `first` to `last` (excluded) in order; the range is a chain of its own."""
        key = first, len(self._rows) if last is None else last
        if key not in self._chains:
            self._chains[key] = Chain(self.device, [(self, *key)])
        self._chains[key].run()

    def run_eagerly(self, first: int = 0, last: int | None = None) -> None:
        """Run rows one by one."""
        with self.device.stream():
            for row in self._rows[first:last]:
                row()


class Chain:
    """Ranges of programs that run one behind the other.

    They run eagerly the first time, which loads code and lets libraries prepare; the second time they are
    captured, and from then on replayed as one graph.
    """

    def __init__(self, device: Gpu, ranges: Sequence[tuple[Program, int, int]]):
        self.device = device
        self.ranges = [(program, first, last) for program, first, last in ranges if first < last]
        self.has_run, self.graph = False, None

    def __len__(self) -> int:
        """How many rows it has: nodes of its graph, where a library makes one of each call."""
        return sum(last - first for _, first, last in self.ranges)

    @property
    def told(self) -> list[tuple[str, int]]:
        """Of each row: its name, and the bytes of all arrays that it touches."""
        return [row for program, first, last in self.ranges for row in program.told[first:last]]

    def run(self) -> None:
        """Run it, in whichever of the three ways it is time for."""
        if not self.ranges:
            return
        if not (self.device.captures and self.has_run):
            self.has_run = True
            self._run_ranges()
            return
        if self.graph is None:
            with self.device.capture() as capture:
                self._run_ranges()
            self.graph = capture.graph
        self.graph.launch()

    def _run_ranges(self) -> None:
        for program, first, last in self.ranges:
            program.run_eagerly(first, last)


def element_type(kernel: AnyKernel, args: tuple[Any, ...], default: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype that `T` stands for in this launch: that of its first `T*` argument."""
    for parameter, arg in zip(kernel.parameters, args):
        if parameter.kind == "T*" and arg is not None:
            return arg.dtype
    return default


def pack(device: Gpu, kernel: AnyKernel, args: tuple[Any, ...], dtype: np.dtype[Any]) -> list[np.generic]:
    """Arguments as numpy scalars of exactly the types that the source declares; arrays as their addresses.

    Nothing behind this point checks anything: CUDA takes the bytes as they come.
    """
    packed: list[np.generic] = []
    for parameter, arg in zip(kernel.parameters, args):
        where = f"kernel {kernel.name}: argument {parameter.name}"
        if parameter.is_pointer:
            packed.append(np.uint64(_address(device, where, np.dtype(DTYPES.get(parameter.kind, dtype)), arg)))
        elif parameter.kind == "int":
            if not -LARGEST_INT - 1 <= int(arg) <= LARGEST_INT:
                raise OverflowError(f"{where} = {arg} does not fit an int of CUDA's")
            packed.append(np.int32(arg))
        else:
            packed.append((np.dtype(np.float64) if parameter.kind == "double" else dtype).type(arg))
    return packed


def _address(device: Gpu, where: str, wanted: np.dtype[Any], array: Any) -> int:
    """The address of a contiguous array on this device; None is a null pointer."""
    if array is None:
        return 0
    if not device.owns(array):
        raise TypeError(f"{where} must be an array on {device.name}, got {type(array).__name__}")
    if array.dtype != wanted or not array.flags.c_contiguous:
        raise TypeError(
            f"{where} must be a contiguous {wanted} array, got "
            f"{array.dtype}{'' if array.flags.c_contiguous else ', not contiguous'}"
        )
    return device.address(array)
