"""The endless stream of batches of a data layer: read ahead in a thread, resumable from two numbers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import numpy as np

from pycaffe_lite.data.batches import Position
from pycaffe_lite.data.prefetch import Prefetcher

Arrays = list[np.ndarray]
"""A batch: one array for each top."""

Make = Callable[[int, Arrays | None], Arrays]
"""Makes the batch that begins with this sample of the run, in the arrays of a used one where they fit."""


class Stream(ABC):
    """Batches that are functions of the seed and of their place in the run alone.

    `state` counts what `next` has handed out, not what was prepared ahead.
    """

    shapes: list[tuple[int, ...]]
    """Of the arrays of the first batch."""

    def __init__(self, batch_size: int, depth: int, seed: int) -> None:
        self.batch_size = batch_size
        self._depth = depth
        self._start(seed, 0)

    @abstractmethod
    def maker(self, seed: int) -> Make:
        """What makes the batches of this seed. It must not refer to the stream, or that would never be freed."""

    def _start(self, seed: int, sample: int) -> None:
        """Prepare batches from a position on."""
        self._seed = seed
        self._origin = sample
        make, size = self.maker(seed), self.batch_size
        self._prefetcher = Prefetcher(lambda number, used: make(sample + number * size, used), self._depth)

    def next(self) -> Arrays:
        """The next batch, valid until the next call."""
        return self._prefetcher.next()

    def state(self) -> Position:
        """The position after the last batch handed out."""
        return {"seed": self._seed, "sample": self._origin + self._prefetcher.position * self.batch_size}

    def restore(self, state: Position) -> None:
        """Go on from a position that `state` gave, also if the batch size has changed since."""
        self._prefetcher.close()
        self._start(state["seed"], state["sample"])

    def close(self) -> None:
        """Stop reading ahead."""
        self._prefetcher.close()


def fitting(used: Arrays | None, shapes: list[tuple[int, ...]]) -> Arrays:
    """The used arrays if they have these shapes, else new ones."""
    if used is not None and [array.shape for array in used] == list(shapes):
        return used
    return [np.empty(shape, np.float32) for shape in shapes]
