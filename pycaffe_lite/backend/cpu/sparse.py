"""Products with a left factor that is mostly zeros: only its other numbers are listed, each with its row of B.

A row of C at a time is kept in registers, as the tiles of `tile.py` are: c[j] = start[j] + the sum over the list of
number * row[j]. A null pointer for `start` is zeros.
"""

from __future__ import annotations

from .atoms import compiled_only
from .vector import AVX512

MOST_VECTORS = 28 if AVX512 else 13  # of a row of C; one more register holds a number


def add_listed(places, table, numbers, b, start, c, count, vectors):  # type: ignore[no-untyped-def]
    """Step p takes numbers[p], and its row is at b[table[places[p]]]; both are int32. There is at least one."""
    compiled_only()


def add_entries(entries, b, start, c, count, vectors):  # type: ignore[no-untyped-def]
    """Step p's row is at b[entries[2 * p]], an int32, and entries[2 * p + 1] is its number. There is at least one."""
    compiled_only()
