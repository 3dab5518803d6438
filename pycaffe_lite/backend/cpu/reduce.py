"""Sums over rows and over images: the gradients of biases. One owner and one order for every sum."""

from __future__ import annotations

import numpy as np

from ...kernel import T, kernel

COLUMNS = 64  # of a matrix that one index adds up


@kernel(
    "matrix: T*, rows: int, columns: int -> out: T*",
    over=f"(columns + {COLUMNS - 1}) // {COLUMNS}",
    work=f"rows * {COLUMNS // 8}",
)
def add_row_block(i, matrix, rows, columns, out):  # type: ignore[no-untyped-def]
    """Add every row to `out`, in a block of columns."""
    first = i * COLUMNS
    last = min(first + COLUMNS, columns)
    for row in range(rows):
        for j in range(first, last):
            out[j] += matrix[row * columns + j]


@kernel(
    "x: T*, batch: int, channels: int, size: int -> out: T*",
    over="channels",
    work="batch * size // 8",
    any_order=True,
)
def add_channel(i, x, batch, channels, size, out):  # type: ignore[no-untyped-def]
    """Add all values of channel i to out[i]."""
    total = 0.0
    for n in range(batch):
        plane = T(0)
        for p in range(size):
            plane += x[(n * channels + i) * size + p]
        total += plane
    out[i] += total


def add_rows(matrix: np.ndarray, out: np.ndarray) -> None:
    """out[j] += the sum of column j of a matrix (rows x columns)."""
    rows, columns = matrix.shape
    add_row_block(matrix, rows, columns, out)


def add_channels(x: np.ndarray, out: np.ndarray) -> None:
    """out[c] += the sum of channel c of all images of x (batch x channels x anything)."""
    batch, channels = x.shape[:2]
    add_channel(x, batch, channels, x.size // max(1, batch * channels), out)
