"""Buffers that kernels of one program hand data to each other in. Every program shares them.

Programs run one at a time, and within a program whoever uses a workspace writes it before reading
it, so one buffer per purpose is enough for the whole process. A buffer that has become too small is
replaced; launches already recorded keep the old one alive, because it is among their arguments.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

LINE = 64
_lock = threading.Lock()
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


MOST_THREADS = 1024
_scratch: list[np.ndarray] = [np.zeros(0, np.uint8)] * MOST_THREADS
_scratch_table = aligned(MOST_THREADS, np.int64)
_retired: list[np.ndarray] = []
_needed = _threads = 0


def scratch(bytes_needed: int) -> np.ndarray:
    """Addresses of one buffer per thread, which kernels index with their argument `thread`.

    The table stays where it is and its buffers only grow, so launches recorded earlier, or before there were
    as many threads, find what they need in it.
    """
    global _needed
    before, _needed = _needed, max(_needed, bytes_needed)
    try:
        _provide()
    except MemoryError:
        _needed = before  # the next program may need less
        raise
    return _scratch_table


def provide_scratch(threads: int) -> None:
    """Let there be scratch for this many threads: whoever starts threads says so."""
    global _threads
    _threads = max(_threads, threads)
    _provide()


def _provide() -> None:
    with _lock:
        for thread in range(_threads):
            if _scratch[thread].size < _needed:
                # Another program may be using the old one just now. Half more each time: there will be few.
                _retired.append(_scratch[thread])
                _scratch[thread] = aligned(max(_needed, _scratch[thread].size * 3 // 2), np.uint8)
                _scratch_table[thread] = _scratch[thread].ctypes.data
