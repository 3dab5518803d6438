"""The order in which a run sees its samples, as a pure function of seed and position."""

from __future__ import annotations

from enum import IntEnum

import numpy as np


class Purpose(IntEnum):
    """What random numbers are for: each purpose has a stream of its own."""

    SKIP = 0
    SHUFFLE = 1
    TRANSFORM = 2


def generator(seed: int, purpose: Purpose, position: int) -> np.random.Generator:
    """A generator for one place of a run; making it anew there gives the same numbers again.

    So a position is all there is to save of a run's random state, and work done ahead of time by
    another thread draws what it would have drawn in its turn.
    """
    # The low words of a Philox counter count the draws, so the position goes into the highest.
    return np.random.Generator(np.random.Philox(key=(seed % 2**64) << 64 | int(purpose), counter=position << 192))


class SampleOrder:
    """Which database entry is the n-th sample of a run: key order, or a new permutation each epoch."""

    def __init__(self, entries: int, seed: int, shuffle: bool = False, rand_skip: int = 0) -> None:
        self.entries = entries
        self.seed = seed
        self.shuffle = shuffle
        # Caffe skips up to rand_skip - 1 entries, once, at the start.
        self.skip = int(generator(seed, Purpose.SKIP, 0).integers(rand_skip)) if rand_skip else 0
        self._shuffled_epoch = -1
        self._permutation: np.ndarray = np.empty(0, np.intp)

    def indices(self, first: int, count: int) -> np.ndarray:
        """The entries of samples ``first`` to ``first + count - 1``."""
        positions = np.arange(self.skip + first, self.skip + first + count)
        epochs, indices = np.divmod(positions, self.entries)
        if self.shuffle:
            for epoch in range(int(epochs[0]), int(epochs[-1]) + 1):
                within = epochs == epoch
                indices[within] = self._permute(epoch)[indices[within]]
        return indices

    def _permute(self, epoch: int) -> np.ndarray:
        """The permutation of an epoch; the latest is kept."""
        if epoch != self._shuffled_epoch:
            self._permutation = generator(self.seed, Purpose.SHUFFLE, epoch).permutation(self.entries)
            self._shuffled_epoch = epoch
        return self._permutation
