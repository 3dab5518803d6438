"""Where buffers live: one arena, an offset for each buffer, by lifetimes if memory is to be shared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..device import Device
from ..memory import Memory, aligned_size


@dataclass
class Buffer:
    """A memory to be placed, and the steps (first, last) between which its values matter."""

    memory: Memory
    first: int
    last: int

    @property
    def size(self) -> int:
        return aligned_size(self.memory.count, self.memory.dtype)


def offsets(buffers: Sequence[Buffer], share: bool) -> tuple[list[int], int]:
    """An offset (in elements) for each buffer, and the size of the arena.

    Sharing is greedy, largest first: each buffer takes the lowest gap among those whose life overlaps its own.
    """
    if not share:
        found, total = [], 0
        for buffer in buffers:
            found.append(total)
            total += buffer.size
        return found, total
    result = [0] * len(buffers)
    placed: list[tuple[int, int, Buffer]] = []
    for index in sorted(range(len(buffers)), key=lambda i: -buffers[i].size):
        buffer, start = buffers[index], 0
        for low, high, other in sorted(placed, key=lambda p: p[0]):
            overlaps = other.first <= buffer.last and buffer.first <= other.last
            if overlaps and low < start + buffer.size:
                start = max(start, high)
        result[index] = start
        placed.append((start, start + buffer.size, buffer))
    return result, max((high for _, high, _ in placed), default=0)


def place(buffers: Sequence[Buffer], device: Device, share: bool = False) -> Any:
    """Give all buffers (of one dtype) their piece of a new arena; returns the arena, or None for no buffers."""
    buffers = [b for b in buffers if b.memory.count]
    if not buffers:
        return None
    at, total = offsets(buffers, share)
    dtype = buffers[0].memory.dtype
    arena = device.zeros(total, dtype)
    for buffer, start in zip(buffers, at):
        buffer.memory.place(device, arena[start : start + buffer.memory.count])
    return arena
