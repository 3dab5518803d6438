"""What Concat and Slice share: one blob that is several side by side along an axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from .. import ops
from ..layer import Layer


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

    def join(self, pieces: Sequence[Any], whole: Any) -> None:
        """Copy the pieces into the whole."""
        if self.shares_data:
            return
        at, step = 0, sum(self.lengths)
        for piece, length in zip(pieces, self.lengths):
            ops.copy_rows(piece, self.rows, length, 0, length, at, step, whole)
            at += length

    def cut(self, whole: Any, pieces: Sequence[Any]) -> None:
        """Copy the whole into those pieces that are wanted (not None)."""
        if self.shares_data:
            return
        at, step = 0, sum(self.lengths)
        for piece, length in zip(pieces, self.lengths):
            if piece is not None:
                ops.copy_rows(whole, self.rows, length, at, step, 0, length, piece)
            at += length
