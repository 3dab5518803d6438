"""What Concat and Slice share: one blob that is several side by side along an axis."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import accumulate

from .. import ops
from ..layer import Layer, Operand


class Pieces(Layer):
    """A layer between a whole and its pieces; with one piece there is nothing to do, they are one memory."""

    backward_reads = ()

    def setup(self):
        alone = len(self.message.bottom) == len(self.message.top) == 1
        self.shares_data = self.shares_diff = alone

    def joint_axis(self, shape: Sequence[int], old: str) -> int:
        """The axis the pieces lie along; `old` names the field there was before `axis`, which is never negative."""
        p, field = self.param, self.param_field
        if not p.HasField(old):
            return self.axis(p.axis, shape, f"{field}.axis")
        if p.HasField("axis"):
            raise self.error(
                f"{field}: give axis or its old name {old}, not both (got axis {p.axis} and {old} {getattr(p, old)})"
            )
        if getattr(p, old) >= len(shape):
            raise self.error(
                f"{field}.{old}: must be in [0, {len(shape) - 1}] for shape {shape}, got {getattr(p, old)}"
            )
        return getattr(p, old)

    def note(self, whole: Sequence[int], sizes: Sequence[int], axis: int) -> None:
        """Keep what copying needs: how many rows there are, and how long each piece's part of a row is."""
        inner = math.prod(whole[axis + 1 :])
        self.rows, self.lengths = math.prod(whole[:axis]), [size * inner for size in sizes]

    def placed(self, pieces: Sequence[Operand]) -> Iterator[tuple[Operand, int, int]]:
        """Every piece, with where its part of a row begins and how long that is."""
        if not self.shares_data:
            yield from zip(pieces, accumulate(self.lengths, initial=0), self.lengths)

    def join(self, pieces: Sequence[Operand], whole: Operand, what: str) -> None:
        """Copy `data` or `diff` of the pieces into the whole; those that lie there are there."""
        for piece, at, length in self.placed(pieces):
            if not piece.lies_in(whole, at, what):
                ops.copy_rows(
                    getattr(piece, what), self.rows, length, 0, length, at, sum(self.lengths), getattr(whole, what)
                )

    def cut(self, whole: Operand, pieces: Sequence[Operand], what: str, wanted: Sequence[bool]) -> None:
        """Copy `data` or `diff` of the whole into those pieces that are wanted and do not lie there."""
        for (piece, at, length), it_is in zip(self.placed(pieces), wanted):
            if it_is and not piece.lies_in(whole, at, what):
                ops.copy_rows(
                    getattr(whole, what), self.rows, length, at, sum(self.lengths), 0, length, getattr(piece, what)
                )
