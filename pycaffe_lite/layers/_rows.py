"""What Embed and BatchReindex share: rows of a matrix taken by index, and gradients added back to them."""

from __future__ import annotations

from ..blob import Blob
from ..errors import DataError
from ..kernel import T, kernel
from ..layer import Layer

COLUMNS = 16  # that one index adds up: a cache line


@kernel("x: T*, index: T*, rows: int, length: int, count: int -> y: T*, fault: long*", work="length")
def take_rows(i, x, index, rows, length, count, y, fault):
    """Row i of y = row index[i] of x (rows x length); zeros, and a fault, where there is no such row."""
    exists = index[i] >= 0 and index[i] < rows
    if not exists:
        fault[0] = i + 1
    source, target = int(index[i]) * length if exists else 0, i * length
    for j in range(length):
        y[target + j] = x[source + j] if exists else T(0)


take_rows.cuda(
    """
    int row = i / length;
    bool exists = index[row] >= 0 && index[row] < rows;
    if (!exists) fault[0] = row + 1;
    y[i] = exists ? x[(int)index[row] * length + i % length] : (T)0;
""",
    over="count * length",
)


@kernel(
    "dy: T*, index: T*, rows: int, length: int, count: int -> dx: T*",
    over=f"(length + {COLUMNS - 1}) // {COLUMNS}",
    work=f"count * {COLUMNS}",
)
def add_to_rows(i, dy, index, rows, length, count, dx):
    """Row index[r] of dx += row r of dy, for all rows in order; one index is a few columns."""
    first, last = i * COLUMNS, min((i + 1) * COLUMNS, length)
    for r in range(count):
        if index[r] >= 0 and index[r] < rows:
            row = int(index[r])
            for j in range(first, last):
                dx[row * length + j] += dy[r * length + j]


add_to_rows.cuda(
    """
    for (int r = 0; r < count; ++r)
        if (index[r] >= 0 && index[r] < rows) dx[(int)index[r] * length + i] += dy[r * length + i];
""",
    over="length",
)


def no_such_row(layer: Layer, bottom: list[Blob], number: int, place: int, rows: int, what: str) -> DataError:
    """The error for the index at this place of a bottom, which the run found outside the rows."""
    value, name = float(bottom[number].data.reshape(-1)[place]), layer.bottom_names[number]
    return DataError(
        f"layer {layer.name!r} ({layer.type}): index {value:g} (number {place} of bottom {name!r}) "
        f"is outside 0 to {rows - 1}, {what}"
    )
