"""Buffers that kernels of one program hand data to each other in. Every program shares them.

Programs run one at a time, and within a program whoever uses a workspace writes it before reading
it, so one buffer per purpose is enough for the whole process. A buffer that has become too small is
replaced; launches already recorded keep the old one alive, because it is among their arguments.
"""

from __future__ import annotations

from typing import Any

import numpy as np

LINE = 64
_buffers: dict[tuple[str, np.dtype[Any]], np.ndarray] = {}


def aligned(size: int, dtype: Any = np.float32) -> np.ndarray:
    """A zeroed array on a cache line of its own, its pages present."""
    kind = np.dtype(dtype)
    raw = np.empty(size * kind.itemsize + LINE, np.uint8)
    raw.fill(0)  # touches the pages; with np.zeros the first kernels would pay for them
    start = -raw.ctypes.data % LINE
    return raw[start : start + size * kind.itemsize].view(kind)


def workspace(purpose: str, size: int, dtype: Any = np.float32) -> np.ndarray:
    """The process's buffer for this purpose, with room for at least `size` elements."""
    key = (purpose, np.dtype(dtype))
    found = _buffers.get(key)
    if found is None or found.size < size:
        found = _buffers[key] = aligned(size, dtype)
    return found
