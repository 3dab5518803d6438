"""A program: launches with fixed addresses, in a table that native code runs without returning to Python."""

from __future__ import annotations

import importlib
import math
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from ...device import CPU
from ...kernel import Kernel, current_launcher, recording
from . import pool
from .launcher import ROW
from .native import Code, entry, link

# Elementary operations a chunk should hold: about 10 microseconds, against 1 to hand a chunk out.
CHUNK_WORK = 32768
MAX_CHUNKS = 1 << 18


class Program:
    """Launches appended one by one, then run as often as wanted, all of them or any range of rows."""

    device = CPU

    def __init__(self, dtype: Any = np.float32):
        self.dtype = np.dtype(dtype)
        self._rows: list[tuple[Code, int, int, int]] = []
        self.launched: list[tuple[Kernel, tuple[Any, ...]]] = []  # what every row is; keeps its arrays alive
        self._packed: list[np.ndarray] = []  # argument vectors, whose addresses the table holds
        self._table: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def kernels(self) -> list[Kernel]:
        """The kernel of every row."""
        return [kernel for kernel, _ in self.launched]

    def launch(self, kernel: Kernel, args: tuple[Any, ...]) -> None:
        """Append a launch; arrays must stay where they are as long as the program lives."""
        count, work = kernel.grid(args)
        if count <= 0:
            return
        grain = max(1, CHUNK_WORK // max(1, int(work)), math.ceil(count / MAX_CHUNKS))
        dtype = element_type(kernel, args, self.dtype)
        if kernel.cpu_form and dtype == np.float32 and self._launch_form(*kernel.cpu_form, args):
            return
        packed = np.array(pack(kernel, args, dtype), np.int64)
        self._packed.append(packed)
        code = entry(kernel, dtype, equal_pointers(kernel, packed))
        self._rows.append((code, count, grain, packed.ctypes.data))
        self.launched.append((kernel, args))
        self._table = None

    def _launch_form(self, module: str, function: str, args: tuple[Any, ...]) -> bool:
        """Append what a kernel's form for float32 launches, if it wants these arguments."""
        with recording(self):
            return getattr(importlib.import_module(f".{module}", __package__), function)(*args)

    def run(self, first: int = 0, last: int | None = None) -> None:
        """Run rows `first` to `last` (excluded) in order."""
        last = len(self._rows) if last is None else last
        if first >= last:
            return
        pool.run(self.compile().ctypes.data, first, last)

    def compile(self) -> np.ndarray:
        """The table; what it launches is compiled, if need be, and linked."""
        if self._table is None:
            entries = link(code for code, *_ in self._rows)
            rows = [(entry, *rest) for entry, (_, *rest) in zip(entries, self._rows)]
            self._table = np.array(rows, np.int64).reshape(-1, ROW)
        return self._table


class Chain:
    """Ranges of programs that run one behind the other in one go, as they are now."""

    def __init__(self, ranges: Sequence[tuple[Program, int, int]]):
        self._programs = [program for program, _, _ in ranges]  # keep the arrays alive that rows name
        self._table = np.concatenate([program.compile()[first:last] for program, first, last in ranges])
        self._address, self._count = self._table.ctypes.data, len(self._table)

    def __len__(self) -> int:
        return self._count

    def run(self) -> None:
        """Run all rows in order."""
        if self._count:
            pool.run(self._address, 0, self._count)


class Eager:
    """Runs every launch at once: how a kernel behaves when nobody records."""

    device = CPU

    def launch(self, kernel: Kernel, args: tuple[Any, ...]) -> None:
        program = Program()
        program.launch(kernel, args)
        program.run()


EAGER = Eager()


@contextmanager
def one_run() -> Iterator[None]:
    """Launches in this block run in one go even when nobody records, so that no other thread's come between.

    Kernels that hand data to each other through a `workspace` need this: the workspace is shared.
    """
    if current_launcher() is not EAGER:
        yield
        return
    program = Program()
    with recording(program):
        yield
    program.run()


def element_type(kernel: Kernel, args: tuple[Any, ...], default: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype that `T` stands for in this launch: that of its first `T*` argument."""
    for parameter, arg in zip(kernel.parameters, args):
        if parameter.kind == "T*" and arg is not None:
            return arg.dtype
    return default


_DTYPES = {"int*": np.int32, "long*": np.int64, "byte*": np.uint8, "double*": np.float64}


def pack(kernel: Kernel, args: tuple[Any, ...], dtype: np.dtype[Any]) -> list[int]:
    """Arguments as int64: addresses, integers, and the bits of floating-point scalars. None is a null pointer."""
    packed = []
    for parameter, arg in zip(kernel.parameters, args):
        if parameter.name == "thread":
            continue
        if parameter.is_pointer:
            packed.append(_address(kernel, parameter, arg, dtype))
        elif parameter.kind == "int":
            packed.append(int(arg))
        elif parameter.kind == "double" or dtype == np.float64:
            packed.append(struct.unpack("<q", struct.pack("<d", arg))[0])
        else:
            packed.append(struct.unpack("<I", struct.pack("<f", arg))[0])
    return packed


def equal_pointers(kernel: Kernel, packed: Sequence[int]) -> tuple[tuple[str, str], ...]:
    """Names of pointer arguments with that of an earlier one that is the same: a layer working in place."""
    first: dict[tuple[str, int], str] = {}
    found = []
    named = [p for p in kernel.parameters if p.name != "thread"]
    for parameter, value in zip(named, packed):
        if parameter.is_pointer and value:
            earlier = first.setdefault((parameter.kind, int(value)), parameter.name)
            if earlier != parameter.name:
                found.append((parameter.name, earlier))
    return tuple(found)


def _address(kernel: Kernel, parameter: Any, array: np.ndarray | None, dtype: np.dtype[Any]) -> int:
    if array is None:
        return 0
    wanted = np.dtype(_DTYPES.get(parameter.kind, dtype))
    if array.dtype != wanted or not array.flags.c_contiguous:
        raise TypeError(
            f"kernel {kernel.name}: argument {parameter.name} must be a contiguous {wanted} array, got "
            f"{array.dtype}{'' if array.flags.c_contiguous else ', not contiguous'}"
        )
    return array.__array_interface__["data"][0]
