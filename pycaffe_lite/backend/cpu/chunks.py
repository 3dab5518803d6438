"""How sums over images are cut into tasks: what the ways to the gradient of weights have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property

from .gemm import ceil_div
from .plane import Plane

CHUNKS = 16  # tasks wanted; more chunks of images mean more sums to add up
MANY = 1024  # positions in all images that repay several chunks


@dataclass(frozen=True)
class Chunks(ABC):
    """Some images, some rows of one group's sums: a task. It follows from the shape alone, as it decides rounding."""

    of: Plane

    @property
    @abstractmethod
    def parts(self) -> int:
        """Into how many tasks the rows of a group are cut."""

    @property
    def rows(self) -> int:
        """Rows of a group's sums."""
        return self.of.depth

    @property
    @abstractmethod
    def line(self) -> int:
        """From one row of the sums to the next."""

    @cached_property
    def chunk(self) -> int:
        """Images of a task."""
        chunks = min(self.of.batch, ceil_div(CHUNKS, self.of.group * self.parts))
        return ceil_div(self.of.batch, chunks)

    @property
    def chunks(self) -> int:
        return ceil_div(self.of.batch, self.chunk)

    @property
    def tasks(self) -> int:
        return self.chunks * self.of.group * self.parts

    @property
    def room(self) -> int:
        """Numbers in the sums of all chunks."""
        return self.chunks * self.of.group * self.rows * self.line

    def parts_of(self, rows: int, most: int, fewest: int) -> int:
        """Parts of at most `most` rows; more, of `fewest`, where few positions do not repay several chunks."""
        parts = ceil_div(rows, most)
        if self.of.batch * self.of.positions < MANY:
            parts = max(parts, min(ceil_div(CHUNKS, self.of.group), rows // fewest))
        return parts
