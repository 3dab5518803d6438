"""The stream for copies of the emulated GPU: who must have waited for whom, as CUDA has it.

A copy happens when the stream that computes waits for it, and not before. Whoever fails to wait is told: memory
that was written to while a copy of it may be on its way, used before its copy, or overwritten while it may be read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass
class Copy:
    """A copy that has been asked for."""

    target: np.ndarray
    pinned: np.ndarray


class Copies:
    """The stream for copies, and what it knows about the one that computes."""

    def __init__(self) -> None:
        self.pending: list[Copy] = []
        self.ordered = 0  # copies asked for, ever
        self.clock = 0  # launches of the compute stream, ever
        self.horizon = 0  # launches that the stream for copies has waited for
        self.known = 0  # copies that the host has waited for
        self.last_copy: dict[int, int] = {}  # of pinned memory at an address: the number of its latest copy
        self.last_use: dict[tuple[int, int], int] = {}  # of every range that was a target: the latest launch on it

    def ask(self, target: np.ndarray, pinned: np.ndarray) -> None:
        """Put a copy on the stream."""
        place, source = extent(target), pinned.ctypes.data
        if self.last_copy.get(source, 0) > self.known:
            raise RuntimeError("pinned memory was written to while a copy of it may be on its way")
        if self.last_use.get(place, 0) > self.horizon:
            raise RuntimeError("a copy goes to memory that the compute stream may still be reading")
        self.last_use.setdefault(place, 0)
        self.pending.append(Copy(target, pinned))
        self.ordered += 1
        self.last_copy[source] = self.ordered

    def forget(self, made: np.ndarray) -> None:
        """New memory: what was known about its addresses was of other memory."""
        start, end = extent(made)
        self.last_copy.pop(start, None)
        self.last_use = {old: use for old, use in self.last_use.items() if old[1] <= start or end <= old[0]}

    def happen(self, count: int) -> None:
        """The first `count` copies, of all ever asked for, are done."""
        done = self.ordered - len(self.pending)
        for copy in self.pending[: max(0, count - done)]:
            copy.target[...] = copy.pinned
        del self.pending[: max(0, count - done)]

    def used(self, addresses: list[int]) -> None:
        """The compute stream launches something that has these addresses."""
        self.clock += 1
        waiting = [extent(copy.target) for copy in self.pending]
        for start, end in self.last_use:
            if any(start <= address < end for address in addresses):
                if (start, end) in waiting:
                    raise RuntimeError("a kernel uses memory whose copy it has not waited for")
                self.last_use[start, end] = self.clock


def extent(array: np.ndarray) -> tuple[int, int]:
    """First address, and the one behind the last."""
    start = array.ctypes.data
    return start, start + array.nbytes


class EmulatedEvent:
    """Implements Event over Copies."""

    def __init__(self, copies: Copies):
        self.copies, self.copied, self.computed = copies, 0, 0

    def record(self, stream: str) -> None:
        if stream == "copy":
            self.copied, self.computed = self.copies.ordered, self.copies.horizon
        else:
            self.copied, self.computed = self.copies.ordered - len(self.copies.pending), self.copies.clock

    def hold_back(self, stream: str) -> None:
        if stream == "copy":
            self.copies.horizon = max(self.copies.horizon, self.computed)
        else:
            self.copies.happen(self.copied)

    def synchronize(self) -> None:
        self.copies.happen(self.copied)
        self.copies.known = max(self.copies.known, self.copied)


def pinned_like(count: int, dtype: Any) -> np.ndarray:
    """Memory that the host may write to; garbage at first, as cudaMallocHost gives it."""
    return np.full(count * np.dtype(dtype).itemsize, 0xA5, np.uint8).view(dtype)
