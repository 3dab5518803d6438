"""The ways people write the ten digits, as strokes for `synthetic_digits`.

A stroke is the points ``x,y`` a pen passes through, in percent of a box, x to the right and y down.
``*`` marks a corner, `` / `` lifts the pen. Points with equal coordinates are one point: strokes that
meet there stay joined when the points are moved.
"""

from __future__ import annotations

from typing import NamedTuple


class Variant(NamedTuple):
    """One way to write a digit, and how common it is among the ways to write that digit."""

    digit: int
    weight: float
    strokes: str


VARIANTS = [
    # 0: closed, begun at the right with an overlap, left open at the top.
    Variant(0, 4, "52,0 20,16 6,50 18,84 50,100 80,84 93,48 80,14 52,0"),
    Variant(0, 3, "70,8 36,3 10,38 14,78 45,100 80,82 90,42 70,8 42,6 26,20"),
    Variant(0, 1, "45,4 14,30 10,70 42,100 78,86 88,45 70,10 60,0"),
    # 1: a bare stroke, bowed, with a flag, with flag and foot.
    Variant(1, 6, "50,0 50,35 50,68 50,100"),
    Variant(1, 2, "52,0 47,34 47,68 53,100"),
    Variant(1, 2, "34,24 44,14 53,0* 52,50 50,100"),
    Variant(1, 1, "30,26 43,16 53,0* 52,50 50,100 / 22,100 50,100 80,98"),
    # 2: with a corner, with a loop, like a z, with a wavy foot.
    Variant(2, 3, "10,24 28,4 60,2 80,22 66,52 36,78 6,100* 50,97 96,98"),
    Variant(2, 3, "12,18 42,0 74,14 70,46 44,76 18,97 5,90 16,78 42,85 70,97 96,88"),
    Variant(2, 1, "10,8 45,3 82,8* 46,54 6,98* 50,95 94,96"),
    Variant(2, 1, "16,30 24,8 56,0 82,18 72,48 42,74 10,90* 36,84 66,100 98,92"),
    # 3: round, with a flat top, with a loop in the middle.
    Variant(3, 4, "14,14 40,0 74,10 72,34 38,48* 74,56 84,80 50,100 8,88"),
    Variant(3, 1, "12,3 45,3 84,2* 60,22 42,42* 78,50 84,82 46,100 6,90"),
    Variant(3, 2, "20,10 50,0 78,16 64,40 40,50 34,45 48,44 80,62 78,88 44,100 10,86"),
    # 4: open, open and round, closed, closed and looped.
    Variant(4, 4, "22,4 14,30 10,56* 46,56 90,50 / 78,0 72,45 66,100"),
    Variant(4, 2, "16,2 10,32 24,54 54,50 82,30 / 86,0 82,30 76,65 72,100"),
    Variant(4, 2, "66,0 36,32 6,64* 50,64 96,62 / 66,0 64,50 62,100"),
    Variant(4, 0.5, "76,6 44,18 16,46* 46,54 76,36 / 76,6 76,36 68,70 66,100"),
    # 5: the bar as part of the stroke, added after it, and like an s.
    Variant(5, 3, "88,2 60,2 32,3* 26,24 22,45* 52,36 84,52 84,80 50,100 8,90"),
    Variant(5, 2, "34,6 28,25 22,45* 52,36 84,52 84,80 50,100 8,90 / 34,0 62,3 96,0"),
    Variant(5, 2, "90,4 52,2 30,14 26,34 50,46 76,62 70,90 40,100 6,88"),
    # 6: curved, straight, with a small loop, closed on itself.
    Variant(6, 3, "74,0 40,18 14,54 16,86 48,100 80,84 74,60 44,56 18,76"),
    Variant(6, 2, "50,0 26,30 14,66 28,95 60,98 78,76 56,56 28,66 17,84"),
    Variant(6, 2, "66,2 30,34 12,72 34,100 68,92 66,70 38,70 28,92"),
    # 7: plain, with a bar, with a serif, with a bent stem.
    Variant(7, 4, "6,10 46,6 90,4* 66,46 46,100"),
    Variant(7, 2, "8,6 48,5 88,4* 64,45 44,100 / 32,54 60,50 90,48"),
    Variant(7, 2, "12,26 10,8* 46,7 86,3* 60,50 48,100"),
    Variant(7, 2, "8,18 30,6 60,10 84,6 78,36 60,66 54,100"),
    # 8: in one stroke, of two rings, one stroke left open.
    Variant(8, 4, "76,12 50,0 22,14 34,40 64,56 80,80 50,100 20,82 36,55 66,38 76,12"),
    Variant(8, 1, "50,0 24,10 22,34 50,46 76,34 74,10 50,0 / 50,46 18,58 16,88 50,100 84,88 80,58 50,46"),
    Variant(8, 2, "86,10 54,2 28,18 42,42 68,62 66,92 36,100 20,82 38,58 70,36 94,2"),
    # 9: with a straight stem, a curved one, a hooked one, and begun with an open ring.
    Variant(9, 4, "80,18 48,2 16,24 26,50 58,46 80,18* 74,60 68,100"),
    Variant(9, 2, "74,10 40,4 14,28 34,50 66,36 74,10 80,46 64,78 40,100"),
    Variant(9, 1, "78,16 50,0 16,20 24,48 60,44 78,16* 82,66 58,98 16,92"),
    Variant(9, 2, "66,6 34,8 18,36 40,50 74,26 78,6* 70,50 60,100"),
]
