"""NVIDIA's libraries, found where pip or the system put them, and called through ctypes."""

from __future__ import annotations

import ctypes
import importlib.util
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from ...errors import DeviceError


@cache
def find(name: str, major: int) -> tuple[ctypes.CDLL, str] | None:
    """A library of a major version and where it was found: in NVIDIA's wheels, else where the system looks; or None.

    cuBLAS is to be of the CUDA version that CuPy has: both may be installed, and a driver may be too old for one.
    """
    for path in _places(name, major):
        try:
            return ctypes.CDLL(path), path
        except OSError:
            continue
    return None


def _places(name: str, major: int) -> Iterator[str]:
    spec = importlib.util.find_spec("nvidia")
    folders = [Path(folder) for folder in (spec.submodule_search_locations or ())] if spec else []
    file = f"{name}64_{major}.dll" if sys.platform == "win32" else f"lib{name}.so.{major}"
    for folder in folders:
        yield from (str(path) for path in sorted(folder.glob(f"*/*/{file}")))
    yield file


class Handle:
    """A library and its handle; `call` raises DeviceError where a function returns an error."""

    def __init__(self, library: Any, prefix: str):
        self.library, self.prefix = library, prefix
        self.handle = ctypes.c_void_p()

    def call(self, function: str, *args: Any) -> None:
        """Call a function by its name without the library's prefix."""
        status = getattr(self.library, self.prefix + function)(*args)
        if status:
            raise DeviceError(f"{self.prefix}{function} failed: {self.explain(status)}")

    def explain(self, status: int) -> str:
        """What an error number means."""
        return f"error {status}"


def number(value: float, dtype: Any) -> Any:
    """A factor as the libraries take it: a pointer to a number of the type that is computed in."""
    return ctypes.byref((ctypes.c_float if dtype.itemsize == 4 else ctypes.c_double)(value))


def pointer(address: int) -> ctypes.c_void_p:
    """An address on the device as an argument."""
    return ctypes.c_void_p(address)
